"""User code that is called or awaited: what kind of function it is, and what to do when it fails."""

from __future__ import annotations

import inspect
from functools import partial
from threading import current_thread, main_thread
from typing import Any

_EXITS = (SystemExit, KeyboardInterrupt)

FAILURES = (Exception, *_EXITS)
"""What to catch from awaited user code, for ``raise_if_exit``; cancellations and ``GeneratorExit`` always propagate."""


def safe_repr(thing: object) -> str:
    """Return the ``repr`` of an object, or a substitute if that raises."""
    try:
        return repr(thing)
    except Exception:  # noqa: BLE001 - user code
        return f"<{type(thing).__name__} that has no repr>"


def safe_str(error: BaseException) -> str:
    """Return the message of an error, or its ``safe_repr`` if that raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - user code
        return safe_repr(error)


def underlying_function(function: Any) -> Any:
    """Return the function that a ``partial`` or a callable object calls in the end."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - for its code


def is_coroutine_function(function: Any) -> bool:
    """Return whether a callable is a coroutine function, is marked as one, or calls one in the end."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        underlying_function(function)
    )


def reject_coroutine(value: object, reason: str) -> None:
    """Raise if a value is a coroutine, which nobody awaits.

    Raises:
        TypeError: It is one.
    """
    if inspect.iscoroutine(value):
        value.close()  # else it warns that it was never awaited
        raise TypeError(reason)


def raise_if_exit(error: BaseException) -> None:
    """Raise an error again if it is an exit in the main thread, which may come from a signal handler."""
    if isinstance(error, _EXITS) and current_thread() is main_thread():
        raise error
