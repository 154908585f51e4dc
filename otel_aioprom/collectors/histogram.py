"""Histograms: observations counted in classic or native buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import time
from typing import Any

from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.context_managers import Timer
from otel_aioprom.collectors.series.classic_histogram import (
    POS_INF,
    HistogramSeries,
    SampledHistogramSeries,
    check_bounds,
)
from otel_aioprom.collectors.series.classic_histogram import Histogram as HistogramStore
from otel_aioprom.collectors.series.exemplars import (
    ExemplarFunction,
    ExemplarLabels,
    ExemplarSource,
    check_exemplar,
)
from otel_aioprom.collectors.series.native_histogram import (
    NativeHistogramSeries,
    SampledNativeSeries,
)
from otel_aioprom.collectors.series.native_resolution import (
    DEFAULT_ZERO_THRESHOLD,
    Resolution,
    schema_of,
)

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


class Histogram(Collector[HistogramSeries]):
    """Observations counted in buckets, such as the seconds that requests took.

    Args:
        name: Metric name; samples add ``_bucket``, ``_sum`` and ``_count``.
        doc: What is measured, in a sentence.
        const_labels: Labels that every series has; ``le`` is not allowed.
        buckets: Upper bounds of the classic buckets, strictly ascending; ``inf`` is added when absent. ``None`` for
            native buckets alone.
        native_bucket_factor: Record a native histogram too, whose buckets are each at most this many times as wide as
            the one before: from 1.0027 to 65,536; 1.1 is a good choice. Formats without native histograms expose the
            classic buckets alone.
        native_max_buckets: Most populated native buckets. With more, the histogram is reset, or its resolution is
            reduced; 0 for no limit.
        native_zero_threshold: Width of the zero bucket: absolute values up to it count as zero.
        native_min_reset_duration: Seconds since the last reset before a histogram with too many buckets is reset again;
            until then its resolution is reduced. 0: never reset.
        native_max_zero_threshold: Most that the zero bucket may be widened to before the resolution is reduced.
        exemplars: A plain function that is called for each observation without an exemplar; see ``Counter``.
        registry: Registers the collector there on creation.
        max_series: See ``Collector``.
        expire_after: See ``Collector``.

    Raises:
        ValueError: The bounds are empty, not ascending, or contain NaN; an option of native buckets is out of range, or
            set without ``native_bucket_factor``; there are neither classic nor native buckets; or as for ``Collector``.
        TypeError: A bound or an option is no number, ``exemplars`` is no plain function; or as for ``Collector``.

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
        native_bucket_factor: float | None = None,
        native_max_buckets: int = 160,
        native_zero_threshold: float = DEFAULT_ZERO_THRESHOLD,
        native_min_reset_duration: float = 3600.0,
        native_max_zero_threshold: float = 0.0,
        exemplars: ExemplarFunction | None = None,
        registry: SupportsRegister | None = None,
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        if buckets is None and native_bucket_factor is None:
            raise ValueError("a histogram needs buckets, or native_bucket_factor")
        self._upper_bounds = check_bounds([POS_INF] if buckets is None else buckets)
        resolution = Resolution(
            0 if native_bucket_factor is None else schema_of(native_bucket_factor),
            native_zero_threshold,
            native_max_buckets,
            native_min_reset_duration,
            native_max_zero_threshold,
        )
        if native_bucket_factor is None and resolution != Resolution(0):
            raise ValueError("options of native buckets need native_bucket_factor")
        self._resolution = None if native_bucket_factor is None else resolution
        self._source = None if exemplars is None else ExemplarSource(exemplars, name)
        super().__init__(
            name,
            doc,
            const_labels,
            registry=registry,
            max_series=max_series,
            expire_after=expire_after,
        )

    @property
    def upper_bounds(self) -> tuple[float, ...]:
        """Upper bounds of the classic buckets, ``inf`` the last (E110)."""
        return self._upper_bounds

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> HistogramSeries:
        common = (names, values, text, self.upper_bounds, time())
        made: HistogramSeries
        if self._resolution is None:
            plain = HistogramSeries if self._source is None else SampledHistogramSeries
            made = self._class_for(plain, names)(*common)
        else:
            native = NativeHistogramSeries if self._source is None else SampledNativeSeries
            made = self._class_for(native, names)(*common, self._resolution)
        if isinstance(made, (SampledHistogramSeries, SampledNativeSeries)) and self._source:
            made.source = self._source
        return made

    def observe(
        self, labels: Labels | None, value: float, *, exemplar: ExemplarLabels | None = None
    ) -> None:
        """Count a value in its bucket; NaN counts in the last bucket.

        Args:
            labels: Names and values.
            value: The observed value.
            exemplar: Labels of an exemplar, such as a trace id; 128 code points together at most.

        Raises:
            TypeError: The value is no number.
            InvalidLabelsError: A name is not allowed, or the exemplar is too long; nothing changes.
        """
        child = self._find(labels)
        if child is None:
            # Coerced once, and first: a refused observation creates no series.
            value, exemplar = coerce_number(value), check_exemplar(exemplar)
            child = self._create(labels)
        if exemplar is None:
            child.observe(value)
        else:
            child.observe(value, exemplar)

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
        if sum(counts) < child.observations:
            child.created = time()  # a reset
        elif not child.observations and sum(counts):
            child.created = None  # the start time of a count from elsewhere is unknown
        child.load(counts, total)
        child.exemplars = value.exemplars

    def _get_value(self, child: Any) -> HistogramStore:
        store: HistogramStore = child
        return store

    def time(self, labels: Labels | None = None) -> Timer:
        """Observe the seconds that a block, or each call of a function, takes; the clock is monotonic.

        Args:
            labels: Labels of the series.

        Returns:
            A context manager, for ``with`` and ``async with``, and a decorator for functions of every kind. What raises
            or is cancelled is observed too.

        Raises:
            TypeError: ``labels`` is no mapping.
            InvalidLabelsError: A label name is not allowed.

        Examples:
            >>> seconds = Histogram("step_seconds", "Time of a step.")
            >>> with seconds.time({"step": "load"}):
            ...     pass
            >>> seconds.get({"step": "load"})["count"]
            1
        """
        return Timer(self.observe, self._allowed(labels))
