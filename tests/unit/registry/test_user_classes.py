"""Collectors and sources of user classes: whatever their methods do, they are dropped alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from awaited_sources import Awaited, one
from oracles import DEADLINE, FakeSource, family, names_of, number
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Gauge
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry.gathering import Gathering
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.renderer import render


class Custom(Gauge):
    """A collector that overrides ``get_all``."""

    def get_all(self) -> list[Any]:
        """Return what is stored."""
        return super().get_all()


async def in_threads(registry: CollectorRegistry) -> Gathering:
    """Collect with a deadline, from a thread without a loop."""
    return await asyncio.to_thread(registry.gather, DEADLINE)


async def on_the_loop(registry: CollectorRegistry) -> Gathering:
    """Collect on the running event loop."""
    return await registry.async_gather(DEADLINE)


async def alone(registry: CollectorRegistry) -> Gathering:
    """Collect in one thread."""
    return await asyncio.to_thread(registry.gather)


WAYS = pytest.mark.parametrize("gather", [in_threads, on_the_loop, alone])


def value_of(gathering: Gathering, name: str) -> Any:
    """The value of the only series of a family."""
    (found,) = [each for each in gathering.families if each.name == name]
    return found.series[0].value  # type: ignore[attr-defined]


# --- get_all -------------------------------------------------------------------------------


@WAYS
async def test_callbacks_are_called_before_get_all(
    registry: CollectorRegistry, gather: Any
) -> None:
    """So that each collection exposes what they have returned for it."""
    custom = Custom("x", "What.", registry=registry)
    begun, calls = threading.Event(), []

    def callback() -> int:
        calls.append(1)
        begun.wait(0.05)  # longer than get_all takes
        return len(calls)

    custom.set_function({}, callback)

    assert [value_of(await gather(registry), "x") for _ in range(3)] == [1, 2, 3]


async def test_no_other_source_waits_for_those_callbacks(registry: CollectorRegistry) -> None:
    """They are collected at once."""
    custom = Custom("x", "What.", registry=registry)
    begun = threading.Event()
    custom.set_function({}, lambda: begun.wait(DEADLINE))

    class Source:
        name = "source"

        def collect(self) -> list[MetricFamily]:
            begun.set()
            return [family("y")]

    registry.add_source(Source())
    gathering = await registry.async_gather(DEADLINE)

    assert value_of(gathering, "x") == 1
    assert gathering.faults == []


@WAYS
async def test_an_asynchronous_get_all_is_a_fault(registry: CollectorRegistry, gather: Any) -> None:
    """Which says why, and no coroutine is left unawaited."""

    class Awaiting(Gauge):
        async def get_all(self) -> list[Any]:  # type: ignore[override]
            return []

    registry.register(Awaiting("x", "What."))
    (fault,) = (await gather(registry)).faults

    assert "get_all returned a coroutine" in fault.message


# --- methods of collectors -------------------------------------------------------------------


def failing(*_: Any) -> Any:
    """Raise."""
    raise RuntimeError("no")


def returning(garbage: object) -> Callable[..., Any]:
    """Return a method that returns garbage."""
    return lambda *_: garbage


METHODS = ["pre_collect_hooks", "family", "count_overflows"]
BAD = [failing, returning(None), returning("garbage"), returning([5]), returning(object())]


@WAYS
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", BAD)
async def test_an_invalid_method_drops_its_collector_alone(
    registry: CollectorRegistry, gather: Any, method: str, bad: Any
) -> None:
    """Others are exposed."""
    cls: Any = type("Odd", (Gauge,), {method: bad})
    registry.register(cls("x", "What."))
    Gauge("good", "What.", registry=registry).set({}, 1)

    assert value_of(await gather(registry), "good") == 1


def test_a_family_of_another_name_is_dropped(registry: CollectorRegistry) -> None:
    """It may be that of another collector."""

    class Thief(Gauge):
        def family(self) -> MetricFamily:
            return family("good", number(5))

    registry.register(Thief("x", "What."))
    Gauge("good", "What.", registry=registry).set({}, 1)
    gathering = registry.gather()

    assert value_of(gathering, "good") == 1
    assert "its family is called 'good'" in gathering.faults[0].message


def test_a_subclass_that_overrides_nothing_is_exposed_as_it_is(registry: CollectorRegistry) -> None:
    """Its series are live."""

    class Mine(Gauge):
        pass

    mine = Mine("x", "What.", registry=registry)
    mine.set({}, 1)
    (exposed,) = [each for each in registry.gather().families if each.name == "x"]

    assert exposed.series[0] is mine.labels({})


# --- timeouts ------------------------------------------------------------------------------


class Forgetful(Awaited):
    """A source whose timeout is invalid after the first look."""

    bad: Any = None
    reads = 0

    @property
    def timeout(self) -> Any:
        """Return a valid one once."""
        self.reads += 1
        if self.reads == 1:
            return DEADLINE
        if isinstance(self.bad, BaseException):
            raise self.bad
        return self.bad


@WAYS
@pytest.mark.parametrize("bad", ["soon", None, -1, RuntimeError("no time")], ids=repr)
async def test_an_invalid_timeout_drops_its_source_alone(
    registry: CollectorRegistry, gather: Any, bad: Any
) -> None:
    """Others are exposed."""
    source = Forgetful(one)
    source.bad = bad
    registry.add_source(source)
    registry.add_source(FakeSource(family("good")))
    gathering = await gather(registry)

    assert names_of(gathering) == ["good"]
    assert "its timeout is invalid" in gathering.faults[0].message


@pytest.mark.parametrize("long", [inf, 1e10, 1e300])
def test_timeouts_have_no_upper_limit(registry: CollectorRegistry, long: float) -> None:
    """Longer than a thread or an event loop can wait."""
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    meter = MeterProvider([reader]).get_meter("m")

    async def two() -> int:
        return 2

    observer = observe_async(meter, "gauge", "observed", two, timeout=long, max_age=long)
    Gauge("asked", "What.", registry=registry).set_function({}, two, timeout=long)
    registry.add_source(Awaited(one, timeout=long))
    gatherings = [
        registry.gather(),
        registry.gather(long),
        asyncio.run(registry.async_gather(long)),
    ]

    assert [sorted(names_of(each)) for each in gatherings] == [["asked", "observed", "x"]] * 3
    assert b"observed" in render(registry)[0]
    del observer
