"""Callbacks that hang, and callbacks that are removed with their series."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oracles import DEADLINE, until, wait_until_no_thread_is
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render

SOON = 0.3


class Held:
    """A plain function that blocks until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.calls = 0

    def __call__(self) -> int:
        """Block, and return the number of the call."""
        self.calls += 1
        self.begun.release()
        assert self.go.wait(DEADLINE)
        return self.calls


@pytest.fixture
def held() -> Iterator[Held]:
    """A blocking function that is released at the end of the test."""
    made = Held()
    yield made
    made.go.set()
    wait_until_no_thread_is("collect x")


async def two() -> int:
    """Return two."""
    return 2


def causes(faults: Any) -> list[tuple[str, bool]]:
    """Cause of each fault, and whether a value is lost."""
    return [(fault.cause, fault.lost) for fault in faults]


async def test_a_plain_function_that_hangs_costs_one_collection(
    registry: CollectorRegistry, gauge: Gauge, held: Held
) -> None:
    """The callbacks after it have their values in the next one, and it is not called again meanwhile."""
    gauge.set_function({"f": "held"}, held)
    gauge.set_function({"f": "one"}, lambda: 1)
    gauge.set_function({"f": "two"}, two)
    first = await registry.async_gather(SOON)
    assert causes(first.faults) == [("late", True)]
    assert gauge.get({"f": "two"}) == 2
    second = await registry.async_gather(DEADLINE)
    assert causes(second.faults) == [("late", True)]
    assert gauge.get({"f": "one"}) == 1
    with pytest.raises(KeyError):
        gauge.get({"f": "held"})
    assert held.calls == 1
    held.go.set()
    await until(lambda: len(gauge.get_all()) == 3)

    assert not (await registry.async_gather(DEADLINE)).faults
    assert gauge.get({"f": "held"}) == held.calls == 2


async def test_a_callback_that_hangs_delays_no_other_collector(
    registry: CollectorRegistry, gauge: Gauge, held: Held
) -> None:
    """With or without callbacks."""
    other = Gauge("y", "What.", registry=registry)
    Counter("z_total", "What.", registry=registry).inc()
    gauge.set_function({}, held)
    other.set_function({}, lambda: 1)
    gauge.set({}, 5)
    body, _ = await async_render(registry, timeout=SOON)

    assert {b"x 5", b"y 1", b"z_total 1"} < set(body.splitlines())


async def test_a_coroutine_function_has_a_timeout(
    registry: CollectorRegistry, gauge: Gauge
) -> None:
    """Then it is cancelled, and called again for the next response; the others are not delayed."""
    ended: list[str] = []

    async def slow() -> int:
        try:
            await asyncio.sleep(DEADLINE)
        finally:
            ended.append("slow")
        return 1

    gauge.set({"f": "slow"}, 7)
    gauge.set_function({"f": "slow"}, slow, timeout=0.05)
    gauge.set_function({"f": "two"}, two)
    for _ in range(2):
        gathering = await registry.async_gather(DEADLINE)
        assert causes(gathering.faults) == [("late", False)]
        assert "took more than 0.05 s" in gathering.faults[0].message

    assert ended == ["slow", "slow"]
    assert gauge.get({"f": "slow"}) == 7
    assert gauge.get({"f": "two"}) == 2


async def test_a_coroutine_function_that_ignores_cancellation_costs_one_collection(
    registry: CollectorRegistry, gauge: Gauge
) -> None:
    """It is not called again until it returns."""
    go, calls = asyncio.Event(), []

    async def stubborn() -> int:
        calls.append(1)
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        return 3

    gauge.set_function({"f": "stubborn"}, stubborn, timeout=0.05)
    gauge.set_function({"f": "two"}, two)
    try:
        late = [causes((await registry.async_gather(SOON)).faults) for _ in range(2)]
        assert late == [[("late", True)]] * 2
        assert len(calls) == 1
        assert gauge.get({"f": "two"}) == 2
    finally:
        go.set()
    await until(lambda: len(gauge.get_all()) == 2)

    assert gauge.get({"f": "stubborn"}) == 3


# --- removal ---------------------------------------------------------------------------

REMOVALS: list[Callable[[Gauge], object]] = [
    lambda gauge: gauge.remove({"f": 1}),
    lambda gauge: gauge.clear(),
    lambda gauge: gauge.remove_matching({"f": "1"}),
]
WAYS = ["remove", "clear", "remove_matching"]


@pytest.mark.parametrize("remove", REMOVALS, ids=WAYS)
@pytest.mark.parametrize("function", [two, lambda: 2])
@pytest.mark.parametrize("asked", [True, False])
def test_a_callback_is_removed_with_its_series(
    registry: CollectorRegistry, gauge: Gauge, remove: Any, function: Any, asked: bool
) -> None:
    """Also before it has returned a value."""
    gauge.set_function({"f": "1"}, function)
    if asked:
        registry.gather()
    remove(gauge)
    registry.gather()

    assert gauge.get_all() == []
    assert gauge.pre_collect_hooks() == []


@pytest.mark.parametrize("remove", REMOVALS, ids=WAYS)
async def test_a_callback_removed_during_its_call_stores_nothing(
    registry: CollectorRegistry, gauge: Gauge, held: Held, remove: Any
) -> None:
    """Its return value is dropped."""
    gauge.set({"f": 1}, 5)
    gauge.set_function({"f": 1}, held)
    under_way = asyncio.create_task(registry.async_gather(DEADLINE))
    assert await asyncio.to_thread(held.begun.acquire, timeout=DEADLINE)
    remove(gauge)
    held.go.set()
    await under_way

    assert gauge.get_all() == []


def test_a_series_without_labels_is_removed_with_its_callback_however_it_is_spelled(
    registry: CollectorRegistry, gauge: Gauge
) -> None:
    """A label with an empty value is none."""
    gauge.set_function({"f": ""}, lambda: 1)
    registry.gather()
    gauge.remove({})
    registry.gather()

    assert gauge.get_all() == []


def test_an_unknown_label_set_cannot_be_removed(gauge: Gauge) -> None:
    """With neither a series nor a callback."""
    gauge.set_function({"f": 1}, lambda: 1)
    with pytest.raises(KeyError):
        gauge.remove({"f": 2})

    assert len(gauge.pre_collect_hooks()) == 1


# --- client deadlines ------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
async def test_a_client_deadline_does_not_affect_later_requests(
    registry: CollectorRegistry, gauge: Gauge, held: Held, plain: bool
) -> None:
    """The next request waits for the callback as usual."""

    async def ask() -> int:
        return await asyncio.to_thread(held)

    gauge.set_function({}, held if plain else ask, timeout=DEADLINE)
    for _ in range(3):
        client_deadline = await registry.async_gather(0.02, client_deadline=True)
        assert causes(client_deadline.faults) == [("late", True)]
    patient = asyncio.create_task(registry.async_gather(DEADLINE))
    await asyncio.sleep(0)  # it waits for the next call
    assert await asyncio.to_thread(held.begun.acquire, timeout=DEADLINE)
    held.go.set()

    assert not (await patient).faults
    assert gauge.get() == held.calls == 2


@pytest.mark.parametrize("plain", [True, False])
async def test_requests_with_a_client_deadline_skip_a_callback_that_hangs(
    registry: CollectorRegistry, gauge: Gauge, held: Held, plain: bool
) -> None:
    """After its timeout, the others have their values."""

    async def stubborn() -> int:
        try:
            return await asyncio.to_thread(held)
        except asyncio.CancelledError:
            return await asyncio.to_thread(held)

    gauge.set_function({"f": "held"}, held if plain else stubborn, timeout=0.1)
    gauge.set_function({"f": "one"}, lambda: 1)
    gauge.set_function({"f": "two"}, two)
    hook_runners = registry._hook_runners.values
    await registry.async_gather(0.02, client_deadline=True)
    await until(lambda: any(runner._source.hangs() for runner in hook_runners()))
    await registry.async_gather(0.02, client_deadline=True)
    faults = (await registry.async_gather(DEADLINE, client_deadline=True)).faults

    held.go.set()

    assert causes(faults) == [("late", True)]
    assert "has not returned yet" in faults[0].message
    assert (gauge.get({"f": "one"}), gauge.get({"f": "two"})) == (1, 2)
