"""Fork safety: a child process inherits locks that threads of its parent held, but not the threads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
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


def free_lock(lock: Any) -> Any:
    """Return the lock in a child process, or a new one if a thread of the parent holds it there for ever."""
    if not lock.acquire(blocking=False):
        return threading.RLock()
    lock.release()
    return lock


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
        self.lock = free_lock(self.lock)


class ForkGate:
    """What holds locks of other libraries, which no child process can reset, lets a fork wait until it is done.

    Args:
        patience: Seconds that a fork waits at most.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self._patience = patience
        self._after_fork_in_child()
        if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork,
                after_in_child=self._after_fork_in_child,
            )

    def _after_fork_in_child(self) -> None:
        self._changed = threading.Condition()
        self._holders: list[int] = []  # threads
        self._forks = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other thread fork during this block; wait for a fork that has begun."""
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._forks or me in self._holders, self._patience)
            self._holders.append(me)
        try:
            yield
        finally:
            with self._changed:
                if me in self._holders:  # else this is a child process
                    self._holders.remove(me)
                self._changed.notify_all()

    def _before_fork(self) -> None:
        me, end = threading.get_ident(), monotonic() + self._patience
        with self._changed:
            self._forks += 1
            while any(thread != me for thread in self._holders) and monotonic() < end:
                self._changed.wait(end - monotonic())

    def _after_fork(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()
