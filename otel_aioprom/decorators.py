"""Decorators that measure what they decorate: time, calls in progress, exceptions.

A plain function stays a plain function, a coroutine function a coroutine function; generators and
asynchronous generators are measured from their first step to their end.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any, ParamSpec, TypeVar, cast

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary

P = ParamSpec("P")
R = TypeVar("R")
Labels = Mapping[str, object]
Measure = Callable[[], AbstractContextManager[None]]
Decorator = Callable[[Callable[P, R]], Callable[P, R]]


def timer(metric: Summary | Histogram, labels: Labels | None = None) -> Decorator[P, R]:
    """Observe how long each call takes, in seconds of a monotonic clock.

    Args:
        metric: Takes the durations.
        labels: Labels of the series.

    Raises:
        TypeError: The metric is of another kind.

    Spec:
        N19.
    """
    _check(metric, (Summary, Histogram), "timer")

    @contextmanager
    def measure() -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            metric.observe(labels, perf_counter() - start)

    return _decorator(measure)


def inprogress(metric: Gauge, labels: Labels | None = None) -> Decorator[P, R]:
    """Keep a gauge at the number of calls in progress; it comes down however a call ends.

    Args:
        metric: Counts up at the start and down at the end of each call.
        labels: Labels of the series.

    Raises:
        TypeError: The metric is no gauge.

    Spec:
        N19.
    """
    _check(metric, (Gauge,), "inprogress")

    @contextmanager
    def measure() -> Iterator[None]:
        metric.inc(labels)
        try:
            yield
        finally:
            metric.dec(labels)

    return _decorator(measure)


def count_exceptions(metric: Counter, labels: Labels | None = None) -> Decorator[P, R]:
    """Count calls that raise an exception; cancellation and the end of a generator are none.

    Args:
        metric: Has no series before the first exception.
        labels: Labels of the series.

    Raises:
        TypeError: The metric is no counter.

    Spec:
        N19.
    """
    _check(metric, (Counter,), "count_exceptions")

    @contextmanager
    def measure() -> Iterator[None]:
        try:
            yield
        except Exception:
            metric.inc(labels)
            raise

    return _decorator(measure)


def _check(metric: object, kinds: tuple[type, ...], decorator: str) -> None:
    if not isinstance(metric, kinds):
        wanted = " or ".join([kind.__name__ for kind in kinds])
        raise TypeError(f"{decorator} needs a {wanted}, not {metric!r}")


def _decorator(measure: Measure) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        wrapper = functools.wraps(function)(_wrap(function, measure))
        return cast("Callable[P, R]", wrapper)

    return decorate


def _wrap(function: Callable[..., Any], measure: Measure) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):
        return _wrap_coroutine(function, measure)
    if inspect.isasyncgenfunction(function):
        return _wrap_async_generator(function, measure)
    if inspect.isgeneratorfunction(function):
        return _wrap_generator(function, measure)
    return _wrap_function(function, measure)


def _wrap_function(function: Callable[..., Any], measure: Measure) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with measure():
            return function(*args, **kwargs)

    return call


def _wrap_coroutine(function: Callable[..., Any], measure: Measure) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with measure():
            return await function(*args, **kwargs)

    return call


def _wrap_generator(function: Callable[..., Any], measure: Measure) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with measure():
            return (yield from function(*args, **kwargs))

    return call


def _wrap_async_generator(function: Callable[..., Any], measure: Measure) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with measure():
            generator = function(*args, **kwargs)
            try:
                item = await anext(generator)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001 - the decorated generator's affair
                        item = await generator.athrow(error)
                    else:
                        item = await generator.asend(sent)
            except StopAsyncIteration:
                return

    return call
