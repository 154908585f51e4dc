"""Sources that are awaited: on the loop of whoever serves, or one of their own; late, raising, cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from awaited_sources import BOTH, Awaited, Generated
from oracles import DEADLINE, FakeSource, dropped, family, names_of
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.renderer import render

SOON = 0.2


async def never() -> list[Any]:
    """Do not answer."""
    await asyncio.Event().wait()
    return []


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with something else to show."""
    made = CollectorRegistry()
    Gauge("g", "What.", registry=made).set({}, 1)
    made.add_source(FakeSource(family("other"), name="other"))
    return made


@BOTH
async def test_sources_are_awaited_on_the_loop_that_serves(
    registry: CollectorRegistry, kind: type[Awaited]
) -> None:
    """And their families, collectors and faults are those of any source."""
    gauge = Gauge("mine", "Of the source.")
    gauge.set({}, 2)
    said = Fault("untranslatable", "y", "Odd.")

    async def answer() -> list[Any]:
        return [family("x"), gauge, said]

    source = kind(answer)
    registry.add_source(source)
    gathering = await registry.async_gather(DEADLINE)

    assert names_of(gathering) == ["g", "other", "x", "mine"]
    assert list(gathering.faults) == [said]
    assert source.loops == [asyncio.get_running_loop()]


@BOTH
@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), RecursionError()])
async def test_a_source_that_raises_costs_itself(
    registry: CollectorRegistry, kind: type[Awaited], error: Exception
) -> None:
    """Also half-way."""

    async def answer() -> Iterable[Any]:
        if kind is Awaited:
            raise error
        return [family("x"), error]

    registry.add_source(kind(answer))
    gathering = await registry.async_gather(DEADLINE)

    assert names_of(gathering) == ["g", "other"]
    assert dropped(gathering) == {"raised": 1}


async def cancelled() -> list[Any]:
    """Await what is cancelled."""
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


@BOTH
async def test_a_source_that_awaits_what_is_cancelled_costs_itself(
    registry: CollectorRegistry, kind: type[Awaited]
) -> None:
    """Neither the request nor the next one is."""
    registry.add_source(kind(cancelled))
    for number in (1, 2):
        gathering = await registry.async_gather(DEADLINE)

        assert names_of(gathering) == ["g", "other"]
        assert dropped(gathering) == {"raised": number}


@BOTH
def test_a_cancelled_source_cancels_no_rendering(
    registry: CollectorRegistry, kind: type[Awaited]
) -> None:
    """Where no loop runs."""
    registry.add_source(kind(cancelled))

    assert b"g 1" in render(registry)[0].splitlines()


@BOTH
async def test_a_source_has_its_time(registry: CollectorRegistry, kind: type[Awaited]) -> None:
    """It is cancelled then, and asked anew."""
    source = kind(never, timeout=0.05)
    registry.add_source(source)
    for number in (1, 2):
        gathering = await registry.async_gather(DEADLINE)
        assert names_of(gathering) == ["g", "other"]
        assert dropped(gathering) == {"late": number}
        assert "no answer within 0.05 s" in gathering.faults[0].message

    assert len(source.loops) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_source_whose_own_call_is_late_has_raised(registry: CollectorRegistry) -> None:
    """It has used up none of its time."""

    async def answer() -> list[Any]:
        raise asyncio.TimeoutError

    registry.add_source(Awaited(answer))

    assert dropped(await registry.async_gather(DEADLINE)) == {"raised": 1}


async def test_a_late_source_is_asked_once(registry: CollectorRegistry) -> None:
    """Requests that have no time for it go without; it is in the one after it has answered."""
    go = asyncio.Event()

    async def answer() -> list[Any]:
        await go.wait()
        return [family("x")]

    source = Awaited(answer)
    registry.add_source(source)
    for number in (1, 2, 3):
        assert dropped(await registry.async_gather(SOON)) == {"late": number}
    assert len(source.loops) == 1
    go.set()

    assert names_of(await registry.async_gather(DEADLINE)) == ["g", "other", "x"]


async def test_requests_at_once_share_an_answer(registry: CollectorRegistry) -> None:
    """Ten that come while one is under way cost one more; one that is cancelled takes nobody along."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer() -> list[Any]:
        begun.set()
        await go.wait()
        return [family("x")]

    source = Awaited(answer)
    registry.add_source(source)
    first = asyncio.create_task(registry.async_gather(DEADLINE))
    await begun.wait()
    later = [asyncio.create_task(registry.async_gather(DEADLINE)) for _ in range(10)]
    await asyncio.sleep(0)
    later.pop().cancel()
    first.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert [names_of(each) for each in await asyncio.gather(*later)] == [["g", "other", "x"]] * 9
    assert len(source.loops) == 2


async def test_an_answer_is_looked_at_in_another_thread(registry: CollectorRegistry) -> None:
    """However many series there are, the loop is not held."""
    threads: list[threading.Thread] = []

    class Noting(Gauge):
        def family(self) -> MetricFamily:
            threads.append(threading.current_thread())
            return super().family()

    async def answer() -> list[Gauge]:
        return [Noting("x", "What.")]

    for kind in (Awaited, Generated):
        registry.add_source(kind(answer))
    await registry.async_gather(DEADLINE)

    assert len(threads) == 2
    assert threading.current_thread() not in threads


async def test_an_exit_of_what_is_looked_at_stops_nobody(registry: CollectorRegistry) -> None:
    """It costs itself, and no signal handler has raised it."""

    class Exiting(Gauge):
        def family(self) -> MetricFamily:
            raise SystemExit(3)

    async def answer() -> list[Any]:
        return [Exiting("x", "What."), family("fine")]

    registry.add_source(Awaited(answer))

    assert "fine" in names_of(await registry.async_gather(DEADLINE))
