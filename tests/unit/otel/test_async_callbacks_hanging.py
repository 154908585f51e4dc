"""Callbacks of observable instruments that hang cost themselves: neither other metrics nor memory."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from interruptions import at_every_call
from oracles import DEADLINE, names_of, until
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.async_observer import AsyncObserver
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry


async def hang() -> int:
    """End by cancellation alone."""
    await asyncio.sleep(6 * DEADLINE)
    return 1


class Stubborn:
    """A callback that ignores its cancellation, until it is released."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.calls = 0

    async def __call__(self) -> int:
        """Wait."""
        self.calls += 1
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                continue
        return self.calls


def served() -> tuple[CollectorRegistry, Any]:
    """A registry that a reader fills, and a meter that has counted something."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    meter = MeterProvider([reader]).get_meter("m")
    meter.create_counter("fine").add(1)
    return registry, meter


async def test_a_hanging_callback_is_not_waited_for_again() -> None:
    """The SDK is collected in time, however old the values are."""
    registry, meter = served()
    observers = [
        observe_async(meter, "gauge", f"bad{number}", hang, timeout=DEADLINE, max_age=0.1)
        for number in range(3)
    ]
    gatherings = [await registry.async_gather(0.4) for _ in range(3)]

    assert [names_of(each) for each in gatherings] == [["fine_total"]] * 3
    del observers


def test_a_thread_waits_for_all_callbacks_at_once() -> None:
    """And not for one after the other, so that those that hang cost half of the time together."""
    registry, meter = served()
    observers = [
        observe_async(meter, "gauge", f"bad{number}", hang, timeout=DEADLINE, max_age=0.1)
        for number in range(3)
    ]
    gatherings = [registry.gather(0.6) for _ in range(3)]

    assert [names_of(each) for each in gatherings] == [["fine_total"]] * 3
    del observers


@pytest.mark.parametrize("timeout", [DEADLINE, None])
def test_callbacks_start_together_where_no_loop_runs(timeout: float | None) -> None:
    """Each waits for the others to begin."""
    registry, meter = served()
    begun = threading.Barrier(3)

    async def callback() -> int:
        begun.wait(DEADLINE)
        return 1

    observers = [observe_async(meter, "gauge", f"x{number}", callback) for number in range(3)]

    assert sorted(names_of(registry.gather(timeout))) == ["fine_total", "x0", "x1", "x2"]
    del observers


async def test_a_callback_that_goes_on_when_it_is_cancelled_is_waited_for_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Later collections are quick, leave no tasks behind, and one line tells of it."""
    caplog.set_level(logging.WARNING, "otel_aioprom")
    registry, meter = served()
    stubborn = Stubborn()
    observer = observe_async(meter, "gauge", "bad", stubborn, timeout=0.05)
    try:
        await registry.async_gather(0.2)
        await until(observer._is_hung)
        before = len(asyncio.all_tasks())
        began = time.monotonic()
        gatherings = [await registry.async_gather(DEADLINE) for _ in range(20)]
        assert time.monotonic() - began < DEADLINE / 2
        assert len(asyncio.all_tasks()) == before
    finally:
        stubborn.go.set()

    assert [names_of(each) for each in gatherings] == [["fine_total"]] * 20
    assert caplog.messages == ["callbacks of bad fail: timed out after 0.05 s, and does not end"]
    await until(lambda: observer._flight.busy_for() == 0)
    assert "bad" in names_of(await registry.async_gather(DEADLINE))


async def test_a_reader_of_others_does_not_wait_behind_a_callback_that_hangs() -> None:
    """Its thread exposes the last values."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("m")
    stubborn = Stubborn()
    observer = observe_async(meter, "gauge", "bad", stubborn, timeout=0.5, max_age=0.1)
    try:
        await until(observer._is_hung)
        began = time.monotonic()
        for _ in range(10):
            await asyncio.to_thread(reader.get_metrics_data)
        assert time.monotonic() - began < 5 * 0.5
    finally:
        stubborn.go.set()
    assert stubborn.calls == 1


@pytest.mark.no_cover
async def test_observers_can_be_created_during_a_look_up() -> None:
    """At every call."""
    registry, meter = served()
    made: list[AsyncObserver] = []

    def begin(*_: object) -> None:
        if len(made) < 50:
            made.append(AsyncObserver("y", hang, 0.01, 1))
            made[-1].begin()
            made[-1].close()

    async def callback() -> int:
        return 1

    observer = observe_async(meter, "gauge", "x", callback)
    with at_every_call(begin):
        faults = (await registry.async_gather(DEADLINE)).faults

    assert faults == []
    assert len(made) == 50
    del observer
