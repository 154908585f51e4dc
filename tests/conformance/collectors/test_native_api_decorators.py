"""Compatibility with aioprometheus: the decorators (N19)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.decorators import count_exceptions, inprogress, timer

LABELS = {"a": "1"}


class Meters:
    """One metric for each decorator, and all three decorators together."""

    def __init__(self) -> None:
        self.time = Summary("time", "What.")
        self.going = Gauge("going", "What.")
        self.failed = Counter("failed", "What.")

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate with all three."""
        measured = count_exceptions(self.failed, LABELS)(function)
        return timer(self.time, LABELS)(inprogress(self.going, LABELS)(measured))

    @property
    def seen(self) -> tuple[int, float, int]:
        """Calls timed, calls in progress, exceptions counted."""
        times, failures = self.time.get_all(), self.failed.get_all()
        return (
            times[0][1]["count"] if times else 0,
            self.going.get(LABELS) if self.going.get_all() else 0,
            failures[0][1] if failures else 0,
        )


@pytest.fixture
def meters() -> Meters:
    """Fresh metrics."""
    return Meters()


@pytest.mark.parametrize(
    ("decorator", "good"),
    [(timer, (Summary, Histogram)), (inprogress, (Gauge,)), (count_exceptions, (Counter,))],
)
def test_n19_another_metric_raises_at_decoration(
    decorator: Callable[..., Any], good: tuple[type, ...]
) -> None:
    """Each decorator checks the kind of metric; labels are optional."""
    for kind in (Collector, Counter, Gauge, Histogram, Summary):
        if kind in good:
            assert decorator(kind("x", "What."))(len)("abc") == 3
        else:
            with pytest.raises(TypeError, match="needs a"):
                decorator(kind("x", "What."))
    with pytest.raises(TypeError, match="needs a"):
        decorator(None)
    assert inspect.signature(decorator).parameters["labels"].default is None


async def test_n19_coroutine_functions_keep_value_and_signature(meters: Meters) -> None:
    """They stay coroutine functions, and calls are not affected."""

    async def add(a: int, /, b: int = 2, *, c: int = 3) -> int:
        """Add."""
        await asyncio.sleep(0)
        assert meters.seen == (0, 1, 0)
        return a + b + c

    measured = meters(add)

    assert inspect.iscoroutinefunction(measured)
    assert inspect.signature(measured) == inspect.signature(add)
    assert (measured.__name__, measured.__doc__) == ("add", "Add.")
    assert await measured(1, c=4) == 7
    assert meters.seen == (1, 0, 0)


async def test_n19_methods_are_measured_and_plain_ones_stay_plain(meters: Meters) -> None:
    """``self`` is passed on; a plain method returns its value without ``await``."""

    class Shop:
        @meters
        async def slow(self, value: int) -> tuple[Shop, int]:
            return self, value

        @meters
        def quick(self, value: int) -> tuple[Shop, int]:
            return self, value

    shop = Shop()

    assert not inspect.iscoroutinefunction(Shop.quick)
    assert list(inspect.signature(Shop.quick).parameters) == ["self", "value"]
    assert await shop.slow(1) == (shop, 1)
    assert shop.quick(2) == (shop, 2)
    assert meters.seen == (2, 0, 0)


async def test_n19_the_exception_is_kept_and_counted_once(meters: Meters) -> None:
    """The same object propagates, from coroutine functions and from plain functions."""
    error = ValueError("no")

    @meters
    async def slow() -> None:
        raise error

    @meters
    def quick() -> None:
        raise error

    no_series = meters.failed.get_all()
    with pytest.raises(ValueError, match="no") as slow_raised:
        await slow()
    with pytest.raises(ValueError, match="no") as quick_raised:
        quick()

    assert no_series == []
    assert slow_raised.value is quick_raised.value is error
    assert meters.seen == (2, 0, 2)


async def test_n19_cancellation_ends_progress_and_is_no_exception(meters: Meters) -> None:
    """A cancelled call is timed and not in progress any more."""
    started = asyncio.Event()

    @meters
    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await started.wait()
    during = meters.seen
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert during == (0, 1, 0)
    assert meters.seen == (1, 0, 0)


def test_n19_generators_are_measured_over_their_whole_life(meters: Meters) -> None:
    """From the first step to the end; ``send`` and the return value work as before."""

    @meters
    def echo() -> Generator[Any, Any, str]:
        got = yield "first"
        try:
            got = yield got
        except KeyError:
            yield "caught"
        return "end"

    generator = echo()
    states = [meters.seen]
    items = [next(generator), generator.send("sent"), generator.throw(KeyError("x"))]
    states.append(meters.seen)
    with pytest.raises(StopIteration) as stopped:
        next(generator)

    assert inspect.isgeneratorfunction(echo)
    assert items == ["first", "sent", "caught"]
    assert stopped.value.value == "end"
    assert states == [(0, 0, 0), (0, 1, 0)]
    assert meters.seen == (1, 0, 0)


def test_n19_a_generator_that_is_closed_has_not_failed(meters: Meters) -> None:
    """Closing runs the clean-up of the decorated generator; an exception thrown in counts once."""
    cleaned = []

    @meters
    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            cleaned.append(meters.seen)

    closed, failed = endless(), endless()
    next(closed)
    closed.close()
    after_close = meters.seen
    next(failed)
    with pytest.raises(KeyError):
        failed.throw(KeyError("x"))

    assert cleaned == [(0, 1, 0), (1, 1, 0)]
    assert after_close == (1, 0, 0)
    assert meters.seen == (2, 0, 1)


async def test_n19_async_generators_are_measured_over_their_whole_life(meters: Meters) -> None:
    """From the first step to the end, in one ``async for``."""

    @meters
    async def count(upto: int) -> AsyncGenerator[int, None]:
        for item in range(upto):
            await asyncio.sleep(0)
            yield item

    states = [meters.seen async for _ in count(2)]

    assert inspect.isasyncgenfunction(count)
    assert list(inspect.signature(count).parameters) == ["upto"]
    assert states == [(0, 1, 0)] * 2
    assert meters.seen == (1, 0, 0)


def make_echo(meters: Meters, ends: list[str]) -> AsyncGenerator[Any, Any]:
    """An async generator that yields what is sent, and survives KeyErrors."""

    @meters
    async def echo() -> AsyncGenerator[Any, Any]:
        item = None
        try:
            while True:
                try:
                    item = yield item
                except KeyError:
                    item = "caught"
        finally:
            ends.append("cleaned")

    return echo()


async def test_n19_asend_and_athrow_reach_the_generator(meters: Meters) -> None:
    """Sent values arrive, thrown exceptions may be caught, and neither is counted."""
    ends: list[str] = []
    generator = make_echo(meters, ends)
    items = [
        await anext(generator),
        await generator.asend("sent"),
        await generator.athrow(KeyError("x")),
    ]
    during = meters.seen
    await generator.aclose()

    assert items == [None, "sent", "caught"]
    assert during == (0, 1, 0)
    assert ends == ["cleaned"]
    assert meters.seen == (1, 0, 0)


async def test_n19_an_uncaught_thrown_exception_counts_once(meters: Meters) -> None:
    """The same exception propagates, after the clean-up."""
    ends: list[str] = []
    generator = make_echo(meters, ends)
    error = ValueError("no")
    await anext(generator)
    with pytest.raises(ValueError, match="no") as raised:
        await generator.athrow(error)

    assert raised.value is error
    assert ends == ["cleaned"]
    assert meters.seen == (1, 0, 1)


async def test_n19_an_async_generator_that_raises_counts_once(meters: Meters) -> None:
    """Its exception propagates through all three decorators."""
    error = ValueError("no")

    @meters
    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        raise error

    with pytest.raises(ValueError, match="no") as raised:
        async for _ in fails():
            pass

    assert raised.value is error
    assert meters.seen == (1, 0, 1)


async def test_n19_cancelling_an_async_generator_is_no_exception(meters: Meters) -> None:
    """The generator that waits is cancelled, cleans up, and is not in progress any more."""
    started, ends = asyncio.Event(), []

    @meters
    async def waits() -> AsyncGenerator[int, None]:
        try:
            started.set()
            await asyncio.Event().wait()
            yield 1
        finally:
            ends.append(meters.seen)

    async def consume() -> None:
        async for _ in waits():
            pass

    task = asyncio.ensure_future(consume())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ends == [(0, 1, 0)]
    assert meters.seen == (1, 0, 0)
