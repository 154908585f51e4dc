"""Single flight: whoever asks while a job runs shares the next run with all others who ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a job in a thread of its own, one run at a time.

    A run that has begun may have passed by what its caller is about to see, so that a request
    never joins it but the one after it: each caller gets a result of a run that started after its
    call, and any number of callers cost two runs at most.

    The thread is a daemon: a job that hangs keeps neither the next caller's thread nor the
    interpreter's exit waiting.

    Args:
        job: What to run. What it raises, the callers get.
        name: Name of the thread.
    """

    def __init__(self, job: Callable[[], T], name: str) -> None:
        self._job = job
        self._name = name
        self._lock = threading.Lock()
        self._waiting: Future[T] | None = None
        self._running = False

    def join(self) -> Future[T]:
        """Ask for a run.

        Returns:
            The result of the next run; cancelling it has no effect.
        """
        with self._lock:
            if self._waiting is None:
                self._waiting = Future()
                self._waiting.set_running_or_notify_cancel()  # shared, so nobody may cancel it
            waiting = self._waiting
            if not self._running:
                self._start(waiting)
        return waiting

    def _start(self, waiting: Future[T]) -> None:
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError as error:  # the system has no thread to spare
            self._waiting = None
            waiting.set_exception(error)
        else:
            self._running = True

    def _run(self) -> None:
        while (future := self._next()) is not None:
            try:
                result = self._job()
            except BaseException as error:  # noqa: BLE001 - handed to the callers
                future.set_exception(error)
            else:
                future.set_result(result)

    def _next(self) -> Future[T] | None:
        with self._lock:
            future, self._waiting = self._waiting, None
            self._running = future is not None
            return future


class AsyncFlight(SingleFlight[T]):
    """Runs a coroutine function on the event loop of whoever asks, one run at a time.

    Who asks from a thread without a loop gets a run on the loop that was used last, if that still runs; else in a thread with a loop of its own.

    Args:
        job: What to run. What it raises, the callers get.
        name: Name of the task, and of the thread.
    """

    def __init__(self, job: Callable[[], Coroutine[Any, Any, T]], name: str) -> None:
        super().__init__(lambda: asyncio.run(job()), name)
        self._coroutine = job
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_loop = False
        self._task: asyncio.Task[None] | None = None
        self._current: Future[T] | None = None

    def join(self) -> Future[T]:
        """Ask for a run; see ``SingleFlight.join``."""
        self.revive()
        return super().join()

    def revive(self) -> None:
        """Start over if the loop has ended, which takes with it what was to run or ran there."""
        with self._lock:
            if not self._on_loop or (self._loop is not None and self._loop.is_running()):
                return
            self._running = self._on_loop = False
            lost, self._current = self._current, None
            if self._waiting is not None:
                self._start(self._waiting)
        if lost is not None:
            _settle(lost, RuntimeError("the event loop has ended"))

    def _start(self, waiting: Future[T]) -> None:
        loop = running_loop() or self._loop
        self._on_loop = loop is not None and loop.is_running()
        if loop is None or not self._on_loop:
            super()._start(waiting)
            return
        self._loop = loop
        loop.call_soon_threadsafe(self._begin, loop)
        self._running = True

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(self._turns(), name=self._name)

    async def _turns(self) -> None:
        while (future := self._next()) is not None:
            self._current = future
            try:
                result = await self._coroutine()
            except asyncio.CancelledError as error:  # the loop ends
                _settle(future, error)
                while (other := self._next()) is not None:
                    other.set_exception(error)
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the callers
                _settle(future, error)
            else:
                if not future.done():
                    future.set_result(result)


def _settle(future: Future[Any], error: BaseException) -> None:
    """Hand an error to whoever waits, unless a loop that was thought to have ended has gone on."""
    if not future.done():
        future.set_exception(error)


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
