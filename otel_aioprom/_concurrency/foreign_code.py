"""Code of others that is called: how it fails, told without failing oneself."""

from __future__ import annotations

import inspect
from functools import partial
from threading import current_thread, main_thread
from typing import Any

_EXITS = (SystemExit, KeyboardInterrupt)

FAILURES = (Exception, *_EXITS)
"""What code that is awaited may fail by, unless ``is_exit`` says that it goes on; a cancellation and the end of a generator always do."""


def described(thing: object) -> str:
    """Return the ``repr`` of an object, whatever that does."""
    try:
        return repr(thing)
    except Exception:  # noqa: BLE001 - it is not ours
        return f"<{type(thing).__name__} that has no repr>"


def said_by(error: BaseException) -> str:
    """Return the message of an error, whatever that does."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is not ours
        return described(error)


def what_is_called(function: Any) -> Any:
    """Return the function that tells of what kind another one is: of an object, what its class calls."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - not to ask whether there is one


def is_awaited(function: Any) -> bool:
    """Tell whether what a function returns is to be awaited: it is a coroutine function, is marked as one, or stands for one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        what_is_called(function)
    )


def refuse_coroutine(value: object, reason: str) -> None:
    """Raise if something is a coroutine, which nobody awaits.

    Raises:
        TypeError: It is one.
    """
    if inspect.iscoroutine(value):
        value.close()  # else it warns that nobody has awaited it
        raise TypeError(reason)


def is_exit(error: BaseException) -> bool:
    """Tell whether an error is to go on, for it may be a signal handler's that ends the program."""
    return isinstance(error, _EXITS) and current_thread() is main_thread()
