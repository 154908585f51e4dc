"""Doing something again and again, and once more on the way out."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import FrameType

from otel_aioprom._core.numbers import check_seconds

_logger = logging.getLogger(__name__)


class Watch:
    """Logs when something begins to fail and when it works again, a line each.

    Args:
        what: What it is, in the plural.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0

    def failed(self, reason: object) -> None:
        """Note a failure."""
        self._failures += 1
        if self._failures == 1:
            _logger.warning("%s fail: %s", self._what, reason)

    def worked(self) -> None:
        """Note that it has worked."""
        if self._failures:
            _logger.info("%s work again, after %d that failed", self._what, self._failures)
        self._failures = 0


async def repeat(
    act: Callable[[], Awaitable[object]],
    last: Callable[[], Awaitable[object]],
    interval: float,
    *,
    exit_timeout: float,
    on_sigterm: bool,
) -> None:
    """Do something at once and then every ``interval`` seconds, until the task is cancelled.

    A turn that takes longer than the interval delays the next one to the next multiple of it.

    Args:
        act: What to do; it must not raise.
        last: What to do on the way out; it must not raise.
        interval: Seconds from one beginning to the next.
        exit_timeout: Seconds that ``last`` may take.
        on_sigterm: End on ``SIGTERM`` too, if nobody else handles it; the process then ends as if nobody had.

    Raises:
        ValueError: ``interval`` or ``exit_timeout`` is not above 0.
    """
    check_times(interval, exit_timeout)
    ending = asyncio.Event()
    if on_sigterm:
        _terminations.join(ending)
    try:
        await _turns(act, interval, ending)
    finally:
        try:
            await asyncio.wait_for(last(), exit_timeout)
        except asyncio.TimeoutError:
            _logger.warning("the last turn took more than %s s and was given up", exit_timeout)
        finally:
            _terminations.leave(ending)


def check_times(interval: float, exit_timeout: float) -> None:
    """Refuse what ``repeat`` cannot take.

    Raises:
        ValueError: One of them is not above 0.
    """
    check_seconds("interval", interval)
    check_seconds("exit_timeout", exit_timeout)


@asynccontextmanager
async def ending_with_block(run: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run something beside a block, and cancel it at the end of that; it may take its time then.

    Whoever is cancelled meanwhile waits no longer, and what was run is cancelled once more.
    """
    task = asyncio.create_task(run)
    await asyncio.sleep(0)  # what is cancelled before it has begun has no way out to take
    try:
        yield
    finally:
        task.cancel()
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        if not task.cancelled():
            task.result()


async def _turns(
    act: Callable[[], Awaitable[object]], interval: float, ending: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    acting: asyncio.Future[object] | None = None
    waiting = asyncio.ensure_future(ending.wait())
    try:
        while not ending.is_set():
            acting = asyncio.ensure_future(act())
            await asyncio.wait([acting, waiting], return_when=asyncio.FIRST_COMPLETED)
            late = (loop.time() - began) % interval
            await asyncio.wait([waiting], timeout=interval - late)
    finally:
        waiting.cancel()
        if acting is not None:
            acting.cancel()


class _Terminations:
    """All that want a last turn before ``SIGTERM`` ends the process: the signal has one handler, however many wait.

    The handler is there as long as somebody waits. The last one to leave lets the signal have its way.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._came = False

    def join(self, ending: asyncio.Event) -> None:
        """Set an event of the running loop when the signal comes.

        Nothing is done where the application handles the signal, or outside of the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGTERM)
        if handler is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)
        elif handler != self._handle:
            return
        self._waiting[ending] = asyncio.get_running_loop()
        if self._came:
            ending.set()

    def leave(self, ending: asyncio.Event) -> None:
        """Forget an event, if it has joined."""
        if self._waiting.pop(ending, None) is None or self._waiting:
            return
        came, self._came = self._came, False
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if came:
                os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        for ending, loop in self._waiting.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(ending.set)


_terminations = _Terminations()
