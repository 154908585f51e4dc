"""Atomic recording, on interpreters with and without a global interpreter lock (GIL).

With a GIL, CPython switches threads only at calls and at the end of loops. A read, an addition and a store without a
call between them are atomic, and so are several such statements in a row. Without a GIL the same methods need a lock.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from otel_aioprom._concurrency.fork_safety import free_lock, register_after_fork

C = TypeVar("C", bound=type[Any])


def has_gil() -> bool:
    """Return whether this interpreter has a GIL for as long as it runs.

    A build without one turns it on for a moment while it loads an extension module, which may import this library. So
    it is asked how it was built and started, not whether it has a GIL at present.
    """
    if not hasattr(sys, "_is_gil_enabled"):  # before Python 3.13
        return True
    if hasattr(sys.flags, "gil"):  # since Python 3.14
        return bool(sys.flags.gil)  # ``None`` on builds that have none unless an extension needs it
    import sysconfig  # noqa: PLC0415 - only this version needs it, and an import is not for nothing

    return not sysconfig.get_config_var("Py_GIL_DISABLED")


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
    """Return a subclass whose instances run the named methods under a lock of their own, which is free in children."""

    def new(subclass: Any, *_args: Any, **_kwargs: Any) -> Any:
        self = object.__new__(subclass)
        self._lock = threading.RLock()
        register_after_fork(self)
        return self

    def after_fork(self: Any) -> None:
        self._lock = free_lock(self._lock)

    body: dict[str, Any] = {name: _locked(getattr(cls, name)) for name in methods}
    body |= {
        "__slots__": ("_lock", *(() if cls.__weakrefoffset__ else ("__weakref__",))),
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__new__": new,
        "after_fork": after_fork,
    }
    return cast("C", type(cls.__name__, (cls,), body))


def _locked(method: Any) -> Any:
    """Return a method with the same parameters that holds the lock during the call.

    It is compiled for these parameters: one that takes any would cost as much again as the lock and the call.
    """
    code = method.__code__
    names = ", ".join(code.co_varnames[: code.co_argcount])
    scope: dict[str, Any] = {"method": method}
    exec(f"def call({names}):\n with self._lock:\n  return method({names})\n", scope)  # noqa: S102 - names only
    call = scope["call"]
    call.__defaults__ = method.__defaults__
    return functools.wraps(method)(call)
