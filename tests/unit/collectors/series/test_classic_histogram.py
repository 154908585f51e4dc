"""Classic histograms: series, and helpers that compute bucket bounds."""

from __future__ import annotations

import math
from copy import copy
from typing import Any

import pytest

from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom._core.numbers import INT_LIMIT
from otel_aioprom.collectors.series.classic_histogram import (
    Histogram,
    HistogramSeries,
    check_bounds,
    exponential_buckets,
    linear_buckets,
)

INF, NAN = math.inf, math.nan


def series(*bounds: float) -> HistogramSeries:
    """A series without labels."""
    return HistogramSeries((), (), " ", check_bounds(bounds))


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        ([1, 2.5], (1.0, 2.5, INF)),
        ((-1, True, INF), (-1.0, 1.0, INF)),
        ([INF], (INF,)),
        ([-INF, 0], (-INF, 0.0, INF)),
        (iter([1]), (1.0, INF)),
    ],
)
def test_bounds_become_floats_that_end_with_inf(given: Any, bounds: tuple[float, ...]) -> None:
    """Any iterable is allowed, ``inf`` is added once."""
    found = check_bounds(given)

    assert found == bounds
    assert {type(bound) for bound in found} == {float}


@pytest.mark.parametrize("given", [[], [2, 1], [1, 1], [NAN], [NAN, 1], [1, NAN], [INF, INF]])
def test_bounds_that_do_not_ascend_are_refused(given: list[float]) -> None:
    """NaN among them."""
    with pytest.raises(ValueError, match="bound"):
        check_bounds(given)
    with pytest.raises(ValueError, match="bound"):
        Histogram(*given)


def test_bounds_must_be_numbers() -> None:
    """A string is refused."""
    with pytest.raises(TypeError, match="number"):
        check_bounds(["1"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        (-INF, 0),
        (1, 0),
        (1.0, 0),
        (True, 0),
        (1.0000001, 1),
        (2, 1),
        (3, 2),
        (INF, 2),
        (NAN, 2),
        (INT_LIMIT + 1, 2),
        (-INT_LIMIT - 1, 0),
    ],
)
def test_a_value_is_counted_in_one_bucket(value: float, bucket: int) -> None:
    """Bounds are inclusive, and NaN is in the last bucket."""
    histogram = Histogram(1, 2)
    histogram.observe(value)

    assert [histogram.counts[index] for index in range(3)] == [
        int(index == bucket) for index in range(3)
    ]
    assert histogram.observations == 1


@pytest.mark.parametrize("value", ["1", None, [1]])
def test_what_is_no_number_changes_nothing(value: Any) -> None:
    """The error comes before the first count."""
    histogram = Histogram(1)
    with pytest.raises(TypeError, match="number"):
        histogram.observe(value)

    assert histogram.snapshot() == [0, 0, 0]


def test_a_snapshot_has_single_counts_and_the_sum() -> None:
    """It is a copy."""
    histogram = Histogram(1, 2)
    for value in (0.5, 1.5, 9):
        histogram.observe(value)
    before = histogram.snapshot()
    histogram.observe(9)

    assert before == [1, 1, 1, 11]
    assert histogram.snapshot() == [1, 1, 2, 20]


def test_load_replaces_everything() -> None:
    """A source may have no sum."""
    histogram = Histogram(1, 2)
    histogram.observe(1)
    histogram.load((2, 3, 4), None)

    assert histogram.buckets == {1.0: 2, 2.0: 5, INF: 9}
    assert (histogram.sum, histogram.observations) == (None, 9)


def test_a_series_returns_cumulative_counts_then_count_and_sum() -> None:
    """``add`` is ``observe``; labels and text are kept."""
    made = HistogramSeries(("a",), ("1",), '{a="1"} ', (1.0, INF))
    made.observe(1)
    made.add(2)

    assert made.get() == {1.0: 1, INF: 2, "count": 2, "sum": 3}
    assert (made.pairs, made.text) == ((("a", "1"),), '{a="1"} ')


def test_series_share_their_bounds() -> None:
    """One tuple serves all series of a collector."""
    bounds = check_bounds([1])

    assert HistogramSeries((), (), " ", bounds).bounds is bounds
    assert series(1).get() == {1.0: 0, INF: 0, "count": 0, "sum": 0}


@pytest.mark.parametrize("same_labels", [True, False], ids=["copied", "renamed"])
def test_a_copy_is_independent(same_labels: bool) -> None:
    """It has counts, sum, start time and exemplars of its own."""
    made = HistogramSeries(("a",), ("1",), '{a="1"} ', (1.0, INF), 5.0)
    made.exemplars = [Exemplar((), 1, 2.0), None]
    made.load([1, 0], 1, NativeBuckets(0, 0.0, 0, [(0, 1)]))
    other = copy(made) if same_labels else made.renamed(("b",), ("2",), '{b="2"} ')
    before = other.read()
    made.observe(2)
    made.exemplars, made.created = None, 6.0
    assert other.read() == before == ([1, 0, 1], NativeBuckets(0, 0.0, 0, [(0, 1)]))
    assert (other.created, other.exemplars) == (5.0, [Exemplar((), 1, 2.0), None])
    assert other.text == ('{a="1"} ' if same_labels else '{b="2"} ')
    other.observe(0.5)

    assert (made.observations, other.observations) == (2, 2)


@pytest.mark.parametrize(
    ("start", "width", "count"), [(1, 0, 1), (1, -1, 1), (1, NAN, 1), (1, 1, 0)]
)
def test_linear_bounds_ascend(start: float, width: float, count: int) -> None:
    """Arguments that would give no ascending bounds, or none, are refused."""
    with pytest.raises(ValueError, match="must be"):
        linear_buckets(start, width, count)


@pytest.mark.parametrize(
    ("start", "factor", "count"), [(0, 2, 1), (NAN, 2, 1), (1, 1, 1), (1, NAN, 1), (1, 2, 0)]
)
def test_exponential_bounds_ascend(start: float, factor: float, count: int) -> None:
    """Arguments that would give no ascending bounds, or none, are refused."""
    with pytest.raises(ValueError, match="must be"):
        exponential_buckets(start, factor, count)


@pytest.mark.parametrize("factor", [10, 10.0])
def test_exponential_bounds_lie_within_floats(factor: float) -> None:
    """Larger ones are refused by a ``ValueError``."""
    with pytest.raises(ValueError, match="the last of 400 bounds is too large for a float"):
        exponential_buckets(1, factor, 400)


def test_computed_bounds_are_valid() -> None:
    """A histogram accepts what the helpers return."""
    assert check_bounds(linear_buckets(-1, 0.5, 3)) == (-1.0, -0.5, 0.0, INF)
    assert check_bounds(exponential_buckets(0.5, 2, 3)) == (0.5, 1.0, 2.0, INF)
