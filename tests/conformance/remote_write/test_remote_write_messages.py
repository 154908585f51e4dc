"""Messages of remote write (E96 to E99, E104 to E106)."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from format_families import counter, histogram, summary
from oracles import family, number
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.remote_write.encoder import WriteEncoder
from otel_aioprom.remote_write.fields import STALE
from otel_aioprom.remote_write.message import Message
from write_model import Point, Receiver, Request, WriteRequest, native_buckets, read_points

T = 1_700_000_000_000
VERSIONS = ("1.0", "2.0")
every_version = pytest.mark.parametrize("version", VERSIONS)


def whole(table: WriteEncoder, *families: MetricFamily, at: int = T) -> Message:
    """The one message of a collection."""
    (message,) = [each for each in table.messages(families, at) if each]
    return message


def sent(version: Any, *families: MetricFamily, **options: Any) -> list[Point]:
    """What a server reads of a first collection."""
    return read_points(version, whole(WriteEncoder(version, **options), *families).body)


def lines(points: list[Point]) -> list[tuple[dict[str, str], float | None]]:
    """Labels and values."""
    return [(dict(point.labels), point.value) for point in points]


def name_of(point: Point) -> str:
    """The metric's name."""
    return dict(point.labels)["__name__"]


def test_e96_the_worked_bytes() -> None:
    """Of the series; metadata go before it."""
    body = whole(WriteEncoder("1.0"), family("m", number(1, {"a": "b"}), kind="untyped")).body

    assert body.hex(" ") == (
        "1a 03 12 01 6d "
        "0a 29 0a 0d 0a 08 5f 5f 6e 61 6d 65 5f 5f 12 01 6d 0a 06 0a 01 61 12 01 62 "
        "12 10 09 00 00 00 00 00 00 f0 3f 10 80 d0 95 ff bc 31"
    )


def test_e97_the_worked_bytes() -> None:
    """Symbols, labels, sample, metadata."""
    made = family("m_total", counter(1, {"a": "b"}), kind="counter", doc="help", unit="bytes")

    assert whole(WriteEncoder("2.0"), made).body.hex(" ") == (
        "22 00 22 08 5f 5f 6e 61 6d 65 5f 5f 22 07 6d 5f 74 6f 74 61 6c 22 01 61 22 01 62 "
        "22 04 68 65 6c 70 22 05 62 79 74 65 73 "
        "2a 20 0a 04 01 02 03 04 12 10 09 00 00 00 00 00 00 f0 3f 10 80 d0 95 ff bc 31 "
        "2a 06 08 01 18 05 20 06"
    )


def test_e105_the_worked_bytes() -> None:
    """A sample of a NaN with bits of its own."""
    table = WriteEncoder("1.0")
    whole(table, family("m"), at=T - 1)
    (message,) = [each for each in table.end(T) if each]

    assert message.body.endswith(
        bytes.fromhex("12 10 09 02 00 00 00 00 00 f0 7f 10 80 d0 95 ff bc 31")
    )
    assert struct.pack("<Q", 0x7FF0000000000002) == STALE


def test_e96_metadata_stand_once_in_a_collection() -> None:
    """Of each family, in the message that has the first of its series."""
    table = WriteEncoder("1.0", max_samples=2)
    made = [
        family("a", *[number(place, {"x": str(place)}) for place in range(3)], doc="A.", unit="s"),
        family("b_total", counter(1), kind="counter"),
    ]
    for at in (T, T + 1):
        bodies = [each.body for each in table.messages(made, at) if each]
        told = [
            [(each.type, each.metric_family_name, each.help, each.unit) for each in read.metadata]
            for read in map(WriteRequest.FromString, bodies)
        ]
        assert told == [[(2, "a", "A.", "s")], [(1, "b_total", "", "")]]


KINDS = [
    ("counter", "counter", counter(1)),
    ("gauge", "gauge", number(1)),
    ("info", "gauge", number(1)),
    ("stateset", "gauge", number(1)),
    ("histogram", "histogram", histogram([1], 1.0)),
    ("summary", "summary", summary(1, 1.0, [])),
    ("untyped", "unknown", number(1)),
]


@pytest.mark.parametrize(("kind", "told", "series"), KINDS)
def test_e96_e99_types_in_metadata(kind: str, told: str, series: Series) -> None:
    """Info and stateset are gauges."""
    receiver = Receiver("1.0")
    receiver.take([whole(WriteEncoder("1.0"), family("m", series, kind=kind, doc="D."))])

    assert receiver.metadata == {"m": (told, "D.", "")}


@pytest.mark.parametrize(("kind", "told", "series"), KINDS)
def test_e97_metadata_stand_in_every_series(kind: str, told: str, series: Series) -> None:
    """With the help and the unit of the family; an info and a set of states have no unit."""
    found = sent("2.0", family("m", series, kind=kind, doc="D.", unit="bytes"))
    unit = "" if kind in ("info", "stateset") else "bytes"

    assert {point.metadata for point in found} == {(told, "D.", unit)}


def test_e97_symbols_are_unique_in_each_message() -> None:
    """The empty one first; each message has its own, and no other."""
    series = [number(place, {"x": f"v{place}"}) for place in range(3)]
    made = [family("a", *series, doc="A."), family("b", number(1, {"v2": "a"}))]
    bodies = [each.body for each in WriteEncoder("2.0", max_samples=2).messages(made, T) if each]

    assert [list(Request.FromString(body).symbols) for body in bodies] == [
        ["", "__name__", "a", "x", "v0", "v1", "A."],
        ["", "__name__", "a", "x", "v2", "A.", "b"],
    ]


def test_e97_when_counting_began() -> None:
    """In milliseconds, on each sample of cumulative types; omitted if it is unknown or invalid."""
    made = [
        family("c_total", counter(1, created=1600000000.25), counter(1, {"x": "1"}), kind="counter"),
        family("g"),
        family("h", histogram([1], 1.0, created=1600000001.0), kind="histogram"),
        family("s", summary(1, 1.0, [(0.5, 1.0)], created=1600000002.0), kind="summary"),
    ]  # fmt: skip

    assert [(name_of(point), point.start) for point in sent("2.0", *made)] == [
        ("c_total", 1600000000250), ("c_total", 0), ("g", 0),
        ("h_bucket", 1600000001000), ("h_sum", 1600000001000), ("h_count", 1600000001000),
        ("s", 1600000002000), ("s_sum", 1600000002000), ("s_count", 1600000002000),
    ]  # fmt: skip
    assert [point.start for point in sent("1.0", *made)] == [0] * 9


@pytest.mark.parametrize("created", [math.nan, math.inf, -math.inf, 1e300, T / 1000, T / 1000 + 1])
def test_e97_no_start_that_makes_no_sense(created: float) -> None:
    """Nor one that is not before the sample: a series may begin while a collection is written."""
    (point,) = sent("2.0", family("c_total", counter(1, created=created), kind="counter"))

    assert point.start == 0


def test_e97_a_reset_has_a_new_start() -> None:
    """In the collection that first sees it."""
    table = WriteEncoder("2.0")
    series = counter(5, created=1600000000.0)
    made = family("c_total", series, kind="counter")
    starts = []
    for at in range(3):
        if at == 1:
            series.created = 1600000001.5
        (point,) = read_points("2.0", whole(table, made, at=T + at).body)
        starts.append(point.start)

    assert starts == [1600000000000, 1600000001500, 1600000001500]


@every_version
def test_e98_labels_are_sorted_as_bytes(version: str) -> None:
    """Capitals before the name, small letters after it."""
    (point,) = sent(version, family("m", number(1, {"a": "1", "A": "2", "_x": "3", "Z": "4"})))

    assert [name for name, _ in point.labels] == ["A", "Z", "__name__", "_x", "a"]


@every_version
def test_e98_empty_labels_are_dropped(version: str) -> None:
    """The label is absent, and two series that differ in nothing else are one."""
    table = WriteEncoder(version)  # type: ignore[arg-type]
    message = whole(table, family("m", number(1, {"a": "", "b": "x"}), number(2, {"b": "x"})))

    assert lines(read_points(version, message.body)) == [({"__name__": "m", "b": "x"}, 1)]
    assert [fault.cause for fault in table.faults] == ["duplicate_series"]


@every_version
def test_e98_external_labels(version: str) -> None:
    """Where the series has none of that name, or an empty one."""
    made = family("m", number(1), number(2, {"job": "own"}), number(3, {"a": "1", "job": ""}))
    found = sent(version, made, external_labels={"job": "j", "instance": "i", "empty": ""})

    assert lines(found) == [
        ({"__name__": "m", "instance": "i", "job": "j"}, 1),
        ({"__name__": "m", "instance": "i", "job": "own"}, 2),
        ({"__name__": "m", "a": "1", "instance": "i", "job": "j"}, 3),
    ]


def test_e98_names_that_are_not_classic() -> None:
    """Escaped in 1.0, as they are in 2.0."""
    series = counter(1, {"a.b": "é"}, exemplar=Exemplar((("trace.id", "x"),), 1.0, 5.0))
    made = MetricFamily("http.requests_total", "counter", "", "", [series], utf8=True)
    (old,), (new,) = (sent(version, made, external_labels={"dc.name": "d"}) for version in VERSIONS)

    assert dict(old.labels) == {"__name__": "http_requests_total", "a_b": "é", "dc_name": "d"}
    assert dict(new.labels) == {"__name__": "http.requests_total", "a.b": "é", "dc.name": "d"}
    assert old.exemplars == [((("trace_id", "x"),), 1.0, 5000)]
    assert new.exemplars == [((("trace.id", "x"),), 1.0, 5000)]


def test_e98_labels_that_meet_after_escaping() -> None:
    """Are one label in 1.0, two in 2.0; of series that collide, one is sent."""
    made = MetricFamily("m", "gauge", "", "", [number(1, {"a.b": "1", "a_b": "2"})], utf8=True)
    both = MetricFamily("m", "gauge", "", "", [number(1, {"a.b": "1"}), number(2, {"a:b": "1"})], utf8=True)  # fmt: skip

    assert lines(sent("1.0", made)) == [({"__name__": "m", "a_b": "1;2"}, 1)]
    assert lines(sent("2.0", made)) == [({"__name__": "m", "a.b": "1", "a_b": "2"}, 1)]
    assert lines(sent("1.0", both)) == [({"__name__": "m", "a_b": "1"}, 2)]
    assert len(sent("2.0", both)) == 2


@every_version
def test_e99_what_each_family_becomes(version: str) -> None:
    """A time series for each sample line of the text format, bounds and quantiles in canonical form."""
    found = sent(
        version,
        family("c_total", counter(5), kind="counter"),
        family("g", number(math.inf)),
        family("i_info", number(1, {"v": "1"}), kind="info"),
        family("h", histogram([1, 2, 3], 9.5, (1.0, 2.5), labels={"z": "y"}), kind="histogram"),
        family("s", summary(3, 6.5, [(0.5, 2.0), (0.99, -1.0)]), kind="summary"),
    )

    assert lines(found) == [
        ({"__name__": "c_total"}, 5),
        ({"__name__": "g"}, math.inf),
        ({"__name__": "i_info", "v": "1"}, 1),
        ({"__name__": "h_bucket", "le": "1.0", "z": "y"}, 1),
        ({"__name__": "h_bucket", "le": "2.5", "z": "y"}, 3),
        ({"__name__": "h_bucket", "le": "+Inf", "z": "y"}, 6),
        ({"__name__": "h_sum", "z": "y"}, 9.5),
        ({"__name__": "h_count", "z": "y"}, 6),
        ({"__name__": "s", "quantile": "0.5"}, 2.0),
        ({"__name__": "s", "quantile": "0.99"}, -1.0),
        ({"__name__": "s_sum"}, 6.5),
        ({"__name__": "s_count"}, 3),
    ]
    assert {point.moment for point in found} == {T}


@every_version
def test_e99_an_unknown_sum_is_omitted(version: str) -> None:
    """The count stays; a sum that becomes unknown ends."""
    series = histogram([1, 2], 3.0, (1.0,))
    made, table, receiver = family("h", series, kind="histogram"), WriteEncoder(version), Receiver(version)  # type: ignore[arg-type]  # fmt: skip
    receiver.take(table.messages([made], T))
    series.load([1, 2], None)
    receiver.take(table.messages([made], T + 1))

    assert sorted(name_of(point) for point in receiver.alive().values()) == [
        "h_bucket", "h_bucket", "h_count",
    ]  # fmt: skip


@every_version
def test_e99_exemplars_stand_on_buckets_and_totals(version: str) -> None:
    """With the timestamp of the collection if they have none; empty labels are dropped."""
    one = Exemplar((("trace_id", "ab"), ("a", "é"), ("none", "")), 5.0, 1700000000.5)
    two = Exemplar((), 0.5)
    found = sent(
        version,
        family("c_total", counter(1), counter(1, {"x": "1"}, exemplar=one), kind="counter"),
        family("h", histogram([1, 0, 1], 1.0, (1.0, 2.0), exemplars=[two, None, one]), kind="histogram"),
    )  # fmt: skip
    labels = (("a", "é"), ("trace_id", "ab"))

    assert {point.labels: point.exemplars for point in found if point.exemplars} == {
        (("__name__", "c_total"), ("x", "1")): [(labels, 5.0, 1700000000500)],
        (("__name__", "h_bucket"), ("le", "1.0")): [((), 0.5, T)],
        (("__name__", "h_bucket"), ("le", "+Inf")): [(labels, 5.0, 1700000000500)],
    }
    assert len(found) == 7


NATIVE = NativeBuckets(3, 2.0**-128, 1, [(-2, 2), (-1, 1), (3, 1)], [(0, 1)])


@every_version
def test_e104_a_native_histogram_stands_on_the_bare_name(version: str) -> None:
    """With integer counts, and without classic samples, as it has no bounds of its own."""
    series = histogram([6], 18.4, native=NATIVE, labels={"m": "GET"}, created=1600000000.0)
    (point,) = sent(version, family("rpc_seconds", series, kind="histogram"))
    found = point.histogram

    assert dict(point.labels) == {"__name__": "rpc_seconds", "m": "GET"}
    assert (found.count_int, found.sum, found.schema) == (6, 18.4, 3)
    assert (found.zero_threshold, found.zero_count_int, found.reset_hint) == (2.0**-128, 1, 0)
    assert [(span.offset, span.length) for span in found.positive_spans] == [(-2, 2), (3, 1)]
    assert list(found.positive_deltas) == [2, -1, 0]
    assert native_buckets(found, "negative") == {0: 1}
    assert (point.moment, point.start) == (T, 1600000000000 if version == "2.0" else 0)


@every_version
def test_e104_classic_samples_where_there_are_bounds(version: str) -> None:
    """Beside the native histogram, or instead of it if none are to be sent."""
    made = family("h", histogram([1, 5], 18.4, (1.0,), NATIVE), kind="histogram")
    both, classic = sent(version, made), sent(version, made, native_histograms=False)

    assert sorted(map(name_of, both)) == ["h", "h_bucket", "h_bucket", "h_count", "h_sum"]
    assert sorted(map(name_of, classic)) == ["h_bucket", "h_bucket", "h_count", "h_sum"]


@every_version
@pytest.mark.parametrize(
    ("native", "total"),
    [
        (NativeBuckets(3, 0.0), 0.0),
        (NativeBuckets(-4, 1.0, 5), -0.5),
        (NativeBuckets(8, 0.0, 0, [], [(-300_000, 1), (7, 2**40)]), math.nan),
        (NativeBuckets(0, 0.0, 0, [(5, 0), (9, 1)]), None),
    ],
)
def test_e104_odd_native_histograms(
    version: str, native: NativeBuckets, total: float | None
) -> None:
    """Empty ones, negative values alone, zeros alone, no sum."""
    made = family("h", histogram([native.observations], total, native=native), kind="histogram")
    (point,) = sent(version, made)
    found = point.histogram

    assert found.HasField("sum") == (total is not None)
    assert found.count_int == native.observations
    for sign in ("positive", "negative"):
        held = {index: n for index, n in native_buckets(found, sign).items() if n}
        assert held == {index: n for index, n in getattr(native, sign) if n}


@every_version
def test_e105_series_that_end_get_a_stale_marker(version: str) -> None:
    """Once; and a series that comes back is as any other."""
    table, receiver = WriteEncoder(version), Receiver(version)  # type: ignore[arg-type]
    one, two = number(1, {"x": "1"}), number(2, {"x": "2"})
    shown = []
    for at, series in enumerate([[one, two], [two], [two], [one, two], []]):
        made = [family("m", *series)] if series else []
        points = receiver.take(table.messages([*made, family("other")], T + at))
        shown.append({dict(point.labels).get("x"): "stale" if point.is_stale else point.value for point in points})  # fmt: skip

    assert shown == [
        {"1": 1, "2": 2, None: 1},
        {"1": "stale", "2": 2, None: 1},
        {"2": 2, None: 1},
        {"1": 1, "2": 2, None: 1},
        {"1": "stale", "2": "stale", None: 1},
    ]


@every_version
def test_e105_all_of_a_histogram_ends(version: str) -> None:
    """Each bucket, sum, count, and the native histogram."""
    table, receiver = WriteEncoder(version, max_samples=2), Receiver(version, 2)  # type: ignore[arg-type]
    made = [
        family("h", histogram([1, 5], 18.4, (1.0,), NATIVE), kind="histogram"),
        family("s", summary(3, 6.5, [(0.5, 2.0)]), kind="summary"),
    ]
    first = receiver.take(table.messages(made, T))
    last = receiver.take(table.messages([], T + 1))

    assert {point.labels for point in last} == {point.labels for point in first}
    assert all(point.is_stale and point.moment == T + 1 for point in last)
    assert list(table.end(T + 2)) == []


@every_version
def test_e105_a_real_nan_is_no_stale_marker(version: str) -> None:
    """Whatever its bits."""
    (marked,) = struct.unpack("<d", STALE)
    found = sent(
        version,
        family("m", number(math.nan), number(marked, {"x": "1"})),
        family("h", histogram([1], marked, native=NativeBuckets(0, 0.0, 1)), kind="histogram"),
    )

    assert [point.is_stale for point in found] == [False] * 3
    assert all(point.value is None or math.isnan(point.value) for point in found)
    assert math.isnan(found[2].histogram.sum)
    assert struct.pack("<d", found[2].histogram.sum) != STALE


@every_version
def test_e106_an_exemplar_is_sent_once(version: str) -> None:
    """The same one, and one that is not newer, are not sent again; a series that comes back starts over."""
    series = counter(1)
    made, table, receiver = family("c_total", series, kind="counter"), WriteEncoder(version), Receiver(version)  # type: ignore[arg-type]  # fmt: skip
    steps = [(1.0, 100.0), (1.0, 100.0), (2.0, 99.0), (2.0, 100.0), (1.0, 101.0), None, (5.0, None), (5.0, None)]  # fmt: skip
    got = []
    for at, step in enumerate(steps):
        series.exemplar = None if step is None else Exemplar((("a", "b"),), *step)
        (point,) = receiver.take(table.messages([made], T + at))
        got.append([(value, moment) for _, value, moment in point.exemplars])

    assert got == [[(1.0, 100_000)], [], [], [(2.0, 100_000)], [(1.0, 101_000)], [], [(5.0, T + 6)], []]  # fmt: skip


@every_version
def test_e106_exemplars_of_native_histograms(version: str) -> None:
    """In the order of timestamps, each once; those without a timestamp are dropped."""
    table, series = WriteEncoder(version), histogram([1], 1.0)  # type: ignore[arg-type]
    made = family("h", series, kind="histogram")
    got = []
    marks = [[(3.0, 7.0), (2.0, 5.0), (9.0, None)]] * 2 + [[(3.0, 7.0), (1.0, 8.0)]]
    for at, some in enumerate(marks):
        exemplars = [Exemplar((), *mark) for mark in some]
        series.load([1], 1.0, NativeBuckets(0, 0.0, 1, exemplars=exemplars))
        (point,) = read_points(version, whole(table, made, at=T + at).body)
        got.append([(value, moment) for _, value, moment in point.exemplars])
    first: list[Any] = [[(2.0, 5000), (3.0, 7000)], []]

    # With 1.0, a server that has not got the series yet drops its exemplars.
    assert got == [*(first[::-1] if version == "1.0" else first), [(1.0, 8000)]]


@every_version
def test_e106_labels_of_exemplars_that_are_too_long(version: str) -> None:
    """All but the ids go; at the limit, all stay."""
    fits = Exemplar((("a", "é" * 127),), 1.0, 5.0)
    grown = Exemplar((("a", "x" * 100), ("b", "y" * 27)), 1.0, 5.0)
    made = family("c_total", counter(1, exemplar=fits), counter(1, {"x": "1"}, exemplar=grown), kind="counter")  # fmt: skip

    assert [point.exemplars[0][0] for point in sent(version, made)] == [
        (("a", "é" * 127),), (),
    ]  # fmt: skip
