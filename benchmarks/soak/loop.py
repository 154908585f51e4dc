"""An event loop that knows how long its own thread has held it."""

from __future__ import annotations

import asyncio
import gc
import heapq
import selectors
import threading
import time
from typing import Any, NamedTuple

_WORST = 10


class Hold(NamedTuple):
    """One iteration of the loop.

    Attributes:
        seconds: CPU time of the loop's thread.
        garbage: How much of it the garbage collector took.
        callback: What ran longest in it, and how long.
        when: Seconds since the start.
    """

    seconds: float
    garbage: float
    callback: str
    when: float


class Holds:
    """The longest iterations of one event loop, in CPU time of its thread; to be made in that thread.

    CPU time, because other processes and threads have the processor and the GIL meanwhile, which is not the loop's doing.

    Attributes:
        iterations: How many there were.
        worst: The longest ones.
    """

    def __init__(self) -> None:
        self.iterations = 0
        self.worst: list[Hold] = []
        self._start = time.monotonic()
        self._began: float | None = None
        self._garbage = self._garbage_began = 0.0
        self._callback, self._longest = "", 0.0
        self._thread = threading.get_ident()

    @property
    def longest(self) -> float:
        """Seconds of the longest iteration."""
        return max((hold.seconds for hold in self.worst), default=0.0)

    def begin(self) -> None:
        """An iteration begins: the loop has waited for what comes."""
        self._garbage, self._callback, self._longest = 0.0, "", 0.0
        self._began = time.thread_time()

    def end(self) -> None:
        """The loop is about to wait again."""
        if self._began is None:
            return
        seconds = time.thread_time() - self._began
        self.iterations += 1
        if len(self.worst) < _WORST or seconds > self.worst[0].seconds:
            when = time.monotonic() - self._start
            hold = Hold(
                seconds, self._garbage, f"{self._callback} {self._longest * 1e3:.1f} ms", when
            )
            (heapq.heappush if len(self.worst) < _WORST else heapq.heapreplace)(self.worst, hold)

    def note(self, handle: Any, seconds: float) -> None:
        """Note how long a callback ran."""
        if seconds > self._longest:
            self._longest = seconds
            self._callback = _described(getattr(handle, "_callback", None))

    def collected(self, phase: str, _info: dict[str, int]) -> None:
        """Take the garbage collector's word; for ``gc.callbacks``."""
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._garbage_began = time.thread_time()
        else:
            self._garbage += time.thread_time() - self._garbage_began


class _Selector(selectors.DefaultSelector):
    def __init__(self, holds: Holds) -> None:
        super().__init__()
        self._holds = holds

    def select(self, timeout: float | None = None) -> Any:
        """Wait, which ends one iteration and begins the next."""
        self._holds.end()
        found = super().select(timeout)
        self._holds.begin()
        return found


def watched_loop(holds: Holds) -> asyncio.AbstractEventLoop:
    """Return a new event loop whose iterations are measured."""
    run = asyncio.Handle._run  # noqa: SLF001 - it has no public hook

    def timed(self: asyncio.Handle) -> None:
        began = time.thread_time()
        run(self)
        if self._loop is loop:  # type: ignore[attr-defined]
            holds.note(self, time.thread_time() - began)

    loop = asyncio.SelectorEventLoop(_Selector(holds))
    asyncio.Handle._run = timed  # type: ignore[method-assign]  # noqa: SLF001
    gc.callbacks.append(holds.collected)
    return loop


def _described(callback: Any) -> str:
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"task {getattr(task.get_coro(), '__qualname__', task)}"
    return str(getattr(callback, "__qualname__", callback))
