"""Gauges: values that go up and down."""

from __future__ import annotations

from functools import partial
from time import time

from otel_aioprom.collectors.base import Labels, MetricsTypes
from otel_aioprom.collectors.context_managers import InprogressTracker, Timer
from otel_aioprom.collectors.number import NumberCollector
from otel_aioprom.collectors.series.number import GaugeSeries


class Gauge(NumberCollector[GaugeSeries]):
    """A value that goes up and down, such as jobs in a queue.

    Arguments, attributes and errors are those of ``Collector``.

    Spec:
        N6.

    Examples:
        >>> queue = Gauge("queue_jobs", "Jobs that wait.")
        >>> queue.set({}, 5)
        >>> queue.dec()
        >>> queue.get({})
        4
    """

    kind = MetricsTypes.gauge

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> GaugeSeries:
        return self._class_for(GaugeSeries, names)(names, values, text)

    def inc(self, labels: Labels | None = None) -> None:
        """Add one; the first use of a label set starts from 0.

        Raises:
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        child = self._find(labels)
        (self._create(labels) if child is None else child).inc()

    def dec(self, labels: Labels | None = None) -> None:
        """Subtract one; the first use of a label set starts from 0.

        Raises:
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        child = self._find(labels)
        (self._create(labels) if child is None else child).dec()

    def add(self, labels: Labels | None, value: float) -> None:
        """Add an amount, which may be negative.

        Raises:
            TypeError: ``value`` is no number.
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).add(value)

    def sub(self, labels: Labels | None, value: float) -> None:
        """Subtract an amount, which may be negative.

        Raises:
            TypeError: ``value`` is no number.
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).sub(value)

    def set_to_current_time(self, labels: Labels | None = None) -> None:
        """Set the value to the current time, in seconds since the epoch.

        Raises:
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        self.set(labels, time())

    def time(self, labels: Labels | None = None) -> Timer:
        """Set the value to the seconds that a block, or each call of a function, took last; see ``Histogram.time``."""
        return Timer(self.set, self._allowed(labels))

    def track_inprogress(self, labels: Labels | None = None) -> InprogressTracker:
        """Keep the value at the number of blocks or calls in progress; it goes down however they end.

        Args:
            labels: Labels of the series.

        Returns:
            A context manager, for ``with`` and ``async with``, and a decorator for functions of every kind.

        Raises:
            TypeError: ``labels`` is no mapping.
            InvalidLabelsError: A label name is not allowed.

        Examples:
            >>> busy = Gauge("busy_workers", "Workers at work.")
            >>> with busy.track_inprogress({"queue": "mail"}):
            ...     busy.get({"queue": "mail"})
            1
        """
        return InprogressTracker(partial(self.labels, self._allowed(labels)))
