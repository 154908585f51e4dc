"""Native histograms in the protobuf format (E68 to E79)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

import canned_bodies
from client_model import buckets_of, is_native, refuse
from format_families import FORMATS, encode, histogram, read, write
from mapping_sdk import Rig
from oracles import family
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.formats import BinaryFormatter

SCHEMAS = range(-4, 9)


def message(series: HistogramSeries) -> Any:
    """The histogram as the official protobuf runtime parses it, checked like Prometheus does."""
    (found,) = read(family("h", series, kind="histogram"))
    refuse(found)
    return found.metric[0].histogram


def test_e68_a_native_histogram_byte_by_byte() -> None:
    """Schema, zero bucket, spans, deltas, start time, unit."""
    native = NativeBuckets(3, 2.0**-128, 1, [(-2, 2), (-1, 1), (3, 1)], [(0, 1)])
    series = histogram([6], 18.4, (), native, labels={"m": "GET"}, created=1700000000.5)
    made = family("rpc_seconds", series, kind="histogram", doc="h", unit="seconds")

    assert write(made) == canned_bodies.NATIVE


def test_e69_an_empty_native_histogram_is_marked_as_one() -> None:
    """By a span of length 0 if the zero threshold does not mark it."""
    empty = family("n", histogram([0], 0.0, (), NativeBuckets(3)), kind="histogram")

    assert write(empty).hex(" ") == (
        "27 0a 01 6e 18 04 22 20 3a 1e 08 00 11 00 00 00 00 00 00 00 00 28 06 31 00 00 00 00 00 00 00 00 38 00"
        " 62 04 08 00 10 00"
    )


@pytest.mark.parametrize(
    ("native", "count", "total"),
    [
        (NativeBuckets(3), 0, 0.0),
        (NativeBuckets(3), 2, math.nan),
        (NativeBuckets(3, 0.0, 0, [(5, 0)], [(1, 0)]), 0, 0.0),
        (NativeBuckets(3, 0.0, 1), 1, 0.0),
        (NativeBuckets(3, 0.0, 0, [], [(1, 1)]), 1, -1.5),
    ],
    ids=["empty", "nan alone", "zeros listed", "zero bucket alone", "negative alone"],
)
def test_e69_with_a_threshold_of_zero_each_is_read_as_native(
    native: NativeBuckets, count: int, total: float
) -> None:
    """A span, or a count in the zero bucket, marks it."""
    found = message(histogram([count], total, (), native))

    assert is_native(found)
    assert found.zero_threshold == 0
    assert found.sample_count == count


def test_e69_a_threshold_needs_no_span() -> None:
    """It marks the histogram as native."""
    found = message(histogram([0], 0.0, (), NativeBuckets(3, 0.5)))

    assert is_native(found)
    assert not found.positive_span
    assert not found.negative_span


def test_e70_classic_and_native_in_one_message() -> None:
    """Count, sum and start time are shared; each has exemplars of its own."""
    exemplars = [None, Exemplar((("trace_id", "a"),), 3, 6.0)]
    native = NativeBuckets(0, 0.5, 1, [(1, 2)], exemplars=[Exemplar((("trace_id", "b"),), 2, 5.0)])
    series = histogram([1, 2], 4.0, (1.0,), native, created=1.0, exemplars=exemplars)
    found = message(series)

    assert (found.sample_count, found.sample_sum, found.created_timestamp.seconds) == (3, 4.0, 1)
    assert [(each.cumulative_count, each.upper_bound) for each in found.bucket] == [
        (1, 1.0),
        (3, math.inf),
    ]
    assert found.bucket[1].exemplar.label[0].value == "a"
    assert (found.schema, found.zero_threshold, found.zero_count) == (0, 0.5, 1)
    assert buckets_of(found.positive_span, found.positive_delta) == {1: 2}
    assert [each.label[0].value for each in found.exemplars] == ["b"]


def test_e70_a_histogram_without_bounds_is_native_alone() -> None:
    """Its single bucket equals the count; other formats still expose it."""
    exemplar = Exemplar((), 2, 5.0)
    series = histogram([2], 4.0, (), NativeBuckets(0, 0.0, 0, [(1, 2)]), exemplars=[exemplar])

    assert not message(series).bucket
    for formatter in FORMATS:
        body = encode(formatter, family("h", series, kind="histogram"))
        assert formatter is BinaryFormatter or b'h_bucket{le="+Inf"} 2' in body


def test_e71_exemplars_without_a_timestamp_are_dropped() -> None:
    """Prometheus would drop them silently; those of classic buckets get the time of the scrape."""
    pair = [Exemplar((), 2, 1600000000.25), Exemplar((), 2), Exemplar((), 3, 0.0)]
    series = histogram([0, 3], 7.0, (1.0,), NativeBuckets(0, 0.0, 0, [(1, 2), (2, 1)], (), pair))
    series.exemplars = [None, Exemplar((), 2)]
    found = message(series)

    assert [(each.value, each.timestamp.seconds) for each in found.exemplars] == [
        (2, 1600000000),
        (3, 0),
    ]
    assert not found.bucket[1].exemplar.HasField("timestamp")


@pytest.mark.parametrize("schema", [-5, 9, -53, 20])
def test_e71_e72_unsupported_schemas_are_refused(schema: int) -> None:
    """When the buckets are created."""
    with pytest.raises(ValueError, match="between -4 and 8"):
        NativeBuckets(schema)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_e71_e72_all_other_schemas_are_encoded(schema: int) -> None:
    """Positive and negative ones."""
    assert message(histogram([0], 0.0, (), NativeBuckets(schema))).schema == schema


@pytest.mark.parametrize(
    "parts",
    [
        {"zero_threshold": -1.0},
        {"zero_threshold": math.nan},
        {"zero_count": -1},
        {"positive": [(0, -1)]},
        {"negative": [(0, 2), (1, -1)]},
        {"negative": [(1, 1), (1, 1)]},
        {"positive": [(2, 1), (1, 1)]},
    ],
)
def test_e71_invalid_buckets_are_refused(parts: dict[str, Any]) -> None:
    """Prometheus would refuse the whole response."""
    with pytest.raises(ValueError, match=r"negative|ascend|fewer"):
        NativeBuckets(0, **parts)


@pytest.mark.parametrize(
    ("count", "total"), [(2, 1.0), (4, 1.0), (2, math.nan), (4, math.inf), (4, None), (2, None)]
)
def test_e71_count_and_buckets_must_agree(count: int, total: float | None) -> None:
    """The count may exceed the buckets only with NaN; a refused load changes nothing."""
    series = histogram([1], 5.0, (), NativeBuckets(0, 0.0, 1))
    with pytest.raises(ValueError, match="native buckets count 3 observations"):
        series.load([count], total, NativeBuckets(0, 0.0, 1, [(0, 1)], [(0, 1)]))

    assert (series.counts, series.total) == ([1], 5.0)
    assert series.native == NativeBuckets(0, 0.0, 1)


def test_e71_counts_are_those_of_all_classic_buckets() -> None:
    """Not of the last one only."""
    found = message(histogram([1, 0, 2], 6.0, (1.0, 2.0), NativeBuckets(0, 0.0, 1, [(2, 2)])))

    assert found.sample_count == 3


def test_e71_native_buckets_can_be_removed() -> None:
    """When a later collection has none."""
    series = histogram([1], 5.0, (), NativeBuckets(0, 0.0, 1))
    series.load([2], 6.0)

    assert not is_native(message(series))


@pytest.mark.parametrize(("schema", "largest"), [(8, 262144), (3, 8192), (0, 1024), (-4, 64)])
def test_e72_infinities_have_a_bucket(schema: int, largest: int) -> None:
    """The one after that of the largest finite number, for both signs; indexes take several bytes."""
    ends = [(-largest, 1), (largest, 1), (largest + 1, 1)]
    found = message(histogram([6], math.nan, (), NativeBuckets(schema, 0.0, 0, ends, ends)))

    for side in ("positive", "negative"):
        span, delta = getattr(found, f"{side}_span"), getattr(found, f"{side}_delta")
        assert buckets_of(span, delta) == dict(ends)


EXAMPLE = [(-2, 3), (-1, 5), (2, 1), (4, 3), (5, 2)]


def test_e74_on_the_wire() -> None:
    """Both signs, each with its own spans; deltas one by one; counts of any size."""
    large = [(0, 2**62), (1, 1), (9, 2**33)]
    native = NativeBuckets(0, 0.0, 0, EXAMPLE, large)
    series = histogram([native.observations], math.nan, (), native)
    found = message(series)

    assert [(each.offset, each.length) for each in found.positive_span] == [(-2, 8)]
    assert list(found.positive_delta) == [3, 2, -5, 0, 1, -1, 3, -1]
    assert [(each.offset, each.length) for each in found.negative_span] == [(0, 2), (7, 1)]
    assert buckets_of(found.negative_span, found.negative_delta) == dict(large)
    body = write(
        family(
            "h",
            histogram([3], 3.0, (), NativeBuckets(3, 0.0, 0, [(-2, 2), (-1, 1)])),
            kind="histogram",
        )
    )
    assert body.endswith(bytes.fromhex("6204 0803 1002 6804 6801"))


def test_e75_the_zero_bucket() -> None:
    """Threshold and count are encoded unchanged."""
    found = message(histogram([2], 0.0, (), NativeBuckets(2, 2.0**-128, 2)))

    assert (found.zero_threshold, found.zero_count) == (2.938735877055719e-39, 2)
    assert bytes.fromhex("31 00000000 0000f037") in found.SerializeToString()


def test_e76_nan_counts_without_a_bucket() -> None:
    """Then the sum is NaN too."""
    found = message(histogram([4], math.nan, (), NativeBuckets(0, 0.5, 1, [(0, 2)])))

    assert found.sample_count == 4
    assert math.isnan(found.sample_sum)


@pytest.mark.parametrize("total", [math.inf, -math.inf, math.nan])
def test_e76_sums_of_infinities(total: float) -> None:
    """They are encoded unchanged; the bucket is the last one."""
    found = message(histogram([1], total, (), NativeBuckets(0, 0.0, 0, [(1025, 1)])))

    assert repr(found.sample_sum) == repr(total)
    assert buckets_of(found.positive_span, found.positive_delta) == {1025: 1}


def test_e78_custom_buckets_are_sent_as_classic_ones() -> None:
    """The format has no field for their bounds; no schema is encoded."""
    found = message(histogram([1, 1, 1], 9.0, (1.0, 2.5)))

    assert not found.HasField("schema")
    assert [each.upper_bound for each in found.bucket] == [1.0, 2.5]


VALUES = (1, 1.0000001, 2, 3, 0.5, 0.1, 0.001, 100)
INDEXES = {
    8: (0, 1, 256, 406, -256, -850, -2551, 1701),
    3: (0, 1, 8, 13, -8, -26, -79, 54),
    1: (0, 1, 2, 4, -2, -6, -19, 14),
    0: (0, 1, 1, 2, -1, -3, -9, 7),
    -1: (0, 1, 1, 1, 0, -1, -4, 4),
    -4: (0, 1, 1, 1, 0, 0, 0, 1),
}


@pytest.mark.parametrize(
    ("scale", "schema"), [(20, 8), (8, 8), (3, 3), (1, 1), (0, 0), (-1, -1), (-4, -4)]
)
def test_e72_e73_e79_opentelemetrys_values_lie_in_the_buckets_of_the_rule(
    rigs: Callable[..., Rig], scale: int, schema: int
) -> None:
    """From the SDK to the encoded message; scales above 8 are merged down to 8."""
    for value, index in zip(VALUES, INDEXES[schema]):
        aggregation = ExponentialBucketHistogramAggregation(max_scale=scale)
        view = View(instrument_type=Histogram, instrument_name="*", aggregation=aggregation)
        rig = rigs(views=[view])
        rig.meter().create_histogram("h").record(value)
        (found,) = [each for each in read(*rig.registry.gather().families) if each.name == "h"]
        refuse(found)
        one = found.metric[0].histogram
        assert one.schema == schema
        assert buckets_of(one.positive_span, one.positive_delta) == {index: 1}, value
