"""Whoever comes in between: other threads, signal handlers, finalizers, and a turn at every call."""

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
    """Let threads change as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def together(*works: Callable[[], object]) -> None:
    """Run jobs in threads of their own, all at once, and raise if one raises or does not end."""
    barrier = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            barrier.wait(DEADLINE)
            work()
        except BaseException as error:  # noqa: BLE001 - told to the test
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
    """Do something again and again in another thread, and raise what it raises."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not ended.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - told to the test
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


# What measures the coverage takes a lock at every call, and a handler may come while it is held: tests that
# use the following two are marked ``no_cover``.


@contextmanager
def alarms(handler: Callable[[], object], pause: float = 0.0005) -> Iterator[list[int]]:
    """Interrupt the main thread again and again by a signal; the list tells how often.

    Each alarm is set when the handler has ended: one that is slower than the pause is not interrupted by the next,
    which would go on until there is no room for calls left. One that the interpreter overlooks, as it may while threads
    change, is followed by another all the same.
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
    """Collect garbage after so many allocations, and call before and after each time."""
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
    """Do something at each call and each return of the block, in its thread.

    What is garbage by then is not collected meanwhile: it is not the block that its finalizers belong to.
    """

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        # A tool of tests that looks at each collection of garbage is not to be interrupted.
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
    """Does something once, at a call or a return of a number among those that count: for `at_every_call`.

    Args:
        number: Which one, counted from 0.
        act: What to do.
        counts: Tells of a call whether it counts.
    """

    def __init__(
        self, number: int, act: Callable[[], object], counts: Callable[[FrameType], bool]
    ) -> None:
        self._left = number
        self._act = act
        self._counts = counts

    def __call__(self, frame: FrameType, _event: str) -> None:
        """Look at a call, or at a return."""
        if self.done or not self._counts(frame):
            return
        self._left -= 1
        if self.done:
            self._act()

    @property
    def done(self) -> bool:
        """Whether it was."""
        return self._left < 0


class OnceIn:
    """Does something once, when a function of a name is called: for `at_every_call`."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name = name
        self._act: Callable[[], object] | None = act

    def __call__(self, frame: FrameType, event: str) -> None:
        """Look at a call."""
        if event == "call" and frame.f_code.co_name == self._name and self._act is not None:
            act, self._act = self._act, None
            act()

    @property
    def done(self) -> bool:
        """Whether it was."""
        return self._act is None
