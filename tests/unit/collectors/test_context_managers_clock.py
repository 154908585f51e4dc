"""Durations by a manual clock: each block and each call has its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from clocks import ManualClock
from oracles import DEADLINE
from otel_aioprom.collectors import Gauge, Histogram, Summary, context_managers
from otel_aioprom.collectors.context_managers import Timer


class BoomError(Exception):
    """What measured code raises."""


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock of timers."""
    made = ManualClock()
    monkeypatch.setattr(context_managers, "perf_counter", made)
    return made


@pytest.fixture
def durations() -> list[float]:
    """Observed durations."""
    return []


@pytest.fixture
def timing(durations: list[float]) -> Timer:
    """A timer that observes them."""
    return Timer(lambda _labels, seconds: durations.append(seconds), {})


def test_nested_blocks_have_each_their_own_duration(
    ticks: ManualClock, durations: list[float], timing: Timer
) -> None:
    """Of one object; the inner one ends first."""
    with timing:
        ticks.now += 1
        with timing:
            ticks.now += 2
            with timing:
                ticks.now += 4
        ticks.now += 8
        with timing:
            ticks.now += 16

    assert durations == [4, 6, 16, 31]


def test_a_block_or_a_call_that_raises_is_timed_too(
    ticks: ManualClock, durations: list[float], timing: Timer
) -> None:
    """And does not affect the next one."""

    @timing
    def fail() -> None:
        ticks.now += 3
        raise BoomError

    with pytest.raises(BoomError):
        fail()
    with pytest.raises(BoomError), timing:
        fail()
    ticks.now += 100
    with timing:
        ticks.now += 5

    assert durations == [3, 3, 3, 5]


async def test_overlapping_calls_of_a_coroutine_function_have_each_their_own_duration(
    ticks: ManualClock, durations: list[float], timing: Timer
) -> None:
    """The one that began first may end first."""
    gates = [asyncio.Event(), asyncio.Event()]

    @timing
    async def work(gate: asyncio.Event) -> None:
        await gate.wait()

    tasks = []
    for gate in gates:
        tasks.append(asyncio.create_task(work(gate)))
        await asyncio.sleep(0)  # until it waits
        ticks.now += 1
    for gate, task in zip(gates, tasks):
        ticks.now += 10
        gate.set()
        await asyncio.wait_for(task, DEADLINE)

    assert durations == [12, 21]


def test_overlapping_generators_have_each_their_own_duration(
    ticks: ManualClock, durations: list[float], timing: Timer
) -> None:
    """From the first step to the end, not from the call."""

    @timing
    def steps() -> Generator[int, None, None]:
        yield 1

    first, second = steps(), steps()
    ticks.now += 100
    next(first)
    ticks.now += 1
    next(second)
    ticks.now += 10
    assert list(first) == []
    ticks.now += 10
    second.close()

    assert durations == [11, 20]


async def test_overlapping_asynchronous_generators_have_each_their_own_duration(
    ticks: ManualClock, durations: list[float], timing: Timer
) -> None:
    """From the first step to the end, not from the call."""

    @timing
    async def steps() -> AsyncGenerator[int, None]:
        yield 1

    first, second = steps(), steps()
    ticks.now += 100
    await anext(first)
    ticks.now += 1
    await anext(second)
    ticks.now += 10
    assert [step async for step in first] == []
    ticks.now += 10
    await second.aclose()

    assert durations == [11, 20]


def test_a_recursive_function_is_timed_call_by_call(
    ticks: ManualClock, durations: list[float], timing: Timer
) -> None:
    """The innermost ends first."""

    @timing
    def down(depth: int) -> None:
        ticks.now += 1
        if depth:
            down(depth - 1)

    down(2)

    assert durations == [1, 2, 3]


MAKERS: list[Callable[[], Any]] = [
    lambda: Histogram("x", "What.", buckets=[5]),
    lambda: Histogram("x", "What.", buckets=[5], native_bucket_factor=1.1),
    lambda: Summary("x", "What.", invariants=[(0.5, 0.01)]),
]


@pytest.mark.parametrize("make", MAKERS, ids=["classic", "native", "summary"])
def test_collectors_observe_durations_by_the_clock(
    make: Callable[[], Any], ticks: ManualClock
) -> None:
    """Each block of its own label set."""
    metric = make()
    for seconds in (2, 7):
        with metric.time({"of": seconds}):
            ticks.now += seconds

    assert [(labels["of"], found["sum"]) for labels, found in metric.get_all()] == [
        ("2", 2),
        ("7", 7),
    ]


def test_a_gauge_has_the_duration_of_the_last_block(ticks: ManualClock) -> None:
    """The one that ended last."""
    gauge = Gauge("x", "What.")
    timing = gauge.time()
    with timing:
        ticks.now += 1
        with timing:
            ticks.now += 2
        assert gauge.get() == 2

    assert gauge.get() == 3
