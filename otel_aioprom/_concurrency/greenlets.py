"""With gevent, greenlets share one thread, which can run only one event loop at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")

_outside: ContextVar[bool] = ContextVar("outside_greenlets", default=False)


def is_outside_greenlets() -> bool:
    """Return whether this code, and the event loop that it runs on, has a thread of its own beside gevent."""
    return _outside.get()


def threads_are_greenlets() -> bool:
    """Return whether gevent has replaced the threads of this program, and this code shares one with others."""
    monkey: Any = sys.modules.get("gevent.monkey")
    patched = monkey is not None and bool(monkey.is_module_patched("threading"))
    return patched and not is_outside_greenlets()


def call_outside_greenlets(function: Callable[[], T]) -> T:
    """Call a function; with gevent in a thread of the system, while the other greenlets go on."""
    if not threads_are_greenlets():
        return function()
    context = copy_context()
    context.run(_outside.set, True)
    pool: Any = import_module("gevent.threadpool").ThreadPool(1)
    try:
        result: T = pool.apply(context.run, (function,))
    finally:
        pool.kill()
    return result
