"""Native histograms that the collector records: E72, E73, E75 to E77."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_model import read_delimited, refuse
from clocks import ManualTime
from format_families import FORMATS
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import NativeBuckets, upper_bound
from otel_aioprom.collectors import Histogram
from otel_aioprom.collectors.series import native_histogram, native_resolution
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.exemplars import NO_EXEMPLARS, in_order, reservoir
from otel_aioprom.collectors.series.native_histogram import NativeHistogramSeries
from otel_aioprom.collectors.series.native_resolution import (
    DEFAULT_ZERO_THRESHOLD,
    Grid,
    Resolution,
    grid_of,
    schema_of,
)
from otel_aioprom.formats import BinaryFormatter, IFormatter, with_escaping
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

SCHEMAS = (8, 3, 1, 0, -1, -4)
INDEXES = {
    1: (0, 0, 0, 0, 0, 0),
    1.0000001: (1, 1, 1, 1, 1, 1),
    2: (256, 8, 2, 1, 1, 1),
    3: (406, 13, 4, 2, 1, 1),
    0.5: (-256, -8, -2, -1, 0, 0),
    0.1: (-850, -26, -6, -3, -1, 0),
    0.001: (-2551, -79, -19, -9, -4, 0),
    100: (1701, 54, 14, 7, 4, 1),
    5e-324: (-274944, -8592, -2148, -1074, -537, -67),
    math.inf: (262145, 8193, 2049, 1025, 513, 65),
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualTime:
    """The clock of recording."""
    made = ManualTime()
    monkeypatch.setattr(native_histogram, "time", made)
    return made


def recorded(*values: float, **options: Any) -> NativeBuckets:
    """The native buckets after some observations."""
    histogram = Histogram("h", "H.", **{"native_bucket_factor": 2.0, **options})
    for value in values:
        histogram.observe({}, value)
    found = histogram.labels({}).read()[1]
    assert found is not None
    return found


def exposed(histogram: Histogram) -> NativeBuckets:
    """The native buckets of a series without labels, as a response exposes them."""
    found = histogram.labels({}).read()[1]
    list(BinaryFormatter(False).encode([histogram.family()]))
    assert found is not None
    return found


# --- indexes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "indexes"), INDEXES.items())
def test_e72_e73_the_index_of_an_observation(value: float, indexes: tuple[int, ...]) -> None:
    """In each schema, including the smallest and largest doubles."""
    assert tuple(grid_of(schema).place(float(value)) for schema in SCHEMAS) == indexes


@given(
    schema=st.integers(-4, 8),
    value=st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False),
)
def test_e72_each_value_lies_between_the_bounds_of_its_bucket(schema: int, value: float) -> None:
    """As computed with forty digits; a bound itself may be off by its last bit."""
    index = grid_of(schema).place(value)
    with localcontext() as context:
        context.prec = 40
        low, high = (
            (Decimal(2).ln() * Decimal(i) * Decimal(2) ** -schema).exp() for i in (index - 1, index)
        )
        slack = Decimal(1) + Decimal(2) ** -51
        assert low / slack <= Decimal(value) <= high * slack


def index_of(value: float, schema: int) -> int:
    """The bucket index of a positive value."""
    series = NativeHistogramSeries(
        (), (), " ", (math.inf,), None, Resolution(schema, 0.0, max_buckets=0)
    )
    for each in (value, -value):
        series.observe(each)
    found = series.read()[1]
    assert found is not None
    assert found.positive == found.negative
    ((index, _),) = found.positive
    return index


@given(
    schema=st.integers(-4, 8),
    value=st.floats(min_value=5e-324, allow_nan=False) | st.floats(5e-324, 1e-310),
)
def test_e73_an_observation_counts_in_its_bucket(schema: int, value: float) -> None:
    """The bucket by fraction and exponent, however small or large the value is."""
    assert index_of(value, schema) == grid_of(schema).place(value)


@given(schema=st.integers(-4, 8), share=st.floats(0, 1))
def test_e73_a_bound_is_the_last_value_of_its_bucket(schema: int, share: float) -> None:
    """And the next double is the first value of the next bucket."""
    grid = grid_of(schema)
    first = grid.place(sys.float_info.min)
    index = first + round((grid.overflow - 1 - first) * share)
    bound = upper_bound(index, schema)

    assert index_of(bound, schema) == index
    assert index_of(math.nextafter(bound, math.inf), schema) == index + 1


def test_e72_the_last_bounds() -> None:
    """The bound of the last finite bucket is the largest double."""
    assert upper_bound(3 * 2**8, 8) == 8
    assert upper_bound(64, -4) == upper_bound(1024 * 2**8, 8) == sys.float_info.max
    assert upper_bound(65, -4) == math.inf


def test_e73_the_number_of_cached_bounds_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """For any values."""
    monkeypatch.setattr(native_resolution, "_MOST_BOUNDS", 10)
    grid = Grid(8)
    for power in range(-500, 500):
        assert grid[round(math.log2(2.0**power) * grid.scale)][0] == 2.0**power
        assert len(grid) <= 10


@pytest.mark.parametrize(
    ("factor", "schema"),
    [(65536, -4), (1e300, -4), (256, -3), (16, -2), (4, -1), (2, 0), (1.5, 1), (1.2, 2), (1.1, 3), (1.05, 4), (1.03, 5), (1.02, 6), (1.01, 7), (1.005, 8), (1.0001, 8)],
)  # fmt: skip
def test_e77_the_schema_of_a_factor(factor: float, schema: int) -> None:
    """The coarsest schema that does not exceed the factor."""
    assert schema_of(factor) == schema


@pytest.mark.parametrize("factor", [1, 0, -2, math.inf, math.nan])
def test_e77_a_factor_is_above_one(factor: float) -> None:
    """Other values are refused."""
    with pytest.raises(ValueError, match="above 1"):
        Histogram("h", "H.", native_bucket_factor=factor)


# --- zero, NaN, infinity -----------------------------------------------------------------


def test_e75_values_near_zero_count_as_zero() -> None:
    """Of either sign, including the threshold itself."""
    tiny = DEFAULT_ZERO_THRESHOLD
    found = recorded(0, -0.0, tiny, -tiny, 1e-300, math.nextafter(tiny, 1) if hasattr(math, "nextafter") else 1e-38)  # fmt: skip

    assert (found.zero_threshold, found.zero_count) == (2.0**-128, 5)
    assert found.observations == 6


def test_e75_the_threshold_can_be_chosen() -> None:
    """0 for exact zeros only."""
    assert recorded(0.0, 0.5, -0.5, 0.6, native_zero_threshold=0.5).zero_count == 3
    assert recorded(0.0, 5e-324, native_zero_threshold=0.0).zero_count == 1


def test_e75_negative_values_have_buckets_of_their_own() -> None:
    """By their absolute value."""
    found = recorded(-1, -3, 3)

    assert (found.negative, found.positive) == ([(0, 1), (2, 1)], [(2, 1)])


def test_e76_nan_and_infinities() -> None:
    """NaN is in no bucket, infinities are in the overflow bucket."""
    histogram = Histogram("h", "H.", native_bucket_factor=2)
    for value in (math.nan, math.inf, -math.inf):
        histogram.observe({}, value)
    counts, found = histogram.labels({}).read()

    assert found is not None
    assert (found.positive, found.negative, found.zero_count) == ([(1025, 1)], [(1025, 1)], 0)
    assert sum(counts[:-1]) == 3
    assert math.isnan(counts[-1])


# --- limits ------------------------------------------------------------------------------


def test_e77_too_many_buckets_reduce_the_resolution(clock: ManualTime) -> None:
    """One step for each observation that adds a bucket, down to the lowest schema."""
    found = recorded(*[2.0**k for k in range(5)], native_max_buckets=4)

    assert found.schema == -1
    assert found.positive == [(0, 1), (1, 2), (2, 2)]
    assert recorded(1e-30, 1, 1e30, native_max_buckets=1).schema == -2
    assert recorded(*[2.0 ** (100 * k) for k in range(-9, 9)], native_max_buckets=1).schema == -4


def test_e77_the_zero_bucket_is_widened_first_if_allowed(clock: ManualTime) -> None:
    """By the bucket nearest to zero, for both signs, once for each observation."""
    values = (0.001, -0.001, 0.1, 1, 10)
    found = recorded(*values, native_max_buckets=3, native_max_zero_threshold=0.01)

    assert found.zero_threshold == 2.0**-9
    assert (found.schema, found.zero_count, found.observations) == (0, 2, 5)
    assert (found.negative, found.positive) == ([], [(-3, 1), (0, 1), (4, 1)])


def test_e77_the_zero_bucket_is_not_widened_too_far(clock: ManualTime) -> None:
    """Then the schema is lowered."""
    found = recorded(0.1, 1, 10, native_max_buckets=2, native_max_zero_threshold=0.01)

    assert (found.schema, found.zero_threshold) == (-1, DEFAULT_ZERO_THRESHOLD)


def test_e77_a_histogram_is_reset_after_the_minimum_duration(clock: ManualTime) -> None:
    """Classic buckets too, with a new start time and the observation that exceeded the limit."""
    histogram = Histogram("h", "H.", buckets=[1], native_bucket_factor=2, native_max_buckets=2)
    series = histogram.labels({})
    for value in (1, 2):
        series.observe(value)
    clock.now += 3600
    series.observe(4)
    counts, found = series.read()

    assert counts == [0, 1, 4]
    assert found == NativeBuckets(0, DEFAULT_ZERO_THRESHOLD, 0, [(2, 1)], [])
    assert series.created == clock.now


def test_e77_a_reduced_resolution_is_restored(clock: ManualTime) -> None:
    """After the first response past the minimum duration, which still exposes everything."""
    histogram = Histogram("h", "H.", native_bucket_factor=2, native_max_buckets=2)
    series = histogram.labels({})
    for value in (1, 2, 4):
        series.observe(value)
    clock.now += 3599
    before = exposed(histogram)
    clock.now += 1
    last = exposed(histogram)
    series.observe(1)
    after = series.read()[1]

    assert before == last
    assert (last.schema, last.observations) == (-1, 3)
    assert after == NativeBuckets(0, DEFAULT_ZERO_THRESHOLD, 0, [(0, 1)], [])


def test_e77_each_observation_reduces_the_resolution_while_there_are_too_many_buckets(
    clock: ManualTime,
) -> None:
    """Also one that adds no bucket, or a zero."""
    histogram = Histogram("h", "H.", native_bucket_factor=1.1, native_max_buckets=2)
    series = histogram.labels({})
    for value in (2.0**-20, 1.0, 2.0**20, 1.0, 0.0, 1.0):
        series.observe(value)
    (*_, _), found = series.read()

    assert found is not None
    assert (found.schema, found.observations) == (-1, 6)
    for _ in range(10):
        series.observe(1.0)
    assert series.read()[1].schema == -4  # type: ignore[union-attr]


def test_e77_too_many_buckets_of_the_lowest_schema_are_reset_when_due(
    clock: ManualTime,
) -> None:
    """By any observation, also one that adds no bucket."""
    histogram = Histogram("h", "H.", buckets=[1], native_bucket_factor=65536, native_max_buckets=1)
    series = histogram.labels({})
    for value in (1e-100, 1, 1e100):
        series.observe(value)
    clock.now += 3600
    series.observe(math.nan)
    assert series.observations == 4
    series.observe(0)

    assert series.read() == ([1, 0, 0], NativeBuckets(-4, DEFAULT_ZERO_THRESHOLD, 1, [], []))


def test_e77_a_response_keeps_start_time_and_exemplars_of_what_it_exposes(
    clock: ManualTime,
) -> None:
    """The reset comes with the next observation, whose exemplar is kept."""
    histogram = Histogram("h", "H.", buckets=[1], native_bucket_factor=2, native_max_buckets=2)
    series = histogram.labels({})
    for value in (1, 2, 4):
        series.observe(value, {"v": value})
    began = series.created
    clock.now += 3600
    (*counts, _), found = series.read()
    exposed(histogram)
    seen = [each.labels for each in series.exemplars if each is not None]
    assert (counts, series.created, seen) == ([1, 2], began, [(("v", "1"),), (("v", "4"),)])
    series.observe(8, {"v": 8})
    (*counts, _), found = series.read()

    assert found is not None
    assert (counts, series.created) == ([0, 1], clock.now)
    assert [each.labels for each in found.exemplars] == [(("v", "8"),)]
    assert series.exemplars == [None, found.exemplars[0]]


def test_e77_unexposed_observations_are_not_dropped(clock: ManualTime) -> None:
    """By a histogram with reduced resolution: it waits for another response."""
    histogram = Histogram("h", "H.", native_bucket_factor=2, native_max_buckets=2)
    series = histogram.labels({})
    for value in (1, 2, 4):
        series.observe(value)
    clock.now += 3600
    series.observe(1)
    assert series.observations == 4
    series.mark_exposed(3, series.created)  # another observation came after the reading
    series.observe(1)
    assert series.observations == 5
    exposed(histogram)
    series.observe(1)

    assert series.observations == 1


def test_e77_without_a_minimum_duration_it_is_never_reset(clock: ManualTime) -> None:
    """Only its resolution is reduced."""
    histogram = Histogram(
        "h", "H.", native_bucket_factor=2, native_max_buckets=2, native_min_reset_duration=0
    )
    for value in (1, 2, 4):
        histogram.observe({}, value)
    clock.now += 1e9
    for _ in range(2):
        found = exposed(histogram)
        assert (found.schema, found.observations) == (-1, 3)
    histogram.observe({}, 1)

    assert exposed(histogram).observations == 4


def test_e77_the_number_of_buckets_may_be_unlimited() -> None:
    """With 0."""
    found = recorded(*[2.0**k for k in range(-500, 500)], native_max_buckets=0)

    assert (found.schema, found.zero_count, len(found.positive)) == (0, 373, 627)


# --- exposition --------------------------------------------------------------------------


def test_e64_classic_and_native_buckets_together() -> None:
    """Both in protobuf, the classic ones in text."""
    registry = CollectorRegistry()
    histogram = Histogram("h", "H.", buckets=[1], native_bucket_factor=1.1, registry=registry)
    for value in (0.5, 2, math.inf):
        histogram.observe({"a": "b"}, value)
    body = BinaryFormatter().marshall(registry)
    (family,) = [each for each in read_delimited(body) if each.name == "h"]
    (made,) = [metric.histogram for metric in family.metric]

    refuse(family)
    assert made.sample_count == 3
    assert [bucket.cumulative_count for bucket in made.bucket] == [1]
    assert (made.schema, len(made.positive_delta)) == (3, 3)
    assert b'h_bucket{a="b",le="1.0"} 1\n' in render(registry)[0]


def test_e70_native_buckets_alone() -> None:
    """Text has the infinite bucket, sum and count."""
    registry = CollectorRegistry()
    Histogram("h", "H.", buckets=None, native_bucket_factor=1.1, registry=registry).observe({}, 2)
    text = render(registry)[0].decode()
    (family,) = [each for each in read_delimited(BinaryFormatter().marshall(registry)) if each.name == "h"]  # fmt: skip

    assert 'h_bucket{le="+Inf"} 1\nh_sum 2\nh_count 1\n' in text
    assert not family.metric[0].histogram.bucket
    assert family.metric[0].histogram.schema == 3


@pytest.mark.parametrize("formatter", FORMATS)
def test_e71_copies_for_a_response_are_consistent(
    formatter: type[IFormatter],
) -> None:
    """If escaped label names collide, series are copied first; threads record before they are encoded."""
    histogram = Histogram("h", "H.", buckets=[1], native_bucket_factor=2, native_max_buckets=2)
    for value in (0.5, 2):
        histogram.observe({"a_b": "1"}, value, exemplar={"v": value})
    series = [*histogram.family().series, one_named("a.b", "2")]
    made = with_escaping(formatter, "underscores")()
    ready, _ = made.prepare([replace(histogram.family(), series=series, utf8=True)])
    for value in (4, 8, 16, 0.1):
        histogram.observe({"a_b": "1"}, value)
    body = b"".join(made.encode(ready))

    if formatter is BinaryFormatter:
        (found,) = read_delimited(body)
        refuse(found)
        one = next(each.histogram for each in found.metric if each.label[0].value == "1")
        assert (one.sample_count, one.sample_sum) == (2, 2.5)
    else:
        for sample in (b'bucket{a_b="1",le="+Inf"} 2', b'sum{a_b="1"} 2.5', b'count{a_b="1"} 2'):
            assert b"\nh_" + sample in body


def one_named(label: str, value: str) -> HistogramSeries:
    """A series with a label and one observation."""
    text = labels_text([(label, value)])
    resolution = Resolution(0, max_buckets=2)
    series = NativeHistogramSeries((label,), (value,), text, (1.0, math.inf), None, resolution)
    series.observe(1)
    return series


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buckets": None}, "needs buckets, or native_bucket_factor"),
        ({"native_bucket_factor": 1.1, "native_max_buckets": -1}, "native_max_buckets"),
        ({"native_bucket_factor": 1.1, "native_zero_threshold": math.nan}, "native_zero_threshold"),
        ({"native_bucket_factor": 1.1, "native_min_reset_duration": -1}, "native_min_reset"),
        ({"native_bucket_factor": 1.1, "native_max_zero_threshold": -1}, "native_max_zero"),
        ({"native_bucket_factor": 1.1, "native_zero_threshold": 10**400}, "native_zero_threshold"),
        ({"native_bucket_factor": 1.1, "native_zero_threshold": math.inf}, "native_zero_threshold"),
        ({"native_max_buckets": 100}, "need native_bucket_factor"),
    ],
)
def test_e77_options_out_of_range(options: dict[str, Any], message: str) -> None:
    """The error names the option."""
    with pytest.raises(ValueError, match=message):
        Histogram("h", "H.", **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("native_bucket_factor", "1.1"),
        ("native_bucket_factor", True),
        ("native_max_buckets", 2.5),
        ("native_max_buckets", True),
        ("native_max_buckets", None),
        ("native_zero_threshold", "x"),
        ("native_min_reset_duration", None),
    ],
)
def test_e77_options_of_the_wrong_type(option: str, value: Any) -> None:
    """The error names the option."""
    with pytest.raises(TypeError, match=option):
        Histogram("h", "H.", **{"native_bucket_factor": 1.1, option: value})


def test_e75_a_threshold_may_be_a_whole_number() -> None:
    """It is encoded as a double."""
    assert repr(recorded(0.5, native_zero_threshold=1).zero_threshold) == "1.0"


def test_n04_native_buckets_cannot_be_set() -> None:
    """They cannot be derived from classic ones."""
    histogram = Histogram("h", "H.", native_bucket_factor=2)
    stored = Histogram("other", "O.").get_value

    with pytest.raises(TypeError, match="native buckets"):
        histogram.set_value({}, stored)
    with pytest.raises(TypeError, match="native buckets"):
        histogram.labels({}).load([1, *[0] * 11], 1.0)
    with pytest.raises(TypeError, match="number"):
        histogram.observe({}, "3")  # type: ignore[arg-type]


def exemplar_of(value: float, timestamp: float) -> Exemplar:
    """An exemplar without labels."""
    return Exemplar((), value, timestamp)


def test_e77_ten_exemplars_then_the_older_one_of_the_closest_two_is_dropped() -> None:
    """Closest by the ratio of their values, including the new one, which is always kept."""
    kept = NO_EXEMPLARS
    for moment, power in enumerate(range(10)):
        kept = reservoir(kept, exemplar_of(2.0**power, moment))
    assert [each.value for each in in_order(kept)] == [2.0**power for power in range(10)]
    kept = reservoir(kept, exemplar_of(500, 10))
    assert [each.value for each in in_order(kept)] == [*[2.0**power for power in range(9)], 500]
    kept = reservoir(kept, exemplar_of(1e6, 11))  # now 256 and 500 are the closest

    assert [each.value for each in in_order(kept)] == [
        *[2.0**power for power in range(8)],
        500,
        1e6,
    ]


def test_e77_after_five_minutes_an_exemplar_is_dropped_first() -> None:
    """However far its value is from the others."""
    kept = reservoir(NO_EXEMPLARS, exemplar_of(1e-12, 1000))
    for power in range(9):
        kept = reservoir(kept, exemplar_of(2.0**power, 1200))
    assert in_order(reservoir(kept, exemplar_of(200, 1300)))[0].value == 1e-12

    found = [each.value for each in in_order(reservoir(kept, exemplar_of(200, 1301)))]
    assert found == [*[2.0**power for power in range(9)], 200]


def position_of(value: float) -> float:
    """The position of a value on a logarithmic scale."""
    if math.isnan(value):
        return 4000
    far = min(math.log(abs(value)) + 750, 2000) if value else 0.0
    return math.copysign(far, value)


@given(
    st.lists(
        st.tuples(st.floats() | st.floats(0.001, 10), st.integers(0, 900) | st.integers(0, 50)),
        max_size=40,
    )
)
def test_e77_exemplars_are_those_of_the_rule(measured: list[tuple[float, int]]) -> None:
    """As a comparison of all pairs would choose, with any clock."""
    kept = NO_EXEMPLARS
    expected: list[Exemplar] = []
    for value, moment in measured:
        new = exemplar_of(value, moment)
        kept = reservoir(kept, new)
        every = sorted([*expected, new], key=lambda each: position_of(each.value))
        if len(every) > 10:
            gone = min(expected, key=lambda each: each.timestamp or 0)
            if moment - (gone.timestamp or 0) <= 300:
                two = min(
                    pairwise(every),
                    key=lambda two: position_of(two[1].value) - position_of(two[0].value),
                )
                gone = min(two, key=lambda each: (each is new, each.timestamp))
            every = [each for each in every if each is not gone]
        expected = every

    assert list(map(id, kept[2])) == list(map(id, expected))
    assert list(in_order(kept)) == sorted(kept[2], key=lambda each: each.timestamp or 0)
