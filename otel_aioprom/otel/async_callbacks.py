"""Observable instruments whose callbacks are coroutine functions."""

from __future__ import annotations

from typing import Any, Literal

from opentelemetry.metrics import Meter

from otel_aioprom.otel.async_observer import AsyncCallback, AsyncObserver, living
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

    Where a service of this library serves, the callback is awaited on its loop before each collection. For other readers a
    task of its own asks it every half of ``max_age`` seconds, if this is called while a loop runs; else the reader's thread waits for it.
    If it raises or is late, what it gave last is shown, as long as that is not older than ``max_age``; a line is
    logged when that begins, and when it works again, and ``otel_aioprom_source_failures_total`` counts the collections of our readers
    meanwhile, by the instrument's name.

    Args:
        meter: Creates the instrument.
        kind: ``"counter"``, ``"up_down_counter"`` or ``"gauge"``.
        name: Name of the instrument.
        callback: A coroutine function without arguments; returns a number, an ``Observation``, or several of these.
        unit: Unit of the values.
        description: What is measured.
        timeout: Seconds that the callback gets. A response waits for it half of its own time at most, and shows what is
            known then.
        max_age: Seconds for which a value may be shown.

    Returns:
        What awaits the callback; the instrument keeps it. Its method ``close``, or the end of a ``with`` block, ends that; so does the
        shutdown of our readers, if no other reader shows the instrument.

    Raises:
        ValueError: There is no such kind, or a time is not above 0.
        TypeError: ``callback`` cannot be called, or not without arguments.

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
    if kind not in tuple(create):  # which takes anything, unlike a dict
        raise ValueError(f"kind must be one of {', '.join(create)}, not {kind!r}")
    observer = AsyncObserver(name, callback, timeout, max_age)
    create[kind](name, [observer.observe], unit=unit, description=description)
    observer.begin()  # after what may raise
    return observer


def refresh_all(reader: object) -> Preparation:
    """Ask all callbacks of a reader at once, and return what is to be waited for."""
    return {run: limit for each in living() for run, limit in each.prepare(reader).items()}


def failures(reader: object) -> list[Fault]:
    """Return why callbacks of a reader have no new values."""
    found = [each.failure_for(reader) for each in living()]
    return [each for each in found if each is not None]


def forget(reader: object) -> None:
    """Let observers know that a reader has ended."""
    for each in living():
        each.forget(reader)
