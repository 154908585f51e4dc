"""Periodic background tasks that run once more on shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial

from otel_aioprom._concurrency.sigterm import call_in_loop, sigterm
from otel_aioprom._core.numbers import check_seconds

_logger = logging.getLogger(__name__)


class FailureLogger:
    """Logs when something begins to fail, and when it works again.

    Args:
        what: What it is, in the plural, as "pushes to host".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0

    def failed(self, reason: object) -> None:
        """Count a failure, and log it if it is the first since a success."""
        self._failures += 1
        if self._failures == 1:
            _logger.warning("%s fail: %s", self._what, reason)

    def worked(self) -> None:
        """Reset the count, and log the success if it follows a failure."""
        if self._failures:
            _logger.info("%s work again, after %d that failed", self._what, self._failures)
        self._failures = 0


async def run_periodically(
    act: Callable[[], Awaitable[object]],
    last: Callable[[], Awaitable[object]],
    interval: float,
    *,
    exit_timeout: float,
    on_sigterm: bool,
) -> None:
    """Call a coroutine function at once and then every ``interval`` seconds, until the task is cancelled.

    If a call takes longer than the interval, the next one is delayed to the next multiple of it.

    Args:
        act: What to await; must not raise.
        last: What to await on shutdown; must not raise.
        interval: Seconds from the start of one call to the start of the next.
        exit_timeout: Seconds that ``last`` may take.
        on_sigterm: Shut down on ``SIGTERM`` too, unless the application handles it, and then end the process by it.

    Raises:
        ValueError: ``interval`` or ``exit_timeout`` is not above 0.
    """
    check_intervals(interval, exit_timeout)
    shutdown, loop = asyncio.Event(), asyncio.get_running_loop()
    if on_sigterm and sigterm.add(shutdown, partial(call_in_loop, loop, shutdown.set), loop):
        shutdown.set()
    try:
        await _run_until(act, interval, shutdown)
    finally:
        try:
            await asyncio.wait_for(last(), exit_timeout)
        except asyncio.TimeoutError:
            _logger.warning("the last call took more than %s s and was given up", exit_timeout)
        finally:
            sigterm.remove(shutdown)


def check_intervals(interval: float, exit_timeout: float) -> None:
    """Check the times that ``run_periodically`` takes.

    Args:
        interval: Seconds between two calls.
        exit_timeout: Seconds for the last call.

    Raises:
        ValueError: One of them is not above 0.
    """
    check_seconds("interval", interval)
    check_seconds("exit_timeout", exit_timeout)


@asynccontextmanager
async def running_in_background(run: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run a coroutine as a background task during a block; at its end, cancel the task and wait for it.

    If the caller is cancelled while it waits, the task is cancelled once more.
    """
    task = asyncio.create_task(run)
    try:
        await asyncio.sleep(0)  # a task that is cancelled before it has begun does not shut down
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


async def _run_until(
    act: Callable[[], Awaitable[object]], interval: float, shutdown: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    began, periods = loop.time(), 0
    call: asyncio.Future[object] | None = None
    ended = asyncio.ensure_future(shutdown.wait())
    try:
        while not shutdown.is_set():
            call = asyncio.ensure_future(act())
            await asyncio.wait([call, ended], return_when=asyncio.FIRST_COMPLETED)
            # Some loops (uvloop) wake a fraction of a millisecond early: a period that was waited for is over.
            elapsed = loop.time() - began
            periods = max(periods, int(elapsed // interval)) + 1
            await asyncio.wait([ended], timeout=began + periods * interval - loop.time())
    finally:
        ended.cancel()
        if call is not None:
            call.cancel()
