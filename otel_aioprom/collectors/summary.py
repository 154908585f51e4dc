"""Summaries: quantiles of observations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from typing import Any, ClassVar

from quantile import Estimator

from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.context_managers import Timer
from otel_aioprom.collectors.quantiles.window import check_window
from otel_aioprom.collectors.series.summary import (
    SummarySeries,
    check_invariants,
    check_observation,
    contents_of,
)

DEFAULT_INVARIANTS: tuple[tuple[float, float], ...] = ((0.5, 0.05), (0.9, 0.01), (0.99, 0.001))


class Summary(Collector[SummarySeries]):
    """Quantiles of observations, such as the seconds within which 99 % of requests were answered.

    Quantiles cover a sliding time window: the last ``max_age`` seconds, less one step of ``max_age / age_buckets`` at
    most. They are NaN if nothing was observed in that time. Count and sum cover the whole life of a series.

    Args:
        name: Metric name; samples add ``_sum`` and ``_count``.
        doc: What is measured, in a sentence.
        const_labels: Labels that every series has; ``quantile`` is not allowed.
        invariants: Objectives: pairs of quantile and allowed rank error, both between 0 and 1. Smaller errors cost more
            memory and time.
        max_age: Time window in seconds: how long an observation counts for quantiles. ``None`` for the whole life of a
            series.
        age_buckets: Number of steps in which the time window moves. More steps cost more memory and time.
        clock: Returns the time in seconds. While it raises, time stands still.
        registry: Registers the collector there on creation.
        max_series: See ``Collector``.
        expire_after: See ``Collector``.

    Raises:
        ValueError: An invariant, ``max_age`` or ``age_buckets`` is out of range; or as for ``Collector``.
        TypeError: ``max_age`` or ``age_buckets`` is no number, or ``clock`` is not callable; or as for ``Collector``.

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
        max_age: float | None = 600.0,
        age_buckets: int = 5,
        clock: Callable[[], float] = monotonic,
        registry: SupportsRegister | None = None,
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        self._invariants = check_invariants(invariants)
        self._window = check_window(max_age, age_buckets, clock)
        super().__init__(
            name,
            doc,
            const_labels,
            registry=registry,
            max_series=max_series,
            expire_after=expire_after,
        )

    # A list, to which users add; below ``__init__``, whose default is the tuple that nobody changes.
    DEFAULT_INVARIANTS: ClassVar[list[tuple[float, float]]] = [*DEFAULT_INVARIANTS]

    @property
    def invariants(self) -> tuple[tuple[float, float], ...]:
        """Pairs of quantile and allowed rank error, ascending."""
        return self._invariants

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> SummarySeries:
        make = self._class_for(SummarySeries, names)
        return make(names, values, text, self.invariants, time(), self._window)

    def observe(self, labels: Labels | None, value: float) -> None:
        """Add a value to count, sum and quantiles.

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
        contents_of(value)  # raises before a series is created for it

    def _set_value(self, child: Any, value: Any) -> None:
        child.load(value)

    def _get_value(self, child: Any) -> Any:
        return child.estimator

    def time(self, labels: Labels | None = None) -> Timer:
        """Observe the seconds that a block, or each call of a function, takes; see ``Histogram.time``."""
        return Timer(self.observe, self._allowed(labels))
