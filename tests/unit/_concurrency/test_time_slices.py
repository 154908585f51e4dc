"""Time slices: what all tasks of an event loop may do together between two of its iterations."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import pytest

from oracles import DEADLINE, until
from otel_aioprom._concurrency.time_slices import TimeSlices, time_slices
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import in_pieces


class Iterations:
    """Counts the iterations of the running event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self.count += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def stop(self) -> None:
        """Stop counting."""
        self._handle.cancel()


@contextmanager
def iterations() -> Iterator[Iterations]:
    """Count during the block."""
    counted = Iterations()
    try:
        yield counted
    finally:
        counted.stop()


def work(seconds: float) -> None:
    """Keep the event loop."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


async def use_up(slices: TimeSlices) -> None:
    """Begin a slice, and work to its end."""
    await slices.begin()
    while not slices.over():
        pass


async def test_who_works_alone_waits_for_nobody() -> None:
    """The first slice begins at once, the second in the next iteration."""
    with iterations() as counted:
        slices = TimeSlices()
        await use_up(slices)
        assert counted.count == 0
        await use_up(slices)
        assert counted.count == 1


async def test_an_iteration_has_one_slice() -> None:
    """However many tasks have work to do; each has its part."""
    slices, at = TimeSlices(), []
    with iterations() as counted:

        async def run() -> None:
            for _ in range(4):
                await use_up(slices)
                at.append(counted.count)

        await asyncio.wait_for(asyncio.gather(*[run() for _ in range(10)]), DEADLINE)

    assert len(at) == len(set(at)) == 40


async def test_what_is_left_of_a_slice_is_for_others() -> None:
    """Short work of several tasks shares one."""
    slices, at = TimeSlices(), []
    with iterations() as counted:

        async def run() -> None:
            await slices.begin()
            at.append(counted.count)

        await asyncio.gather(*[run() for _ in range(3)])

    assert len(at) == 3
    assert max(at) <= 1


async def test_slices_come_in_the_order_of_requests() -> None:
    """Nobody is passed over."""
    slices, order = TimeSlices(), []

    async def run(number: int) -> None:
        for _ in range(3):
            await use_up(slices)
            order.append(number)

    await asyncio.wait_for(asyncio.gather(*[run(number) for number in range(5)]), DEADLINE)

    for number in range(5):  # between two slices of a task each other one has two at most
        places = [place for place, each in enumerate(order) if each == number]
        assert max(later - place for place, later in itertools.pairwise(places)) <= 9


@pytest.mark.parametrize("promised", [False, True])
async def test_a_cancelled_task_blocks_nobody(promised: bool) -> None:
    """Also one that was just to have its slice."""
    slices = TimeSlices()
    slices._taken = True  # somebody works, until the test calls ``_next``
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(use_up(slices)) for _ in range(3)]
    await until(lambda: len(slices._waiting) == 3)
    victim = waiting.pop(0)
    if promised:
        slices._next()
    victim.cancel()
    await asyncio.sleep(0)
    if not promised:
        slices._next()
    await asyncio.wait_for(asyncio.gather(*waiting), DEADLINE)

    with pytest.raises(asyncio.CancelledError):
        await victim
    await asyncio.wait_for(use_up(slices), DEADLINE)


def test_each_event_loop_has_its_own() -> None:
    """And is not kept alive by them."""

    async def find() -> tuple[Any, TimeSlices]:
        slices = time_slices()
        await use_up(slices)
        assert slices is time_slices()
        return weakref.ref(asyncio.get_running_loop()), slices

    first, one = asyncio.run(find())
    second, two = asyncio.run(find())
    gc.collect()

    assert one is not two
    assert first() is None
    assert second() is None


def slow_chunks() -> Iterator[bytes]:
    """Twelve milliseconds of encoding."""
    for _ in range(20):
        work(0.0006)
        yield b"x"


async def test_concurrent_responses_share_the_slices() -> None:
    """Twenty of them give the event loop back as often as twenty one after the other."""
    with iterations() as counted:

        async def encode() -> list[bytes]:
            return [piece async for piece in in_pieces(slow_chunks())]

        bodies = await asyncio.gather(*[encode() for _ in range(20)])
        count = counted.count

    assert bodies == [[b"x" * 20]] * 20
    assert count >= 100


async def test_concurrent_collections_share_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each request does itself, after the collection that all share."""
    registry = CollectorRegistry()
    Gauge("g", "", registry=registry).set({}, 1)
    assemble, at = registry._assemble, []
    with iterations() as counted:

        def slow(results: Any) -> Any:
            work(0.0012)
            at.append(counted.count)
            return assemble(results)

        monkeypatch.setattr(registry, "_assemble", slow)
        await asyncio.gather(*[registry.async_gather(DEADLINE) for _ in range(20)])

    assert len(set(at)) == 20
