"""Awaited sources: loops that come and go, and answers that make no sense."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from awaited_sources import BOTH, Awaited, Generated, one
from oracles import DEADLINE, FakeSource, dropped, family, names_of
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with something else to show."""
    made = CollectorRegistry()
    Gauge("g", "What.", registry=made).set({}, 1)
    made.add_source(FakeSource(family("other"), name="other"))
    return made


# --- loops that come and go ------------------------------------------------------------


def test_a_source_is_awaited_without_a_loop(registry: CollectorRegistry) -> None:
    """In a thread with a loop of its own."""
    threads: list[threading.Thread] = []

    async def answer() -> list[Any]:
        threads.append(threading.current_thread())
        return [family("x")]

    registry.add_source(Awaited(answer))
    registry.add_source(Generated(answer, name="generated"))

    assert names_of(registry.gather()) == ["g", "other", "x"]
    assert [thread.name for thread in threads] == ["collect awaited", "collect generated"]


async def test_a_source_is_awaited_on_the_loop_of_another_thread(
    registry: CollectorRegistry,
) -> None:
    """The one that served last; in a thread that has a loop, rendering says how to."""
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
        except BaseException as error:  # noqa: BLE001 - told to the test
            bodies.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@BOTH
def test_a_loop_that_ends_in_the_middle_of_an_answer(
    registry: CollectorRegistry, kind: type[Awaited]
) -> None:
    """Whoever waits in another thread gets a response without it; the next one is whole."""
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


def test_a_loop_that_ends_before_it_asks(registry: CollectorRegistry) -> None:
    """Whoever waits in another thread does not wait for ever."""
    source = Awaited(one)
    registry.add_source(source)
    bodies: list[Any] = []
    (feed,) = [each for each in registry._feeds.values() if each._source is source]

    async def serve() -> threading.Thread:
        await registry.async_gather(DEADLINE)
        thread = in_thread(registry, bodies)
        while not feed.flight._next:
            time.sleep(0.001)  # noqa: ASYNC251 - the loop must not run on
        return thread

    thread = asyncio.run(serve())
    thread.join(DEADLINE / 3)
    waits = thread.is_alive()
    render(registry)  # which lets go whoever waits
    thread.join(DEADLINE)

    assert not waits


# --- answers that make no sense --------------------------------------------------------


@pytest.mark.parametrize("answer", [None, 5, [None], ["x"], [family], [5, family("y")]])
@BOTH
async def test_an_answer_that_makes_no_sense_costs_itself(
    registry: CollectorRegistry, kind: type[Awaited], answer: Any
) -> None:
    """Families beside it are shown."""

    async def give() -> Any:
        return answer

    registry.add_source(kind(give))
    gathering = await registry.async_gather(DEADLINE)

    assert names_of(gathering)[:2] == ["g", "other"]
    assert ("y" in names_of(gathering)) == (answer not in (None, 5) and len(answer) == 2)
    assert sum(dropped(gathering).values()) == 1


async def test_a_plain_method_that_gives_a_coroutine_costs_itself(
    registry: CollectorRegistry,
) -> None:
    """Without a warning that nobody has awaited it."""

    class Plain:
        name = "plain"

        def collect(self) -> Any:
            return one()

    registry.add_source(Plain())

    assert dropped(await registry.async_gather(DEADLINE)) in ({}, {"raised": 1})


def test_what_is_found_after_a_collection(registry: CollectorRegistry) -> None:
    """Families of awaited sources, as those of others."""
    source = Awaited(one)
    registry.add_source(source)
    registry.gather()
    found = [each.name for each in registry.get_all()]
    registry.remove_source(source)

    assert found == ["g", "other", "x"]
    with pytest.raises(KeyError):
        registry.get("x")
