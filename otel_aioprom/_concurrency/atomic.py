"""Atomic recording, on interpreters with and without a global interpreter lock (GIL).

With a GIL, CPython switches threads only at calls and at the end of loops. A read, an addition and a store without a
call between them are atomic, and so are several such statements in a row. Without a GIL the same methods need a lock.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

from otel_aioprom._concurrency.fork_safety import ForkSafeLock

C = TypeVar("C", bound=type[Any])


def has_gil() -> bool:
    """Return whether this interpreter has a GIL."""
    ask: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return ask is None or ask()


def atomic_methods(*methods: str) -> Callable[[C], C]:
    """Decorate a class so that each of these methods is atomic.

    Args:
        *methods: Names of methods without a call between the first read and the last store of the object's state; calls
            before that do no harm.

    Returns:
        A decorator: with a GIL it returns the class itself, else a subclass with a lock for each instance.
    """

    def decorate(cls: C) -> C:
        return cls if has_gil() else with_lock(cls, methods)

    return decorate


def with_lock(cls: C, methods: tuple[str, ...]) -> C:
    """Return a subclass whose instances run the named methods under a lock of their own."""

    def new(subclass: Any, *_args: Any, **_kwargs: Any) -> Any:
        self = object.__new__(subclass)
        self._lock = ForkSafeLock()
        return self

    body: dict[str, Any] = {name: _locked(getattr(cls, name)) for name in methods}
    body |= {
        "__slots__": ("_lock",),
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__new__": new,
    }
    return cast("C", type(cls.__name__, (cls,), body))


def _locked(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock.lock:
            return method(self, *args, **kwargs)

    return call
