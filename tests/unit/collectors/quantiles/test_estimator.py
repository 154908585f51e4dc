"""The estimator and its streams: samples, estimates, and refused arguments."""

from __future__ import annotations

import copy
import math
import random
from array import array
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from quantile import Estimator as PackageEstimator

from otel_aioprom.collectors.quantiles import estimator
from otel_aioprom.collectors.quantiles.ckms import (
    BATCH,
    EMPTY,
    Stream,
    batch_size,
    error_function,
    estimate,
    merge,
)
from otel_aioprom.collectors.quantiles.estimator import Estimator, stream_of

USUAL = ((0.5, 0.05), (0.9, 0.01), (0.99, 0.001))
LIMIT = error_function(USUAL)


def full_width(low: float, invariants: tuple[tuple[float, float], ...]) -> float:
    """The highest maximum rank that the invariants allow for the next sample; ranks are fractions of n."""
    return min(
        max(low + 2 * e, low * (1 + 2 * e / q), (low + 2 * e / (1 - q)) / (1 + 2 * e / (1 - q)))
        for q, e in invariants
    )


@pytest.mark.parametrize(
    "invariants",
    [
        USUAL,
        ((0.5, 0.05),),
        ((0.01, 0.2), (0.02, 0.001)),
        ((0.999, 0.0001),),
        tuple((percent / 100, 0.003) for percent in range(1, 100)),
    ],
)
def test_the_error_function_is_never_wider_than_the_invariants(
    invariants: tuple[tuple[float, float], ...],
) -> None:
    """It is continuous and rises, and at each quantile nearly the full width is used."""
    lines = error_function(invariants)
    pieces = iter(lines)
    line = next(pieces)
    before = 0.0
    for step in range(10_000):
        low = step / 10_000
        while low >= line.edge:
            line = next(pieces)
        high = line.slope * low + line.base

        assert before <= high <= full_width(low, invariants)
        before = high
    if len(invariants) == 1:
        ((quantile, error),) = invariants
        line = next(line for line in lines if quantile <= line.edge)
        assert line.slope * quantile + line.base >= quantile + 1.99 * error
    for one, other in pairwise(lines):
        end = one.slope * one.edge + one.base
        assert end == pytest.approx(other.slope * one.edge + other.base, abs=1e-9)
    assert lines[-1].edge == math.inf


def test_without_inner_quantiles_only_least_and_greatest_value_are_kept() -> None:
    """They are exact, and so are the quantiles 0 and 1."""
    for invariants in ((), ((0.0, 0.01), (1.0, 0.01))):
        stream = EMPTY
        for start in (0, 1000, -500):
            batch = [float(start + number) for number in range(1000)]
            stream = merge(stream, batch, error_function(invariants))

        assert list(stream.values) == [-500, 1999]
        assert [list(stream.min_ranks), list(stream.max_ranks)] == [[1, 3000], [1, 3000]]
        assert estimate(stream, 0, 0.01) == -500
        assert estimate(stream, 1, 0.01) == 1999


def test_least_and_greatest_value_are_exact() -> None:
    """The first rank is that of the least value, the last that of the greatest."""
    rand = random.Random(1)  # noqa: S311 - no secret
    stream = EMPTY
    seen: list[float] = []
    for size in (1, 5, 3000, 1, 2000):
        batch = sorted(rand.gauss(0, 1) for _ in range(size))
        seen += batch
        stream = merge(stream, batch, LIMIT)

        assert (stream.values[0], stream.min_ranks[0], stream.max_ranks[0]) == (min(seen), 1, 1)
        assert (stream.values[-1], stream.min_ranks[-1], stream.max_ranks[-1]) == (
            max(seen),
            len(seen),
            len(seen),
        )


def test_few_values_are_all_kept() -> None:
    """While the allowed error is less than a rank, every estimate is exact."""
    stream = EMPTY
    for value in (5.0, 1.0, 3.0, 2.0, 4.0):
        stream = merge(stream, [value], LIMIT)

    assert list(stream.values) == [1, 2, 3, 4, 5]
    assert stream.min_ranks == stream.max_ranks == array("q", [1, 2, 3, 4, 5])


def test_a_merge_does_not_change_the_stream() -> None:
    """Other threads may be reading it."""
    before = merge(EMPTY, [1.0, 2.0], LIMIT)
    after = merge(before, [3.0], LIMIT)

    assert list(before.values) == [1, 2]
    assert (before.size, after.size) == (2, 3)
    assert list(EMPTY.values) == []


def test_equal_values_need_two_samples() -> None:
    """The first and the last of them suffice."""
    rand = random.Random(2)  # noqa: S311 - no secret
    stream = EMPTY
    for _ in range(200):
        batch = sorted(rand.choice((1.0, 5.0, 5.0, 9.0)) for _ in range(BATCH))
        stream = merge(stream, batch, LIMIT)

    assert len(stream.values) <= 6
    assert [estimate(stream, q, 0.01) for q in (0.1, 0.5, 0.9)] == [1, 5, 9]


def test_the_rank_of_an_estimate_is_the_nearest_one_above() -> None:
    """As expected of the median of three values."""
    estimator = Estimator((0.5, 0.01), (0.25, 0.01))
    for value in (3, 1, 2):
        estimator.observe(value)

    assert estimator.query(0.5) == 2
    assert estimator.query(0.25) == 1
    assert [estimator.query(q) for q in (0, 0.01, 0.34, 0.67, 1)] == [1, 1, 2, 3, 3]


def test_rounding_does_not_raise_the_rank() -> None:
    """0.55 · 100 is slightly above 55 in binary floating point."""
    estimator = Estimator((0.55, 0.001))
    for value in range(1, 101):
        estimator.observe(value)

    assert 0.55 * 100 > 55
    assert estimator.query(0.55) == 55


def test_streams_on_which_quantile_python_fails() -> None:
    """Few values, and values that ascend."""
    rand = random.Random(3)  # noqa: S311 - no secret
    for values in (
        [rand.random() for _ in range(400)],
        [number / 50_000 for number in range(1, 50_001)],
    ):
        estimator = Estimator(*USUAL)
        for value in values:
            estimator.observe(value)
        values.sort()

        for q, error in USUAL:
            rank = values.index(estimator.query(q)) + 1
            assert abs(rank - q * len(values)) <= max(1, error * len(values))


def test_an_estimator_is_one_of_quantile_python() -> None:
    """Code that uses the class, or its private attributes, still works."""
    estimator = Estimator((0.5, 0.05))
    estimator.observe(1)
    estimator.observe(Decimal("2.5"))

    assert isinstance(estimator, PackageEstimator)
    assert (estimator._observations, estimator._sum) == (2, 3.5)
    assert (estimator.count, estimator.total) == (2, 3.5)
    assert estimator.invariants == ((0.5, 0.05),)


def test_default_invariants_are_those_of_quantile_python() -> None:
    """The median and the 99th percentile."""
    assert Estimator().invariants == ((0.5, 0.01), (0.99, 0.001))


@pytest.mark.parametrize(
    "invariant", [(-0.1, 0.1), (1.1, 0.1), (0.5, 0), (0.5, 1), (math.nan, 0.1), (0.5, math.nan)]
)
def test_invariants_out_of_range_are_refused(invariant: tuple[float, float]) -> None:
    """An error of 0 would keep every value."""
    with pytest.raises(ValueError, match="quantile"):
        Estimator(invariant)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_out_of_range_is_refused(q: float) -> None:
    """By a ``ValueError``."""
    estimator = Estimator((0.5, 0.05))
    estimator.observe(1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimator.query(q)


def test_an_empty_estimator_returns_nan() -> None:
    """It does not raise."""
    assert math.isnan(Estimator((0.5, 0.05)).query(0.5))
    assert math.isnan(estimate(EMPTY, 0.5, 0.1))


def test_nan_has_no_rank() -> None:
    """It counts and makes the sum NaN; the order of the other values is not affected."""
    estimator = Estimator((0.5, 0.05))
    for value in (3, math.nan, 1, math.nan, 2):
        estimator.observe(value)

    assert estimator.query(0.5) == 2
    assert estimator._observations == 5
    assert math.isnan(estimator._sum)


def test_infinities_are_values() -> None:
    """They are the least and the greatest."""
    estimator = Estimator((0.5, 0.05))
    for value in (math.inf, 1, -math.inf):
        estimator.observe(value)

    assert [estimator.query(q) for q in (0, 0.5, 1)] == [-math.inf, 1, math.inf]


@pytest.mark.parametrize("value", ["1", None, 1j, [1]])
def test_what_is_no_number_changes_nothing(value: Any) -> None:
    """It raises."""
    estimator = Estimator((0.5, 0.05))
    with pytest.raises(TypeError, match="number"):
        estimator.observe(value)

    assert estimator._observations == 0


def test_values_are_merged_in_batches() -> None:
    """When the buffer is full, and at each query."""
    estimator = Estimator((0.5, 0.05))
    for value in range(BATCH - 1):
        estimator.observe(value)
    assert len(estimator._buffer) == BATCH - 1
    estimator.observe(BATCH)
    assert len(estimator._buffer) == 0
    estimator.observe(0)
    assert estimator.stream().size == BATCH + 1
    assert len(estimator._buffer) == 0


def test_large_streams_have_larger_batches() -> None:
    """The cost of a merge is proportional to the number of samples."""
    large = Stream(5000, array("d", range(3000)), array("q"), array("q"))
    other = large._replace(size=6000)

    assert batch_size([EMPTY]) == BATCH
    assert batch_size([EMPTY, EMPTY]) == BATCH  # identical streams are merged once
    assert batch_size([EMPTY, large._replace(values=array("d"))]) == 2 * BATCH
    assert batch_size([EMPTY, large, large]) == 6_000
    assert batch_size([large, other]) == 12_000


def test_any_quantile_can_be_queried() -> None:
    """Without an invariant there is no guarantee, but an approximate estimate."""
    estimator = Estimator((0.5, 0.01), (0.9, 0.01))
    for value in range(10_000):
        estimator.observe(value)

    assert estimator.query(0.7) == pytest.approx(7000, abs=300)


def test_the_first_values_of_quantile_python_are_exact() -> None:
    """It buffers up to 511 values; NaN is dropped."""
    theirs = PackageEstimator((0.5, 0.05))
    for value in (4, 1, math.nan, 3, 2):
        theirs.observe(value)
    stream = stream_of(theirs)

    assert list(stream.values) == [1, 2, 3, 4]
    assert list(stream.min_ranks) == list(stream.max_ranks) == [1, 2, 3, 4]
    assert stream.size == 4
    assert theirs._observations == 5


def test_an_empty_estimator_of_quantile_python_is_empty() -> None:
    """A query of it would raise."""
    assert stream_of(PackageEstimator()) == EMPTY


def test_long_streams_of_quantile_python_are_scaled() -> None:
    """Its rank errors stay; further values can be merged."""
    rand = random.Random(4)  # noqa: S311 - no secret
    theirs = PackageEstimator(*USUAL)
    for _ in range(5000):
        theirs.observe(rand.random())
    stream = stream_of(theirs)
    more = merge(stream, [2.0] * 5000, LIMIT)

    assert stream.size == 5000
    assert list(stream.values) == sorted(stream.values)
    assert (stream.min_ranks[-1], list(stream.min_ranks)) == (5000, sorted(stream.min_ranks))
    assert more.size == 10_000
    assert estimate(more, 0.99, 0.001) == 2
    assert estimate(more, 0.25, 0) == pytest.approx(0.5, abs=0.1)


def test_the_stream_of_an_estimator_includes_its_buffer() -> None:
    """No value is lost between two merges."""
    ours = Estimator(*USUAL)
    ours.observe(1)
    ours.observe(2)

    assert stream_of(ours).size == 2


@pytest.mark.parametrize("invariant", [(0.5, 0.05), (0.9, 0.01), (0.99, 0.001), (0.25, 0.3)])
def test_of_few_values_each_rank_is_known(invariant: tuple[float, float]) -> None:
    """The estimate has a rank within the error if there is any, else the nearest one above."""
    q, error = invariant
    estimator = Estimator(invariant)
    for count in range(1, 400):
        estimator.observe(count)
        allowed = [
            rank for rank in range(1, count + 1) if abs(rank - q * count) <= error * count + 1e-9
        ]
        wanted = allowed or [max(1, math.ceil(q * count - 1e-9))]
        assert estimator.query(q) in wanted, count


@pytest.mark.parametrize(
    "invariant",
    [(0.5, 1e-12), (1e-12, 0.1), (1 - 1e-12, 0.5), (1e-12, 1e-12), (1 - 1e-12, 1e-12)],
)
def test_the_smallest_errors_hold(invariant: tuple[float, float]) -> None:
    """Smaller ones are refused."""
    q, error = invariant
    estimator = Estimator(invariant)
    count = 3 * BATCH
    for value in range(1, count + 1):
        estimator.observe(value)

    assert abs(estimator.query(q) - q * count) <= max(1, error * count)


def test_a_copy_is_independent() -> None:
    """Neither sees what the other observes."""
    first = Estimator((0.5, 0.01))
    first.observe(1)
    second = copy.copy(first)
    first.observe(2)
    second.observe(7)
    second.observe(8)

    assert (first.count, first.total, first.query(1)) == (2, 3, 2)
    assert (second.count, second.total, second.query(1)) == (3, 16, 8)


def test_a_value_observed_during_a_merge_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For example by a finalizer."""
    made = Estimator((0.5, 0.01))
    made.observe(1)
    uninterrupted = estimator.merge

    def interrupted(*args: Any) -> Any:
        made.observe(2)
        return uninterrupted(*args)

    monkeypatch.setattr(estimator, "merge", interrupted)
    assert made.stream().size == 1
    monkeypatch.undo()

    assert made.stream().size == 2
