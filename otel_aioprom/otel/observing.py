"""Observable instruments whose callbacks are coroutine functions."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Any, Literal
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_aioprom.flight import AsyncFlight, LoopEndedError, Run, running_loop
from otel_aioprom.forks import tell_of_forks
from otel_aioprom.numbers import check_seconds
from otel_aioprom.periodic import Watch
from otel_aioprom.strangers import described

_logger = logging.getLogger(__name__)

Kind = Literal["counter", "up_down_counter", "gauge"]
Values = float | Observation | Iterable[Observation]
AsyncCallback = Callable[[], Awaitable[Values]]

_every: WeakSet[AsyncObserver] = WeakSet()
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
        if not callable(callback):
            raise TypeError(f"a coroutine function is needed, not {callback!r}")
        self._callback = callback
        self._timeout = timeout
        self._max_age = max_age
        self._watch = Watch(f"callbacks of {name}")
        self._name = name
        self._last: Sequence[Observation] = ()
        self._asked_at = self._known_at = -inf
        self._readers: WeakSet[object] = WeakSet()
        self._is_read = False
        self._refreshing: asyncio.Task[None] | None = None
        self._joined: Run[None] | None = None
        self.after_fork()

    def begin(self) -> None:
        """Let services ask it; where a loop runs, a task of its own does too."""
        if running_loop() is not None:
            self._refreshing = asyncio.create_task(self._refresh(), name=f"refresh {self._name}")
        _every.add(self)
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Start over in a child process, where the loop of the parent does not run."""
        self._flight: AsyncFlight[None] = AsyncFlight(self._ask, f"observe {self._name}")
        self._refreshing = None

    def concerns(self, reader: object) -> bool:
        """Tell whether a reader shows it, as far as is known: whether it has asked before, or nobody has."""
        return reader in self._readers or not self._is_read

    async def refresh(self) -> None:
        """Ask the callback now, on the running loop; whoever else asks meanwhile shares that."""
        asked = asyncio.wrap_future(self._join())
        asked.add_done_callback(_seen)
        await asyncio.wait([asked])  # which raises nothing of the callback's

    def _join(self) -> Run[None]:
        run = self._flight.join()
        if run is not self._joined:  # others who ask meanwhile share it
            self._joined = run
            run.add_done_callback(self._ended)
        return run

    def _ended(self, run: Future[None]) -> None:
        """Note what the callback has ended the run itself by, such as a cancellation of its own making."""
        error = run.exception()
        if error is not None and not isinstance(error, LoopEndedError):
            self._watch.failed(described(error))

    async def _ask(self) -> None:
        self._asked_at = monotonic()
        try:
            await asyncio.wait_for(self._call(), self._timeout)
        except asyncio.TimeoutError:
            self._watch.failed(f"no answer within {self._timeout} s")

    async def _call(self) -> None:
        try:
            found = _observations(await self._callback())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a bad callback costs its own instrument
            self._watch.failed(described(error))
        else:
            self._last, self._known_at = found, monotonic()
            self._watch.worked()

    async def _refresh(self) -> None:
        """Ask again and again, for readers that await nothing; who serves asks more often."""
        while True:
            if monotonic() - self._asked_at >= self._max_age / 2:
                await self.refresh()
            await asyncio.sleep(self._max_age / 4)

    def observe(self, _options: CallbackOptions) -> Sequence[Observation]:
        """Tell the SDK what is known; called by it at each collection, in any thread."""
        self._is_read = True
        reader = getattr(_reading, "reader", None)
        if reader is not None:
            self._readers.add(reader)
        if running_loop() is None and monotonic() - self._asked_at >= self._max_age / 2:
            # The loop may be waiting for this very thread.
            wait([self._join()], self._timeout)
        return self._last if monotonic() - self._known_at <= self._max_age else ()


def observe_async(
    meter: Meter,
    kind: Kind,
    name: str,
    callback: AsyncCallback,
    *,
    unit: str = "",
    description: str = "",
    timeout: float = 5.0,
    max_age: float = 60.0,
) -> AsyncObserver:
    """Create an observable instrument whose callback is a coroutine function.

    Where a service of this library serves, the callback is awaited on its loop before each collection. For other readers a
    task of its own asks it every half of ``max_age`` seconds, if this is called while a loop runs; else the reader's thread waits for it.
    If it raises or is late, what it gave last is shown, as long as that is not older than ``max_age``; a line is
    logged when that begins, and when it works again.

    Args:
        meter: Creates the instrument.
        kind: ``"counter"``, ``"up_down_counter"`` or ``"gauge"``.
        name: Name of the instrument.
        callback: Returns a number, an ``Observation``, or several of these.
        unit: Unit of the values.
        description: What is measured.
        timeout: Seconds that the callback gets.
        max_age: Seconds for which a value may be shown.

    Returns:
        What awaits the callback; the instrument keeps it.

    Raises:
        ValueError: There is no such kind, or a time is not above 0.
        TypeError: ``callback`` cannot be called.

    Examples:
        >>> from opentelemetry.sdk.metrics import MeterProvider
        >>> async def jobs() -> int:
        ...     return 12  # from a database, say
        >>> observer = observe_async(MeterProvider().get_meter("shop"), "gauge", "queue.jobs", jobs)
    """
    create: dict[str, Any] = {
        "counter": meter.create_observable_counter,
        "up_down_counter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }
    if kind not in create:
        raise ValueError(f"kind must be one of {', '.join(create)}, not {kind!r}")
    observer = AsyncObserver(name, callback, timeout, max_age)
    create[kind](name, [observer.observe], unit=unit, description=description)
    observer.begin()  # after what may raise
    return observer


@contextmanager
def reading(reader: object) -> Iterator[None]:
    """Note that whatever is observed in this block, in this thread, is for one reader."""
    before, _reading.reader = getattr(_reading, "reader", None), reader
    try:
        yield
    finally:
        _reading.reader = before


async def refresh_all(reader: object, timeout: float) -> None:
    """Ask all callbacks of a reader at once, and wait for them as long as there is time; what is late goes on."""
    mine = [observer for observer in list(_every) if observer.concerns(reader)]
    waiting = [asyncio.ensure_future(observer.refresh()) for observer in mine]
    if waiting:
        await asyncio.wait(waiting, timeout=None if timeout == inf else timeout)


def any_observers(reader: object) -> bool:
    """Tell whether a reader has callbacks to be awaited."""
    return any(observer.concerns(reader) for observer in list(_every))


def _seen(asked: asyncio.Future[None]) -> None:
    if not asked.cancelled():
        asked.exception()


def _observations(found: Any) -> Sequence[Observation]:
    if isinstance(found, Observation):
        return (found,)
    if isinstance(found, Iterable):
        every = tuple(found)
        if not all(isinstance(each, Observation) for each in every):
            raise TypeError(f"a callback gives numbers or observations, not {found!r}")
        return every
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise TypeError(f"a callback gives numbers or observations, not {found!r}")
    return (Observation(found),)
