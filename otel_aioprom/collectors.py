"""The native collectors: Counter, Gauge, Histogram and Summary.

Labels come first in every call and may be left out where nothing follows them. Code that records often binds
its series once, ``child = counter.labels({"path": "/"})``, and calls ``child.inc()``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import time
from typing import Any

from quantile import Estimator

from otel_aioprom.collector import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.histogram import POS_INF, HistogramSeries, check_bounds
from otel_aioprom.histogram import Histogram as HistogramStore
from otel_aioprom.series import CounterSeries, GaugeSeries
from otel_aioprom.summary import SummarySeries, check_invariants

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
        buckets: Upper bounds, strictly ascending; ``inf`` is added when absent.
        registry: Registers the collector there on creation.

    Raises:
        ValueError: The bounds are empty, do not ascend, or hold NaN; or as for ``Collector``.

    Spec:
        N7.

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
        buckets: Iterable[float] = DEFAULT_BUCKETS,
        *,
        registry: SupportsRegister | None = None,
    ) -> None:
        self.upper_bounds = check_bounds(buckets)
        super().__init__(name, doc, const_labels, registry=registry)

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> HistogramSeries:
        return HistogramSeries(names, values, text, self.upper_bounds, time())

    def observe(self, labels: Labels | None, value: float) -> None:
        """Count a value; NaN counts above every bound.

        Raises:
            TypeError: The value is no number.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).observe(value)

    add = observe

    def _check_stored(self, value: Any) -> None:
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

    Args:
        name: Metric name; ``_sum`` and ``_count`` are added to it.
        doc: What is measured, in a sentence.
        const_labels: Labels that every series has; ``quantile`` is not allowed.
        invariants: Pairs of quantile and allowed rank error, both between 0 and 1.
        registry: Registers the collector there on creation.

    Raises:
        ValueError: An invariant is out of range; or as for ``Collector``.

    Spec:
        N8.
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
    ) -> None:
        self.invariants = check_invariants(invariants)
        super().__init__(name, doc, const_labels, registry=registry)

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> SummarySeries:
        return SummarySeries(names, values, text, self.invariants, time())

    def observe(self, labels: Labels | None, value: float) -> None:
        """Take a value into count, sum and quantiles.

        Raises:
            TypeError: The value is no number, or a ``bool``.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).observe(value)

    add = observe

    def _check_recorded(self, value: Any) -> None:
        SummarySeries((), (), "", self.invariants).observe(value)

    def _check_stored(self, value: Any) -> None:
        if not isinstance(value, Estimator):
            raise TypeError(f"{self.name} stores quantile.Estimator objects, not {value!r}")

    def _set_value(self, child: Any, value: Any) -> None:
        child.load(value)

    def _get_value(self, child: Any) -> Any:
        return child.estimator
