"""Results that several wait for: in threads, and on any number of event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Coroutine, Iterable
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_Waiting = dict[asyncio.AbstractEventLoop, "asyncio.Future[None]"]

LONGEST = threading.TIMEOUT_MAX
"""Seconds that can be waited."""


class LoopEndedError(RuntimeError):
    """The event loop on which something ran has ended before it was done."""


class Run(Future[T]):
    """The result of a run that has not begun, for all who have asked for it; nobody can cancel it.

    Attributes:
        askers: Event loops of those who have asked, ``None`` for a thread without one.
        context: That of the first who has asked, in which it runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.context = copy_context()
        self.askers: dict[asyncio.AbstractEventLoop | None, None] = {}  # each once, in order
        self._waiting: _Waiting = {}
        self.set_running_or_notify_cancel()
        self.add_done_callback(partial(_tell, self._waiting))

    def ended(self) -> asyncio.Future[None]:
        """Return what coroutines wait for that must not wait in their thread: done when there is a result or an error.

        All on one event loop wait for the same one, and nothing is kept for loops that are closed: each would leave
        something behind on a run that never ends.
        """
        self._forget_closed()
        loop = asyncio.get_running_loop()
        waited = self._waiting.get(loop)
        if waited is None or waited.cancelled():
            self._waiting[loop] = waited = loop.create_future()
        if self.done():
            _wake(waited)
        return waited

    def asked_by(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Note who has asked."""
        self._forget_closed()
        self.askers[loop] = None

    def _forget_closed(self) -> None:
        for loop in [*self.askers, *self._waiting]:
            if loop is not None and loop.is_closed():
                self.askers.pop(loop, None)
                self._waiting.pop(loop, None)

    def end(self, result: T) -> None:
        """Hand a result to whoever waits, unless there is one: a loop that was thought to have ended may have gone on."""
        with suppress(InvalidStateError):
            self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Hand an error to whoever waits, unless there is a result."""
        with suppress(InvalidStateError):
            self.set_exception(error)

    def follow(self, other: Future[T]) -> None:
        """Take the outcome of another run."""
        error = other.exception()
        if error is not None:
            self.fail(error)
        else:
            self.end(other.result())


def _tell(waiting: _Waiting, _run: Future[Any]) -> None:
    for loop, waited in waiting.copy().items():
        with suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(_wake, waited)


def _wake(waited: asyncio.Future[None]) -> None:
    if not waited.done():
        waited.set_result(None)


def wait_for(runs: Collection[Future[Any]], seconds: float) -> None:
    """Wait in the calling thread until all runs have ended, or for so many seconds."""
    wait(runs, min(seconds, LONGEST))


async def until_ended(runs: Iterable[Run[Any]], seconds: float) -> None:
    """Wait as ``wait_for`` does, without holding the event loop."""
    waited = [run.ended() for run in runs]
    if waited:
        await asyncio.wait(waited, timeout=min(seconds, LONGEST))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def run_apart(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own, as ``asyncio.run`` does, and leave the thread's current loop alone."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
