"""Observers: what awaits the coroutine function of one observable instrument, and knows what it gave last."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex
from weakref import WeakSet, WeakValueDictionary, ref

from opentelemetry.metrics import CallbackOptions, Observation

from otel_aioprom._concurrency.foreign_code import FAILURES, described, is_exit
from otel_aioprom._concurrency.fork_safety import tell_of_forks
from otel_aioprom._concurrency.periodic import Watch
from otel_aioprom._concurrency.reentrancy import answering, is_answering
from otel_aioprom._concurrency.shared_future import (
    LONGEST,
    LoopEndedError,
    Run,
    running_loop,
    until_ended,
    wait_for,
)
from otel_aioprom._concurrency.single_flight import AsyncFlight
from otel_aioprom._core.numbers import check_seconds, coerce_number
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.sources import Preparation

if TYPE_CHECKING:
    from typing_extensions import Self

Values = float | Observation | Iterable[Observation]
AsyncCallback = Callable[[], Awaitable[Values]]

_GRACE = 0.1  # seconds that a callback has to end in when it is cancelled

_every: WeakValueDictionary[int, AsyncObserver] = WeakValueDictionary()
_reading = threading.local()


class AsyncObserver:
    """Awaits a coroutine function for an observable instrument; made by ``observe_async``.

    Args:
        name: Name of the instrument, for the log.
        callback: The coroutine function.
        timeout: Seconds that it gets.
        max_age: Seconds for which what it gave last may be shown.
    """

    def __init__(self, name: str, callback: AsyncCallback, timeout: float, max_age: float) -> None:
        check_seconds("timeout", timeout)
        check_seconds("max_age", max_age)
        _check_callback(callback)
        self._callback = callback
        self._timeout = timeout
        self._max_age = max_age
        self._watch = Watch(f"callbacks of {name}")
        self._name = name
        self._last: Sequence[Observation] = ()
        self._failure: Fault | None = None
        self._asked_at = self._known_at = -inf
        self._readers: WeakSet[object] = WeakSet()
        self._is_read = False
        self._is_read_by_others = False
        self._is_closed = False
        self._refreshing: asyncio.Task[None] | None = None
        self._joined: ref[Run[None]] | None = None
        self.after_fork()

    def begin(self) -> None:
        """Let services ask it; where a loop runs, a task of its own does too."""
        if running_loop() is not None:
            again = _refresh(ref(self), self._max_age / 4)
            self._refreshing = asyncio.create_task(again, name=f"refresh {self._name}")
        _every[id(self)] = self
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Start over in a child process, where the loop of the parent does not run."""
        self._flight: AsyncFlight[None] = AsyncFlight(self._ask, f"observe {self._name}")
        self._refreshing = None

    def close(self) -> None:
        """Ask the callback no more; the instrument has no values from then on. A second call does nothing."""
        self._is_closed = True
        self._stop_refreshing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self, reader: object) -> None:
        """Let one reader have no part in it any more; the last one takes the task along."""
        if reader in self._readers:
            self._readers.discard(reader)
            if not self._readers and not self._is_read_by_others:
                self._stop_refreshing()

    def _stop_refreshing(self) -> None:
        task, self._refreshing = self._refreshing, None
        if task is not None:
            with suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    def prepare(self, reader: object) -> Preparation:
        """Ask the callback for one reader, if it is known to show it, or nobody is.

        Returns:
            What is to be waited for: nothing, if the callback hangs.
        """
        wanted = not self._is_closed and (reader in self._readers or not self._is_read)
        if not wanted or is_answering(self) or self._hangs():
            return {}
        return {self._join(): self._timeout}

    async def refresh(self) -> None:
        """Ask the callback now, on the running loop; whoever else asks meanwhile shares that."""
        await until_ended([self._join()], inf)

    def refresh_if_due(self) -> None:
        """Ask the callback now, unless that was done not long ago; who serves asks more often."""
        if self._is_due() and not self._hangs():
            self._join()

    def _is_due(self) -> bool:
        return monotonic() - self._asked_at >= self._max_age / 2

    def _hangs(self) -> bool:
        """Tell whether a call goes on though its time is over, so that one after it would wait for ever."""
        hangs = self._flight.busy_for() > self._timeout + _GRACE
        if hangs:
            self._failed("late", f"no answer within {self._timeout} s, and it does not end")
        return hangs

    def _join(self) -> Run[None]:
        run = self._flight.join()
        if self._joined is None or run is not self._joined():  # others who ask meanwhile share it
            self._joined = ref(run)
            run.add_done_callback(self._ended)
        return run

    def _ended(self, run: Future[None]) -> None:
        """Note what the callback has ended the run itself by, such as a cancellation of its own making."""
        error = run.exception()
        if error is not None and not isinstance(error, LoopEndedError):
            self._failed("raised", described(error))

    async def _ask(self) -> None:
        self._asked_at = monotonic()
        try:
            await asyncio.wait_for(self._call(), min(self._timeout, LONGEST))
        except asyncio.TimeoutError:
            self._failed("late", f"no answer within {self._timeout} s")

    async def _call(self) -> None:
        try:
            with answering(self):
                found = _observations(await self._callback())
        except FAILURES as error:  # a bad callback costs its own instrument
            if is_exit(error):
                raise
            self._failed("raised", described(error))
        else:
            self._last, self._known_at = found, monotonic()
            self._failure = None
            self._watch.worked()

    def _failed(self, cause: str, reason: str) -> None:
        if self._is_closed:
            return
        # The watch has the say in the log: when it begins, and when it is over.
        self._failure = Fault(cause, self._name, reason, quiet=True)
        self._watch.failed(reason)

    def failure_for(self, reader: object) -> Fault | None:
        """Return why there is no new value, if that is so and a reader shows the instrument."""
        if self._failure is None or reader not in self._readers or self._is_closed:
            return None
        return self._failure._replace(lost=self._is_old())

    def observe(self, _options: CallbackOptions) -> Sequence[Observation]:
        """Tell the SDK what is known; called by it at each collection, in any thread.

        It waits only for readers of others, for which nobody has prepared anything.
        """
        reader = getattr(_reading, "reader", None)
        self._is_read = True
        if reader is not None:
            self._readers.add(reader)
        else:
            self._is_read_by_others = True
            self._wait_if_due()
        return () if self._is_closed or self._is_old() else self._last

    def _is_old(self) -> bool:
        return monotonic() - self._known_at > self._max_age

    def _wait_if_due(self) -> None:
        if running_loop() is None and not self._is_closed and self._is_due() and not self._hangs():
            # The loop may be waiting for this very thread.
            wait_for([self._join()], self._timeout)


async def _refresh(observer: ref[AsyncObserver], pause: float) -> None:
    """Ask again and again, for readers that await nothing, as long as there is something to ask."""
    while (alive := observer()) is not None:
        alive.refresh_if_due()
        del alive  # whoever waits keeps nothing alive
        await asyncio.sleep(min(pause, LONGEST))


@contextmanager
def reading(reader: object) -> Iterator[None]:
    """Note that whatever is observed in this block, in this thread, is for one reader."""
    before, _reading.reader = getattr(_reading, "reader", None), reader
    try:
        yield
    finally:
        _reading.reader = before


def living() -> list[AsyncObserver]:
    """Return all observers that there are."""
    found = [each() for each in _every.valuerefs()]  # unlike values, safe while others begin
    return [each for each in found if each is not None]


def _check_callback(callback: AsyncCallback) -> None:
    if not callable(callback):
        raise TypeError(f"a coroutine function is needed, not {callback!r}")
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # it has none that is known
        return
    try:
        signature.bind()
    except TypeError:
        raise TypeError(f"a callback is called without arguments, unlike {callback!r}") from None


def _observations(found: Any) -> Sequence[Observation]:
    if isinstance(found, Observation):
        return (found,)
    if isinstance(found, Iterable):
        every = tuple(found)
        if not all(isinstance(each, Observation) for each in every):
            raise TypeError(f"a callback gives numbers or observations, not {found!r}")
        return every
    if isinstance(found, bool) or not isinstance(found, (SupportsFloat, SupportsIndex)):
        raise TypeError(f"a callback gives numbers or observations, not {found!r}")
    return (Observation(coerce_number(found)),)
