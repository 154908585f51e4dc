"""Single flight: callers that come while a job runs share the result of the next run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Generic, TypeVar

from otel_aioprom._concurrency.daemon_threads import start_daemon
from otel_aioprom._concurrency.greenlets import is_outside_greenlets
from otel_aioprom._concurrency.shared_future import LoopEndedError, SharedFuture, running_loop
from otel_aioprom._concurrency.user_code import FAILURES, raise_if_exit

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a job in a thread of its own, never twice at the same time.

    A caller never gets the result of a run that has already begun, since that may have missed what the caller is
    about to see, but that of the next one. So any number of callers at the same time cost two runs at most.

    The thread is a daemon: a job that hangs blocks neither other callers nor the interpreter's exit. ``join`` waits
    for no lock, so that signal handlers and finalizers may call it at any point.

    Args:
        job: What to run. Callers get what it returns or raises.
        name: Name of the thread.
    """

    def __init__(self, job: Callable[[], T], name: str) -> None:
        self._job = job
        self._name = name
        self._next: dict[None, SharedFuture[T]] = {}
        self._running = threading.Lock()  # held during a run; only tried, never waited for
        self._began: float | None = None

    def join(self) -> SharedFuture[T]:
        """Return the result of the next run, and start that if the job does not run; cancelling has no effect."""
        future = self._next.setdefault(None, SharedFuture())
        if self._running.acquire(blocking=False):
            self._start_next()
        return future

    def busy_for(self) -> float:
        """Return the seconds since the current run began; 0 if there is none."""
        began = self._began
        return 0.0 if began is None else monotonic() - began

    def _start_next(self) -> None:
        """Start the next run if anybody waits for one, else release the lock. The caller holds it."""
        while True:
            if self._next:
                try:
                    self._start()
                except RuntimeError as error:  # the system cannot start another thread
                    self._next.pop(None).fail(error)
                    continue
                return
            self._running.release()
            if not self._next or not self._running.acquire(blocking=False):
                return

    def _start(self) -> None:
        if is_outside_greenlets():  # a thread of gevent's would share this one and its event loop
            self._run()
        else:
            start_daemon(self._run, self._name)

    def _run(self) -> None:
        while (future := self._next.pop(None, None)) is not None:
            self._began = monotonic()
            try:
                result = future.context.run(self._job)
            except BaseException as error:  # noqa: BLE001 - passed to the callers
                future.fail(error)
            else:
                future.finish(result)
        self._began = None
        self._start_next()


class _LoopSession:
    """Consecutive runs on one event loop, until nobody waits for another one.

    Attributes:
        loop: The event loop.
        closed: Held once the session has ended, or its loop has.
        future: Of the current run.
        task: Executes the runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = threading.Lock()
        self.future: SharedFuture[Any] | None = None
        self.task: asyncio.Task[None] | None = None


class AsyncSingleFlight(SingleFlight[T]):
    """Runs a coroutine function on the event loop of a caller, never twice at the same time.

    For a caller without an event loop it runs on the loop that was used last, if that still runs, else in a thread
    with a loop of its own. If a loop ends during a run, the job runs again for callers from elsewhere.

    Args:
        job: What to run. Callers get what it returns or raises.
        name: Name of the task, and of the thread.
    """

    def __init__(self, job: Callable[[], Coroutine[Any, Any, T]], name: str) -> None:
        super().__init__(lambda: asyncio.run(job()), name)
        self._coroutine = job
        self._loop_session: _LoopSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left_loop: asyncio.AbstractEventLoop | None = None

    def join(self) -> SharedFuture[T]:
        """Return the result of the next run; see ``SingleFlight.join``."""
        self.revive()
        future = super().join()
        future.called_from(running_loop())
        return future

    def busy_for(self) -> float:
        """Return the seconds since the current run began; see ``SingleFlight.busy_for``."""
        self.revive()
        return super().busy_for()

    def revive(self) -> None:
        """Go on elsewhere if the event loop has ended, and with it the current run and the next one."""
        session = self._loop_session
        if (
            session is not None
            and not session.loop.is_running()
            and session.closed.acquire(blocking=False)
        ):
            self._leave(session)

    def _leave(self, session: _LoopSession) -> None:
        """Go on elsewhere. The caller has closed the session."""
        self._loop_session, self._left_loop, self._began = None, session.loop, None
        future = session.future
        if future is not None and not future.done():
            future.callers.pop(session.loop, None)
            if future.callers:
                self._run_again(future)
            else:
                future.fail(LoopEndedError("the event loop has ended"))
        self._start_next()

    def _run_again(self, future: SharedFuture[T]) -> None:
        following = self._next.setdefault(None, future)
        if following is not future:
            following.callers.update(future.callers)
            following.add_done_callback(future.copy_from)

    def _start(self) -> None:
        loop = self._choose_loop()
        if loop is None:
            super()._start()
            return
        self._loop = loop
        self._loop_session = session = _LoopSession(loop)
        if running_loop() is loop:
            self._begin(session)  # later, a loop that is about to end would not know the task
        try:
            loop.call_soon_threadsafe(self._begin, session)  # wakes it, from signal handlers too
        except RuntimeError:  # it was closed just now
            self._loop_session = None
            super()._start()

    def _choose_loop(self) -> asyncio.AbstractEventLoop | None:
        left, self._left_loop = self._left_loop, None
        future = self._next.get(None)
        callers = [] if future is None else list(future.callers)
        for loop in (running_loop(), self._loop, *callers):
            if loop is not None and loop is not left and loop.is_running():
                return loop
        return None

    def _begin(self, session: _LoopSession) -> None:
        if session.task is None:
            session.task = session.loop.create_task(self._run_on_loop(session), name=self._name)

    async def _run_on_loop(self, session: _LoopSession) -> None:
        while not session.closed.locked() and (future := self._next.pop(None, None)) is not None:
            session.future, self._began = future, monotonic()
            task = future.context.run(asyncio.create_task, self._await(future), name=self._name)
            try:
                await asyncio.wait([task])
            except (
                asyncio.CancelledError
            ):  # by the loop; a cancellation of the task itself is handled below
                if session.closed.acquire(blocking=False):
                    self._leave(session)
                task.cancel()
                raise
            if task.cancelled():
                future.fail(asyncio.CancelledError())
            elif (error := task.exception()) is not None:  # such as GeneratorExit
                future.fail(error)
            session.future = None
        if session.closed.acquire(blocking=False):  # else another thread has gone on elsewhere
            self._loop_session = self._began = None
            self._start_next()

    async def _await(self, future: SharedFuture[T]) -> None:
        try:
            result = await self._coroutine()
        except FAILURES as error:  # passed to the callers
            raise_if_exit(error)
            future.fail(error)
        else:
            future.finish(result)
