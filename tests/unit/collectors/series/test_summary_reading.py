"""Reading summaries without recording: rotation by the clock, and cached estimates."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import Summary
from otel_aioprom.collectors.quantiles.ckms import BATCH
from otel_aioprom.collectors.quantiles.estimator import Estimator
from otel_aioprom.collectors.series.summary import SummarySeries

STEP = 20.0
READERS: list[Callable[[SummarySeries], float]] = [
    lambda child: child.quantiles()[0][1],
    lambda child: child.query(0.5),
    lambda child: child.get()[0.5],
]


def windowed(clock: ManualClock) -> Summary:
    """A summary with a window of three steps."""
    return Summary(
        "x", "What.", invariants=[(0.5, 0.05)], max_age=3 * STEP, age_buckets=3, clock=clock
    )


@pytest.mark.parametrize("read", READERS, ids=["quantiles", "query", "get"])
def test_reading_follows_a_clock_that_jumps_back(read: Callable[[SummarySeries], float]) -> None:
    """The step restarts, and values stay for the window and a step at most."""
    clock = ManualClock(1e6)
    child = windowed(clock).labels({})
    child.observe(1.0)
    clock.now = 0.0
    assert read(child) == 1.0
    for steps in (1, 2):
        clock.now = steps * STEP
        assert read(child) == 1.0
    clock.now = 3 * STEP

    assert math.isnan(read(child))
    assert child.snapshot() == (1, 1.0)


@pytest.mark.parametrize("read", READERS, ids=["quantiles", "query", "get"])
def test_reading_rotates_the_window(read: Callable[[SummarySeries], float]) -> None:
    """Values expire at the end of their window without recording."""
    clock = ManualClock(50.0)
    child = windowed(clock).labels({})
    child.observe(1.0)
    clock.now += 3 * STEP - 1
    assert read(child) == 1.0
    clock.now += 1

    assert math.isnan(read(child))


def estimator_of(value: float, count: int) -> Estimator:
    """An estimator with one value, observed ``count`` times."""
    estimator = Estimator((0.5, 0.05))
    for _ in range(count):
        estimator.observe(value)
    return estimator


@pytest.mark.parametrize("max_age", [60.0, None])
@pytest.mark.parametrize("count", [1, 3, BATCH])
def test_estimates_after_a_load_are_those_of_the_loaded_values(
    count: int, max_age: float | None
) -> None:
    """Though estimates of as many values were cached before."""
    summary = Summary("x", "What.", invariants=[(0.5, 0.05)], max_age=max_age)
    for _ in range(count):
        summary.observe({}, 1.0)
    assert summary.get({})[0.5] == 1.0
    summary.set_value({}, estimator_of(2.0, count))

    assert summary.get({}) == {0.5: 2.0, "count": count, "sum": 2.0 * count}
    summary.set_value({}, estimator_of(0.0, 0))
    assert math.isnan(summary.get({})[0.5])


def test_a_load_frees_the_old_values() -> None:
    """The cached estimates do not refer to them."""
    summary = Summary("x", "What.", invariants=[(0.5, 0.05)], max_age=None)
    for value in range(2 * BATCH):
        summary.observe({}, value)
    child = summary.labels({})
    child.quantiles()
    values = weakref.ref(child._streams[0].values)
    assert len(values() or ()) > 1
    summary.set_value({}, estimator_of(1.0, 1))
    gc.collect()

    assert values() is None
