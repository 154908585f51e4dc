"""The encoder of remote write: edge cases, changes between collections, and what it caches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from format_families import counter, histogram, summary
from oracles import family, number
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.remote_write.encoder import WriteEncoder
from otel_aioprom.remote_write.message import Message
from otel_aioprom.remote_write.symbols import MessageCache
from write_model import Point, Receiver, Request, WriteRequest, read_points

T = 1_700_000_000_000
VERSIONS = ("1.0", "2.0")
every_version = pytest.mark.parametrize("version", VERSIONS)


class Sender:
    """An encoder with a receiver that stores what it sends, a millisecond later each time."""

    def __init__(self, version: Any, **options: Any) -> None:
        self.encoder = WriteEncoder(version, **options)
        self.receiver = Receiver(version, options.get("max_samples", 2000))
        self.timestamp = T

    def send(self, *families: MetricFamily) -> dict[str, float | None]:
        """Send a collection; return what the receiver gets, without stale markers."""
        return self._take(self.encoder.messages(families, self.timestamp))

    def end(self) -> dict[str, float | None]:
        """End all series."""
        return self._take(self.encoder.end(self.timestamp))

    def _take(self, messages: Iterable[Message | None]) -> dict[str, float | None]:
        self.timestamp += 1
        self.points = self.receiver.take(messages)
        self.stale = sorted(text_of(point) for point in self.points if point.is_stale)
        return {text_of(point): point.value for point in self.points if not point.is_stale}


def text_of(point: Point) -> str:
    """Name and labels as a string."""
    labels = [pair for pair in point.labels if pair[0] != "__name__"]
    return dict(point.labels)["__name__"] + labels_text(labels).strip()


def gauges(*names: str) -> list[Any]:
    """Series with one label, each with a value of its own."""
    return [number(index, {"x": name}) for index, name in enumerate(names)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "1"}, "version must be one of"),
        ({"max_samples": 0}, "max_samples must be 1 or more"),
        ({"external_labels": {"__name__": "x"}}, "an external label needs a name"),
        ({"external_labels": {"": "x"}}, "an external label needs a name"),
    ],
)
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    """By the constructor."""
    with pytest.raises(ValueError, match=message):
        WriteEncoder(**{"version": "2.0", **options})


@pytest.mark.parametrize("timestamp", [-1, 1 << 42])
def test_timestamps_out_of_range_are_rejected(timestamp: int) -> None:
    """The encoder can be used after that."""
    encoder = WriteEncoder("1.0")
    with pytest.raises(ValueError, match="between 1970 and 2109"):
        list(encoder.messages([family("m")], timestamp))

    assert [each.samples for each in encoder.messages([family("m")], T) if each] == [1]


@every_version
@pytest.mark.parametrize("timestamp", [0, 5, (1 << 35) - 1, 1 << 35, (1 << 42) - 1])
def test_timestamps_of_all_lengths(version: Any, timestamp: int) -> None:
    """Also those of a clock that was never set; exemplars and native histograms have the same one."""
    kind = WriteRequest if version == "1.0" else Request
    made = [
        family("c_total", counter(1, exemplar=Exemplar((), 1.0)), kind="counter"),
        family("h", histogram([0], 0.0, native=NativeBuckets(0)), kind="histogram"),
    ]
    (message,) = [each for each in WriteEncoder(version).messages(made, timestamp) if each]
    found = kind.FromString(message.body).timeseries

    assert {each.timestamp for one in found for each in [*one.samples, *one.histograms]} == {
        timestamp
    }
    assert {each.timestamp for one in found for each in one.exemplars} == {timestamp}


@every_version
def test_nothing_for_nothing(version: str) -> None:
    """No message for no families, for empty ones, or at the end of an encoder that has sent nothing."""
    sender = Sender(version)

    assert (sender.send(), sender.send(MetricFamily("m", "gauge", "", "", ())), sender.end()) == (
        {}, {}, {},
    )  # fmt: skip


@every_version
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 127, 128, 129, 255, 256, 257, 300])
def test_messages_are_full(version: Any, limit: int) -> None:
    """All but the last one, wherever families and batches end."""
    made = [
        family("a", *[number(1, {"x": str(index)}) for index in range(129)]),
        family("h", *[histogram([1, 2], 3.0, (1.0,), labels={"x": str(n)}) for n in range(9)], kind="histogram"),
        family("n", *[histogram([1], 3.0, native=NativeBuckets(0, 0.0, 1), labels={"x": str(n)}) for n in range(5)], kind="histogram"),
        family("s", summary(3, 6.5, [(0.5, 2.0)]), kind="summary"),
    ]  # fmt: skip
    total = 129 + 9 * 4 + 5 + 3
    encoder, receiver = WriteEncoder(version, max_samples=limit), Receiver(version, limit)
    messages = [each for each in encoder.messages(made, T) if each]
    ended = [each for each in encoder.end(T + 1) if each]

    for some in (messages, ended):
        sizes = [each.samples + each.histograms for each in some]
        assert sizes[:-1] == [limit] * (len(sizes) - 1)
        assert sum(sizes) == total
        receiver.take(some)
    assert len(receiver.series) == total
    assert receiver.alive() == {}


@every_version
def test_work_is_done_in_small_batches(version: Any) -> None:
    """So that callers can yield to the event loop: in a first collection, in later ones, when all changes and at the end."""
    series: list[Any] = gauges(*map(str, range(5000)))
    encoder = WriteEncoder(version, max_samples=2000)
    for at, some in enumerate([series, series, series[1:], series[::-1], []]):
        turns = list(encoder.messages([family("m", *some)] if some else [], T + at))
        assert turns.count(None) >= 35, f"in collection {at}"
    list(encoder.messages([family("m", *series)], T + 10))
    assert list(encoder.end(T + 11)).count(None) >= 35


@every_version
def test_values_are_read_when_their_message_is_encoded(version: Any) -> None:
    """Not before."""
    one, two = number(1), number(1)
    messages = WriteEncoder(version, max_samples=1).messages(
        [family("a", one), family("b", two)], T
    )
    next(each for each in messages if each)
    one.set(5)
    two.set(7)
    (last,) = [each for each in messages if each]

    assert [point.value for point in read_points(version, last.body)] == [7]


@every_version
@pytest.mark.parametrize("value", [0, -0.0, 5e-324, 2**53 + 1, 2**256, -(2**256), -math.inf, 1.5])
def test_values_of_all_kinds(version: str, value: float) -> None:
    """As a double has them."""
    (found,) = Sender(version).send(family("m", number(value))).values()

    assert found is not None
    assert (found, math.copysign(1, found)) == (float(value), math.copysign(1, value))


@every_version
@pytest.mark.parametrize("size", [1, 100, 112, 113, 127, 128, 16_383, 16_384, 70_000])
def test_strings_of_any_length(version: Any, size: int) -> None:
    """Each field around a string has its own length."""
    text = "v" * size
    exemplar = Exemplar((("trace", "x"),), 1.0, 5.0)
    made = [
        family("a_total", counter(1, {"a": text, "é": text}), kind="counter", doc=text, unit=text),
        family("b_total", counter(1, {"a": text, "b": "é" * size}, exemplar=exemplar), kind="counter"),
        family("h", histogram([1], 1.0, native=NativeBuckets(0, 0.0, 1), labels={"a": text}), kind="histogram"),
    ]  # fmt: skip
    made[0] = replace(made[0], utf8=True)
    sender = Sender(version)
    for _ in range(2):
        sender.send(*made)
        assert {len(dict(point.labels)["a"]) for point in sender.points} == {size}
        assert len(sender.points) == 3


@every_version
def test_lone_surrogates_are_replaced(version: Any) -> None:
    """Lone surrogates are replaced, wherever they stand."""
    made = family("m", number(1, {"a": "x\ud800"}), doc="\ud800", unit="\ud800")
    exemplar = Exemplar((("a", "\ud800"),), 1.0, 5.0)
    marked = family("c_total", counter(1, {"a\ud800": "y"}, exemplar=exemplar), kind="counter")
    sender = Sender(version)
    sender.send(made, replace(marked, utf8=True))

    assert len(sender.points) == 2
    assert all("\ud800" not in str(point.labels) for point in sender.points)


@every_version
def test_labels_of_the_samples_own(version: Any) -> None:
    """Win over labels of the series with their names."""
    sender = Sender(version, external_labels={"le": "far", "job": "j"})
    sender.send(
        family("h", histogram([1], 1.0, labels={"le": "x", "__name__": "y"}), kind="histogram")
    )

    assert [dict(point.labels) for point in sender.points] == [
        {"__name__": "h_bucket", "job": "j", "le": "+Inf"},
        {"__name__": "h_sum", "job": "j", "le": "x"},
        {"__name__": "h_count", "job": "j", "le": "x"},
    ]


@every_version
def test_the_order_of_series_does_not_matter(version: Any) -> None:
    """Nothing ends when series or families change places."""
    sender, series = Sender(version), gauges(*map(str, range(1100)))
    first = sender.send(family("a", *series), family("b"))
    for some in (series[::-1], [*series[700:], *series[:700]], series):
        assert sender.send(family("b"), family("a", *some)) == first
        assert sender.stale == []


@every_version
@pytest.mark.parametrize("index", [0, 1, 511, 512, 1000, 1099])
def test_one_series_among_many(version: Any, index: int) -> None:
    """It goes and comes back; the others go on."""
    sender, series = Sender(version), gauges(*map(str, range(1100)))
    rest = [*series[:index], *series[index + 1 :]]
    whole = sender.send(family("m", *series))

    assert len(sender.send(family("m", *rest))) == 1099
    assert sender.stale == [f'm{{x="{index}"}}']
    assert sender.send(family("m", *series)) == whole
    assert sender.stale == []


@every_version
def test_other_series_objects_of_the_same_labels_go_on(version: Any) -> None:
    """As collectors of users' own classes make new ones each time."""
    sender = Sender(version)
    for value in range(3):
        assert sender.send(family("m", number(value, {"a": "b"}))) == {'m{a="b"}': value}
        assert sender.stale == []


@every_version
@pytest.mark.parametrize(
    ("before", "after", "ended"),
    [
        (("counter", counter(1)), ("gauge", number(1)), []),
        (("gauge", number(1)), ("histogram", histogram([1], 1.0)), ["m"]),
        (("summary", summary(1, 1.0, [(0.5, 1.0)])), ("histogram", histogram([1], 1.0)), ['m{quantile="0.5"}']),
        (("histogram", histogram([1], 1.0, native=NativeBuckets(0, 0.0, 1))), ("gauge", number(1)), []),
    ],
)  # fmt: skip
def test_a_family_of_another_type(
    version: Any, before: tuple[str, Series], after: tuple[str, Series], ended: list[str]
) -> None:
    """Ends what it has not got any more, and nothing that goes on under another type."""
    sender = Sender(version)
    sender.send(family("m", before[1], kind=before[0], doc="A."))
    found = sender.send(family("m", after[1], kind=after[0], doc="B."))

    assert sender.stale == ended
    assert set(found).isdisjoint(ended)
    if version == "2.0":
        assert {p.metadata[:2] for p in sender.points if not p.is_stale} == {(after[0], "B.")}


@every_version
def test_a_histogram_with_other_bounds(version: Any) -> None:
    """Ends the buckets that it has not got any more."""
    sender = Sender(version)
    sender.send(family("h", histogram([1, 2], 3.0, (1.0,)), kind="histogram"))
    sender.send(family("h", histogram([1, 2], 3.0, (2.0,)), kind="histogram"))
    assert sender.stale == ['h_bucket{le="1.0"}']

    sender.send(family("h", histogram([3], 3.0, native=NativeBuckets(0, 0.0, 3)), kind="histogram"))
    assert sender.stale == ['h_bucket{le="+Inf"}', 'h_bucket{le="2.0"}', "h_count", "h_sum"]

    sender.send(family("h", histogram([1, 2], 3.0, (2.0,)), kind="histogram"))
    assert sender.stale == ["h"]


@every_version
def test_a_summary_with_other_quantiles(version: Any) -> None:
    """Ends those that it has not got any more."""
    sender = Sender(version)
    series: SummaryPoint = summary(1, 1.0, [(0.5, 1.0), (0.9, 1.0)])
    sender.send(family("s", series, kind="summary"))
    series.load(2, 2.0, [(0.5, 1.0), (0.99, 1.0)])

    assert len(sender.send(family("s", series, kind="summary"))) == 4
    assert sender.stale == ['s{quantile="0.9"}']


@every_version
def test_a_family_that_goes_and_comes_back(version: Any) -> None:
    """With all of its series."""
    sender, made = Sender(version), family("m", *gauges("1", "2"))
    first = sender.send(made)

    assert sender.send() == {}
    assert sender.stale == sorted(first)
    assert sender.send(made) == first
    assert sender.stale == []
    assert sender.end() == {}
    assert sender.stale == sorted(first)
    assert sender.send(made) == first


@every_version
def test_series_that_are_equal_on_the_wire(version: Any) -> None:
    """Are sent once; who was first keeps the index, and when it ends, another one takes it without a break."""
    sender = Sender(version, external_labels={"job": "j"})
    plain, empty, named, other = (
        number(1), number(2, {"a": ""}), number(3, {"job": "j"}), number(4, {"a": "x"}),
    )  # fmt: skip
    rows = [
        ([plain, empty, named, other], 1),
        ([plain, empty, named, other], 1),
        ([empty, named, other, plain], 1),
        ([empty, named], 2),
        ([other, named, plain, empty], 2),
        ([other, named, plain], 3),
        ([plain, other], 1),
    ]
    for series, value in rows:
        found = sender.send(family("m", *series))
        assert found['m{job="j"}'] == value
        assert 'm{job="j"}' not in sender.stale
        causes = [fault.cause for fault in sender.encoder.faults]
        assert causes == ["duplicate_series"] * (plain not in series or len(series) > 2)
    sender.end()
    assert sender.receiver.alive() == {}


@every_version
def test_a_series_that_comes_twice(version: Any) -> None:
    """Against all promises: it is sent once, through any change of its family."""
    sender, one, two = Sender(version), number(1, {"x": "1"}), number(2, {"x": "1"})
    other = number(3)

    for series in ([one, two], [one, two], [one, two, other], [two, one], [other, one, two]):
        found = sender.send(family("m", *series))
        assert 'm{x="1"}' in found
    assert found['m{x="1"}'] in (1, 2)
    sender.send(family("m", other))
    assert sender.stale == ['m{x="1"}']


@every_version
def test_two_families_of_one_name(version: Any) -> None:
    """Are both sent, but for series that the first has too."""
    sender = Sender(version)
    made = [family("m", *gauges("1", "2")), family("m", *gauges("2", "3"), kind="untyped")]
    for _ in range(2):
        assert sender.send(*made) == {'m{x="1"}': 0, 'm{x="2"}': 1, 'm{x="3"}': 1}
    sender.send(made[0])
    assert sender.stale == ['m{x="3"}']


@every_version
def test_histograms_that_are_equal_on_the_wire(version: Any) -> None:
    """Are sent once, all of the first one."""
    sender = Sender(version)
    made = [histogram([1, 2], 3.0, (1.0,)), histogram([4], 5.0, labels={"a": ""})]
    for _ in range(2):
        found = sender.send(family("h", *made, kind="histogram"))
        assert found == {'h_bucket{le="1.0"}': 1, 'h_bucket{le="+Inf"}': 3, "h_sum": 3, "h_count": 3}  # fmt: skip
        assert [fault.cause for fault in sender.encoder.faults] == ["duplicate_series"]
    assert sender.send(family("h", made[1], kind="histogram")) == {
        'h_bucket{le="+Inf"}': 4, "h_sum": 5, "h_count": 4,
    }  # fmt: skip
    assert sender.stale == ['h_bucket{le="1.0"}']


def test_series_dropped_by_escaping_are_faults() -> None:
    """Families whose names become one, of different types."""
    sender = Sender("1.0")
    made = [
        MetricFamily("a.b", "gauge", "", "", [number(1)], utf8=True),
        MetricFamily("a:b.c", "gauge", "", "", [number(1)], utf8=True),
        MetricFamily("a_b", "counter", "", "", [counter(2)]),
    ]

    assert sender.send(*made) == {"a_b": 2, "a:b_c": 1}
    assert [fault.cause for fault in sender.encoder.faults] == ["type_conflict"]
    sender.send(made[2])
    assert list(sender.encoder.faults) == []


@every_version
def test_escaped_families_go_on(version: Any) -> None:
    """Their series are made anew for each collection, in steps."""
    series = [number(index, {"a.b": str(index)}) for index in range(300)]
    made, sender = MetricFamily("m.n", "gauge", "", "", series, utf8=True), Sender(version)
    first = sender.send(made)

    assert len(first) == 300
    assert sender.send(made) == first
    assert sender.stale == []


@every_version
def test_nothing_is_kept_of_what_has_ended(version: Any) -> None:
    """Neither label sets nor exemplars, nor caches of messages."""
    sender = Sender(version, max_samples=10)
    marked = counter(1, exemplar=Exemplar((), 1.0, 5.0))
    sender.send(family("a", *gauges(*map(str, range(500)))), family("c_total", marked, kind="counter"))  # fmt: skip
    assert held(sender.encoder)[:2] == (501, 1)

    sender.send(family("a", number(1)))
    assert held(sender.encoder)[:2] == (1, 0)
    sender.send(family("a", number(1)))
    assert held(sender.encoder) == (1, 0, 0, 1)

    sender.end()
    sender.end()
    assert held(sender.encoder) == (0, 0, 0, 0)


def held(encoder: Any) -> tuple[int, int, int, int]:
    """Label sets, exemplars, ended label sets, and caches of messages with series."""
    active, caches = encoder._active, getattr(encoder._writer, "_caches", None)
    kept = (
        1
        if caches is None and encoder._caches
        else sum(bool(each._batches) for each in caches or ())
    )
    return sum(map(len, active._shards)), len(active._last_exemplars), len(active._ended), kept


def test_a_message_cache_is_reused_up_to_the_first_difference() -> None:
    """From the first batch that differs, batches and symbols are discarded."""
    cache = MessageCache()
    for name in "abc":
        assert cache.reuse((name,)) is None
        cache.add((name,), [cache.symbols[name]], [b""], reusable=name != "c")
    cache.rewind()
    assert [cache.reuse((name,)) is not None for name in "abc"] == [True, True, False]

    cache.add(("c",), [cache.symbols["c"]], [b""], reusable=True)
    cache.rewind()
    assert cache.reuse(("a",)) is not None
    assert cache.reuse(("d",)) is None
    assert list(cache.symbols) == ["", "a"]


def test_messages_of_later_collections_are_not_written_anew() -> None:
    """The bytes around values and timestamps are the same objects as before."""
    encoder, made = (
        WriteEncoder("2.0", max_samples=50),
        [family("m", *gauges(*map(str, range(300))))],
    )
    list(encoder.messages(made, T))
    writer: Any = encoder._writer
    before = [batch for cache in writer._caches for batch in cache._batches]
    list(encoder.messages(made, T + 1))
    after = [batch for cache in writer._caches for batch in cache._batches]

    assert len(before) >= 6
    assert all(one is two for one, two in zip(before, after, strict=True))


@every_version
def test_label_names_without_end(version: Any) -> None:
    """Cost no memory without end: orders of labels are kept for some of them."""
    sender = Sender(version)
    found = sender.send(family("m", *[number(1, {f"l{index}": "x"}) for index in range(1100)]))

    assert len(found) == 1100
    assert len(sender.encoder._encoder._labels._plans) <= 1024


def test_a_start_that_is_held_back_is_written_later() -> None:
    """A series that began while its first collection was written has its start in the next one."""
    sender = Sender("2.0")
    made = family("c_total", counter(1, created=T / 1000), counter(1, {"x": "1"}), kind="counter")
    starts = []
    for _ in range(3):
        sender.send(made)
        starts.append([point.start for point in sender.points])

    assert starts == [[0, 0], [T, 0], [T, 0]]


@every_version
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10])
def test_exemplars_at_the_borders_of_messages(version: Any, limit: int) -> None:
    """Each is with its own sample, start and metadata."""
    series = [
        counter(n, {"x": str(n)}, 1600000000.0 + n, Exemplar((("t", str(n)),), n, 5.0 + n) if n % 3 else None)
        for n in range(9)
    ]  # fmt: skip
    sender = Sender(version, max_samples=limit)
    sender.send(
        family("c_total", *series, kind="counter", doc="C."),
        family("h", histogram([1, 1], 2.0, (1.0,), exemplars=[series[1].exemplar] * 2), kind="histogram"),
    )  # fmt: skip
    found = {text_of(point): point for point in sender.points}

    for n in range(9):
        point = found[f'c_total{{x="{n}"}}']
        assert point.value == n
        assert point.exemplars == ([((("t", str(n)),), n, 5000 + 1000 * n)] if n % 3 else [])
        if version == "2.0":
            assert (point.start, point.metadata) == (1600000000000 + 1000 * n, ("counter", "C.", ""))  # fmt: skip
    marked = [text for text, point in found.items() if point.exemplars]
    assert sorted(marked)[-2:] == ['h_bucket{le="+Inf"}', 'h_bucket{le="1.0"}']
    assert len(marked) == 8


@every_version
def test_exemplars_of_series_that_change_places(version: Any) -> None:
    """Are not sent again, however far the series moves."""
    series = [
        counter(1, {"x": str(n)}, exemplar=Exemplar((("t", "x"),), 1.0, 5.0)) for n in range(1200)
    ]
    sender = Sender(version)
    for some in (series, series[::-1], [*series[600:], *series[:600]], series[1:]):
        sender.send(family("c_total", *some, kind="counter"))
        sent = sum(len(point.exemplars) for point in sender.points)
        assert sent == (1200 if some is series else 0)


@every_version
def test_a_label_without_a_name(version: Any) -> None:
    """Is dropped."""
    sender = Sender(version)

    assert sender.send(family("m", number(1, {"": "x", "a": "y"}))) == {'m{a="y"}': 1}


@every_version
def test_a_summary_with_a_quantile_twice(version: Any) -> None:
    """Is dropped as a whole; the others are sent."""
    sender = Sender(version)
    made = [summary(1, 1.0, [(0.5, 1.0), (0.5, 2.0)]), summary(2, 2.0, [], {"x": "1"})]

    assert len(sender.send(family("s", *made, kind="summary"))) == 2
    assert [fault.cause for fault in sender.encoder.faults] == ["duplicate_series"]
    sender.end()
    assert len(sender.points) == 2
