"""Measure blocks and functions: context managers that are decorators too.

A decorated function stays what it is, plain or a coroutine function; generators and asynchronous generators
are measured from their first step to their end.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from otel_aioprom._concurrency.user_code import is_coroutine_function, underlying_function

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
R = TypeVar("R")


class MeasuringContext:
    """Measure blocks, with ``with`` or ``async with``, or each call of a decorated function.

    One object may measure several blocks at once. The end of a block is measured however it ends: normally, by an
    exception, or by cancellation.
    """

    __slots__ = ()

    def _again(self) -> Self:
        """Return a context manager for another block."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, a coroutine function, a generator function or an asynchronous generator function.

        Raises:
            TypeError: ``function`` is not callable.
        """
        method: Any = function
        if isinstance(method, (staticmethod, classmethod)):  # decorators are applied bottom up
            return type(method)(self(method.__func__))  # type: ignore[return-value]
        if not callable(function):
            raise TypeError(f"only functions can be decorated, not {function!r}")
        wrapper = functools.wraps(function)(_wrap(function, self._again))
        return cast("Callable[P, R]", wrapper)


class Timer(MeasuringContext):
    """Observe the duration of each block or call, in seconds of a monotonic clock.

    If blocks of one object overlap without being nested, only the sum of their durations is right.

    Args:
        observe: Called with labels and seconds.
        labels: The labels.
    """

    __slots__ = ("_labels", "_observe", "_starts")

    def __init__(
        self, observe: Callable[[Mapping[str, object], float], object], labels: Mapping[str, object]
    ) -> None:
        self._observe = observe
        self._labels = labels
        self._starts: Any = None  # linked list, the latest start first

    def _again(self) -> Timer:
        return Timer(self._observe, self._labels)

    def __enter__(self) -> Self:
        self._starts = (perf_counter(), self._starts)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        start, self._starts = self._starts
        self._observe(self._labels, perf_counter() - start)


class SupportsInprogress(Protocol):
    """A series of a gauge, which counts blocks in progress."""

    def inc(self) -> None:
        """Add one."""

    def dec(self) -> None:
        """Subtract one."""


class InprogressTracker(MeasuringContext):
    """Increment at the beginning of each block or call, and decrement the same series at its end.

    Args:
        find: Returns the series.
    """

    __slots__ = ("_counted", "_find")

    def __init__(self, find: Callable[[], SupportsInprogress]) -> None:
        self._find = find
        # In any order: each is decremented as often as it was incremented.
        self._counted: list[SupportsInprogress] = []

    def _again(self) -> InprogressTracker:
        return InprogressTracker(self._find)

    def __enter__(self) -> Self:
        series = self._find()
        series.inc()
        self._counted.append(series)
        return self

    def __exit__(self, *_: object) -> None:
        self._counted.pop().dec()


class ExceptionCounter(MeasuringContext):
    """Count the exceptions that leave blocks or calls.

    Args:
        count: Called for each exception.
        types: Exception classes to count. The end of a generator is no exception, nor is closing it, unless
            ``GeneratorExit`` itself is among them.
    """

    __slots__ = ("_count", "_types")

    def __init__(
        self,
        count: Callable[[], object],
        types: type[BaseException] | tuple[type[BaseException], ...],
    ) -> None:
        self._count = count
        self._types = types if isinstance(types, tuple) else (types,)
        if not self._types or not all(_is_exception_type(each) for each in self._types):
            raise TypeError(f"types must be exception classes, not {types!r}")

    def _again(self) -> ExceptionCounter:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, self._types) and (
            not isinstance(error, GeneratorExit) or GeneratorExit in self._types
        ):
            self._count()


def _is_exception_type(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, BaseException)


Make = Callable[[], MeasuringContext]


def _wrap(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    called = underlying_function(function)
    if is_coroutine_function(function):
        return _wrap_coroutine(function, make)
    if inspect.isasyncgenfunction(called):
        return _wrap_async_generator(function, make)
    if inspect.isgeneratorfunction(called):
        wrapped = _wrap_generator(function, make)
        return types.coroutine(wrapped) if _is_old_coroutine(called) else wrapped
    return _wrap_function(function, make)


def _is_old_coroutine(function: Any) -> bool:
    """Return whether a generator function is a generator-based coroutine (``types.coroutine``)."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _wrap_function(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return call


def _wrap_coroutine(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with make():
            return await function(*args, **kwargs)

    return call


def _wrap_generator(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with make():
            return (yield from function(*args, **kwargs))

    return call


def _wrap_async_generator(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with make():
            generator = function(*args, **kwargs)
            try:
                item = await _first_of(generator)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001 - the decorated generator handles it
                        item = await generator.athrow(error)
                    else:
                        item = await generator.asend(sent)
            except StopAsyncIteration:
                return

    return call


def _first_of(generator: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Start an asynchronous generator unseen by the event loop, which would close it and its wrapper at once."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return anext(generator)
    finally:
        sys.set_asyncgen_hooks(*hooks)
