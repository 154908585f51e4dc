"""Observable instruments with coroutine functions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from oracles import DEADLINE, until
from otel_aioprom._concurrency import fork_safety
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render


def served() -> tuple[CollectorRegistry, Any]:
    """A registry that a reader fills, and a meter."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry, scope_info_enabled=False)
    return registry, MeterProvider([reader]).get_meter("m")


async def lines(registry: CollectorRegistry, timeout: float = DEADLINE) -> list[str]:
    """Samples of a response, without those of the target."""
    text = (await async_render(registry, timeout=timeout))[0].decode()
    wanted = ("#", "target_info", "otel_aioprom")
    return [line for line in text.splitlines() if not line.startswith(wanted)]


@pytest.mark.parametrize(
    ("kind", "line"), [("gauge", "x 1"), ("counter", "x_total 1"), ("up_down_counter", "x 1")]
)
async def test_a_callback_is_awaited_before_each_collection(kind: Any, line: str) -> None:
    """On the loop that serves."""
    registry, meter = served()
    calls = []

    async def callback() -> int:
        calls.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return len(calls)

    observer = observe_async(meter, kind, "x", callback)
    assert await lines(registry) == [line]
    assert await lines(registry) == [line.replace("1", str(len(calls)))]
    assert set(calls) == {asyncio.get_running_loop()}
    assert len(calls) in (2, 3), observer


async def test_observations_have_attributes() -> None:
    """One, or several."""
    registry, meter = served()

    async def several() -> list[Observation]:
        return [Observation(1, {"a": "1"}), Observation(2.5, {"a": "2"})]

    async def one() -> Observation:
        return Observation(3, {"b": "1"})

    observe_async(meter, "gauge", "x", several, unit="s", description="Time.")
    observe_async(meter, "gauge", "y", one)

    assert await lines(registry) == ['x_seconds{a="1"} 1', 'x_seconds{a="2"} 2.5', 'y{b="1"} 3']


@pytest.mark.parametrize("bad", [KeyError("boom"), "text", True, [1, 2]])
async def test_the_last_values_are_exposed_until_max_age(
    bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it begins to fail, and one when it works again."""
    caplog.set_level(logging.INFO, "otel_aioprom")
    registry, meter = served()
    answers: list[Any] = [5]

    async def callback() -> Any:
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    observer = observe_async(meter, "gauge", "x", callback)
    assert await lines(registry) == ["x 5"]
    answers[0] = bad
    for _ in range(2):
        assert await lines(registry) == ["x 5"]
    observer._updated_at -= 61
    assert await lines(registry) == []
    answers[0] = 6
    assert await lines(registry) == ["x 6"]

    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
    assert "callbacks of x fail" in caplog.messages[0]


async def test_a_callback_that_is_late_costs_itself() -> None:
    """Others are exposed, in time."""
    registry, meter = served()
    hold = asyncio.Event()

    async def late() -> int:
        await hold.wait()
        return 1

    async def fine() -> int:
        return 2

    observe_async(meter, "gauge", "late", late, timeout=DEADLINE)
    observe_async(meter, "gauge", "fine", fine)
    began = asyncio.get_running_loop().time()
    assert await lines(registry, timeout=0.4) == ["fine 2"]
    assert asyncio.get_running_loop().time() - began < DEADLINE
    hold.set()
    await until(lambda: True)
    assert sorted(await lines(registry)) == ["fine 2", "late 1"]


async def test_its_own_time_ends_it() -> None:
    """It is cancelled then."""
    registry, meter = served()
    cancelled = []

    async def late() -> int:
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise
        return 1

    observe_async(meter, "gauge", "x", late, timeout=0.02)

    assert await lines(registry) == []
    await until(lambda: bool(cancelled))


async def test_without_our_service_a_task_refreshes() -> None:
    """Another reader, in a thread or on the loop, gets what is not too old."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("m")
    calls = []

    async def callback() -> int:
        calls.append(1)
        return len(calls)

    observe_async(meter, "gauge", "x", callback, max_age=0.1)
    await until(lambda: len(calls) >= 4)

    def value() -> Any:
        data: Any = reader.get_metrics_data()
        return data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].value

    assert value() >= 4
    assert await asyncio.to_thread(value) >= 4


def test_without_a_loop_the_readers_thread_waits() -> None:
    """In a loop of its own."""
    registry, meter = served()

    async def callback() -> int:
        await asyncio.sleep(0)
        return 7

    observe_async(meter, "gauge", "x", callback)

    assert b"\nx 7\n" in render(registry)[0]


async def test_a_loop_that_waits_for_the_thread_is_not_waited_for() -> None:
    """The collection times out."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("m")

    async def callback() -> int:
        return 7

    observer = observe_async(meter, "gauge", "x", callback, timeout=0.05)
    await observer.refresh()
    observer._called_at -= 3600
    thread = asyncio.to_thread(reader.get_metrics_data)
    task = asyncio.ensure_future(thread)
    await asyncio.wait_for(task, DEADLINE)


async def test_a_callback_of_another_provider_is_not_waited_for() -> None:
    """Once its readers are known."""
    one, meter = served()
    other, other_meter = served()
    calls: list[str] = []

    async def first() -> int:
        calls.append("first")
        return 1

    async def second() -> int:
        calls.append("second")
        return 2

    observers = [
        observe_async(meter, "gauge", "x", first),
        observe_async(other_meter, "gauge", "y", second),
    ]
    for registry in (one, other):
        await lines(registry)
    calls.clear()
    assert await lines(one) == ["x 1"]
    assert calls == ["first"]
    assert await lines(other) == ["y 2"]
    assert calls == ["first", "second"]
    del observers


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()], ids=repr)
async def test_refreshing_goes_on_whatever_a_callback_raises(error: BaseException) -> None:
    """A cancellation is its own affair."""
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("m")
    calls = []

    async def callback() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise error
        return len(calls)

    observer = observe_async(meter, "gauge", "x", callback, max_age=0.1)
    await until(lambda: len(calls) >= 4)

    assert observer._last[0].value >= 3


async def test_a_time_out_of_its_own_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """And no lack of time."""
    registry, meter = served()

    async def callback() -> int:
        raise asyncio.TimeoutError

    observer = observe_async(meter, "gauge", "x", callback)

    assert await lines(registry) == []
    assert "TimeoutError()" in caplog.text
    del observer


async def test_a_child_process_starts_anew() -> None:
    """The run of its parent never ends there."""
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("m")
    held, calls = asyncio.Event(), []

    async def callback() -> int:
        calls.append(1)
        if len(calls) == 1:
            await held.wait()
        return len(calls)

    observer = observe_async(meter, "gauge", "x", callback)
    await until(lambda: calls == [1])
    fork_safety._after_fork()
    await asyncio.wait_for(observer.refresh(), DEADLINE)
    held.set()

    assert observer._last[0].value == 2


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("histogram", "x", lambda: 1), {}, ValueError, "kind must be one of"),
        ((["gauge"], "x", lambda: 1), {}, ValueError, "kind must be one of"),
        (("gauge", "x", lambda: 1), {"max_age": 10**400}, ValueError, "that a float can hold"),
        (("gauge", "x", 1), {}, TypeError, "callback must be a coroutine function"),
        (("gauge", "x", lambda: 1), {"timeout": 0}, ValueError, "timeout must be"),
        (("gauge", "x", lambda: 1), {"max_age": -1}, ValueError, "max_age must be"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: Any, options: Any, error: type[Exception], message: str
) -> None:
    """At once."""
    _, meter = served()
    with pytest.raises(error, match=message):
        observe_async(meter, *arguments, **options)


class Half:
    """A number of another library."""

    def __float__(self) -> float:
        return 0.5


@contextmanager
def gauge_that_gives(found: Any) -> Iterator[CollectorRegistry]:
    """A registry with a gauge ``x`` whose callback returns something."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("m")

    async def callback() -> Any:
        return found

    with observe_async(meter, "gauge", "x", callback):
        yield registry


@pytest.mark.parametrize(
    ("found", "value"), [(3, 3), (0.5, 0.5), (Half(), 0.5), (Decimal("0.5"), 0.5)], ids=repr
)
async def test_a_callback_may_give_numbers_of_all_kinds(found: Any, value: float) -> None:
    """As functions of native collectors may."""
    with gauge_that_gives(found) as registry:
        await async_render(registry)
        [(_, shown)] = registry.get("x").get_all()

    assert shown == value


@pytest.mark.parametrize("found", [True, "1", None, object()], ids=["bool", "str", "None", "any"])
async def test_a_callback_returns_numbers(found: Any) -> None:
    """Neither booleans nor strings."""
    with gauge_that_gives(found) as registry:
        gathering = await registry.async_gather(DEADLINE)

    assert "a callback must return numbers or observations" in gathering.faults[0].message
