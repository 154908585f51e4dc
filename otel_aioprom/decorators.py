"""Decorators that measure functions, with the names of aioprometheus.

``metric.time(labels)``, ``metric.track_inprogress(labels)`` and ``metric.count_exceptions(labels)`` do the same, for
blocks too.
"""

from __future__ import annotations

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.base import Labels
from otel_aioprom.collectors.context_managers import MeasuringContext


def timer(metric: Summary | Histogram, labels: Labels | None = None) -> MeasuringContext:
    """Observe the duration of each call, in seconds of a monotonic clock.

    Args:
        metric: Observes the durations.
        labels: Labels of the series.

    Raises:
        TypeError: ``metric`` is neither a summary nor a histogram.

    Spec:
        N19.
    """
    _check(metric, (Summary, Histogram), "timer")
    return metric.time(labels)


def inprogress(metric: Gauge, labels: Labels | None = None) -> MeasuringContext:
    """Keep a gauge at the number of calls in progress; it goes down however a call ends.

    Args:
        metric: Incremented at the start and decremented at the end of each call.
        labels: Labels of the series.

    Raises:
        TypeError: ``metric`` is no gauge.

    Spec:
        N19.
    """
    _check(metric, (Gauge,), "inprogress")
    return metric.track_inprogress(labels)


def count_exceptions(metric: Counter, labels: Labels | None = None) -> MeasuringContext:
    """Count calls that raise an exception; cancellation and the end of a generator do not count.

    Args:
        metric: Counts the exceptions; no series is created before the first one.
        labels: Labels of the series.

    Raises:
        TypeError: ``metric`` is no counter.

    Spec:
        N19.
    """
    _check(metric, (Counter,), "count_exceptions")
    return metric.count_exceptions(labels)


def _check(metric: object, kinds: tuple[type, ...], decorator: str) -> None:
    if not isinstance(metric, kinds):
        wanted = " or ".join([kind.__name__ for kind in kinds])
        raise TypeError(f"{decorator} needs a {wanted}, not {metric!r}")
