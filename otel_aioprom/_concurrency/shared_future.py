"""Shared futures: results that any number of threads and event loops wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Coroutine, Iterable
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from otel_aioprom._concurrency.greenlets import event_loop, threads_are_greenlets

T = TypeVar("T")

_LoopFutures = dict[asyncio.AbstractEventLoop, "asyncio.Future[None]"]

MAX_WAIT = threading.TIMEOUT_MAX
"""The longest wait that the system supports, in seconds."""


class LoopEndedError(RuntimeError):
    """The event loop of a run has ended before the run."""


class SharedFuture(Future[T]):
    """The result of one run of a single flight, for all its callers; none of them can cancel it.

    Attributes:
        callers: Event loops of the callers; ``None`` for threads without one.
        context: The first caller's context, in which the job runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.context = copy_context()
        self.callers: dict[asyncio.AbstractEventLoop | None, None] = {}  # ordered
        self._loop_futures: _LoopFutures = {}
        self.set_running_or_notify_cancel()
        self.add_done_callback(partial(_notify_loops, self._loop_futures))

    def done_future(self) -> asyncio.Future[None]:
        """Return a future of the running event loop that is done when this one is.

        All coroutines of a loop get the same one, and those of closed loops are dropped: otherwise a run that never
        ends would accumulate them.
        """
        self._drop_closed_loops()
        loop = asyncio.get_running_loop()
        waiter = self._loop_futures.get(loop)
        if waiter is None or waiter.cancelled():
            self._loop_futures[loop] = waiter = loop.create_future()
        if self.done():
            _wake(waiter)
        return waiter

    def called_from(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Add a caller."""
        self._drop_closed_loops()
        self.callers[loop] = None

    def _drop_closed_loops(self) -> None:
        for loop in [*self.callers, *self._loop_futures]:
            if loop is not None and loop.is_closed():
                self.callers.pop(loop, None)
                self._loop_futures.pop(loop, None)

    def finish(self, result: T) -> None:
        """Set the result, unless there is an outcome already: a loop that seemed to have ended may have gone on."""
        with suppress(InvalidStateError):
            self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Set the exception, unless there is an outcome already."""
        with suppress(InvalidStateError):
            self.set_exception(error)

    def copy_from(self, other: Future[T]) -> None:
        """Take over the outcome of another future."""
        error = other.exception()
        if error is not None:
            self.fail(error)
        else:
            self.finish(other.result())


def _notify_loops(waiters: _LoopFutures, _: Future[Any]) -> None:
    for loop, waiter in waiters.copy().items():
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_wake, waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def wait_all(futures: Collection[Future[Any]], seconds: float) -> None:
    """Block the calling thread until all futures are done, or for so many seconds."""
    wait(futures, min(seconds, MAX_WAIT))


async def async_wait_all(futures: Iterable[SharedFuture[Any]], seconds: float) -> None:
    """Wait as ``wait_all`` does, without blocking the event loop."""
    waiters = [future.done_future() for future in futures]
    if waiters:
        await asyncio.wait(waiters, timeout=min(seconds, MAX_WAIT))


def run_in_new_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop, as ``asyncio.run`` does, but keep the thread's current loop."""
    with event_loop() as loop:
        try:
            return loop.run_until_complete(main)
        finally:
            unfinished = asyncio.all_tasks(loop)
            for task in unfinished:
                task.cancel()
            if unfinished:
                loop.run_until_complete(asyncio.gather(*unfinished, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as the work of a whole thread: as ``asyncio.run`` does, also in a greenlet."""
    return run_in_new_loop(main) if threads_are_greenlets() else asyncio.run(main)
