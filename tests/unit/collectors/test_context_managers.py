"""Measure blocks and functions: durations, calls in progress, exceptions."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import time
import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from clocks import ManualClock
from oracles import DEADLINE
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary, context_managers
from otel_aioprom.collectors.series.limits import OVERFLOW

L = {"of": "x"}


class Boom(Exception):  # noqa: N818 - short
    """What measured code raises."""


def histogram() -> Histogram:
    """A histogram of seconds."""
    return Histogram("seconds", "Time.", buckets=[0.01, 100])


def count(metric: Any) -> int:
    """Observations of the label set."""
    try:
        return int(metric.get(L)["count"])
    except KeyError:
        return 0


@pytest.mark.parametrize("kind", [Histogram, Summary])
def test_a_block_is_timed(kind: type[Any]) -> None:
    """In seconds, also if it raises; the object may be used again."""
    metric = kind("seconds", "Time.")
    timing = metric.time(L)
    assert count(metric) == 0
    with timing:
        time.sleep(0.02)
    with pytest.raises(Boom), timing:
        raise Boom

    assert count(metric) == 2
    assert 0.02 <= metric.get(L)["sum"] < DEADLINE


async def test_a_block_is_timed_in_a_coroutine(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``async with``, also if it is cancelled."""
    clock = ManualClock()
    monkeypatch.setattr(context_managers, "perf_counter", clock)
    metric = histogram()
    async with metric.time(L):
        await asyncio.sleep(0)
        clock.now += 2
    assert (count(metric), metric.get(L)["sum"]) == (1, 2)
    inside = asyncio.Event()

    async def work() -> None:
        async with metric.time(L):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.wait_for(inside.wait(), DEADLINE)
    clock.now += 0.5
    task.cancel()
    await asyncio.wait([task], timeout=DEADLINE)

    assert task.cancelled()
    assert (count(metric), metric.get(L)["sum"]) == (2, 2.5)


def test_a_gauge_keeps_the_last_time() -> None:
    """And may be set to the current time."""
    gauge = Gauge("last_seconds", "Time.")
    with gauge.time(L):
        pass
    assert 0 <= gauge.get(L) < 1
    gauge.set_to_current_time(L)
    assert abs(gauge.get(L) - time.time()) < DEADLINE


def test_work_in_progress_is_counted() -> None:
    """The gauge goes down however a block ends; blocks may be nested."""
    gauge = Gauge("busy", "Busy.")
    busy = gauge.track_inprogress(L)

    def work() -> None:
        with busy:
            assert gauge.get(L) == 1
            with gauge.track_inprogress(L), busy:
                assert gauge.get(L) == 3
            raise Boom

    with pytest.raises(Boom):
        work()
    assert gauge.get(L) == 0


def raise_it(error: BaseException) -> None:
    """Raise an error."""
    raise error


def test_exceptions_are_counted() -> None:
    """Those of the given types, which propagate; there is no series before the first one."""
    counter = Counter("failures_total", "Failures.")
    for error in (KeyError("k"), KeyboardInterrupt(), asyncio.CancelledError()):
        with pytest.raises(type(error)), counter.count_exceptions(L):
            raise_it(error)
        with pytest.raises(type(error)), counter.count_exceptions({"of": "os"}, types=OSError):
            raise_it(error)
    with counter.count_exceptions({"of": "none"}):
        pass
    with pytest.raises(ValueError, match="v"), counter.count_exceptions(L, (OSError, ValueError)):
        raise_it(ValueError("v"))

    assert [labels for labels, _ in counter.get_all()] == [L]
    assert counter.get(L) == 2


@pytest.mark.parametrize("types", [(), "OSError", (OSError, 3), int])
def test_types_must_be_exceptions(types: Any) -> None:
    """At once, not when something is raised."""
    with pytest.raises(TypeError, match="types must be exception classes"):
        Counter("c_total", "C.").count_exceptions(L, types)


# --- decorators ------------------------------------------------------------------------------


def plain(a: int, *, b: str = "b") -> str:
    """Return the arguments."""
    return f"{a}{b}"


async def waits(a: int, *, b: str = "b") -> str:
    """Return the arguments."""
    await asyncio.sleep(0)
    return f"{a}{b}"


def yields(a: int, *, b: str = "b") -> Generator[str, str, str]:
    """Yield the arguments and what is sent."""
    got = yield f"{a}{b}"
    return got


async def yields_async(a: int, *, b: str = "b") -> AsyncGenerator[str, str]:
    """Yield the arguments and what is sent."""
    got = yield f"{a}{b}"
    yield got


@pytest.mark.parametrize("function", [plain, waits, yields, yields_async])
def test_a_function_keeps_its_kind_and_its_signature(function: Callable[..., Any]) -> None:
    """For callers, and for frameworks that inspect it."""
    decorated = histogram().time(L)(function)
    for ask in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert ask(decorated) == ask(function)
    assert inspect.signature(decorated) == inspect.signature(function)
    assert (decorated.__name__, decorated.__doc__) == (function.__name__, function.__doc__)
    assert inspect.unwrap(decorated) is function


async def test_functions_of_every_kind_are_measured() -> None:
    """From their first step to their end, with what goes in and out."""
    metric, gauge = histogram(), Gauge("busy", "Busy.")
    time_it, track = metric.time(L), gauge.track_inprogress(L)
    assert time_it(plain)(1, b="x") == "1x"
    assert await time_it(waits)(2) == "2b"
    assert count(metric) == 2
    generator = time_it(track(yields))(3)
    assert count(metric) == 2
    assert next(generator) == "3b"
    assert gauge.get(L) == 1
    with pytest.raises(StopIteration) as stopped:
        generator.send("sent")
    assert stopped.value.value == "sent"
    other = time_it(track(yields_async))(4)
    assert await anext(other) == "4b"
    assert await other.asend("sent") == "sent"
    assert (count(metric), gauge.get(L)) == (3, 1)
    with pytest.raises(StopAsyncIteration):
        await anext(other)

    assert (count(metric), gauge.get(L)) == (4, 0)


async def test_unfinished_generators_are_measured() -> None:
    """Closed, thrown into, or collected as garbage."""
    metric, gauge = histogram(), Gauge("busy", "Busy.")
    decorate = lambda function: metric.time(L)(gauge.track_inprogress(L)(function))  # noqa: E731
    closed, thrown = decorate(yields)(1), decorate(yields)(1)
    next(closed)
    next(thrown)
    closed.close()
    with pytest.raises(Boom):
        thrown.throw(Boom)
    dropped = decorate(yields)(1)
    next(dropped)
    del dropped
    gc.collect()
    closed_too, thrown_too = decorate(yields_async)(1), decorate(yields_async)(1)
    await anext(closed_too)
    await anext(thrown_too)
    await closed_too.aclose()
    with pytest.raises(Boom):
        await thrown_too.athrow(Boom)

    assert (count(metric), gauge.get(L)) == (5, 0)


async def test_calls_at_the_same_time_are_each_measured() -> None:
    """One decorated function, many tasks."""
    metric, gauge = histogram(), Gauge("busy", "Busy.")
    most = 0

    @metric.time(L)
    @gauge.track_inprogress(L)
    async def work(seconds: float) -> None:
        nonlocal most
        most = max(most, gauge.get(L))
        await asyncio.sleep(seconds)

    await asyncio.gather(*[work(0.02) for _ in range(10)])

    assert most == 10
    assert (count(metric), gauge.get(L)) == (10, 0)
    assert 0.2 <= metric.get(L)["sum"] < 10 * DEADLINE


def test_recursion_is_measured_call_by_call() -> None:
    """Each has its own start time."""
    metric = histogram()

    @metric.time(L)
    def down(depth: int) -> None:
        if depth:
            down(depth - 1)

    down(4)
    assert count(metric) == 5


async def test_exceptions_of_functions_are_counted_once() -> None:
    """The end of a generator is no exception, nor is closing it."""
    counter = Counter("failures_total", "Failures.")
    decorate = counter.count_exceptions(L)

    @decorate
    def fails() -> Generator[int, None, None]:
        yield 1
        raise Boom

    @decorate
    async def fails_too() -> None:
        raise Boom

    assert list(decorate(lambda: iter([1]))()) == [1]
    left = fails()
    next(left)
    left.close()
    with pytest.raises(KeyError):
        counter.get(L)
    with pytest.raises(Boom):
        list(fails())
    with pytest.raises(Boom):
        await fails_too()

    assert counter.get(L) == 2


def test_methods_of_every_kind_are_measured() -> None:
    """And partial functions and callable objects."""
    metric = histogram()

    class Worker:
        @metric.time(L)
        def method(self, x: int) -> int:
            return x

        @staticmethod
        @metric.time(L)
        def static(x: int) -> int:
            return x

        @classmethod
        @metric.time(L)
        def made(cls, x: int) -> int:
            return x

    worker = Worker()
    assert [worker.method(1), worker.static(2), Worker.made(3)] == [1, 2, 3]
    assert metric.time(L)(functools.partial(plain, 1))(b="p") == "1p"
    assert count(metric) == 4


def test_a_series_that_was_cleared_is_created_again() -> None:
    """It is looked up each time."""
    metric = histogram()
    call = metric.time(L)(plain)
    call(1)
    metric.clear()
    call(1)

    assert count(metric) == 1


async def test_a_generator_based_coroutine_function_stays_one() -> None:
    """It can be awaited as before."""
    seconds = Histogram("x", "What.")

    @seconds.time()
    @types.coroutine
    def pause() -> Generator[None, None, int]:
        yield
        return 3

    assert await pause() == 3
    assert seconds.get()["count"] == 1


def test_one_object_tracks_nested_blocks() -> None:
    """Each decrements once, on the series that it incremented."""
    busy = Gauge("x", "What.", max_series=1)
    busy.set({"queue": "a"}, 0)
    tracked = busy.track_inprogress({"queue": "b"})
    with tracked, tracked:
        assert busy.get(OVERFLOW) == 2
        busy.remove({"queue": "a"})
    assert busy.get(OVERFLOW) == 0
    assert busy.get_all() == [(OVERFLOW, 0)]
