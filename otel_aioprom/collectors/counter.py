"""Counters: values that only rise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import time
from typing import Any

from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.base import Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.context_managers import ExceptionCounter
from otel_aioprom.collectors.number import NumberCollector
from otel_aioprom.collectors.series.exemplars import (
    ExemplarFunction,
    ExemplarLabels,
    ExemplarSource,
    check_exemplar,
)
from otel_aioprom.collectors.series.number import CounterSeries, SampledCounterSeries


class Counter(NumberCollector[CounterSeries]):
    """A value that only rises, such as requests served.

    Args:
        name: Metric name; by convention it ends in ``_total``.
        doc: What is counted, in a sentence.
        const_labels: Labels that every series has.
        exemplars: A plain function that is called for each measurement without an exemplar; returns the exemplar's
            labels, or ``None`` for no exemplar. ``otel_aioprom.otel.tracing.trace_exemplar`` returns the ids of the
            active sampled span.
        registry: Registers the collector there on creation.
        max_series: See ``Collector``.
        expire_after: See ``Collector``.

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

    def __init__(
        self,
        name: str,
        doc: str,
        const_labels: Mapping[str, object] | None = None,
        *,
        exemplars: ExemplarFunction | None = None,
        registry: SupportsRegister | None = None,
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        self._source = None if exemplars is None else ExemplarSource(exemplars, name)
        super().__init__(
            name,
            doc,
            const_labels,
            registry=registry,
            max_series=max_series,
            expire_after=expire_after,
        )

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> CounterSeries:
        plain = CounterSeries if self._source is None else SampledCounterSeries
        made = self._class_for(plain, names)(names, values, text, created=time())
        if isinstance(made, SampledCounterSeries) and self._source is not None:
            made.source = self._source
        return made

    def _create_for(self, labels: Labels | None, value: Any) -> CounterSeries:
        child = super()._create_for(labels, value)
        if value and not child.value:
            child.created = None  # the start time of a count from elsewhere is unknown
        return child

    def inc(self, labels: Labels | None = None, *, exemplar: ExemplarLabels | None = None) -> None:
        """Add one; the first use of a label set starts from 0.

        Args:
            labels: Names and values.
            exemplar: Labels of an exemplar, such as a trace id; 128 code points together at most.

        Raises:
            InvalidLabelsError: A name is not allowed, or the exemplar is too long; nothing changes.
        """
        child = self._find(labels)
        if child is None:
            exemplar = check_exemplar(exemplar)  # first: a refused measurement creates no series
            child = self._create(labels)
        if exemplar is None:
            child.inc()
        else:
            child.inc(exemplar)

    def add(
        self, labels: Labels | None, value: float, *, exemplar: ExemplarLabels | None = None
    ) -> None:
        """Add an amount of zero or more; ``exemplar`` is as for ``inc``.

        Raises:
            ValueError: The amount is negative; nothing changes.
            TypeError: The amount is no number.
            InvalidLabelsError: A name is not allowed, or the exemplar is too long; nothing changes.
        """
        child = self._find(labels)
        if child is None:
            value, exemplar = coerce_number(value), check_exemplar(exemplar)
            CounterSeries().add(value)  # first: a refused measurement creates no series
            child = self._create(labels)
        if exemplar is None:
            child.add(value)
        else:
            child.add(value, exemplar)

    def count_exceptions(
        self,
        labels: Labels | None = None,
        types: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    ) -> ExceptionCounter:
        """Count the exceptions that leave a block, or the calls of a function.

        Cancellation is not counted by default. No series is created before the first exception.

        Args:
            labels: Labels of the series.
            types: Exception classes to count.

        Returns:
            A context manager, for ``with`` and ``async with``, and a decorator for functions of every kind.

        Raises:
            TypeError: ``types`` are no exception classes, or ``labels`` no mapping.
            InvalidLabelsError: A label name is not allowed.

        Examples:
            >>> failures = Counter("failures_total", "Requests that failed.")
            >>> @failures.count_exceptions({"path": "/"}, types=(OSError, ValueError))
            ... def answer(text):
            ...     return int(text)
        """
        return ExceptionCounter(partial(self.inc, self._allowed(labels)), types)
