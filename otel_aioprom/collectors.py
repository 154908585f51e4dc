"""The native collectors: Counter, Gauge, Histogram and Summary.

Labels come first in every call and may be left out where nothing follows them. Code that records often binds
its series once, ``child = counter.labels({"path": "/"})``, and calls ``child.inc()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from typing import Any

from quantile import Estimator

from otel_aioprom.collector import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.histogram import POS_INF, HistogramSeries, check_bounds
from otel_aioprom.histogram import Histogram as HistogramStore
from otel_aioprom.recording_native import NativeHistogramSeries
from otel_aioprom.resolution import DEFAULT_ZERO_THRESHOLD, Resolution, schema_of
from otel_aioprom.series import CounterSeries, GaugeSeries
from otel_aioprom.summary import (
    SummarySeries,
    check_invariants,
    check_observation,
    check_window,
)

__all__ = [
    "DEFAULT_BUCKETS",
    "DEFAULT_INVARIANTS",
    "POS_INF",
    "Collector",
    "Counter",
    "Gauge",
    "Histogram",
    "MetricsTypes",
    "Summary",
]

DEFAULT_BUCKETS: tuple[float, ...] = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    POS_INF,
)
DEFAULT_INVARIANTS: tuple[tuple[float, float], ...] = ((0.5, 0.05), (0.9, 0.01), (0.99, 0.001))


class Counter(Collector[CounterSeries]):
    """A value that only rises, such as requests served.

    Arguments, attributes and errors are those of ``Collector``.

    Spec:
        N5.

    Examples:
        >>> requests = Counter("requests_total", "Requests served.")
        >>> requests.inc({"code": 200})
        >>> requests.add({"code": 200}, 2)
        >>> requests.get({"code": "200"})
        3
    """

    kind = MetricsTypes.counter

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> CounterSeries:
        return CounterSeries(names, values, text, created=time())

    def inc(self, labels: Labels | None = None) -> None:
        """Add one; the first use of a label set starts from 0."""
        child = self._find(labels)
        (self._create(labels) if child is None else child).inc()

    def add(self, labels: Labels | None, value: float) -> None:
        """Add an amount of zero or more.

        Raises:
            ValueError: The amount is negative; nothing changes.
            TypeError: The amount is no number.
        """
        child = self._find(labels)
        if child is None:
            CounterSeries().add(value)  # what is refused leaves no series behind
            child = self._create(labels)
        child.add(value)

    def set(self, labels: Labels | None, value: float) -> None:
        """Replace the value, as when it is taken over from elsewhere; a smaller one is a reset."""
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).set(value)


class Gauge(Collector[GaugeSeries]):
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
        return GaugeSeries(names, values, text)

    def set(self, labels: Labels | None, value: float) -> None:
        """Replace the value."""
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).set(value)

    def inc(self, labels: Labels | None = None) -> None:
        """Add one; the first use of a label set starts from 0."""
        child = self._find(labels)
        (self._create(labels) if child is None else child).inc()

    def dec(self, labels: Labels | None = None) -> None:
        """Take one away; the first use of a label set starts from 0."""
        child = self._find(labels)
        (self._create(labels) if child is None else child).dec()

    def add(self, labels: Labels | None, value: float) -> None:
        """Add an amount, which may be negative."""
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).add(value)

    def sub(self, labels: Labels | None, value: float) -> None:
        """Take an amount away, which may be negative."""
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).sub(value)


class Histogram(Collector[HistogramSeries]):
    """Observations counted by upper bound, such as seconds that requests took.

    Args:
        name: Metric name; ``_bucket``, ``_sum`` and ``_count`` are added to it.
        doc: What is measured, in a sentence.
        const_labels: Labels that every series has; ``le`` is not allowed.
        buckets: Upper bounds, strictly ascending; ``inf`` is added when absent. ``None`` for native buckets alone.
        registry: Registers the collector there on creation.
        native_bucket_factor: Count in native buckets too, each at most so many times as wide as the one before: 1.1 is
            a good one. Formats without native histograms show the classic buckets alone.
        native_max_buckets: When more native buckets than that hold observations, the histogram starts over, or
            counts less finely; 0 for any number.
        native_zero_threshold: Values up to it, of either sign, count as zero.
        native_min_reset_duration: Seconds after which a histogram with too many buckets starts over; before that
            it counts less finely. 0: it never starts over.
        native_max_zero_threshold: Up to here the zero bucket may grow first.

    Raises:
        ValueError: The bounds are empty, do not ascend, or hold NaN; an option of native buckets has no such
            value; there are neither classic nor native buckets; or as for ``Collector``.

    Spec:
        N7, E77.

    Examples:
        >>> seconds = Histogram("request_seconds", "Time to answer.", buckets=[0.1, 1])
        >>> seconds.observe({}, 0.25)
        >>> seconds.get({})
        {0.1: 0, 1.0: 1, inf: 1, 'count': 1, 'sum': 0.25}
    """

    kind = MetricsTypes.histogram
    _reserved = "le"
    DEFAULT_BUCKETS = DEFAULT_BUCKETS
    REPR_STR = "histogram"
    SUM_KEY = "sum"
    COUNT_KEY = "count"

    def __init__(
        self,
        name: str,
        doc: str,
        const_labels: Mapping[str, object] | None = None,
        buckets: Iterable[float] | None = DEFAULT_BUCKETS,
        *,
        registry: SupportsRegister | None = None,
        native_bucket_factor: float | None = None,
        native_max_buckets: int = 160,
        native_zero_threshold: float = DEFAULT_ZERO_THRESHOLD,
        native_min_reset_duration: float = 3600.0,
        native_max_zero_threshold: float = 0.0,
    ) -> None:
        if buckets is None and native_bucket_factor is None:
            raise ValueError("a histogram needs buckets, or native_bucket_factor")
        self.upper_bounds = check_bounds([POS_INF] if buckets is None else buckets)
        self._resolution = None
        if native_bucket_factor is not None:
            self._resolution = Resolution(
                schema_of(native_bucket_factor),
                native_zero_threshold,
                native_max_buckets,
                native_min_reset_duration,
                native_max_zero_threshold,
            )
        super().__init__(name, doc, const_labels, registry=registry)

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> HistogramSeries:
        if self._resolution is None:
            return HistogramSeries(names, values, text, self.upper_bounds, time())
        return NativeHistogramSeries(
            names, values, text, self.upper_bounds, time(), self._resolution
        )

    def observe(self, labels: Labels | None, value: float) -> None:
        """Count a value; NaN counts above every bound.

        Raises:
            TypeError: The value is no number.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).observe(value)

    add = observe

    def _check_stored(self, value: Any) -> None:
        if self._resolution is not None:
            raise TypeError(
                f"{self.name} has native buckets, which cannot be set from classic ones"
            )
        if not isinstance(value, HistogramStore) or value.bounds != self.upper_bounds:
            raise TypeError(
                f"{self.name} stores histogram.Histogram objects with the bounds {self.upper_bounds}"
            )

    def _set_value(self, child: Any, value: Any) -> None:
        *counts, total = value.snapshot()
        child.load(counts, total)

    def _get_value(self, child: Any) -> HistogramStore:
        store: HistogramStore = child
        return store


class Summary(Collector[SummarySeries]):
    """Observations as quantiles over time, such as the seconds within which 99 % of requests were answered.

    Quantiles are those of the last minutes: they tell of ``max_age`` seconds, less one step of ``max_age / age_buckets`` at the most,
    and are NaN when nothing was observed in that time. Count and sum are over the whole life of a series.

    Args:
        name: Metric name; ``_sum`` and ``_count`` are added to it.
        doc: What is measured, in a sentence.
        const_labels: Labels that every series has; ``quantile`` is not allowed.
        invariants: Pairs of quantile and allowed rank error, both between 0 and 1.
        registry: Registers the collector there on creation.
        max_age: Seconds for which an observation counts for quantiles; ``None`` for the whole life of a series.
        age_buckets: In how many steps old observations are forgotten. Each costs memory and time.
        clock: Tells the time in seconds.

    Raises:
        ValueError: An invariant, ``max_age`` or ``age_buckets`` is out of range; or as for ``Collector``.
        TypeError: ``max_age`` or ``age_buckets`` is no number, or ``clock`` cannot be called; or as for ``Collector``.

    Spec:
        N8, E115.

    Examples:
        >>> seconds = Summary("answer_seconds", "Time to answer.", max_age=60)
        >>> for value in range(1, 1001):
        ...     seconds.observe({}, value / 1000)
        >>> abs(seconds.get({})[0.99] - 0.99) <= 0.001
        True
    """

    kind = MetricsTypes.summary
    _reserved = "quantile"
    DEFAULT_INVARIANTS = DEFAULT_INVARIANTS
    REPR_STR = "summary"
    SUM_KEY = "sum"
    COUNT_KEY = "count"

    def __init__(
        self,
        name: str,
        doc: str,
        const_labels: Mapping[str, object] | None = None,
        invariants: Iterable[tuple[float, float]] = DEFAULT_INVARIANTS,
        *,
        registry: SupportsRegister | None = None,
        max_age: float | None = 600.0,
        age_buckets: int = 5,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.invariants = check_invariants(invariants)
        self._window = check_window(max_age, age_buckets, clock)
        super().__init__(name, doc, const_labels, registry=registry)

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> SummarySeries:
        return SummarySeries(names, values, text, self.invariants, time(), self._window)

    def observe(self, labels: Labels | None, value: float) -> None:
        """Take a value into count, sum and quantiles.

        Raises:
            TypeError: The value is no number, or a ``bool``.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).observe(value)

    add = observe

    def _check_recorded(self, value: Any) -> None:
        check_observation(value)

    def _check_stored(self, value: Any) -> None:
        if not isinstance(value, Estimator):
            raise TypeError(f"{self.name} stores quantile.Estimator objects, not {value!r}")

    def _set_value(self, child: Any, value: Any) -> None:
        child.load(value)

    def _get_value(self, child: Any) -> Any:
        return child.estimator
