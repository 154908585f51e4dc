"""Asynchronous sources: awaited on the service's event loop or on one of their own; late, raising, cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from awaited_sources import BOTH, Awaited, Generated
from oracles import DEADLINE, dropped, family, names_of
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.renderer import render

pytestmark = pytest.mark.usefixtures("others")

SOON = 0.2


async def never() -> list[Any]:
    """Never return."""
    await asyncio.Event().wait()
    return []


@BOTH
async def test_sources_are_awaited_on_the_loop_that_serves(
    registry: CollectorRegistry, kind: type[Awaited]
) -> None:
    """They may return families, collectors and faults."""
    gauge = Gauge("mine", "Of the source.")
    gauge.set({}, 2)
    fault = Fault("untranslatable", "y", "Odd.")

    async def answer() -> list[Any]:
        return [family("x"), gauge, fault]

    source = kind(answer)
    registry.add_source(source)
    gathering = await registry.async_gather(DEADLINE)

    assert names_of(gathering) == ["g", "other", "x", "mine"]
    assert list(gathering.faults) == [fault]
    assert source.loops == [asyncio.get_running_loop()]


@BOTH
@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), RecursionError()])
async def test_a_source_that_raises_is_dropped_alone(
    registry: CollectorRegistry, kind: type[Awaited], error: Exception
) -> None:
    """Also after some items."""

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
async def test_a_source_that_awaits_a_cancelled_future_is_dropped_alone(
    registry: CollectorRegistry, kind: type[Awaited]
) -> None:
    """Neither the request nor the next one is cancelled."""
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
async def test_a_source_has_a_timeout(registry: CollectorRegistry, kind: type[Awaited]) -> None:
    """It is cancelled then, and collected again by the next request."""
    source = kind(never, timeout=0.05)
    registry.add_source(source)
    for number in (1, 2):
        gathering = await registry.async_gather(DEADLINE)
        assert names_of(gathering) == ["g", "other"]
        assert dropped(gathering) == {"late": number}
        assert "no answer within 0.05 s" in gathering.faults[0].message

    assert len(source.loops) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_source_that_raises_a_timeout_error_has_raised(registry: CollectorRegistry) -> None:
    """Its own timeout has not expired."""

    async def answer() -> list[Any]:
        raise asyncio.TimeoutError

    registry.add_source(Awaited(answer))

    assert dropped(await registry.async_gather(DEADLINE)) == {"raised": 1}


async def test_a_late_source_is_collected_once(registry: CollectorRegistry) -> None:
    """Requests with a short timeout drop it; it is in the one after it has returned."""
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


async def test_concurrent_requests_share_a_result(registry: CollectorRegistry) -> None:
    """Ten during a run cost one more run; cancelling one of them cancels no other."""
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


async def test_items_are_validated_in_another_thread(registry: CollectorRegistry) -> None:
    """However many series there are, the event loop is not blocked."""
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


async def test_an_exit_of_an_item_stops_nobody(registry: CollectorRegistry) -> None:
    """The item is dropped alone, since no signal handler has raised the exit."""

    class Exiting(Gauge):
        def family(self) -> MetricFamily:
            raise SystemExit(3)

    async def answer() -> list[Any]:
        return [Exiting("x", "What."), family("fine")]

    registry.add_source(Awaited(answer))

    assert "fine" in names_of(await registry.async_gather(DEADLINE))
