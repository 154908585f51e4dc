"""Observer of one observable instrument: awaits its coroutine function, and caches the observations."""

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

from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom._concurrency.greenlets import running_loop
from otel_aioprom._concurrency.periodic import FailureLogger
from otel_aioprom._concurrency.reentrancy import is_reentrant, reentrancy_guard
from otel_aioprom._concurrency.shared_future import (
    MAX_WAIT,
    LoopEndedError,
    SharedFuture,
    async_wait_all,
    wait_all,
)
from otel_aioprom._concurrency.single_flight import AsyncSingleFlight
from otel_aioprom._concurrency.user_code import FAILURES, raise_if_exit, safe_repr
from otel_aioprom._core.numbers import check_seconds, coerce_number
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.sources import Preparation

if TYPE_CHECKING:
    from typing_extensions import Self

Values = float | Observation | Iterable[Observation]
AsyncCallback = Callable[[], Awaitable[Values]]

_CANCEL_GRACE = 0.1  # seconds for a callback to end after its cancellation

_observers: WeakValueDictionary[int, AsyncObserver] = WeakValueDictionary()
_current = threading.local()


class AsyncObserver:
    """Await a coroutine function for an observable instrument; created by ``observe_async``.

    Args:
        name: Name of the instrument, for the log.
        callback: The coroutine function.
        timeout: Timeout of the callback, in seconds.
        max_age: Seconds for which its last values may be exposed.
    """

    def __init__(self, name: str, callback: AsyncCallback, timeout: float, max_age: float) -> None:
        check_seconds("timeout", timeout)
        check_seconds("max_age", max_age)
        _check_callback(callback)
        self._callback = callback
        self._timeout = timeout
        self._max_age = max_age
        self._failure_log = FailureLogger(f"callbacks of {name}")
        self._name = name
        self._last: Sequence[Observation] = ()
        self._failure: Fault | None = None
        self._called_at = self._updated_at = -inf
        self._readers: WeakSet[object] = WeakSet()
        self._was_collected = False
        self._has_other_readers = False
        self._is_closed = False
        self._refresh_task: asyncio.Task[None] | None = None
        self._last_future: ref[SharedFuture[None]] | None = None
        self.after_fork()

    def begin(self) -> None:
        """Register for collections, and start the background task if an event loop runs."""
        if running_loop() is not None:
            refresh = _refresh_periodically(ref(self), self._max_age / 4)
            self._refresh_task = asyncio.create_task(refresh, name=f"refresh {self._name}")
        _observers[id(self)] = self
        register_after_fork(self)

    def after_fork(self) -> None:
        """Reset the state in a child process, where the event loop of the parent does not run."""
        self._flight: AsyncSingleFlight[None] = AsyncSingleFlight(
            self._call_with_timeout, f"observe {self._name}"
        )
        self._refresh_task = None

    def close(self) -> None:
        """Stop calling the callback; the instrument has no values from then on. A second call does nothing."""
        self._is_closed = True
        self._stop_refreshing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def remove_reader(self, reader: object) -> None:
        """Remove a reader; with the last one, the background task stops."""
        if reader in self._readers:
            self._readers.discard(reader)
            if not self._readers and not self._has_other_readers:
                self._stop_refreshing()

    def _stop_refreshing(self) -> None:
        task, self._refresh_task = self._refresh_task, None
        if task is not None:
            with suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    def prepare(self, reader: object) -> Preparation:
        """Call the callback for one reader, if it collects the instrument, or if no reader is known to.

        Args:
            reader: The reader that is about to collect.

        Returns:
            The future to wait for, with its timeout; empty if the callback hangs.
        """
        wanted = not self._is_closed and (reader in self._readers or not self._was_collected)
        if not wanted or is_reentrant(self) or self._is_hung():
            return {}
        return {self._join(): self._timeout}

    async def refresh(self) -> None:
        """Call the callback now, on the running event loop; concurrent callers share the call."""
        await async_wait_all([self._join()], inf)

    def refresh_if_due(self) -> None:
        """Call the callback now, unless it was called recently, as by a service."""
        if self._is_due() and not self._is_hung():
            self._join()

    def _is_due(self) -> bool:
        return monotonic() - self._called_at >= self._max_age / 2

    def _is_hung(self) -> bool:
        """Return whether a call goes on after its timeout, so that another one would wait forever."""
        hangs = self._flight.busy_for() > self._timeout + _CANCEL_GRACE
        if hangs:
            self._record_failure("late", f"timed out after {self._timeout} s, and does not end")
        return hangs

    def _join(self) -> SharedFuture[None]:
        future = self._flight.join()
        # Concurrent callers share it.
        if self._last_future is None or future is not self._last_future():
            self._last_future = ref(future)
            future.add_done_callback(self._record_exception)
        return future

    def _record_exception(self, future: Future[None]) -> None:
        """Record an exception that ended the call itself, such as a cancellation by the callback."""
        error = future.exception()
        if error is not None and not isinstance(error, LoopEndedError):
            self._record_failure("raised", safe_repr(error))

    async def _call_with_timeout(self) -> None:
        self._called_at = monotonic()
        try:
            await asyncio.wait_for(self._call(), min(self._timeout, MAX_WAIT))
        except asyncio.TimeoutError:
            self._record_failure("late", f"timed out after {self._timeout} s")

    async def _call(self) -> None:
        try:
            with reentrancy_guard(self):
                observations = _to_observations(await self._callback())
        except FAILURES as error:  # a failure costs only this instrument
            raise_if_exit(error)
            self._record_failure("raised", safe_repr(error))
        else:
            self._last, self._updated_at = observations, monotonic()
            self._failure = None
            self._failure_log.worked()

    def _record_failure(self, cause: str, reason: str) -> None:
        if self._is_closed:
            return
        # Quiet, because the failure log says when failures begin and end.
        self._failure = Fault(cause, self._name, reason, quiet=True)
        self._failure_log.failed(reason)

    def failure_for(self, reader: object) -> Fault | None:
        """Return the fault if there are no new values and the reader collects the instrument."""
        if self._failure is None or reader not in self._readers or self._is_closed:
            return None
        return self._failure._replace(lost=self._is_stale())

    def observe(self, _options: CallbackOptions) -> Sequence[Observation]:
        """Return the last observations; called by the SDK at each collection, in any thread.

        Waits for the callback only in collections of third-party readers, which do not call ``prepare``.
        """
        reader = getattr(_current, "reader", None)
        self._was_collected = True
        if reader is not None:
            self._readers.add(reader)
        else:
            self._has_other_readers = True
            self._wait_if_due()
        return () if self._is_closed or self._is_stale() else self._last

    def _is_stale(self) -> bool:
        return monotonic() - self._updated_at > self._max_age

    def _wait_if_due(self) -> None:
        if (
            running_loop() is None
            and not self._is_closed
            and self._is_due()
            and not self._is_hung()
        ):
            # With a timeout, because the event loop may be waiting for this thread.
            wait_all([self._join()], self._timeout)


async def _refresh_periodically(observer: ref[AsyncObserver], pause: float) -> None:
    """Refresh periodically, for readers that cannot await, until the observer is garbage-collected."""
    while (alive := observer()) is not None:
        alive.refresh_if_due()
        del alive  # no strong reference while sleeping
        await asyncio.sleep(min(pause, MAX_WAIT))


@contextmanager
def reading(reader: object) -> Iterator[None]:
    """Attribute all observations in this block, in this thread, to one reader."""
    before, _current.reader = getattr(_current, "reader", None), reader
    try:
        yield
    finally:
        _current.reader = before


def all_observers() -> list[AsyncObserver]:
    """Return all observers that exist."""
    # Unlike values, valuerefs is safe while other threads register observers.
    return [each for found in _observers.valuerefs() if (each := found()) is not None]


def _check_callback(callback: AsyncCallback) -> None:
    if not callable(callback):
        raise TypeError(f"callback must be a coroutine function, not {callback!r}")
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # no signature is available
        return
    try:
        signature.bind()
    except TypeError:
        raise TypeError(f"callback must have no parameters, unlike {callback!r}") from None


def _to_observations(result: Any) -> Sequence[Observation]:
    if isinstance(result, Observation):
        return (result,)
    if isinstance(result, Iterable):
        observations = tuple(result)
        if all(isinstance(each, Observation) for each in observations):
            return observations
    elif not isinstance(result, bool) and isinstance(result, (SupportsFloat, SupportsIndex)):
        return (Observation(coerce_number(result)),)
    raise TypeError(f"a callback must return numbers or observations, not {result!r}")
