"""What a child process must not take over from its parent: locks that somebody held, and threads that it has not got."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from weakref import WeakSet

_logger = logging.getLogger(__name__)


class SupportsAfterFork(Protocol):
    """What starts over in a child process."""

    def after_fork(self) -> None:
        """Called in the child, in its only thread, before anything else of it runs."""


_told: WeakSet[Any] = WeakSet()


def tell_of_forks(told: SupportsAfterFork) -> None:
    """Call ``after_fork`` of an object in every child process, as long as the object lives."""
    _told.add(told)


def _after_fork() -> None:
    start_over(list(_told))


def start_over(every: Iterable[SupportsAfterFork]) -> None:
    """Let objects start over in a child process; one that fails costs itself."""
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
    """A lock that whoever holds it may take again, as signal handlers and finalizers do, and that is free in a child process.

    Attributes:
        lock: To be used with ``with``. It is the interpreter's own: a method of ours around it would hold it for ever if a signal handler
            raised in there.
    """

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Forget who held it, unless it is the thread that forks, which goes on to release it: all others are gone."""
        if self.lock.acquire(blocking=False):
            self.lock.release()
        else:
            self.lock = threading.RLock()
