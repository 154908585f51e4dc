"""Exits that come out of code that is awaited: in the main thread they may be a signal handler's, elsewhere nobody's."""

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
    """A coroutine function that raises as long as there is an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    async def __call__(self) -> int:
        """Return one."""
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return 1


def ask_function(registry: CollectorRegistry, failing: Failing) -> object:
    """A value is asked from it."""
    gauge = Gauge("bad", "What.", registry=registry)
    gauge.set_function({}, failing)
    return gauge


def ask_source(registry: CollectorRegistry, failing: Failing) -> object:
    """A source awaits it."""

    async def answer() -> list[Any]:
        gauge = Gauge("bad", "What.")
        gauge.set({}, await failing())
        return [gauge]

    source = Awaited(answer)
    registry.add_source(source)
    return source


def ask_generator(registry: CollectorRegistry, failing: Failing) -> object:
    """An asynchronous generator awaits it."""

    class Source(Generated):
        async def collect(self) -> AsyncIterator[Any]:  # type: ignore[override]
            gauge = Gauge("bad", "What.")
            gauge.set({}, await failing())
            yield gauge

    async def nothing() -> None:
        """Answer for nothing."""

    source = Source(nothing)
    registry.add_source(source)
    return source


def ask_observer(registry: CollectorRegistry, failing: Failing) -> object:
    """An observable instrument awaits it."""
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    return observe_async(MeterProvider([reader]).get_meter("m"), "gauge", "bad", failing)


Ask = Callable[[CollectorRegistry, Failing], object]
WAYS = pytest.mark.parametrize("ask", [ask_function, ask_source, ask_generator, ask_observer])


@EXITS
@WAYS
def test_in_another_thread_an_exit_costs_what_raises_it(
    registry: CollectorRegistry, ask: Ask, error: BaseException
) -> None:
    """The loop goes on, and so does the collection."""
    failing = Failing(error)
    found: list[list[str]] = []

    async def serve() -> None:
        found.append(names_of(await registry.async_gather(DEADLINE)))
        found.append(names_of(await registry.async_gather(DEADLINE)))
        failing.error = None
        found.append(names_of(await registry.async_gather(DEADLINE)))

    kept = ask(registry, failing)
    Gauge("good", "What.", registry=registry).set({}, 1)
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    thread.join(DEADLINE)

    assert [sorted(each) for each in found] == [["good"], ["good"], ["bad", "good"]]
    del kept


@EXITS
@WAYS
def test_in_the_main_thread_an_exit_goes_on(
    registry: CollectorRegistry, ask: Ask, error: BaseException
) -> None:
    """The program is to end; if it does not, everything is asked again."""
    failing = Failing(error)
    kept = ask(registry, failing)
    with pytest.raises(type(error)):
        asyncio.run(registry.async_gather(DEADLINE))
    failing.error = None

    assert names_of(asyncio.run(registry.async_gather(DEADLINE))) == ["bad"]
    del kept
