"""Asynchronous sources: event loops that end, and invalid results."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from awaited_sources import BOTH, Awaited, Generated, one
from oracles import DEADLINE, dropped, family, names_of
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render

pytestmark = pytest.mark.usefixtures("others")

# --- event loops that end ----------------------------------------------------------------


def test_a_source_is_awaited_without_a_loop(registry: CollectorRegistry) -> None:
    """In a thread with an event loop of its own."""
    threads: list[str] = []

    async def answer() -> list[Any]:
        threads.append(threading.current_thread().name)
        return [family("x")]

    registry.add_source(Awaited(answer))
    registry.add_source(Generated(answer, name="generated"))

    assert names_of(registry.gather()) == ["g", "other", "x"]
    assert threads == ["collect awaited", "collect generated"]


async def test_a_source_is_awaited_on_the_loop_of_another_thread(
    registry: CollectorRegistry,
) -> None:
    """The one that was used last; in a thread with an event loop, the fault says to use async_render."""
    source = Awaited(one)
    registry.add_source(source)
    await async_render(registry)
    assert b"x 1" in (await asyncio.to_thread(render, registry))[0].splitlines()
    (fault,) = registry.gather().faults

    assert "use async_render" in fault.message
    assert source.loops == [asyncio.get_running_loop()] * 2


def in_thread(registry: CollectorRegistry, bodies: list[Any]) -> threading.Thread:
    """Render in another thread."""

    def run() -> None:
        try:
            bodies.append(render(registry)[0])
        except BaseException as error:  # noqa: BLE001 - reported to the test
            bodies.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@BOTH
def test_a_loop_that_ends_while_a_source_is_awaited(
    registry: CollectorRegistry, kind: type[Awaited]
) -> None:
    """A caller in another thread gets a response without the source; the next one has it."""
    begun = threading.Event()
    bodies: list[Any] = []

    async def answer() -> list[Any]:
        if len(source.loops) == 2:
            begun.set()
            await asyncio.Event().wait()
        return [family("x")]

    source = kind(answer)
    registry.add_source(source)

    async def serve() -> threading.Thread:
        await registry.async_gather(DEADLINE)
        thread = in_thread(registry, bodies)
        assert await asyncio.to_thread(begun.wait, DEADLINE)
        return thread

    asyncio.run(serve()).join(DEADLINE)
    (body,) = bodies

    assert isinstance(body, bytes)
    assert b"g 1" in body.splitlines()
    assert b"x 1" in render(registry)[0].splitlines()
    assert b"x 1" in asyncio.run(async_render(registry))[0].splitlines()


def test_a_loop_that_ends_before_the_source_is_awaited(registry: CollectorRegistry) -> None:
    """A caller in another thread does not wait for ever."""
    source = Awaited(one)
    registry.add_source(source)
    bodies: list[Any] = []
    (runner,) = [each for each in registry._runners.values() if each._source is source]

    async def serve() -> threading.Thread:
        await registry.async_gather(DEADLINE)
        thread = in_thread(registry, bodies)
        while not runner.flight._next:
            time.sleep(0.001)  # noqa: ASYNC251 - the loop must not run on
        return thread

    thread = asyncio.run(serve())
    thread.join(DEADLINE / 3)
    waits = thread.is_alive()
    render(registry)  # which releases waiting callers
    thread.join(DEADLINE)

    assert not waits


# --- invalid results ---------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, 5, [None], ["x"], [family], [5, family("y")]])
@BOTH
async def test_an_invalid_result_is_dropped_alone(
    registry: CollectorRegistry, kind: type[Awaited], answer: Any
) -> None:
    """Other families are exposed."""

    async def collect() -> Any:
        return answer

    registry.add_source(kind(collect))
    gathering = await registry.async_gather(DEADLINE)

    assert names_of(gathering)[:2] == ["g", "other"]
    assert ("y" in names_of(gathering)) == (answer not in (None, 5) and len(answer) == 2)
    assert sum(dropped(gathering).values()) == 1


async def test_a_plain_method_that_returns_a_coroutine_is_a_fault(
    registry: CollectorRegistry,
) -> None:
    """Without a warning that it was never awaited."""

    class Plain:
        name = "plain"

        def collect(self) -> Any:
            return one()

    registry.add_source(Plain())

    assert dropped(await registry.async_gather(DEADLINE)) in ({}, {"raised": 1})


def test_look_up_after_a_collection(registry: CollectorRegistry) -> None:
    """Families of asynchronous sources are found as those of others."""
    source = Awaited(one)
    registry.add_source(source)
    registry.gather()
    found = [each.name for each in registry.get_all()]
    registry.remove_source(source)

    assert found == ["g", "other", "x"]
    with pytest.raises(KeyError):
        registry.get("x")
