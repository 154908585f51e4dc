"""Exits raised by awaited user code: in the main thread they may come from a signal handler, elsewhere they cannot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from awaited_sources import Awaited, Generated
from oracles import DEADLINE, names_of
from otel_aioprom.collectors import Gauge
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry

EXITS = pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)


class Failing:
    """A coroutine function that raises if it has an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    async def __call__(self) -> int:
        """Return one."""
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return 1


def by_callback(registry: CollectorRegistry, failing: Failing) -> object:
    """A gauge awaits it."""
    gauge = Gauge("bad", "What.", registry=registry)
    gauge.set_function({}, failing)
    return gauge


def by_source(registry: CollectorRegistry, failing: Failing) -> object:
    """A source awaits it."""

    async def answer() -> list[Any]:
        gauge = Gauge("bad", "What.")
        gauge.set({}, await failing())
        return [gauge]

    source = Awaited(answer)
    registry.add_source(source)
    return source


def by_generator(registry: CollectorRegistry, failing: Failing) -> object:
    """An asynchronous generator awaits it."""

    class Source(Generated):
        async def collect(self) -> AsyncIterator[Any]:  # type: ignore[override]
            gauge = Gauge("bad", "What.")
            gauge.set({}, await failing())
            yield gauge

    async def nothing() -> None:
        """Return nothing."""

    source = Source(nothing)
    registry.add_source(source)
    return source


def by_observer(registry: CollectorRegistry, failing: Failing) -> object:
    """An observable instrument awaits it."""
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    return observe_async(MeterProvider([reader]).get_meter("m"), "gauge", "bad", failing)


Way = Callable[[CollectorRegistry, Failing], object]
WAYS = pytest.mark.parametrize("way", [by_callback, by_source, by_generator, by_observer])


@EXITS
@WAYS
def test_in_another_thread_what_raises_an_exit_is_dropped_alone(
    registry: CollectorRegistry, way: Way, error: BaseException
) -> None:
    """The event loop and the collection go on."""
    failing = Failing(error)
    found: list[list[str]] = []

    async def serve() -> None:
        found.append(names_of(await registry.async_gather(DEADLINE)))
        found.append(names_of(await registry.async_gather(DEADLINE)))
        failing.error = None
        found.append(names_of(await registry.async_gather(DEADLINE)))

    kept = way(registry, failing)
    Gauge("good", "What.", registry=registry).set({}, 1)
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    thread.join(DEADLINE)

    assert [sorted(each) for each in found] == [["good"], ["good"], ["bad", "good"]]
    del kept


@EXITS
@WAYS
def test_in_the_main_thread_an_exit_propagates(
    registry: CollectorRegistry, way: Way, error: BaseException
) -> None:
    """To end the program; if it does not end, the next collection is complete."""
    failing = Failing(error)
    kept = way(registry, failing)
    with pytest.raises(type(error)):
        asyncio.run(registry.async_gather(DEADLINE))
    failing.error = None

    assert names_of(asyncio.run(registry.async_gather(DEADLINE))) == ["bad"]
    del kept
