"""Summaries: streaming quantiles beside count and sum."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from quantile import Estimator

from otel_aioprom.summary import SummaryPoint, SummarySeries, check_invariants

INVARIANTS = ((0.5, 0.05), (0.9, 0.01))


def series() -> SummarySeries:
    """A bound series without labels."""
    return SummarySeries((), (), " ", INVARIANTS)


def test_invariants_become_sorted_pairs_of_floats() -> None:
    """Their order is that of the quantiles."""
    assert check_invariants([(0.9, 0.01), [0.5, 0.05]]) == ((0.5, 0.05), (0.9, 0.01))  # type: ignore[list-item]
    assert check_invariants([]) == ()


@pytest.mark.parametrize(
    "invariants",
    [[(0, 0.1)], [(1, 0.1)], [(0.5, 0)], [(0.5, 1)], [(math.nan, 0.1)], [(0.5, 0.1), (0.5, 0.2)]],
)
def test_invariants_out_of_range_are_refused(invariants: Any) -> None:
    """Quantiles and errors lie between 0 and 1, and no quantile comes twice."""
    with pytest.raises(ValueError, match="quantile"):
        check_invariants(invariants)


def test_an_empty_series_has_no_estimates() -> None:
    """NaN is what the formats want there."""
    found = series().get()

    assert [math.isnan(found[quantile]) for quantile, _ in INVARIANTS] == [True, True]
    assert (found["count"], found["sum"]) == (0, 0)


def test_count_sum_and_estimates_follow_each_value() -> None:
    """``add`` is ``observe``; labels and text are kept."""
    made = SummarySeries(("a",), ("1",), '{a="1"} ', INVARIANTS)
    made.observe(4)
    made.add(Decimal(4))

    assert made.get() == {0.5: 4, 0.9: 4, "count": 2, "sum": 8}
    assert made.quantiles() == [(0.5, 4), (0.9, 4)]
    assert (made.pairs, made.text) == ((("a", "1"),), '{a="1"} ')


def test_nan_counts_and_spoils_the_sum_only() -> None:
    """It has no rank, so no quantile sees it."""
    made = series()
    for value in (1, math.nan, 1):
        made.observe(value)
    found = made.get()

    assert (found[0.5], found["count"]) == (1, 3)
    assert math.isnan(found["sum"])


@pytest.mark.parametrize("value", [True, False, "1", None])
def test_what_is_no_number_changes_nothing(value: Any) -> None:
    """A ``bool`` is no number here."""
    made = series()
    with pytest.raises(TypeError, match="number"):
        made.observe(value)

    assert made.get()["count"] == 0


def test_many_values_reach_the_estimator() -> None:
    """Those that wait are handed over in time, and all are there for who asks."""
    made = series()
    values = [float(value * 777 % 2000) for value in range(2000)]  # in no order
    for value in values:
        made.observe(value)
    waiting = len(made._pending)
    estimate = dict(made.quantiles())

    assert waiting < 1000
    assert len(made._pending) == 0
    assert made.estimator._observations == made.count == 2000
    assert 0 <= estimate[0.5] < estimate[0.9] <= 2000


def test_a_value_is_taken_while_somebody_reads() -> None:
    """Who records never waits for the lock of those who ask for quantiles."""
    made = series()
    with made._lock:
        for value in range(2000):
            made.observe(value)

    assert made.count == 2000
    assert made.estimator._observations == 2000


def test_an_estimator_can_be_loaded() -> None:
    """Everything starts over from it, what waited included."""
    made = series()
    made.observe(100)
    estimator = Estimator(*INVARIANTS)
    for value in (1, 2, 3):
        estimator.observe(value)
    made.load(estimator)

    assert made.estimator is estimator
    assert (made.count, made.total) == (3, 6)
    made.observe(4)
    assert (made.get()["count"], made.get()["sum"]) == (4, 10)


def test_a_point_gives_what_it_was_given() -> None:
    """A summary worked out elsewhere is shown as it came."""
    point = SummaryPoint(("a",), ("1",), '{a="1"} ', 3, 6.5, [(0.5, 2.0)])

    assert list(point.quantiles()) == [(0.5, 2.0)]
    assert (point.count, point.total, point.pairs) == (3, 6.5, (("a", "1"),))
