"""Re-entrancy: sources that collect their own registry are not collected again, and block nobody for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from awaited_sources import Awaited
from oracles import DEADLINE, family, names_of
from otel_aioprom._concurrency.reentrancy import is_reentrant, reentrancy_guard
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Gauge
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render

SHORT = 0.2


class Source:
    """A source that does something before it returns."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self.name = name
        self._act = act

    def collect(self) -> Iterable[MetricFamily]:
        """Do it, and return a family."""
        self._act()
        return [family(self.name)]


class Nested:
    """Collects a registry, blocking or not, and keeps the names of the families."""

    def __init__(self, registry: CollectorRegistry, timeout: float | None = SHORT) -> None:
        self._registry = registry
        self._timeout = timeout
        self.found: list[list[str]] = []

    def gather(self) -> int:
        """In the calling thread, or in others."""
        self.found.append(names_of(self._registry.gather(self._timeout)))
        return len(self.found)

    async def async_gather(self) -> int:
        """On the event loop."""
        self.found.append(names_of(await self._registry.async_gather(SHORT)))
        return len(self.found)


def by_source(registry: CollectorRegistry, nested: Nested) -> object:
    """A plain source collects its registry."""
    source = Source("x", nested.gather)
    registry.add_source(source)
    return source


def by_awaited_source(registry: CollectorRegistry, nested: Nested) -> object:
    """An asynchronous source does."""

    async def answer() -> list[Any]:
        await nested.async_gather()
        return [family("x")]

    source = Awaited(answer)
    registry.add_source(source)
    return source


def by_function(registry: CollectorRegistry, nested: Nested) -> object:
    """A plain callback of a gauge does."""
    gauge = Gauge("x", "What.", registry=registry)
    gauge.set_function({}, nested.gather)
    return gauge


def by_awaited_function(registry: CollectorRegistry, nested: Nested) -> object:
    """A coroutine callback of a gauge does."""
    gauge = Gauge("x", "What.", registry=registry)
    gauge.set_function({}, nested.async_gather)
    return gauge


def by_observer(registry: CollectorRegistry, nested: Nested) -> object:
    """The callback of an observable instrument does."""
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    meter = MeterProvider([reader]).get_meter("m")
    return observe_async(meter, "gauge", "x", nested.async_gather)


@pytest.mark.parametrize(
    "way", [by_source, by_awaited_source, by_function, by_awaited_function, by_observer]
)
async def test_a_source_that_collects_its_own_registry_is_collected_once(
    registry: CollectorRegistry, way: Callable[[CollectorRegistry, Nested], object]
) -> None:
    """In each collection from outside, and never again by itself."""
    nested = Nested(registry)
    Gauge("good", "What.", registry=registry).set({}, 1)
    kept = way(registry, nested)
    first = names_of(await registry.async_gather(DEADLINE))
    await asyncio.sleep(2 * SHORT)  # in which it could collect again
    second = names_of(await registry.async_gather(DEADLINE))

    assert sorted(first) == sorted(second) == ["good", "x"]
    assert len(nested.found) == 2
    assert all("good" in found for found in nested.found)
    del kept


@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_two_sources_that_collect_their_registry_do_not_wait_for_each_other(
    registry: CollectorRegistry, timeout: float | None
) -> None:
    """Each is being collected by another thread."""
    both = threading.Barrier(2)

    def collect() -> None:
        with suppress(threading.BrokenBarrierError):  # only the first two meet
            both.wait(1)
        registry.gather(timeout)

    for name in ("a", "b"):
        registry.add_source(Source(name, collect))
    found: list[list[str]] = []

    def work(seconds: float | None) -> None:
        found.append(names_of(registry.gather(seconds)))

    threads = [
        threading.Thread(target=work, args=(seconds,), daemon=True) for seconds in (None, DEADLINE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE / 2)

    assert not [thread for thread in threads if thread.is_alive()]
    assert [sorted(each) for each in found] == [["a", "b"]] * 2


@pytest.mark.parametrize("timeout", [None, SHORT])
def test_registries_that_collect_each_other_do_not_recurse(timeout: float | None) -> None:
    """In whichever thread a source of the other one is collected."""
    one, other = CollectorRegistry(), CollectorRegistry()
    collected: list[str] = []

    def source(name: str, nested: CollectorRegistry) -> Source:
        def act() -> None:
            collected.append(name)
            nested.gather(timeout)

        return Source(name, act)

    one.add_source(source("one", other))
    other.add_source(source("other", one))
    thread = threading.Thread(target=one.gather, args=(DEADLINE,), daemon=True)
    thread.start()
    thread.join(DEADLINE / 2)

    assert not thread.is_alive()
    assert collected == ["one", "other"]


async def test_what_a_source_has_started_may_collect_after_it_has_returned(
    registry: CollectorRegistry,
) -> None:
    """A task that lives on, or a thread."""
    returned = asyncio.Event()
    bodies: list[bytes] = []

    async def later() -> None:
        await returned.wait()
        bodies.append((await async_render(registry))[0])
        bodies.append(await asyncio.to_thread(lambda: render(registry)[0]))

    started: list[asyncio.Task[None]] = []

    async def answer() -> list[Any]:
        if not started:
            started.append(asyncio.create_task(later()))
        return [family("x")]

    registry.add_source(Awaited(answer))
    await registry.async_gather(DEADLINE)
    returned.set()
    await asyncio.wait_for(started[0], DEADLINE)

    assert [b"x 1" in body for body in bodies] == [True, True]


def test_a_thread_with_the_context_of_a_source_is_refused(
    registry: CollectorRegistry,
) -> None:
    """As the source itself is."""
    faults: list[list[str]] = []

    def collect() -> None:
        context = copy_context()
        found = lambda: faults.append([fault.cause for fault in registry.gather(SHORT).faults])  # noqa: E731
        thread = threading.Thread(target=context.run, args=(found,))
        thread.start()
        thread.join(DEADLINE)

    registry.add_source(Source("x", collect))

    assert names_of(registry.gather()) == ["x"]
    assert faults == [["raised"]]


def test_a_guard_may_end_in_another_context() -> None:
    """Such as that of a coroutine whose loop has stopped, at the garbage collection."""
    context, guarded = copy_context(), object()
    block = reentrancy_guard(guarded)
    context.run(block.__enter__)
    assert context.run(is_reentrant, guarded)
    block.__exit__(None, None, None)

    assert not context.run(is_reentrant, guarded)
