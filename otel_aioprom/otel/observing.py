"""Observable instruments whose callbacks are coroutine functions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import wait
from math import inf
from time import monotonic
from typing import Any, Literal
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_aioprom.flight import AsyncFlight, running_loop
from otel_aioprom.numbers import check_seconds
from otel_aioprom.periodic import Watch

_logger = logging.getLogger(__name__)

Kind = Literal["counter", "up_down_counter", "gauge"]
Values = float | Observation | Iterable[Observation]
AsyncCallback = Callable[[], Awaitable[Values]]

_every: WeakSet[AsyncObserver] = WeakSet()


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
        self._flight: AsyncFlight[None] = AsyncFlight(self._ask, f"observe {name}")
        self._last: Sequence[Observation] = ()
        self._asked_at = self._known_at = -inf
        self._refreshing: asyncio.Task[None] | None = None
        if running_loop() is not None:
            self._refreshing = asyncio.create_task(self._refresh(), name=f"refresh {name}")
        _every.add(self)

    async def refresh(self) -> None:
        """Ask the callback now, on the running loop; whoever else asks meanwhile shares that."""
        await asyncio.wrap_future(self._flight.join())

    async def _ask(self) -> None:
        self._asked_at = monotonic()
        try:
            found = _observations(await asyncio.wait_for(self._callback(), self._timeout))
        except asyncio.TimeoutError:
            self._watch.failed(f"no answer within {self._timeout} s")
        except Exception as error:  # noqa: BLE001 - a bad callback costs its own instrument
            self._watch.failed(repr(error))
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
        if running_loop() is None and monotonic() - self._asked_at >= self._max_age / 2:
            # The loop may be waiting for this very thread.
            wait([self._flight.join()], self._timeout)
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
    return observer


async def refresh_all(timeout: float) -> None:
    """Ask all callbacks at once, and wait for them as long as there is time; what is late goes on."""
    waiting = [asyncio.ensure_future(observer.refresh()) for observer in list(_every)]
    if waiting:
        _, late = await asyncio.wait(waiting, timeout=None if timeout == inf else timeout)
        for task in late:
            task.add_done_callback(_seen)


def any_observers() -> bool:
    """Tell whether there are callbacks to be awaited."""
    return bool(_every)


def _seen(task: asyncio.Future[None]) -> None:
    if not task.cancelled():
        task.exception()


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
