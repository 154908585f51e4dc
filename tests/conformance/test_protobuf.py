"""The delimited protobuf format and native histograms (E63 to E76)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

import canned_bodies
from client_model import TYPES, read_delimited
from oracles import CounterSeries, GaugeSeries, all_kinds, family, number
from otel_aioprom.collectors import Counter
from otel_aioprom.formats import BinaryFormatter, wire
from otel_aioprom.histogram import HistogramSeries
from otel_aioprom.labels import labels_text
from otel_aioprom.model import Exemplar, MetricFamily
from otel_aioprom.native import NativeBuckets, deltas, spans
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.summary import SummaryPoint

INF = math.inf


def write(*families: MetricFamily, **options: Any) -> bytes:
    """Write families."""
    formatter = BinaryFormatter(**options)
    ready, _ = formatter.prepare(families)
    return b"".join(formatter.encode(ready))


def read(*families: MetricFamily, **options: Any) -> list[Any]:
    """Write families, and let the official runtime read them."""
    return read_delimited(write(*families, **options))


def histogram(
    counts: list[int],
    total: float | None,
    bounds: tuple[float, ...] = (),
    native: NativeBuckets | None = None,
    **parts: Any,
) -> HistogramSeries:
    """A histogram's series."""
    pairs = sorted(parts.pop("labels", {}).items())
    names, values = tuple(name for name, _ in pairs), tuple(value for _, value in pairs)
    series = HistogramSeries(names, values, labels_text(pairs), (*bounds, INF))
    series.load(counts, total, native)
    series.created, series.exemplars = parts.get("created"), parts.get("exemplars")
    return series


def counter(value: float, labels: dict[str, str] | None = None, **parts: Any) -> Any:
    """A counter's series."""
    series: Any = number(value, labels, CounterSeries)
    series.created, series.exemplar = parts.get("created"), parts.get("exemplar")
    return series


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16383, "ff7f"), (16384, "808001"),
     (2**64 - 1, "ff" * 9 + "01"), (-5, "fb" + "ff" * 8 + "01")],
)  # fmt: skip
def test_e63_varints(number: int, text: str) -> None:
    """Seven bits a byte, the lowest first."""
    assert wire.varint(number).hex() == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "00"), (-1, "01"), (1, "02"), (-2, "03"), (150, "ac02"), (-150, "ab02")],
)
def test_e63_zigzag(number: int, text: str) -> None:
    """Small numbers of both signs in few bytes."""
    assert wire.zigzag(number).hex() == text


def test_e63_each_family_has_its_length_in_front() -> None:
    """No header, no trailer; nothing for nothing."""
    one, two = family("a"), family("b", number(2))

    assert write() == write(MetricFamily("x", "gauge", "", "", ())) == b""
    assert write(two, one) == write(one) + write(two)
    assert [each.name for each in read(one, two)] == ["a", "b"]


def test_e64_every_type_and_field() -> None:
    """As the messages have them."""
    made = read(
        family("c_total", counter(5, {"x": "1"}), kind="counter", doc="h"),
        family("g", number(-1.5)),
        family("u", number(math.nan), kind="untyped"),
        family("s", SummaryPoint((), (), " ", 3, 6.5, [(0.5, 2.0)], 7.25), kind="summary"),
        family("h", histogram([1, 2], 6.0, (1.0,), created=7.25), kind="histogram"),
    )
    found = {each.name: each for each in made}

    assert {name: TYPES[each.type] for name, each in found.items()} == {
        "c_total": "COUNTER", "g": "GAUGE", "u": "UNTYPED", "s": "SUMMARY", "h": "HISTOGRAM",
    }  # fmt: skip
    assert found["c_total"].help == "h"
    metric = found["c_total"].metric[0]
    assert [(label.name, label.value) for label in metric.label] == [("x", "1")]
    assert metric.counter.value == 5
    assert found["g"].metric[0].gauge.value == -1.5
    assert math.isnan(found["u"].metric[0].untyped.value)
    summary = found["s"].metric[0].summary
    assert (summary.sample_count, summary.sample_sum) == (3, 6.5)
    assert [(each.quantile, each.value) for each in summary.quantile] == [(0.5, 2.0)]
    assert (summary.created_timestamp.seconds, summary.created_timestamp.nanos) == (7, 250_000_000)
    classic = found["h"].metric[0].histogram
    assert (classic.sample_count, classic.sample_sum) == (3, 6.0)
    assert [(each.cumulative_count, each.upper_bound) for each in classic.bucket] == [(1, 1.0)]
    assert classic.created_timestamp.seconds == 7


def test_e65_content() -> None:
    """Names are those of samples, infos are gauges, labels as they are, the infinite bucket only with an exemplar."""
    exemplar = Exemplar((("trace.id", "é"),), 5.0, 1700000000.5)
    made = read(
        family("b_info", number(1, {"v": '"\n\\'}), kind="info"),
        family("states", number(1, {"states": "on"}), kind="stateset"),
        family("h", histogram([1, 2], 6.0, (1.0,), exemplars=[None, exemplar]), kind="histogram"),
        family("n", histogram([1, 2], None, (1.0,)), kind="histogram"),
    )

    assert [(each.name, TYPES[each.type]) for each in made[:1] + made[3:]] == [
        ("b_info", "GAUGE"),
        ("states", "GAUGE"),
    ]
    assert made[0].metric[0].label[0].value == '"\n\\'
    buckets = made[1].metric[0].histogram.bucket
    assert [(each.cumulative_count, each.upper_bound) for each in buckets] == [(1, 1.0), (3, INF)]
    (label,) = buckets[1].exemplar.label
    assert (label.name, label.value) == ("trace_id", "é")
    assert buckets[1].exemplar.timestamp.nanos == 500_000_000
    assert not buckets[0].HasField("exemplar")
    assert not made[2].metric[0].histogram.HasField("sample_sum")


def test_e65_hostile_texts_are_still_utf8() -> None:
    """Lone surrogates, NUL, long ones."""
    labels = {"a": "v" * 200, "b": "v" * 20_000, "c": "\x00"}
    (made,) = read(family("g", number(1, labels), doc="\ud800"))

    assert {label.name: label.value for label in made.metric[0].label} == labels
    assert made.help == "?"


@pytest.mark.parametrize(
    ("name", "kind", "written"),
    [
        ("a_seconds_total", "counter", True),
        ("a_seconds", "gauge", True),
        ("a_total", "counter", False),
        ("seconds", "gauge", False),
        ("a_seconds", "info", False),
    ],
)
def test_e66_units_only_where_the_name_ends_with_them(name: str, kind: str, written: bool) -> None:
    """A server refuses the whole response for any other."""
    (made,) = read(
        family(name, counter(1) if kind == "counter" else number(1), kind=kind, unit="seconds")
    )

    assert made.unit == ("seconds" if written else "")


def test_e67_the_worked_bytes() -> None:
    """Of a gauge, a counter with all its parts, a summary, a histogram."""
    exemplar = Exemplar((("trace_id", "ab"),), 1, 1700000000)
    one = counter(5, {"x": "1"}, created=1600000000, exemplar=exemplar)
    summary = SummaryPoint((), (), " ", 3, 6.0, [(0.5, 2.0)])

    assert write(family("g", number(1.5))) == canned_bodies.GAUGE
    assert write(family("a_total", one, kind="counter", doc="h")) == canned_bodies.COUNTER
    assert write(family("s", summary, kind="summary")) == canned_bodies.SUMMARY
    classic = histogram([1, 2], 6.0, (1.0,))
    assert write(family("h", classic, kind="histogram")) == canned_bodies.HISTOGRAM


def test_e68_a_native_histogram_byte_by_byte() -> None:
    """Schema, zero bucket, spans, deltas, start time, unit."""
    native = NativeBuckets(3, 2.0**-128, 1, [(-2, 2), (-1, 1), (3, 1)], [(0, 1)])
    series = histogram([6], 18.4, (), native, labels={"m": "GET"}, created=1700000000.5)
    made = family("rpc_seconds", series, kind="histogram", doc="h", unit="seconds")

    assert write(made) == canned_bodies.NATIVE


def test_e69_an_empty_native_histogram_is_marked_as_one() -> None:
    """By a span of no length, where the zero threshold does not say it."""
    empty = family("n", histogram([0], 0.0, (), NativeBuckets(3)), kind="histogram")
    wide = family("n", histogram([0], 0.0, (), NativeBuckets(3, 0.5)), kind="histogram")

    assert write(empty).hex(" ") == (
        "27 0a 01 6e 18 04 22 20 3a 1e 08 00 11 00 00 00 00 00 00 00 00 28 06 31 00 00 00 00 00 00 00 00 38 00"
        " 62 04 08 00 10 00"
    )
    (made,) = read(wide)
    assert not made.metric[0].histogram.positive_span


def test_e70_classic_and_native_in_one_message() -> None:
    """Count, sum and start time are shared."""
    native = NativeBuckets(0, 0.5, 1, [(1, 2)], exemplars=[Exemplar((), 2, 5.0), Exemplar((), 2)])
    (made,) = read(
        family("h", histogram([1, 2], 4.0, (1.0,), native, created=1.0), kind="histogram")
    )
    found = made.metric[0].histogram

    assert (found.sample_count, found.sample_sum, found.created_timestamp.seconds) == (3, 4.0, 1)
    assert [(each.cumulative_count, each.upper_bound) for each in found.bucket] == [(1, 1.0)]
    assert [(each.offset, each.length) for each in found.positive_span] == [(1, 1)]
    assert list(found.positive_delta) == [2]
    assert [each.timestamp.seconds for each in found.exemplars] == [
        5
    ]  # one without a time would be dropped


@pytest.mark.parametrize("schema", [-5, 9, -53, 20])
def test_e71_e72_schemas_that_break_servers_are_refused(schema: int) -> None:
    """When the buckets are made."""
    with pytest.raises(ValueError, match="between -4 and 8"):
        NativeBuckets(schema)
    assert [NativeBuckets(known).schema for known in range(-4, 9)] == list(range(-4, 9))


@pytest.mark.parametrize(
    "parts",
    [
        {"zero_threshold": -1.0},
        {"zero_threshold": math.nan},
        {"zero_count": -1},
        {"positive": [(0, -1)]},
        {"negative": [(1, 1), (1, 1)]},
        {"positive": [(2, 1), (1, 1)]},
    ],
)
def test_e71_buckets_that_make_no_sense_are_refused(parts: dict[str, Any]) -> None:
    """For a server would refuse the whole response."""
    with pytest.raises(ValueError, match=r"negative|ascend|fewer"):
        NativeBuckets(0, **parts)


@pytest.mark.parametrize(("count", "total"), [(2, 1.0), (4, 1.0), (2, math.nan)])
def test_e71_count_and_buckets_must_agree(count: int, total: float) -> None:
    """More observations than the buckets hold there are only with NaN."""
    series = histogram([0], 0.0)
    with pytest.raises(ValueError, match="native buckets hold 3 observations"):
        series.load([count], total, NativeBuckets(0, 0.0, 1, [(0, 2)]))
    assert series.native is None


def test_e76_nan_counts_without_a_bucket() -> None:
    """Then the sum is NaN too."""
    (made,) = read(
        family(
            "h", histogram([4], math.nan, (), NativeBuckets(0, 0.5, 1, [(0, 2)])), kind="histogram"
        )
    )

    assert made.metric[0].histogram.sample_count == 4
    assert math.isnan(made.metric[0].histogram.sample_sum)


def test_e72_e76_infinities_have_a_bucket() -> None:
    """The one behind the largest finite number."""
    native = NativeBuckets(8, 0.0, 0, [(262144, 1), (262145, 1)])
    (made,) = read(family("h", histogram([2], INF, (), native), kind="histogram"))

    assert made.metric[0].histogram.positive_span[0].offset == 262144
    assert list(made.metric[0].histogram.positive_delta) == [1, 0]


def test_e74_spans_and_deltas() -> None:
    """The example, with gaps of one or two buckets filled."""
    runs = spans([(-2, 3), (-1, 5), (2, 1), (4, 3), (5, 2)])

    assert [(offset, len(counts)) for offset, counts in runs] == [(-2, 8)]
    assert list(deltas(runs)) == [3, 2, -5, 0, 1, -1, 3, -1]
    far = spans([(-2, 3), (2, 1)])
    assert [(offset, len(counts)) for offset, counts in far] == [(-2, 1), (3, 1)]
    assert list(deltas(far)) == [3, -2]
    assert spans([]) == []


def test_e75_the_zero_bucket() -> None:
    """Threshold and count go over as they are."""
    (made,) = read(
        family("h", histogram([2], 0.0, (), NativeBuckets(2, 2.0**-128, 2)), kind="histogram")
    )
    found = made.metric[0].histogram

    assert (found.zero_threshold, found.zero_count) == (2.938735877055719e-39, 2)


# --- many series, and what changes meanwhile ---------------------------------------------


@pytest.mark.parametrize("every", [0, 7])
def test_e63_large_families(every: int) -> None:
    """In several steps, with and without exemplars, values of all sizes."""
    series = [counter(2**n if n < 256 else n / 7, {"n": str(n)}) for n in range(2500)]
    for one in series[::every] if every else ():
        one.exemplar = Exemplar((), 1.0, 5.0)
    (made,) = read(family("c_total", *series, kind="counter"))

    assert [metric.counter.value for metric in made.metric] == [float(one.value) for one in series]
    marked = [metric.counter.HasField("exemplar") for metric in made.metric]
    assert marked == [bool(every) and n % every == 0 for n in range(2500)]


def test_e63_series_may_change_while_they_are_written() -> None:
    """Values, exemplars and start times: the message keeps its length."""
    series = [counter(5, {"n": str(n)}, created=1.0) for n in range(3000)]
    made = family("c_total", *series, kind="counter")
    write(made)  # keeps what later responses repeat
    chunks = BinaryFormatter().encode([made])
    body = next(chunks)
    for one in series:
        one.set(1)  # a reset: another start time
        one.exemplar = Exemplar((("trace_id", "a"),), 1.0, 5.0)
    body += b"".join(chunks)

    (found,) = read_delimited(body)
    assert len(found.metric) == 3000
    (later,) = read(made)
    assert all(metric.counter.HasField("exemplar") for metric in later.metric)
    assert later.metric[0].counter.created_timestamp.seconds > 1


def test_e45_e64_names_are_escaped_here_too() -> None:
    """Of metrics, labels and exemplars."""
    one = counter(1, {"a.b": "c"}, exemplar=Exemplar((("d.e", "f"),), 1.0, 5.0))
    (made,) = read(replace(family("my.c_total", one, kind="counter"), utf8=True))

    assert made.name == "my_c_total"
    assert made.metric[0].label[0].name == "a_b"
    assert made.metric[0].counter.exemplar.label[0].name == "d_e"


def test_e17_timestamps_only_where_the_formatter_is_told_so() -> None:
    """In milliseconds, on each metric."""
    families = [
        family("a"),
        family("c_total", *[counter(1, {"n": str(n)}) for n in range(3)], kind="counter"),
    ]

    assert not any(
        metric.HasField("timestamp_ms") for made in read(*families) for metric in made.metric
    )
    stamped = read(*families, timestamps=True)
    assert all(metric.timestamp_ms > 1.7e12 for made in stamped for metric in made.metric)


def test_n14_a_registry_can_be_marshalled() -> None:
    """With the headers that go with it."""
    registry = all_kinds({"a": "b"})
    formatter = BinaryFormatter(False)

    assert len(read_delimited(formatter.marshall(registry))) == 5
    assert formatter.get_headers()["Content-Type"].startswith(
        "application/vnd.google.protobuf; proto="
    )
    empty = CollectorRegistry()
    Counter("unused_total", "", registry=empty)
    assert formatter.marshall(empty) == b""
    assert isinstance(number(1), GaugeSeries)
