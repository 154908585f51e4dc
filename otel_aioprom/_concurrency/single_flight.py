"""Single flight: whoever asks while a job runs shares the next run with all others who ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Generic, TypeVar

from otel_aioprom._concurrency.foreign_code import FAILURES, is_exit
from otel_aioprom._concurrency.shared_future import LoopEndedError, Run, running_loop

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a job in a thread of its own, one run at a time.

    A run that has begun may have passed by what its caller is about to see, so that a request
    never joins it but the one after it: each caller gets a result of a run that started after its
    call, and any number of callers cost two runs at most.

    The thread is a daemon: a job that hangs keeps neither the next caller's thread nor the
    interpreter's exit waiting. No lock is waited for: signal handlers and finalizers may ask in the middle of anything.

    Args:
        job: What to run. What it raises, the callers get.
        name: Name of the thread.
    """

    def __init__(self, job: Callable[[], T], name: str) -> None:
        self._job = job
        self._name = name
        self._next: dict[None, Run[T]] = {}
        self._turn = threading.Lock()  # held while there is a run; only tried, never waited for
        self._began: float | None = None

    def join(self) -> Run[T]:
        """Ask for a run.

        Returns:
            The result of the next run; cancelling it has no effect.
        """
        waiting = self._next.setdefault(None, Run())
        if self._turn.acquire(blocking=False):
            self._go_on()
        return waiting

    def busy_for(self) -> float:
        """Return for how many seconds the run under way has lasted; 0 if there is none."""
        began = self._began
        return 0.0 if began is None else monotonic() - began

    def _go_on(self) -> None:
        """Start what waits, or let others have the turn."""
        while True:
            if self._next:
                try:
                    self._start()
                except RuntimeError as error:  # the system has no thread to spare
                    self._next.pop(None).fail(error)
                    continue
                return
            self._turn.release()
            if not self._next or not self._turn.acquire(blocking=False):
                return

    def _start(self) -> None:
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while (run := self._next.pop(None, None)) is not None:
            self._began = monotonic()
            try:
                result = run.context.run(self._job)
            except BaseException as error:  # noqa: BLE001 - handed to the callers
                run.fail(error)
            else:
                run.end(result)
        self._began = None
        self._go_on()


class _Stay:
    """The runs on one event loop, from when they are to begin there to the last one for now.

    Attributes:
        loop: Where.
        over: Held once they are over, or the loop is.
        run: What runs now.
        task: Runs it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.over = threading.Lock()
        self.run: Run[Any] | None = None
        self.task: asyncio.Task[None] | None = None


class AsyncFlight(SingleFlight[T]):
    """Runs a coroutine function on the event loop of whoever asks, one run at a time.

    Who asks from a thread without a loop gets a run on the loop that was used last, if that still runs; else in a thread with a
    loop of its own. What a loop leaves undone when it ends is run again for those who have asked from elsewhere.

    Args:
        job: What to run. What it raises, the callers get.
        name: Name of the task, and of the thread.
    """

    def __init__(self, job: Callable[[], Coroutine[Any, Any, T]], name: str) -> None:
        super().__init__(lambda: asyncio.run(job()), name)
        self._coroutine = job
        self._stay: _Stay | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left: asyncio.AbstractEventLoop | None = None

    def join(self) -> Run[T]:
        """Ask for a run; see ``SingleFlight.join``."""
        self.revive()
        run = super().join()
        run.asked_by(running_loop())
        return run

    def busy_for(self) -> float:
        """Return for how many seconds the run under way has lasted; see ``SingleFlight.busy_for``."""
        self.revive()
        return super().busy_for()

    def revive(self) -> None:
        """Start over if the loop has ended, which takes with it what was to run or ran there."""
        stay = self._stay
        if stay is not None and not stay.loop.is_running() and stay.over.acquire(blocking=False):
            self._leave(stay)

    def _leave(self, stay: _Stay) -> None:
        """Go on elsewhere. The turn is ours."""
        self._stay, self._left, self._began = None, stay.loop, None
        run = stay.run
        if run is not None and not run.done():
            run.askers.pop(stay.loop, None)
            if run.askers:
                self._again(run)
            else:
                run.fail(LoopEndedError("the event loop has ended"))
        self._go_on()

    def _again(self, run: Run[T]) -> None:
        waiting = self._next.setdefault(None, run)
        if waiting is not run:
            waiting.askers.update(run.askers)
            waiting.add_done_callback(run.follow)

    def _start(self) -> None:
        loop = self._choose()
        if loop is None:
            super()._start()
            return
        self._loop = loop
        self._stay = stay = _Stay(loop)
        try:
            loop.call_soon_threadsafe(self._begin, stay)
        except RuntimeError:  # it was closed just now
            self._stay = None
            super()._start()

    def _choose(self) -> asyncio.AbstractEventLoop | None:
        left, self._left = self._left, None
        waiting = self._next.get(None)
        askers = [] if waiting is None else list(waiting.askers)
        for loop in (running_loop(), self._loop, *askers):
            if loop is not None and loop is not left and loop.is_running():
                return loop
        return None

    def _begin(self, stay: _Stay) -> None:
        stay.task = stay.loop.create_task(self._turns(stay), name=self._name)

    async def _turns(self, stay: _Stay) -> None:
        while not stay.over.locked() and (run := self._next.pop(None, None)) is not None:
            stay.run, self._began = run, monotonic()
            task = run.context.run(asyncio.create_task, self._attempt(run), name=self._name)
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:  # of the loop: the task's own ends up below
                if stay.over.acquire(blocking=False):
                    self._leave(stay)
                task.cancel()
                raise
            if task.cancelled():
                run.fail(asyncio.CancelledError())
            elif (error := task.exception()) is not None:  # such as GeneratorExit
                run.fail(error)
            stay.run = None
        if stay.over.acquire(blocking=False):  # else somebody has gone on elsewhere
            self._stay = self._began = None
            self._go_on()

    async def _attempt(self, run: Run[T]) -> None:
        try:
            result = await self._coroutine()
        except FAILURES as error:  # handed to the callers
            if is_exit(error):
                raise
            run.fail(error)
        else:
            run.end(result)
