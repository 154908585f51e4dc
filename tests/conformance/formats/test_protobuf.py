"""The delimited protobuf format: framing, messages, content (E63 to E67)."""

from __future__ import annotations

import math

import pytest

import canned_bodies
from client_model import TYPES, messages, read_delimited, seconds_of
from format_families import counter, histogram, read, summary, write
from oracles import family, number
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom.formats import protobuf_wire

INF = math.inf
EXEMPLAR = Exemplar((("trace.id", "é"), ("b", "")), 5.0, 1700000000.5)


def test_e63_each_family_has_a_length_prefix() -> None:
    """No header, no trailer; no families are no bytes."""
    one, two = family("a"), family("b", number(2))

    assert write() == b""
    assert write(two, one) == write(one) + write(two)
    assert [each.name for each in read(one, two)] == ["a", "b"]


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram", "summary", "untyped", "info"])
def test_e63_families_without_series_are_skipped(kind: str) -> None:
    """First, between others, and last."""
    empty = [MetricFamily(name, kind, "", "", ()) for name in ("a", "c", "e")]

    assert write(*empty) == b""
    assert [each.name for each in read(*empty, family("b"), family("d"))] == ["b", "d"]


@pytest.mark.parametrize("length", [127, 128, 16383, 16384, 2_097_151, 2_097_152])
def test_e63_lengths_at_the_limits_of_varints(length: int) -> None:
    """Of the family."""
    doc = "x" * (length - 19 - len(protobuf_wire.varint(length - 22)))
    body = write(family("g", doc=doc))

    assert [len(content) for content in messages(body)] == [length]
    (found,) = read_delimited(body)
    assert found.help == doc


@pytest.mark.parametrize("size", [100, 109, 110, 127, 128, 16_383, 16_384, 70_000])
def test_e63_label_values_of_any_length(size: int) -> None:
    """The lengths of all enclosing messages are right."""
    labels = {"a": "v" * size, "é": "é" * size}
    made = [
        family("c_total", counter(1, labels), counter(2), kind="counter"),
        family("d_total", counter(1, labels, exemplar=Exemplar(tuple(labels.items()), 1.0, 5.0)), kind="counter"),
        family("h", histogram([1], 1.0, labels=labels), kind="histogram"),
        family("s", summary(1, 1.0, [], labels), kind="summary"),
    ]  # fmt: skip

    for found in read(*made):
        assert {label.name: label.value for label in found.metric[0].label} == labels


def test_e64_every_type_and_field() -> None:
    """As the message definition has them."""
    made = read(
        family("c_total", counter(5, {"x": "1"}), kind="counter", doc="h"),
        family("g", number(-1.5)),
        family("u", number(math.nan), kind="untyped"),
        family("s", summary(3, 6.5, [(0.5, 2.0)], created=7.25), kind="summary"),
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
    quantiles = found["s"].metric[0].summary
    assert (quantiles.sample_count, quantiles.sample_sum) == (3, 6.5)
    assert [(each.quantile, each.value) for each in quantiles.quantile] == [(0.5, 2.0)]
    assert seconds_of(quantiles.created_timestamp) == 7.25
    classic = found["h"].metric[0].histogram
    assert (classic.sample_count, classic.sample_sum) == (3, 6.0)
    assert [(each.cumulative_count, each.upper_bound) for each in classic.bucket] == [(1, 1.0)]
    assert seconds_of(classic.created_timestamp) == 7.25


@pytest.mark.parametrize(
    "value",
    [0, -0.0, 5e-324, 2**53 + 1, 2**64, -(2**64), 2**256, -(2**256), 1.7976931348623157e308, INF, -INF, math.nan],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["counter", "gauge", "untyped"])
def test_e64_any_value(kind: str, value: float) -> None:
    """Integers that no double represents are rounded."""
    made = counter(value) if kind == "counter" else number(value)
    (found,) = read(family("x_total", made, kind=kind))

    assert repr(getattr(found.metric[0], kind).value) == repr(float(value))


def test_e64_counts_and_sums_of_any_size() -> None:
    """Counts take up to ten bytes; a sum may be an integer."""
    large = [2**7 - 1, 1, 2**14, 2**53 + 1, 2**63]
    series = histogram(large, 2**200, (-1.0, 0.0, 37.0, 1e300))
    (found,) = read(family("h", series, kind="histogram"))
    value = found.metric[0].histogram

    assert [each.cumulative_count for each in value.bucket] == [127, 128, 16512, 2**53 + 16513]
    assert [each.upper_bound for each in value.bucket] == [-1.0, 0.0, 37.0, 1e300]
    assert (value.sample_count, value.sample_sum) == (sum(large), float(2**200))


@pytest.mark.parametrize("exemplar", [None, EXEMPLAR], ids=["plain", "exemplar"])
@pytest.mark.parametrize("stamped", [False, True], ids=["without time", "timestamps"])
@pytest.mark.parametrize(
    "created",
    [None, 0.0, 0.25, -0.25, -1.0, -62135596800.0, 1700000000.123456, 253402300799.5, 2.0**53, 2.0**61],
)  # fmt: skip
def test_e64_start_times(created: float | None, exemplar: Exemplar | None, stamped: bool) -> None:
    """Of counters, histograms and summaries: fractions, before 1970, and far away."""
    families = [
        family("c_total", counter(1, None, created, exemplar), kind="counter"),
        family("h", histogram([1], 1.0, created=created, exemplars=[exemplar]), kind="histogram"),
        family("s", summary(1, 1.0, [], created=created), kind="summary"),
    ]
    for found, kind in zip(
        read(*families, timestamps=stamped), ("counter", "histogram", "summary")
    ):
        value = getattr(found.metric[0], kind)
        assert value.HasField("created_timestamp") is (created is not None)
        assert seconds_of(value.created_timestamp) == (created or 0)


@pytest.mark.parametrize("moment", [1e19, -1e19, 1e305, INF, -INF, math.nan])
def test_e18_e64_timestamps_out_of_range_are_dropped(moment: float) -> None:
    """They neither abort the response nor become another time."""
    exemplar = Exemplar((), 1.0, moment)
    made = [
        family("c_total", counter(1, created=moment), kind="counter"),
        family("d_total", counter(1, exemplar=exemplar), kind="counter"),
        family("s", summary(1, 1.0, [], created=moment), kind="summary"),
    ]
    one, two, three = (found.metric[0] for found in read(*made))

    assert not one.counter.HasField("created_timestamp")
    assert not two.counter.exemplar.HasField("timestamp")
    assert not three.summary.HasField("created_timestamp")


def test_e64_exemplars() -> None:
    """On counters and buckets, with and without a timestamp; with all kinds of values."""
    bare = Exemplar((), math.nan)
    counted = family("c_total", counter(7, exemplar=EXEMPLAR), counter(7, {"a": "b"}, exemplar=bare), kind="counter")  # fmt: skip
    buckets = [Exemplar((), -INF, 0.0), None, EXEMPLAR]
    sized = family("h", histogram([1, 0, 2], 6.0, (-1.0, 1.0), exemplars=buckets), kind="histogram")  # fmt: skip
    counters, (metric,) = (found.metric for found in read(counted, sized))

    first, second = (metric.counter.exemplar for metric in counters)
    assert [(label.name, label.value) for label in first.label] == [("trace_id", "é"), ("b", "")]
    assert (first.value, seconds_of(first.timestamp)) == (5.0, 1700000000.5)
    assert math.isnan(second.value)
    assert not second.HasField("timestamp")
    low, middle, high = metric.histogram.bucket
    assert (low.exemplar.value, low.exemplar.HasField("timestamp")) == (-INF, True)
    assert not middle.HasField("exemplar")
    assert high.exemplar.value == 5.0


def test_e67_the_worked_bytes() -> None:
    """Of a gauge, a counter with all its parts, a summary, a histogram."""
    exemplar = Exemplar((("trace_id", "ab"),), 1, 1700000000)
    one = counter(5, {"x": "1"}, 1600000000, exemplar)

    assert write(family("g", number(1.5))) == canned_bodies.GAUGE
    assert write(family("a_total", one, kind="counter", doc="h")) == canned_bodies.COUNTER
    assert write(family("s", summary(3, 6.0, [(0.5, 2.0)]), kind="summary")) == canned_bodies.SUMMARY  # fmt: skip
    classic = histogram([1, 2], 6.0, (1.0,))
    assert write(family("h", classic, kind="histogram")) == canned_bodies.HISTOGRAM
