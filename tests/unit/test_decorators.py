"""Decorators that measure functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary, context_managers
from otel_aioprom.decorators import count_exceptions, inprogress, timer


@pytest.fixture
def failed() -> Counter:
    """Counts exceptions."""
    return Counter("failed", "What.")


@pytest.mark.parametrize("kind", [Summary, Histogram])
def test_times_are_seconds_of_a_monotonic_clock(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any]
) -> None:
    """The difference of two readings is observed, under the labels of the decorator."""
    readings = iter([100.0, 100.25])
    monkeypatch.setattr(context_managers, "perf_counter", lambda: next(readings))
    metric = kind("x", "What.")
    timer(metric, {"a": "1"})(lambda: None)()

    assert metric.get({"a": "1"})["sum"] == 0.25


@pytest.mark.parametrize(
    ("decorator", "wanted"),
    [
        (timer, "Summary or Histogram"),
        (inprogress, "Gauge"),
        (count_exceptions, "Counter"),
    ],
)
def test_the_error_names_the_required_metric(decorator: Callable[..., Any], wanted: str) -> None:
    """And the decorator and the argument."""
    with pytest.raises(TypeError, match=f"{decorator.__name__} needs a {wanted}, not 'x'"):
        decorator("x")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_not_counted(failed: Counter, error: type[BaseException]) -> None:
    """Interrupts and exits do not count."""

    @count_exceptions(failed)
    def interrupted() -> None:
        raise error

    with pytest.raises(error):
        interrupted()

    assert failed.get_all() == []


@pytest.mark.parametrize("error", [StopIteration("x"), StopAsyncIteration("x")])
def test_a_plain_function_may_raise_the_end_of_an_iteration(
    failed: Counter, error: Exception
) -> None:
    """``__next__`` can be decorated: the same exception propagates."""

    @inprogress(Gauge("going", "What."))
    @timer(Summary("time", "What."))
    @count_exceptions(failed)
    def end() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        end()

    assert raised.value is error


def test_gauges_go_down_however_a_call_ends() -> None:
    """Also when calls are nested."""
    gauge, depths = Gauge("going", "What."), []

    @inprogress(gauge)
    def dive(depth: int) -> None:
        depths.append(gauge.get({}))
        if depth == 0:
            raise ValueError("bottom")
        dive(depth - 1)

    with pytest.raises(ValueError, match="bottom"):
        dive(2)

    assert depths == [1, 2, 3]
    assert gauge.get({}) == 0


def test_partial_functions_can_be_decorated(failed: Counter) -> None:
    """They have no name of their own."""
    assert count_exceptions(failed)(functools.partial(max, 3))(4) == 4


def test_the_decorated_callable_can_be_unwrapped(failed: Counter) -> None:
    """Attributes are kept, and ``inspect.unwrap`` finds the original."""

    def function() -> None:
        """Do nothing."""

    function.mark = "x"  # type: ignore[attr-defined]
    measured: Any = count_exceptions(failed)(function)

    assert (measured.mark, measured.__doc__, measured.__qualname__) == (
        "x",
        "Do nothing.",
        function.__qualname__,
    )
    assert inspect.unwrap(measured) is function


async def test_coroutine_functions_are_awaited(failed: Counter) -> None:
    """The exception is counted when it is raised, not when the coroutine is created."""

    @count_exceptions(failed)
    async def fail() -> None:
        raise ValueError("no")

    coroutine = fail()
    before = failed.get_all()
    with pytest.raises(ValueError, match="no"):
        await coroutine

    assert before == []
    assert failed.get({}) == 1


def test_a_generator_passes_everything_on(failed: Counter) -> None:
    """Items, sent values, and the return value."""

    @count_exceptions(failed)
    def echo() -> Generator[Any, Any, str]:
        return (yield (yield 1))

    generator = echo()
    items = [next(generator), generator.send("sent")]
    with pytest.raises(StopIteration) as stopped:
        generator.send("end")

    assert items == [1, "sent"]
    assert stopped.value.value == "end"


def test_an_unused_generator_is_not_measured() -> None:
    """It starts with its first step."""
    gauge = Gauge("going", "What.")

    @inprogress(gauge)
    def numbers() -> Iterator[int]:
        yield 1

    numbers().close()

    assert gauge.get_all() == []


async def test_an_async_generator_passes_everything_on(failed: Counter) -> None:
    """Items, sent values, thrown exceptions, and the end."""

    @count_exceptions(failed)
    async def echo() -> AsyncGenerator[Any, Any]:
        try:
            yield (yield 1)
        except KeyError:
            yield "caught"

    generator = echo()
    items = [
        await anext(generator),
        await generator.asend("sent"),
        await generator.athrow(KeyError("x")),
    ]

    assert [*items, *[item async for item in generator]] == [1, "sent", "caught"]
    assert failed.get_all() == []


async def test_a_closed_async_generator_has_not_failed(failed: Counter) -> None:
    """Its clean-up has ended when ``aclose`` returns, and it yields nothing any more."""
    cleaned = []

    @count_exceptions(failed)
    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            cleaned.append(True)

    generator = endless()
    await anext(generator)
    await generator.aclose()

    assert cleaned == [True]
    assert [item async for item in generator] == []
    assert failed.get_all() == []


async def test_an_async_generator_that_catches_and_ends_has_not_failed(failed: Counter) -> None:
    """Returning from ``athrow`` is a normal end."""

    @count_exceptions(failed)
    async def gives_up() -> AsyncGenerator[int, None]:
        try:
            yield 1
        except KeyError:
            return

    generator = gives_up()
    await anext(generator)
    with pytest.raises(StopAsyncIteration):
        await generator.athrow(KeyError("x"))

    assert failed.get_all() == []


async def test_closing_an_async_generator_closes_the_decorated_one(failed: Counter) -> None:
    """Exceptions of its clean-up propagate from ``aclose``, and are counted."""

    @count_exceptions(failed)
    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            raise ValueError("clean-up")

    generator = endless()
    await anext(generator)
    with pytest.raises(ValueError, match="clean-up"):
        await generator.aclose()

    assert failed.get({}) == 1


async def test_an_async_generator_that_does_not_end_is_an_error(failed: Counter) -> None:
    """Yielding during ``aclose`` breaks the protocol, decorated or not."""

    @count_exceptions(failed)
    async def stubborn() -> AsyncGenerator[int, None]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    generator = stubborn()
    await anext(generator)
    with pytest.raises(RuntimeError, match="GeneratorExit"):
        await generator.aclose()


async def test_an_empty_async_generator_ends_at_once(failed: Counter) -> None:
    """The end of a generator is no exception."""

    @count_exceptions(failed)
    async def empty() -> AsyncGenerator[int, None]:
        for item in ():
            yield item

    assert [item async for item in empty()] == []
    assert failed.get_all() == []
