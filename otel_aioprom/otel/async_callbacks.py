"""Observable instruments with coroutine functions as callbacks."""

from __future__ import annotations

from typing import Any, Literal

from opentelemetry.metrics import Meter

from otel_aioprom.otel.async_observer import AsyncCallback, AsyncObserver, all_observers
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.sources import Preparation

Kind = Literal["counter", "up_down_counter", "gauge"]


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

    A service of this library awaits the callback on its event loop before each collection. For other readers, a
    background task calls it every ``max_age / 2`` seconds, if this function is called while an event loop runs;
    otherwise the reader's thread waits for it.

    If the callback raises or times out, its last values are exposed until they are ``max_age`` seconds old. A message
    is logged when failures begin, and when the callback works again; meanwhile ``otel_aioprom_source_failures_total``
    counts the collections of ``PrometheusMetricReader``, by the instrument's name.

    Args:
        meter: Creates the instrument.
        kind: ``"counter"``, ``"up_down_counter"`` or ``"gauge"``.
        name: Name of the instrument.
        callback: Coroutine function without parameters; returns a number, an ``Observation``, or an iterable of these.
        unit: Unit of the instrument.
        description: Description of the instrument.
        timeout: Timeout of the callback, in seconds. A scrape waits for it at most half of its own timeout, then
            exposes the last values.
        max_age: Seconds for which values may be exposed.

    Returns:
        The observer that awaits the callback; the instrument holds a reference to it. Its method ``close``, or the end of
        a ``with`` block, stops the calls; so does the shutdown of the last ``PrometheusMetricReader``, if no other
        reader collects the instrument.

    Raises:
        ValueError: The kind is unknown, or a number of seconds is not above 0.
        TypeError: ``callback`` is not callable without arguments.

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
    if kind not in tuple(create):  # a tuple, because kind may be unhashable
        raise ValueError(f"kind must be one of {', '.join(create)}, not {kind!r}")
    observer = AsyncObserver(name, callback, timeout, max_age)
    create[kind](name, [observer.observe], unit=unit, description=description)
    observer.begin()  # last, because the SDK may raise
    return observer


def prepare_all(reader: object) -> Preparation:
    """Call all callbacks of a reader concurrently; return the futures to wait for, with their timeouts."""
    return {
        future: limit for each in all_observers() for future, limit in each.prepare(reader).items()
    }


def failures(reader: object) -> list[Fault]:
    """Return the faults of the callbacks of a reader that have no new values."""
    return [fault for each in all_observers() if (fault := each.failure_for(reader)) is not None]


def remove_reader(reader: object) -> None:
    """Remove a reader that has shut down from all observers."""
    for each in all_observers():
        each.remove_reader(reader)
