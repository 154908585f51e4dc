"""Observers end: they are closed, forgotten, or have nobody who reads them any more."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any
from weakref import ref

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader

from oracles import DEADLINE, names_of, until
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.async_observer import AsyncObserver
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry

SHORT = 0.04


class Counted:
    """A callback that tells how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> int:
        """Count."""
        self.calls += 1
        return self.calls


def observed(*readers: MetricReader, **options: Any) -> tuple[AsyncObserver, Counted]:
    """An observer of a provider with some readers."""
    callback = Counted()
    meter = MeterProvider(readers, shutdown_on_exit=False).get_meter("m")
    return observe_async(meter, "gauge", "x", callback, **options), callback


def tasks() -> list[asyncio.Task[Any]]:
    """The background tasks."""
    return [task for task in asyncio.all_tasks() if task.get_name() == "refresh x"]


async def test_a_closed_observer_calls_no_more() -> None:
    """Its instrument has no values, and its task ends; a second time does nothing."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    observer, callback = observed(reader)
    assert names_of(await registry.async_gather(DEADLINE)) == ["x"]
    calls = callback.calls
    observer.close()
    observer.close()
    await until(lambda: not tasks())

    assert names_of(await registry.async_gather(DEADLINE)) == []
    assert callback.calls == calls


async def test_the_end_of_a_block_closes_it() -> None:
    """As for other resources."""
    with observed(InMemoryMetricReader())[0]:
        assert len(tasks()) == 1
    await until(lambda: not tasks())


async def test_a_closed_observer_makes_no_reader_wait() -> None:
    """One of others has no values of it either."""
    reader = InMemoryMetricReader()
    observer, callback = observed(reader)
    observer.close()

    assert await asyncio.to_thread(reader.get_metrics_data) is None
    assert callback.calls == 0


async def test_a_task_keeps_nothing_alive() -> None:
    """A garbage-collected observer calls no more."""
    observer, callback = observed(InMemoryMetricReader(), max_age=SHORT)
    await until(lambda: callback.calls > 1)
    weak = ref(observer)
    del observer
    await until(lambda: gc.collect() >= 0 and not tasks())  # a call under way keeps it

    assert weak() is None


async def test_the_last_reader_takes_the_task_along() -> None:
    """The only one that has collected it."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    observer, _ = observed(reader, max_age=SHORT)
    await registry.async_gather(DEADLINE)
    reader.shutdown()
    await until(lambda: not tasks())

    assert observer._refresh_task is None


async def test_a_reader_leaves_the_task_to_others() -> None:
    """Of ours, or of others."""
    ours, registry = InMemoryMetricReader(), CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    observer, callback = observed(reader, ours, max_age=SHORT)
    await registry.async_gather(DEADLINE)
    await asyncio.to_thread(ours.get_metrics_data)
    reader.shutdown()
    calls = callback.calls
    await until(lambda: callback.calls > calls + 2)

    assert tasks()
    observer.close()


def test_an_observer_may_be_closed_when_its_loop_is(caplog: pytest.LogCaptureFixture) -> None:
    """It has no task any more: the loop has cancelled all, also those that had just begun."""

    async def begin() -> AsyncObserver:
        return observed(InMemoryMetricReader())[0]

    asyncio.run(begin()).close()
    gc.collect()

    assert caplog.messages == []


async def test_failures_after_close_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The resources of the callback may be closed, too."""
    caplog.set_level(logging.WARNING, "otel_aioprom")
    begun, go = asyncio.Event(), asyncio.Event()

    async def callback() -> int:
        begun.set()
        await go.wait()
        raise ConnectionError

    meter = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("m")
    with observe_async(meter, "gauge", "x", callback) as observer:
        asked = asyncio.create_task(observer.refresh())
        await begun.wait()
    go.set()
    await asked

    assert caplog.messages == []
