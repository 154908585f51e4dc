"""Callbacks: functions that supply values before each response."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator
from time import time
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render

L = {"of": "x"}
FAILURES = "otel_aioprom_source_failures_total"


def registry_with(kind: type[Any] = Gauge) -> tuple[CollectorRegistry, Any]:
    """A registry with one collector."""
    registry = CollectorRegistry()
    return registry, kind("x", "X.", registry=registry)


async def rendered(registry: CollectorRegistry, timeout: float = DEADLINE) -> str:
    """A response, rendered on the event loop."""
    return (await async_render(registry, timeout=timeout))[0].decode()


def failures(text: str) -> dict[str, float]:
    """Cause → failures of ``x``."""
    found = {}
    for line in text.splitlines():
        if line.startswith(FAILURES) and 'source="x"' in line:
            found[line.partition('cause="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
    return found


@pytest.mark.parametrize("kind", [Gauge, Counter])
async def test_a_plain_function_is_called_in_a_thread(kind: type[Any]) -> None:
    """Once for each response; there is no series before the first one."""
    registry, metric = registry_with(kind)
    where, values = [], iter([1, 2.5, 3])

    def callback() -> float:
        where.append(threading.current_thread())
        return next(values)

    metric.set_function(L, callback)
    assert metric.get_all() == []
    found = [(await rendered(registry)).count(f'x{{of="x"}} {value}\n') for value in (1, 2.5)]
    assert 'x{of="x"} 3\n' in render(registry)[0].decode()

    assert found == [1, 1]
    assert where[0] is not threading.current_thread()
    assert where[2] is threading.current_thread()


async def test_a_coroutine_function_is_awaited_on_the_loop() -> None:
    """All concurrently, including partial functions and callable objects."""
    registry, gauge = registry_with()
    loops = []

    class CallableObject:
        async def __call__(self) -> int:
            return await callback(3)

    async def callback(value: int) -> int:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0.05)
        return value

    gauge.set_function({"of": 1}, functools.partial(callback, 1))
    gauge.set_function({"of": 2}, functools.partial(functools.partial(callback), value=2))
    gauge.set_function({"of": 3}, CallableObject())
    began = asyncio.get_running_loop().time()
    text = await rendered(registry)

    assert [line for line in text.splitlines() if line.startswith("x{")] == [
        f'x{{of="{number}"}} {number}' for number in (1, 2, 3)
    ]
    assert loops == [asyncio.get_running_loop()] * 3
    assert asyncio.get_running_loop().time() - began < 0.05 * 3


def raises() -> float:
    """A function that fails."""
    raise KeyError("boom")


async def raises_async() -> float:
    """A coroutine function that fails."""
    raise KeyError("boom")


def returns_coroutine() -> Any:
    """A function that should have been a coroutine function."""
    return raises_async()


async def nonsense() -> str:
    """A coroutine function that returns no number."""
    return "7"


@pytest.mark.parametrize(
    "bad",
    [raises, raises_async, nonsense, returns_coroutine, lambda: "7", lambda: None, lambda: [1]],
)
async def test_the_last_good_value_stays(bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Failures are counted and logged once; the other series are exposed, and the response is complete."""
    registry, gauge = registry_with()
    good = True

    async def async_callback() -> Any:
        return 5 if good else await bad()

    is_async = bad in (raises_async, nonsense)
    gauge.set_function(L, async_callback if is_async else (lambda: 5 if good else bad()))
    gauge.set_function({"of": "fine"}, lambda: 1)
    await rendered(registry)
    good = False
    for count in (1, 2):
        text = await rendered(registry)
        assert 'x{of="x"} 5\n' in text
        assert 'x{of="fine"} 1\n' in text
        assert failures(text) == {"raised": count}
    [record] = caplog.records

    assert "the function for {'of': 'x'} failed: " in record.getMessage()
    assert "dropped" not in text


async def test_a_counter_may_be_set_back_by_its_callback() -> None:
    """A smaller value is a reset."""
    registry, counter = registry_with(Counter)
    values = iter([5, 3])
    counter.set_function(L, lambda: next(values))
    await rendered(registry)
    assert counter.labels(L).created is None  # the start time of a count from elsewhere is unknown
    before = time()
    await rendered(registry)

    assert counter.get(L) == 3
    assert counter.labels(L).created >= before


async def test_a_coroutine_that_is_late_is_cancelled() -> None:
    """At its timeout; it is called again for the next response."""
    registry, gauge = registry_with()
    cancelled = []
    late = True

    async def callback() -> int:
        try:
            await asyncio.sleep(DEADLINE if late else 0)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise
        return 7

    gauge.set_function(L, callback, timeout=0.05)
    assert failures(await rendered(registry)) == {"late": 1}
    assert cancelled == [1]
    late = False
    assert 'x{of="x"} 7\n' in await rendered(registry)


async def test_a_callback_that_hangs_delays_no_other() -> None:
    """It is not called again before it has returned; the others are, from the next response on."""
    registry, gauge = registry_with()
    other = Gauge("y", "Y.", registry=registry)
    go, calls = threading.Event(), []

    def hangs() -> int:
        calls.append(1)
        assert go.wait(DEADLINE)
        return 1

    values = iter(range(10))
    gauge.set_function({"of": "hangs"}, hangs)
    gauge.set_function({"of": "fine"}, lambda: next(values))
    other.set_function({}, lambda: 9)
    first = await rendered(registry, timeout=0.1)
    assert "y 9\n" in first
    assert failures(first) == {"late": 1}
    for _ in range(3):
        text = await rendered(registry)
        assert 'x{of="fine"}' in text
        assert 'x{of="hangs"}' not in text
    assert calls == [1]
    go.set()
    while 'x{of="hangs"} 1\n' not in text:
        text = await rendered(registry)
        await asyncio.sleep(0.01)

    assert len(calls) >= 1


async def test_a_label_set_has_one_callback() -> None:
    """The one set last."""
    registry, gauge = registry_with()
    gauge.set_function({"a": 1, "b": 2}, lambda: 1)
    gauge.set_function({"b": "2", "a": "1"}, lambda: 2)

    assert 'x{a="1",b="2"} 2\n' in await rendered(registry)


def test_without_a_loop_coroutine_functions_run_on_a_loop_of_their_own() -> None:
    """If no service runs."""
    registry, gauge = registry_with()

    async def callback() -> int:
        await asyncio.sleep(0)
        return 4

    gauge.set_function(L, callback)
    for _ in range(2):
        assert 'x{of="x"} 4\n' in render(registry)[0].decode()


async def test_render_in_the_thread_of_a_loop_exposes_the_last_values() -> None:
    """It cannot wait for the event loop that it blocks."""
    registry, gauge = registry_with()
    values = iter([1, 2])

    async def callback() -> int:
        return next(values)

    gauge.set_function(L, callback)
    assert 'x{of="x"} 1\n' in await rendered(registry)
    text = render(registry)[0].decode()
    assert 'x{of="x"} 1\n' in text
    assert failures(text) == {"raised": 1}
    in_thread = (await asyncio.to_thread(render, registry))[0].decode()
    assert 'x{of="x"} 2\n' in in_thread


# --- asynchronous sources --------------------------------------------------------------------


class Source:
    """A source that returns what the test sets."""

    name = "mine"
    timeout = DEADLINE

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.runs = 0
        self.hold: asyncio.Event | None = None

    async def collect(self) -> Any:
        """Return the items."""
        self.runs += 1
        if self.hold is not None:
            await self.hold.wait()
        for item in self.items:
            if isinstance(item, Exception):
                raise item
        return self.items


class Generating(Source):
    """The same as an asynchronous generator."""

    async def collect(self) -> AsyncIterator[Any]:  # type: ignore[override]
        """Yield the items one by one."""
        for item in await super().collect():
            yield item


def filled(name: str = "of_mine") -> Gauge:
    """A collector with a value."""
    gauge = Gauge(name, "")
    gauge.set({}, 1)
    return gauge


@pytest.mark.parametrize("kind", [Source, Generating])
async def test_a_source_is_awaited(kind: type[Source]) -> None:
    """It returns families or collectors."""
    registry = CollectorRegistry()
    registry.add_source(kind(filled(), filled("other").family()))
    text = await rendered(registry)

    assert "of_mine 1\n" in text
    assert "other 1\n" in text
    assert registry.get("of_mine").get() == 1


async def test_a_source_that_fails_affects_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises."""
    registry = CollectorRegistry()
    registry.add_source(Source(KeyError("boom")))
    Gauge("fine", "", registry=registry).set({}, 1)
    text = await rendered(registry)

    assert "fine 1\n" in text
    assert 'dropped_total{cause="raised"} 1' in text
    assert "collecting raised KeyError('boom')" in caplog.text


async def test_a_source_that_is_late_is_dropped() -> None:
    """Concurrent requests share the next collection; at its own timeout it is cancelled."""
    registry = CollectorRegistry()
    source = Source(filled())
    source.hold = asyncio.Event()
    registry.add_source(source)
    texts = await asyncio.gather(*[rendered(registry, 0.05) for _ in range(5)])
    assert all("of_mine" not in text for text in texts)
    assert source.runs == 1
    source.hold.set()
    assert "of_mine 1\n" in await rendered(registry)

    source.timeout = 0.01
    source.hold = asyncio.Event()
    registry.remove_source(source)
    registry.add_source(source)
    assert 'dropped_total{cause="late"}' in await rendered(registry)


def test_a_source_outlives_its_loop() -> None:
    """The next loop collects it as the first one did, even if a collection was running."""
    registry = CollectorRegistry()
    source = Source(filled())
    registry.add_source(source)
    for _ in range(2):
        assert "of_mine 1\n" in asyncio.run(rendered(registry))

    async def leave() -> None:
        source.hold = asyncio.Event()
        await rendered(registry, 0.01)

    asyncio.run(leave())
    source.hold = None
    assert "of_mine 1\n" in asyncio.run(rendered(registry))
    assert "of_mine 1\n" in render(registry)[0].decode()


async def test_threads_collect_sources_on_the_loop_that_serves() -> None:
    """Objects that belong to a loop are used on it."""
    registry = CollectorRegistry()
    loops = []

    class Noting(Source):
        async def collect(self) -> Any:
            loops.append(asyncio.get_running_loop())
            return await super().collect()

    registry.add_source(Noting(filled()))
    await rendered(registry)
    text = (await asyncio.to_thread(render, registry))[0].decode()

    assert "of_mine 1\n" in text
    assert loops == [asyncio.get_running_loop()] * 2
