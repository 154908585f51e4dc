"""Measure callable objects and methods; refuse what cannot be measured."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.decorators import count_exceptions, inprogress, timer
from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render

L = {"of": "x"}
MAKERS: list[Callable[[Any], Any]] = [
    lambda labels: Histogram("h", "H.").time(labels),
    lambda labels: Summary("s", "S.").time(labels),
    lambda labels: Gauge("g", "G.").time(labels),
    lambda labels: Gauge("g", "G.").track_inprogress(labels),
    lambda labels: Counter("c_total", "C.").count_exceptions(labels),
    lambda labels: timer(Histogram("h", "H."), labels),
    lambda labels: inprogress(Gauge("g", "G."), labels),
    lambda labels: count_exceptions(Counter("c_total", "C."), labels),
]


class Awaited:
    """An object that is called as a coroutine function is."""

    async def __call__(self, gate: asyncio.Event) -> str:
        """Wait for the gate."""
        await gate.wait()
        return "awaited"


class Generated:
    """An object that is called as a generator function is."""

    def __call__(self, gauge: Gauge) -> Generator[int, None, None]:
        """Look at the gauge while it runs."""
        yield gauge.get(L)


class GeneratedAsync:
    """An object that is called as an asynchronous generator function is."""

    async def __call__(self, gauge: Gauge) -> AsyncGenerator[int, None]:
        """Look at the gauge while it runs."""
        yield gauge.get(L)


@pytest.mark.parametrize("function", [Awaited(), functools.partial(Awaited())], ids=["it", "part"])
async def test_an_object_that_is_awaited_is_measured_until_its_end(function: Any) -> None:
    """And not only until there is a coroutine."""
    gauge, gate = Gauge("busy", "Calls."), asyncio.Event()
    call = gauge.track_inprogress(L)(function)
    assert inspect.iscoroutinefunction(call)
    task = asyncio.create_task(call(gate))
    await asyncio.sleep(0)

    assert gauge.get(L) == 1
    gate.set()
    assert await task == "awaited"
    assert gauge.get(L) == 0


async def test_a_generator_object_is_measured_until_its_end() -> None:
    """Synchronous or asynchronous."""
    gauge = Gauge("busy", "Calls.")
    plain = gauge.track_inprogress(L)(Generated())
    waiting = gauge.track_inprogress(L)(GeneratedAsync())

    assert list(plain(gauge)) == [1]
    assert [value async for value in waiting(gauge)] == [1]
    assert gauge.get(L) == 0


def test_static_and_class_methods_can_be_decorated() -> None:
    """They stay what they are."""
    counter = Counter("failures_total", "Failures.")
    decorate = counter.count_exceptions(L)

    class Parser:
        @decorate
        @staticmethod
        def static(text: str) -> int:
            return int(text)

        @decorate
        @classmethod
        def made(cls, text: str) -> tuple[type[Any], int]:
            return cls, int(text)

    assert Parser.static("1") == Parser().static("1") == 1
    assert Parser.made("2") == (Parser, 2)
    for call in (Parser.static, Parser.made):
        with pytest.raises(ValueError, match="invalid literal"):
            call("x")
    assert counter.get(L) == 2


@pytest.mark.parametrize("thing", [None, 5, "name", property(lambda _: 1)], ids=repr)
def test_only_callables_can_be_decorated(thing: Any) -> None:
    """When it is decorated."""
    with pytest.raises(TypeError, match="only functions can be decorated, not"):
        Histogram("h", "H.").time(L)(thing)


@pytest.mark.parametrize("make", MAKERS)
def test_labels_that_are_not_allowed_are_refused_before_anything_is_measured(
    make: Callable[[Any], Any],
) -> None:
    """Otherwise the first request would fail; the check creates no series."""
    for labels in ({"1st": "x"}, {"__name__": "x"}, {"job": "x"}):
        with pytest.raises(InvalidLabelsError):
            make(labels)
    with pytest.raises(TypeError, match="labels must be a dict"):
        make("labels")
    make(None)
    make({"fine": "x"})


def test_checking_labels_creates_no_series() -> None:
    """Only a measurement does."""
    every: list[Any] = [
        Histogram("h", "H."),
        Gauge("g", "G."),
        Counter("c_total", "C."),
        Summary("s", "S."),
    ]
    every[0].time(L)
    every[1].time(L)
    every[1].track_inprogress(L)
    every[2].count_exceptions(L)
    every[3].time(L)

    assert [metric.get_all() for metric in every] == [[], [], [], []]


def test_a_generator_that_is_closed_raises_nothing() -> None:
    """Unless ``GeneratorExit`` is to be counted."""
    all_of_them, closed = Counter("all_total", "All."), Counter("closed_total", "Closed.")

    @all_of_them.count_exceptions(L, types=BaseException)
    @closed.count_exceptions(L, types=(GeneratorExit, ValueError))
    def numbers() -> Generator[int, None, None]:
        yield 1

    left = numbers()
    next(left)
    left.close()

    assert all_of_them.get_all() == []
    assert closed.get(L) == 1
    left = numbers()
    next(left)
    with pytest.raises(KeyboardInterrupt):
        left.throw(KeyboardInterrupt())
    assert all_of_them.get(L) == 1


def test_calls_in_progress_are_each_on_their_own_series() -> None:
    """A call whose series was removed meanwhile does not decrement its successor."""
    gauge = Gauge("busy", "Calls.")
    seen: list[int] = []

    @gauge.track_inprogress(L)
    def outer(inner: Callable[[], None]) -> None:
        inner()

    @gauge.track_inprogress(L)
    def leaf() -> None:
        seen.append(gauge.get(L))

    def clear_and_go_on() -> None:
        gauge.remove(L)
        outer(leaf)
        seen.append(gauge.get(L))

    outer(clear_and_go_on)
    assert seen == [2, 0]
    assert gauge.get(L) == 0


EVERY_WAY: list[Callable[[Any], Any]] = [
    lambda counter: counter.count_exceptions(L),
    lambda _: Histogram("h", "H.").time(L),
    lambda _: Gauge("g", "G.").track_inprogress(L),
]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_an_asynchronous_generator_is_closed_by_the_loop(way: Callable[[Any], Any]) -> None:
    """The loop closes all generators that it knows: only the wrapper, which closes the generator."""
    counter = Counter("c_total", "C.")
    log: list[str] = []
    said: list[dict[str, Any]] = []

    @way(counter)
    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            log.append("ended")

    left: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        for _ in range(20):
            left.append(generate())
            await anext(left[-1])

    asyncio.run(main())
    assert log == ["ended"] * 20
    assert said == []
    assert counter.get_all() == []


async def test_hooks_of_the_loop_are_restored() -> None:
    """The loop knows other generators."""
    before = sys.get_asyncgen_hooks()
    generate = Histogram("h", "H.").time(L)(GeneratedAsync())
    gauge = Gauge("g", "G.")
    gauge.set(L, 5)
    assert [value async for value in generate(gauge)] == [5]

    assert sys.get_asyncgen_hooks() == before


async def test_a_mock_of_a_coroutine_function_is_awaited() -> None:
    """Its class has a plain ``__call__``."""
    counter = Counter("c_total", "C.")
    mock = AsyncMock(side_effect=KeyError("no"))
    call = counter.count_exceptions(L)(mock)
    assert inspect.iscoroutinefunction(call)
    with pytest.raises(KeyError):
        await call()
    assert counter.get(L) == 1

    gauge = Gauge("g", "G.")
    gauge.set_function({}, AsyncMock(return_value=5))
    registry = CollectorRegistry()
    registry.register(gauge)
    text, _ = await async_render(registry)
    assert b"\ng 5\n" in text


def test_labels_are_copied_when_the_object_is_created() -> None:
    """Later changes of the dict and of its values do not matter."""
    histogram = Histogram("h", "H.")
    labels: dict[str, Any] = {"queue": "a"}
    calls = []
    for name in "abc":
        labels["queue"] = name
        calls.append(histogram.time(labels)(int))
    for call in calls:
        call()
    assert [labels for labels, _ in histogram.get_all()] == [{"queue": name} for name in "abc"]

    with histogram.time(labels):
        labels["bad-name"] = 1
    assert histogram.get({"queue": "c"})["count"] == 2
