"""Callbacks: which are allowed, with which labels, and on which event loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render


def note(notes: list[Any], what: object, value: int) -> int:
    """Note a call, and return a value."""
    notes.append(what)
    return value


def in_which_thread(notes: list[threading.Thread]) -> int:
    """Note the thread of a call, and return one."""
    notes.append(threading.current_thread())
    return 1


async def note_loop(loops: list[asyncio.AbstractEventLoop]) -> int:
    """Note the loop of a call, and return the number of calls."""
    loops.append(asyncio.get_running_loop())
    return len(loops)


async def two() -> int:
    """Return two."""
    return 2


# --- arguments -------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [None, 5, "two"])
def test_a_callback_must_be_callable(gauge: Gauge, bad: Any) -> None:
    """At once."""
    with pytest.raises(TypeError, match="a callback must be a function that returns the value"):
        gauge.set_function({}, bad)

    assert gauge.pre_collect_hooks() == []


@pytest.mark.parametrize("bad", [0, -1, float("nan")])
def test_a_timeout_must_be_positive(gauge: Gauge, bad: float) -> None:
    """At once."""
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0"):
        gauge.set_function({}, two, timeout=bad)

    assert gauge.pre_collect_hooks() == []


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ({"a-b": 1}, InvalidLabelsError, "a-b"),
        ({"job": 1}, InvalidLabelsError, "job"),
        ("labels", TypeError, "labels must be a dict"),
    ],
)
def test_labels_of_callbacks_are_checked(
    gauge: Gauge, labels: Any, error: type[Exception], message: str
) -> None:
    """At once, too."""
    with pytest.raises(error, match=message):
        gauge.set_function(labels, two)

    assert gauge.pre_collect_hooks() == []


def test_a_callback_replaces_the_one_before(registry: CollectorRegistry, gauge: Gauge) -> None:
    """Equal label sets have one callback."""
    asked: list[int] = []
    spellings: list[dict[str, object]] = [{"f": 1}, {"f": "1"}, {"f": 1, "g": ""}]
    for number, labels in enumerate(spellings):
        gauge.set_function(labels, partial(note, asked, number, number))
    registry.gather()

    assert asked == [2]
    assert gauge.get({"f": 1}) == 2


def test_labels_are_copied(registry: CollectorRegistry, gauge: Gauge) -> None:
    """One dict may be reused for several callbacks."""
    labels: dict[str, object] = {}
    for number in range(3):
        labels["f"] = number
        gauge.set_function(labels, partial(int, number))
    registry.gather()

    assert gauge.get_all() == [({"f": str(number)}, number) for number in range(3)]
    assert render(registry)[0].count(b"x{") == 3


# --- event loops -----------------------------------------------------------------------


def test_callbacks_are_called_without_a_loop(registry: CollectorRegistry, gauge: Gauge) -> None:
    """Plain functions in the thread that renders, coroutine functions on a loop of their own."""
    threads: list[threading.Thread] = []
    gauge.set_function({"f": "one"}, partial(in_which_thread, threads))
    gauge.set_function({"f": "two"}, two)
    body, _ = render(registry)

    assert {b'x{f="one"} 1', b'x{f="two"} 2'} < set(body.splitlines())
    assert threads == [threading.current_thread()]


async def test_callbacks_are_awaited_on_the_loop_of_another_thread(
    registry: CollectorRegistry, gauge: Gauge
) -> None:
    """The one that served last, if it still runs."""
    loops: list[asyncio.AbstractEventLoop] = []

    gauge.set_function({}, partial(note_loop, loops))
    await async_render(registry)
    body, _ = await asyncio.to_thread(render, registry)

    assert b"x 2" in body.splitlines()
    assert loops == [asyncio.get_running_loop()] * 2


async def test_rendering_on_a_loop_reports_how_to(
    registry: CollectorRegistry, gauge: Gauge
) -> None:
    """Coroutine functions cannot be awaited there; the last values are exposed."""
    gauge.set({}, 1)
    gauge.set_function({}, two)
    (fault,) = registry.gather().faults

    assert "use async_render" in fault.message
    assert b"x 1" in render(registry)[0].splitlines()


async def test_a_closed_loop_is_not_used(registry: CollectorRegistry, gauge: Gauge) -> None:
    """The next loop that serves is, in a process that runs several in a row."""
    loops: list[asyncio.AbstractEventLoop] = []

    gauge.set_function({}, partial(note_loop, loops))

    def serve() -> None:
        asyncio.run(async_render(registry))
        render(registry)
        asyncio.run(async_render(registry))

    await asyncio.to_thread(serve)
    await async_render(registry)

    assert gauge.get() == len(set(loops)) == 4
    assert loops[-1] is asyncio.get_running_loop()


def test_both_registries_of_a_collector_call_its_callbacks() -> None:
    """For each response of either."""
    registries = [CollectorRegistry(), CollectorRegistry()]
    given = list(range(5))
    gauge = Gauge("x", "What.")
    gauge.set_function({}, lambda: given.pop(0))
    for registry in registries:
        registry.register(gauge)
    bodies = [render(registries[number])[0].splitlines()[-1] for number in (0, 1, 0)]

    assert bodies == [b"x 0", b"x 1", b"x 2"]


def test_callbacks_of_a_deregistered_collector_are_not_called(
    registry: CollectorRegistry, gauge: Gauge
) -> None:
    """Another collector of the same name has its own."""
    asked: list[str] = []
    gauge.set_function({}, partial(note, asked, "old", 1))
    registry.gather()
    registry.deregister("x")
    other = Gauge("x", "What.", registry=registry)
    other.set_function({}, partial(note, asked, "new", 2))
    registry.gather()

    assert asked == ["old", "new"]
    assert (gauge.get(), other.get()) == (1, 2)


async def test_concurrent_requests_share_the_calls(
    registry: CollectorRegistry, gauge: Gauge
) -> None:
    """Ten requests that arrive during the calls cost one more call of each callback."""
    begun, go = asyncio.Event(), asyncio.Event()
    calls: list[int] = []

    async def callback() -> int:
        calls.append(1)
        begun.set()
        await go.wait()
        return len(calls)

    gauge.set_function({}, callback)
    first = asyncio.create_task(registry.async_gather(DEADLINE))
    await begun.wait()
    later = [asyncio.create_task(registry.async_gather(DEADLINE)) for _ in range(10)]
    await asyncio.sleep(0)
    go.set()
    gatherings = await asyncio.gather(first, *later)

    assert len(calls) == 2
    assert not any(each.faults for each in gatherings)


def test_a_stopped_loop_leaves_no_call_running(registry: CollectorRegistry, gauge: Gauge) -> None:
    """Though it has cancelled nothing, and is not even closed."""
    calls: list[int] = []

    async def callback() -> int:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(2 * DEADLINE)
        return len(calls)

    gauge.set_function({}, callback, timeout=2 * DEADLINE)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(registry.async_gather(0.05))
    faults = [asyncio.run(registry.async_gather(DEADLINE)).faults for _ in range(2)]
    faults.append(registry.gather().faults)
    unfinished = asyncio.all_tasks(loop)
    for task in unfinished:
        task.cancel()
    loop.run_until_complete(asyncio.wait(unfinished))
    loop.close()

    assert faults == [[], [], []]
    assert gauge.get() == 4
