"""Fork safety: a child process inherits locks that threads of its parent held, but not the threads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from weakref import WeakSet

_logger = logging.getLogger(__name__)


class SupportsAfterFork(Protocol):
    """An object that starts over in a child process."""

    def after_fork(self) -> None:
        """Start over. Called in the child right after the fork, in its only thread."""


_registered: WeakSet[Any] = WeakSet()


def register_after_fork(registered: SupportsAfterFork) -> None:
    """Call ``after_fork`` of an object in every child process, as long as the object lives; it is referenced weakly."""
    _registered.add(registered)


def _after_fork() -> None:
    call_after_fork(list(_registered))


def call_after_fork(every: Iterable[SupportsAfterFork]) -> None:
    """Call ``after_fork`` of objects; one that raises is logged, and the others are called all the same."""
    for each in every:
        try:
            each.after_fork()
        except Exception:
            _logger.exception("%s cannot start over in a child process", type(each).__name__)


def call_in_children(function: Callable[[], object]) -> None:
    """Call a function in every child process, right after the fork."""
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=function)


call_in_children(_after_fork)


class ForkSafeLock:
    """A reentrant lock, for signal handlers and finalizers may run while it is held, that is free in a child process.

    Attributes:
        lock: The interpreter's own lock, for ``with``. A wrapper method would hold it for ever if a signal handler
            raised in there.
    """

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        register_after_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, unless it is held by the forking thread, which goes on and releases it."""
        if self.lock.acquire(blocking=False):
            self.lock.release()
        else:
            self.lock = threading.RLock()
