"""Observable instruments of coroutine functions that go wrong in odd ways."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from oracles import DEADLINE, until
from otel_aioprom.otel import async_observer
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render


def a_meter() -> Any:
    """A meter whose reader awaits nothing."""
    return MeterProvider([InMemoryMetricReader()]).get_meter("m")


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()], ids=repr)
async def test_whatever_ends_a_callback_is_logged_once(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancellation of its own making too, and that it works again."""
    caplog.set_level(logging.INFO)
    failing = True

    async def callback() -> int:
        if failing:
            raise error
        return 1

    observer = observe_async(a_meter(), "gauge", "x", callback, max_age=1000)
    for _ in range(3):
        await asyncio.wait_for(observer.refresh(), DEADLINE)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("otel_aio")]
    assert told == [f"callbacks of x fail: {error!r}"]
    failing = False
    await asyncio.wait_for(observer.refresh(), DEADLINE)

    assert "callbacks of x work again, after" in caplog.text


async def test_a_callback_that_fails_for_many_at_once_has_failed_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Concurrent callers share one call."""
    caplog.set_level(logging.INFO)
    gate, calls = asyncio.Event(), []

    async def callback() -> int:
        calls.append(1)
        if len(calls) == 1:  # the others ask meanwhile
            await gate.wait()
        if len(calls) == 2:
            raise asyncio.CancelledError
        return 1

    observer = observe_async(a_meter(), "gauge", "x", callback, max_age=1000)
    await until(lambda: calls == [1])
    asking = [asyncio.create_task(observer.refresh()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait_for(asyncio.gather(*asking), DEADLINE)
    await asyncio.wait_for(observer.refresh(), DEADLINE)

    assert calls == [1, 1, 1]
    assert "after 1 that failed" in caplog.text


async def test_a_rejected_instrument_leaves_no_observer() -> None:
    """No task, and nothing that a service awaits."""
    before = asyncio.all_tasks()

    class Refusing:
        create_observable_counter = create_observable_up_down_counter = None

        def create_observable_gauge(self, *_: Any, **__: Any) -> None:
            raise ValueError("no instrument of this name")

    async def callback() -> int:
        return 1

    known = len(async_observer._observers)
    meter: Any = Refusing()
    with pytest.raises(ValueError, match="no instrument of this name"):
        observe_async(meter, "gauge", "x", callback)

    assert asyncio.all_tasks() == before
    assert len(async_observer._observers) <= known


async def test_collections_without_a_new_value_are_counted() -> None:
    """By the instrument, as those of functions are by their collector; the value before stands."""
    registry = CollectorRegistry()
    meter = MeterProvider([PrometheusMetricReader(registry=registry)]).get_meter("m")
    values: list[Any] = [5, KeyError("no"), KeyError("no"), 7]

    async def callback() -> int:
        value = values.pop(0)
        if isinstance(value, Exception):
            raise value
        return int(value)

    observe_async(meter, "gauge", "x", callback)
    texts = [(await async_render(registry))[0].decode() for _ in range(4)]
    shown = [line for text in texts for line in text.splitlines() if line.startswith("x{")]
    counted = [
        line.rpartition(" ")[2]
        for line in texts[-1].splitlines()
        if line.startswith('otel_aioprom_source_failures_total{cause="raised",source="x"}')
    ]

    assert [line.rpartition(" ")[2] for line in shown] == ["5", "5", "5", "7"]
    assert counted == ["2"]
    assert "otel_aioprom_dropped_total" not in texts[-1]


def test_a_callback_that_wants_arguments_is_refused() -> None:
    """As the SDK's own callbacks do."""

    async def callback(_options: object) -> int:
        return 1

    with pytest.raises(TypeError, match="must have no parameters"):
        observe_async(a_meter(), "gauge", "x", callback)  # type: ignore[arg-type]
    observe_async(a_meter(), "gauge", "x", lambda given=1: asyncio.sleep(0, given))


async def test_a_callback_that_never_returned_counts_as_lost() -> None:
    """A response can be refused for it; once there is a value, that one stands for its time."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("m")
    answers: list[Any] = [None, 3, None]

    async def callback() -> Any:
        return answers.pop(0)

    with observe_async(meter, "gauge", "x", callback, max_age=DEADLINE):
        gatherings = [await registry.async_gather(DEADLINE) for _ in range(3)]

    assert [[fault.lost for fault in each.faults] for each in gatherings] == [[True], [], [False]]
