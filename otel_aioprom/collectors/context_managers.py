"""Measuring code: blocks, and functions of every kind, as context managers and decorators.

A plain function stays a plain function, a coroutine function a coroutine function; generators and
asynchronous generators are measured from their first step to their end.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from otel_aioprom._concurrency.foreign_code import is_awaited, what_is_called

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
R = TypeVar("R")


class Measuring:
    """Measures blocks, with ``with`` or ``async with``, or each call of a function that it decorates.

    One object may measure several blocks at once. What happens at the end of a block happens however it
    ends: by its last line, an exception, or a cancellation.
    """

    __slots__ = ()

    def _again(self) -> Self:
        """Return another one that measures alike."""
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
        """Decorate a function, a coroutine function, a generator function or an asynchronous one.

        Raises:
            TypeError: It cannot be called.
        """
        method: Any = function
        if isinstance(method, (staticmethod, classmethod)):  # the decorator stands above that one
            return type(method)(self(method.__func__))  # type: ignore[return-value]
        if not callable(function):
            raise TypeError(f"functions can be measured, and {function!r} is none")
        wrapper = functools.wraps(function)(_wrap(function, self._again))
        return cast("Callable[P, R]", wrapper)


class Timing(Measuring):
    """Hands on how many seconds of a monotonic clock each block or call took.

    Of blocks that overlap, neither inside the other, it is their sum that is right.

    Args:
        observe: Takes labels and seconds.
        labels: The labels.
    """

    __slots__ = ("_labels", "_observe", "_starts")

    def __init__(
        self, observe: Callable[[Mapping[str, object], float], object], labels: Mapping[str, object]
    ) -> None:
        self._observe = observe
        self._labels = labels
        self._starts: Any = None  # the latest one, and those before it

    def _again(self) -> Timing:
        return Timing(self._observe, self._labels)

    def __enter__(self) -> Self:
        self._starts = (perf_counter(), self._starts)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        start, self._starts = self._starts
        self._observe(self._labels, perf_counter() - start)


class SupportsProgress(Protocol):
    """What counts blocks in progress: a series of a gauge."""

    def inc(self) -> None:
        """One more."""

    def dec(self) -> None:
        """One less."""


class Progress(Measuring):
    """Counts up at the beginning of each block or call, and down at its end, on the same series.

    Args:
        find: Returns the series.
    """

    __slots__ = ("_counted", "_find")

    def __init__(self, find: Callable[[], SupportsProgress]) -> None:
        self._find = find
        # In any order: each comes down as often as it went up.
        self._counted: list[SupportsProgress] = []

    def _again(self) -> Progress:
        return Progress(self._find)

    def __enter__(self) -> Self:
        series = self._find()
        series.inc()
        self._counted.append(series)
        return self

    def __exit__(self, *_: object) -> None:
        self._counted.pop().dec()


class Exceptions(Measuring):
    """Counts the exceptions that leave blocks or calls.

    Args:
        count: Called for each.
        types: Those that count. A generator that has ended raises none, nor does one that is closed, unless
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

    def _again(self) -> Exceptions:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, self._types) and self._is_meant(error):
            self._count()

    def _is_meant(self, error: BaseException) -> bool:
        return not isinstance(error, GeneratorExit) or GeneratorExit in self._types


def _is_exception_type(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, BaseException)


Make = Callable[[], Measuring]


def _wrap(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    called = what_is_called(function)
    if is_awaited(function):
        return _wrap_coroutine(function, make)
    if inspect.isasyncgenfunction(called):
        return _wrap_async_generator(function, make)
    if inspect.isgeneratorfunction(called):
        wrapped = _wrap_generator(function, make)
        return types.coroutine(wrapped) if _is_old_coroutine(called) else wrapped
    return _wrap_function(function, make)


def _is_old_coroutine(function: Any) -> bool:
    """Tell whether a generator function is a coroutine function of the old kind."""
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
                    except BaseException as error:  # noqa: BLE001 - the decorated generator's affair
                        item = await generator.athrow(error)
                    else:
                        item = await generator.asend(sent)
            except StopAsyncIteration:
                return

    return call


def _first_of(generator: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Begin an asynchronous generator that the event loop does not know: it would end it, and what wraps it, both at once."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return anext(generator)
    finally:
        sys.set_asyncgen_hooks(*hooks)
