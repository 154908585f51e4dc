"""Summaries: observations as quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from typing import Any

from quantile import Estimator

from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.context_managers import Timing
from otel_aioprom.collectors.quantiles.window import check_window
from otel_aioprom.collectors.series.summary import (
    SummarySeries,
    check_invariants,
    check_observation,
    contents_of,
)

DEFAULT_INVARIANTS: tuple[tuple[float, float], ...] = ((0.5, 0.05), (0.9, 0.01), (0.99, 0.001))


class Summary(Collector[SummarySeries]):
    """Observations as quantiles over time, such as the seconds within which 99 % of requests were answered.

    Quantiles are those of the last minutes: they tell of ``max_age`` seconds, less one step of ``max_age / age_buckets`` at the most,
    and are NaN when nothing was observed in that time. Count and sum are over the whole life of a series.

    Args:
        name: Metric name; ``_sum`` and ``_count`` are added to it.
        doc: What is measured, in a sentence.
        const_labels: Labels that every series has; ``quantile`` is not allowed.
        invariants: Pairs of quantile and allowed rank error, both between 0 and 1. Finer errors cost memory and time.
        max_age: Seconds for which an observation counts for quantiles; ``None`` for the whole life of a series.
        age_buckets: In how many steps old observations are forgotten. Each costs memory and time.
        clock: Tells the time in seconds; while it raises, time stands still.
        registry: Registers the collector there on creation.
        max_series: See ``Collector``.
        expire_after: See ``Collector``.

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

    @property
    def invariants(self) -> tuple[tuple[float, float], ...]:
        """Pairs of quantile and allowed rank error, ascending; they do not change."""
        return self._invariants

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> SummarySeries:
        made: SummarySeries = self._class_for(SummarySeries)(
            names, values, text, self.invariants, time(), self._window
        )
        return made

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
        contents_of(value)  # which raises before a series is made for it

    def _set_value(self, child: Any, value: Any) -> None:
        child.load(value)

    def _get_value(self, child: Any) -> Any:
        return child.estimator

    def time(self, labels: Labels | None = None) -> Timing:
        """Observe the seconds that a block, or each call of a function, takes, by a monotonic clock.

        Args:
            labels: Labels of the series.

        Returns:
            A context manager, for ``with`` and ``async with``, and a decorator for functions of every kind. What is
            cancelled or raises is observed too.

        Raises:
            TypeError: ``labels`` is no mapping.
            InvalidLabelsError: A label name is not allowed.
        """
        return Timing(self.observe, self._allowed(labels))
