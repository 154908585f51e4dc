"""Interruptions: other threads, signal handlers, garbage collections, and profile functions at every call."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

DEADLINE = 60.0

needs_alarms = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no interval timers"
)


@contextmanager
def switching(interval: float = 1e-6) -> Iterator[None]:
    """Let the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def together(*works: Callable[[], object]) -> None:
    """Run functions concurrently in threads of their own; raise if one raises or does not end."""
    barrier = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            barrier.wait(DEADLINE)
            work()
        except BaseException as error:  # noqa: BLE001 - the test asserts on it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    assert errors == []
    assert not [thread for thread in threads if thread.is_alive()]


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Repeat a function in another thread during the block, and raise what it raises."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not ended.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - the test asserts on it
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(DEADLINE)
    assert errors == []
    assert not thread.is_alive()


# The coverage tracer takes a lock at every call, and a handler may run while it is held: tests that use the following
# two are marked ``no_cover``.


@contextmanager
def alarms(handler: Callable[[], object], pause: float = 0.0005) -> Iterator[list[int]]:
    """Interrupt the main thread repeatedly by a signal; the list has one item for each time.

    Each alarm is set at the end of the handler: a handler that is slower than the pause is not interrupted by the next
    one, which would recurse until the stack overflows. If the interpreter misses an alarm, as it may while threads
    switch, another one follows.
    """
    again = 1.0
    seen: list[int] = []
    over = False

    def handle(number: int, _frame: Any) -> None:
        seen.append(number)
        try:
            handler()
        finally:
            if not over:
                signal.setitimer(signal.ITIMER_REAL, pause, again)

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, pause, again)
    try:
        yield seen
    finally:
        over = True  # first: an alarm may come before the timer has stopped
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def garbage_collections(callback: Callable[..., object], often: int = 5) -> Iterator[None]:
    """Collect garbage after a few allocations, and call a function before and after each collection."""
    before = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(often, 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(callback)


@contextmanager
def at_every_call(act: Callable[[FrameType, str], object]) -> Iterator[None]:
    """Call a function at each call and each return of the block, in its thread.

    The garbage collector is off meanwhile: finalizers of earlier garbage do not belong to the block.
    """

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        # hypothesis observes each garbage collection, and is not to be interrupted.
        if not frame.f_globals.get("__name__", "").startswith("hypothesis"):
            act(frame, event)

    before = sys.getprofile()
    collected = gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(before)
        if collected:
            gc.enable()


class AtCall:
    """Act once, at the n-th call or return that counts; for ``at_every_call``.

    Args:
        number: Index of the call or return, from 0.
        act: Called then.
        counts: Returns whether a frame counts.
    """

    def __init__(
        self, number: int, act: Callable[[], object], counts: Callable[[FrameType], bool]
    ) -> None:
        self._left = number
        self._act = act
        self._counts = counts

    def __call__(self, frame: FrameType, _event: str) -> None:
        """Handle a call or a return."""
        if self.done or not self._counts(frame):
            return
        self._left -= 1
        if self.done:
            self._act()

    @property
    def done(self) -> bool:
        """Whether it has acted."""
        return self._left < 0


class OnceIn:
    """Act once, when a function with a name is called; for ``at_every_call``."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name = name
        self._act: Callable[[], object] | None = act

    def __call__(self, frame: FrameType, event: str) -> None:
        """Handle a call."""
        if event == "call" and frame.f_code.co_name == self._name and self._act is not None:
            act, self._act = self._act, None
            act()

    @property
    def done(self) -> bool:
        """Whether it has acted."""
        return self._act is None
