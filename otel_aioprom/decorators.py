"""Decorators that measure what they decorate, as the predecessor spelled them.

``metric.time(labels)``, ``metric.track_inprogress(labels)`` and ``metric.count_exceptions(labels)`` say the same, and
measure blocks too.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.context_managers import Measuring

Labels = Mapping[str, object]


def timer(metric: Summary | Histogram, labels: Labels | None = None) -> Measuring:
    """Observe how long each call takes, in seconds of a monotonic clock.

    Args:
        metric: Takes the durations.
        labels: Labels of the series.

    Raises:
        TypeError: The metric is of another kind.

    Spec:
        N19.
    """
    _check(metric, (Summary, Histogram), "timer")
    return metric.time(labels)


def inprogress(metric: Gauge, labels: Labels | None = None) -> Measuring:
    """Keep a gauge at the number of calls in progress; it comes down however a call ends.

    Args:
        metric: Counts up at the start and down at the end of each call.
        labels: Labels of the series.

    Raises:
        TypeError: The metric is no gauge.

    Spec:
        N19.
    """
    _check(metric, (Gauge,), "inprogress")
    return metric.track_inprogress(labels)


def count_exceptions(metric: Counter, labels: Labels | None = None) -> Measuring:
    """Count calls that raise an exception; cancellation and the end of a generator are none.

    Args:
        metric: Has no series before the first exception.
        labels: Labels of the series.

    Raises:
        TypeError: The metric is no counter.

    Spec:
        N19.
    """
    _check(metric, (Counter,), "count_exceptions")
    return metric.count_exceptions(labels)


def _check(metric: object, kinds: tuple[type, ...], decorator: str) -> None:
    if not isinstance(metric, kinds):
        wanted = " or ".join([kind.__name__ for kind in kinds])
        raise TypeError(f"{decorator} needs a {wanted}, not {metric!r}")
