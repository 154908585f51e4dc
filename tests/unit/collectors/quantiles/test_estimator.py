"""The estimator: what it keeps, what it answers, and what it refuses."""

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
    estimate,
    limit_of,
    merged,
    patience,
)
from otel_aioprom.collectors.quantiles.estimator import Estimator, stream_of

USUAL = ((0.5, 0.05), (0.9, 0.01), (0.99, 0.001))
LIMIT = limit_of(USUAL)


def full_width(low: float, invariants: tuple[tuple[float, float], ...]) -> float:
    """The highest rank that the promises leave to a neighbour, both as shares of the count."""
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
def test_a_limit_is_never_wider_than_the_promises_leave(
    invariants: tuple[tuple[float, float], ...],
) -> None:
    """It rises without gaps, and at each quantile nearly all of the width is used."""
    lines = limit_of(invariants)
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


def test_without_inner_quantiles_only_the_ends_are_kept() -> None:
    """They are exact, so the quantiles 0 and 1 are."""
    for invariants in ((), ((0.0, 0.01), (1.0, 0.01))):
        stream = EMPTY
        for start in (0, 1000, -500):
            batch = [float(start + number) for number in range(1000)]
            stream = merged(stream, batch, limit_of(invariants))

        assert list(stream.values) == [-500, 1999]
        assert [list(stream.lows), list(stream.highs)] == [[1, 3000], [1, 3000]]
        assert estimate(stream, 0, 0.01) == -500
        assert estimate(stream, 1, 0.01) == 1999


def test_the_ends_are_exact_whatever_comes() -> None:
    """The first rank is that of the least value, the last that of the greatest."""
    rand = random.Random(1)  # noqa: S311 - no secret
    stream = EMPTY
    seen: list[float] = []
    for size in (1, 5, 3000, 1, 2000):
        batch = sorted(rand.gauss(0, 1) for _ in range(size))
        seen += batch
        stream = merged(stream, batch, LIMIT)

        assert (stream.values[0], stream.lows[0], stream.highs[0]) == (min(seen), 1, 1)
        assert (stream.values[-1], stream.lows[-1], stream.highs[-1]) == (
            max(seen),
            len(seen),
            len(seen),
        )


def test_few_values_are_all_kept() -> None:
    """While the allowed error is less than a rank, every answer is exact."""
    stream = EMPTY
    for value in (5.0, 1.0, 3.0, 2.0, 4.0):
        stream = merged(stream, [value], LIMIT)

    assert list(stream.values) == [1, 2, 3, 4, 5]
    assert stream.lows == stream.highs == array("q", [1, 2, 3, 4, 5])


def test_a_merge_leaves_the_stream_as_it_was() -> None:
    """Other threads may be reading it."""
    before = merged(EMPTY, [1.0, 2.0], LIMIT)
    after = merged(before, [3.0], LIMIT)

    assert list(before.values) == [1, 2]
    assert (before.size, after.size) == (2, 3)
    assert list(EMPTY.values) == []


def test_equal_values_take_no_room() -> None:
    """Of each value the first and the last suffice."""
    rand = random.Random(2)  # noqa: S311 - no secret
    stream = EMPTY
    for _ in range(200):
        batch = sorted(rand.choice((1.0, 5.0, 5.0, 9.0)) for _ in range(BATCH))
        stream = merged(stream, batch, LIMIT)

    assert len(stream.values) <= 6
    assert [estimate(stream, q, 0.01) for q in (0.1, 0.5, 0.9)] == [1, 5, 9]


def test_the_rank_of_an_answer_is_the_nearest_one_above() -> None:
    """As everybody expects it of a median of three."""
    estimator = Estimator((0.5, 0.01), (0.25, 0.01))
    for value in (3, 1, 2):
        estimator.observe(value)

    assert estimator.query(0.5) == 2
    assert estimator.query(0.25) == 1
    assert [estimator.query(q) for q in (0, 0.01, 0.34, 0.67, 1)] == [1, 1, 2, 3, 3]


def test_rounding_takes_no_rank_too_many() -> None:
    """0.55 · 100 is a little more than 55 where fractions are binary."""
    estimator = Estimator((0.55, 0.001))
    for value in range(1, 101):
        estimator.observe(value)

    assert 0.55 * 100 > 55
    assert estimator.query(0.55) == 55


def test_the_streams_on_which_the_package_fails() -> None:
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


def test_an_estimator_is_one_of_the_package() -> None:
    """Code that asks for the class, or for the numbers that it keeps, goes on to work."""
    estimator = Estimator((0.5, 0.05))
    estimator.observe(1)
    estimator.observe(Decimal("2.5"))

    assert isinstance(estimator, PackageEstimator)
    assert (estimator._observations, estimator._sum) == (2, 3.5)
    assert (estimator.count, estimator.total) == (2, 3.5)
    assert estimator.invariants == ((0.5, 0.05),)


def test_without_invariants_the_package_decides() -> None:
    """Its default is the median and the 99th percentile."""
    assert Estimator().invariants == ((0.5, 0.01), (0.99, 0.001))


@pytest.mark.parametrize(
    "invariant", [(-0.1, 0.1), (1.1, 0.1), (0.5, 0), (0.5, 1), (math.nan, 0.1), (0.5, math.nan)]
)
def test_invariants_out_of_range_are_refused(invariant: tuple[float, float]) -> None:
    """An error of 0 would mean to keep everything."""
    with pytest.raises(ValueError, match="quantile"):
        Estimator(invariant)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_out_of_range_is_refused(q: float) -> None:
    """There is nothing that it could be."""
    estimator = Estimator((0.5, 0.05))
    estimator.observe(1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimator.query(q)


def test_an_empty_estimator_answers_nan() -> None:
    """It does not raise."""
    assert math.isnan(Estimator((0.5, 0.05)).query(0.5))
    assert math.isnan(estimate(EMPTY, 0.5, 0.1))


def test_nan_has_no_rank() -> None:
    """It is counted and spoils the sum, and the order of all other values stays."""
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


def test_values_wait_for_company() -> None:
    """They are merged when they are enough, and when somebody asks."""
    estimator = Estimator((0.5, 0.05))
    for value in range(BATCH - 1):
        estimator.observe(value)
    assert len(estimator._waiting) == BATCH - 1
    estimator.observe(BATCH)
    assert len(estimator._waiting) == 0
    estimator.observe(0)
    assert estimator.stream().size == BATCH + 1
    assert len(estimator._waiting) == 0


def test_large_streams_wait_longer() -> None:
    """A merge costs as much as there is to walk over."""
    large = Stream(5000, array("d", range(3000)), array("q"), array("q"))
    other = large._replace(size=6000)

    assert patience([EMPTY]) == BATCH
    assert patience([EMPTY, EMPTY]) == BATCH  # which are merged as one
    assert patience([EMPTY, large._replace(values=array("d"))]) == 2 * BATCH
    assert patience([EMPTY, large, large]) == 6_000
    assert patience([large, other]) == 12_000


def test_any_quantile_can_be_asked() -> None:
    """What is no invariant has no promise, but an answer that is near."""
    estimator = Estimator((0.5, 0.01), (0.9, 0.01))
    for value in range(10_000):
        estimator.observe(value)

    assert estimator.query(0.7) == pytest.approx(7000, abs=300)


def test_the_package_s_first_values_are_taken_over_as_they_are() -> None:
    """It keeps up to 511 of them in a list; NaN is left out."""
    theirs = PackageEstimator((0.5, 0.05))
    for value in (4, 1, math.nan, 3, 2):
        theirs.observe(value)
    stream = stream_of(theirs)

    assert list(stream.values) == [1, 2, 3, 4]
    assert list(stream.lows) == list(stream.highs) == [1, 2, 3, 4]
    assert stream.size == 4
    assert theirs._observations == 5


def test_an_empty_one_of_the_package_is_empty() -> None:
    """Asking the package would raise."""
    assert stream_of(PackageEstimator()) == EMPTY


def test_long_streams_of_the_package_are_taken_over_as_they_go() -> None:
    """What it lost is lost; values can be merged with the rest."""
    rand = random.Random(4)  # noqa: S311 - no secret
    theirs = PackageEstimator(*USUAL)
    for _ in range(5000):
        theirs.observe(rand.random())
    stream = stream_of(theirs)
    more = merged(stream, [2.0] * 5000, LIMIT)

    assert stream.size == 5000
    assert list(stream.values) == sorted(stream.values)
    assert (stream.lows[-1], list(stream.lows)) == (5000, sorted(stream.lows))
    assert more.size == 10_000
    assert estimate(more, 0.99, 0.001) == 2
    assert estimate(more, 0.25, 0) == pytest.approx(0.5, abs=0.1)


def test_an_estimator_is_taken_over_with_what_waits() -> None:
    """Nothing is lost between two merges."""
    ours = Estimator(*USUAL)
    ours.observe(1)
    ours.observe(2)

    assert stream_of(ours).size == 2


@pytest.mark.parametrize("invariant", [(0.5, 0.05), (0.9, 0.01), (0.99, 0.001), (0.25, 0.3)])
def test_of_few_values_each_rank_is_known(invariant: tuple[float, float]) -> None:
    """One that is allowed is taken if there is any, else the one nearest above."""
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
def test_the_finest_invariants_hold(invariant: tuple[float, float]) -> None:
    """What is finer is refused."""
    q, error = invariant
    estimator = Estimator(invariant)
    count = 3 * BATCH
    for value in range(1, count + 1):
        estimator.observe(value)

    assert abs(estimator.query(q) - q * count) <= max(1, error * count)


def test_a_copy_is_one_of_its_own() -> None:
    """Neither sees what the other observes."""
    first = Estimator((0.5, 0.01))
    first.observe(1)
    second = copy.copy(first)
    first.observe(2)
    second.observe(7)
    second.observe(8)

    assert (first.count, first.total, first.query(1)) == (2, 3, 2)
    assert (second.count, second.total, second.query(1)) == (3, 16, 8)


def test_what_is_observed_in_the_middle_of_a_merge_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by a finalizer."""
    made = Estimator((0.5, 0.01))
    made.observe(1)
    merge = estimator.merged

    def interrupted(*args: Any) -> Any:
        made.observe(2)
        return merge(*args)

    monkeypatch.setattr(estimator, "merged", interrupted)
    assert made.stream().size == 1
    monkeypatch.undo()

    assert made.stream().size == 2
