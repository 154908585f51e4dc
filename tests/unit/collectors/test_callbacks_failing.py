"""Callbacks that fail in unusual ways: a failure affects one value only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from oracles import DEADLINE, until
from otel_aioprom.collectors import Gauge, callbacks
from otel_aioprom.errors import GatherError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render


class Wrong:
    """An object that cannot be converted to a number."""

    def __float__(self) -> float:
        raise RuntimeError("no number after all")


def fail(error: BaseException) -> Callable[[], Any]:
    """Return a function that raises."""

    def function() -> int:
        raise error

    return function


def fail_later(error: BaseException) -> Callable[[], Any]:
    """Return a coroutine function that raises."""

    async def function() -> int:
        await asyncio.sleep(0)
        raise error

    return function


async def wrong() -> Wrong:
    """Return no number."""
    return Wrong()


async def two() -> int:
    """Return two."""
    return 2


UNUSUAL = [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]


@pytest.mark.parametrize("error", UNUSUAL, ids=repr)
async def test_an_exit_of_a_plain_function_stops_no_other(
    registry: CollectorRegistry, gauge: Gauge, error: BaseException
) -> None:
    """The callbacks after it are called too."""
    gauge.set_function({"f": "bad"}, fail(error))
    gauge.set_function({"f": "one"}, lambda: 1)
    faults = (await registry.async_gather(DEADLINE)).faults

    assert [(fault.cause, fault.lost) for fault in faults] == [("raised", True)]
    assert gauge.get_all() == [({"f": "one"}, 1)]


@pytest.mark.parametrize("error", UNUSUAL[:2], ids=repr)
def test_a_signal_handler_ends_the_program(
    registry: CollectorRegistry, gauge: Gauge, error: BaseException
) -> None:
    """In the main thread an exit may come from one, and propagates."""
    gauge.set_function({"f": "bad"}, fail(error))
    with pytest.raises(type(error)):
        registry.gather()
    gauge.set_function({"f": "bad"}, lambda: 1)
    registry.gather()

    assert gauge.get({"f": "bad"}) == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError(), asyncio.TimeoutError()], ids=repr)
async def test_an_end_of_a_coroutine_function_stops_no_other(
    registry: CollectorRegistry, gauge: Gauge, error: BaseException
) -> None:
    """A ``TimeoutError`` of its own is no timeout of the call."""
    gauge.set_function({"f": "bad"}, fail_later(error))
    gauge.set_function({"f": "wrong"}, wrong)
    gauge.set_function({"f": "two"}, two)
    faults = (await registry.async_gather(DEADLINE)).faults

    assert [(fault.cause, fault.lost) for fault in faults] == [("raised", True)] * 2
    assert type(error).__name__ in faults[0].message
    assert "no number after all" in faults[1].message
    assert gauge.get_all() == [({"f": "two"}, 2)]


async def test_each_failing_callback_is_logged_once(
    registry: CollectorRegistry, gauge: Gauge, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has a line of its own, though cause and collector are the same; repetitions are not logged."""
    for name in ("a", "b"):
        gauge.set_function({"f": name}, fail(ValueError(name)))
    for _ in range(3):
        await registry.async_gather(DEADLINE)

    assert [record.message.partition(" failed")[0] for record in caplog.records] == [
        f"x: the function for {{'f': '{name}'}}" for name in ("a", "b")
    ]


async def test_two_registries_may_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one exposes the last value; a call that hangs is late for both."""
    now = 100.0
    monkeypatch.setattr(callbacks, "monotonic", lambda: now)
    one, other = CollectorRegistry(), CollectorRegistry()
    gauge = Gauge("x", "What.", registry=one)
    other.register(gauge)
    begun, go = threading.Event(), threading.Event()

    def held() -> int:
        begun.set()
        assert go.wait(DEADLINE)
        return 2

    gauge.set({}, 1)
    gauge.set_function({}, held, timeout=5)
    first = asyncio.create_task(one.async_gather(DEADLINE))
    assert await asyncio.to_thread(begun.wait, DEADLINE)
    assert not (await other.async_gather(DEADLINE)).faults
    assert gauge.get() == 1
    now += 5
    late = (await other.async_gather(DEADLINE)).faults
    assert [fault.cause for fault in late] == ["late"]
    go.set()

    assert not (await first).faults
    assert gauge.get() == 2


async def test_a_child_process_calls_what_hung_in_its_parent(
    registry: CollectorRegistry, gauge: Gauge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that called it does not exist in the child."""
    begun, go = threading.Semaphore(0), threading.Event()

    def held() -> int:
        begun.release()
        assert go.wait(DEADLINE)
        return 2

    gauge.set_function({}, held)
    await registry.async_gather(0.05)
    assert begun.acquire(timeout=DEADLINE)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            asked = asyncio.create_task(registry.async_gather(DEADLINE))
            assert await asyncio.to_thread(begun.acquire, timeout=DEADLINE)
    finally:
        go.set()

    assert not (await asked).faults
    await until(lambda: gauge.get_all() == [({}, 2)])


@pytest.mark.parametrize(
    "function", [fail(KeyError()), fail_later(KeyError())], ids=["plain", "awaited"]
)
async def test_a_value_that_was_never_returned_is_lost(
    registry: CollectorRegistry, gauge: Gauge, function: Callable[[], Any]
) -> None:
    """A response can be refused for it; once there is a value, it stays."""
    gauge.set_function({"f": "1"}, function)
    before = await registry.async_gather(DEADLINE)
    gauge.set({"f": "1"}, 3)
    after = await registry.async_gather(DEADLINE)

    with pytest.raises(GatherError, match="failed: KeyError"):
        before.raise_if_lost()
    after.raise_if_lost()
    assert [fault.lost for fault in after.faults] == [False]
    assert b'otel_aioprom_dropped_total{cause="raised"} 1' in render(registry)[0]
