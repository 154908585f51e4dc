"""Doing something again and again, and once more on the way out."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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
    for name, seconds in (("interval", interval), ("exit_timeout", exit_timeout)):
        if not seconds > 0:
            raise ValueError(f"{name} must be a number of seconds above 0, not {seconds!r}")
    with _sigterm(enabled=on_sigterm) as ending:
        try:
            await _turns(act, interval, ending)
        finally:
            try:
                await asyncio.wait_for(last(), exit_timeout)
            except asyncio.TimeoutError:
                _logger.warning("the last turn took more than %s s and was given up", exit_timeout)


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


@contextmanager
def _sigterm(*, enabled: bool) -> Iterator[asyncio.Event]:
    """Set an event on ``SIGTERM``, and let the signal have its way when the block has ended.

    Nothing is done where the application handles the signal, or outside of the main thread.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    main = threading.current_thread() is threading.main_thread()
    if not enabled or not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield ending
        return

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(ending.set)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield ending
    finally:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if ending.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
