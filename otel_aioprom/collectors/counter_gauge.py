"""Counters and gauges: collectors of single numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

from otel_aioprom._core.labels import canonical_pairs, check_labels, label_texts
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.callbacks import Functions
from otel_aioprom.collectors.context_managers import Exceptions, Progress, Timing
from otel_aioprom.collectors.hooks import Chore
from otel_aioprom.collectors.series.exemplars import (
    ExemplarFunction,
    ExemplarLabels,
    ExemplarSource,
    check_exemplar,
)
from otel_aioprom.collectors.series.number import (
    CounterSeries,
    GaugeSeries,
    NumberSeries,
    SampledCounterSeries,
)
from otel_aioprom.collectors.series.store import check_mapping, has_labels

if TYPE_CHECKING:
    from typing_extensions import Self

N = TypeVar("N", bound=NumberSeries)


class NumberCollector(Collector[N]):
    """What counters and gauges share: values can be asked from functions."""

    def __init__(
        self,
        name: str,
        doc: str,
        const_labels: Mapping[str, object] | None = None,
        *,
        registry: SupportsRegister | None = None,
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        self._functions = Functions(self)
        super().__init__(
            name,
            doc,
            const_labels,
            registry=registry,
            max_series=max_series,
            expire_after=expire_after,
        )

    def set(self, labels: Labels | None, value: float) -> None:
        """Replace the value; a smaller one than before is a reset of a counter.

        Raises:
            TypeError: ``value`` is no number.
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).set(value)

    def set_value(self, labels: Labels | None, value: Any) -> None:
        """Replace the value; see ``set``."""
        self.set(labels, value)

    def set_function(
        self, labels: Labels | None, function: Callable[[], Any], *, timeout: float = 5.0
    ) -> None:
        """Ask a function for the value of a label set before each response, until the series is removed.

        Services and ``async_render`` call plain functions in a worker thread, one after the other, and await coroutine functions on their
        event loop. ``render`` calls plain ones in its own thread, and runs coroutine functions unless a loop runs in that thread.
        If a function raises, is late, or gives no number, the last good value stays until it expires, and
        ``otel_aioprom_source_failures_total`` counts that; before the first good one there is no series, and what is missing
        counts as lost.

        Args:
            labels: Names and values.
            function: Returns a number. Of a counter, a smaller one than before is a reset.
            timeout: Seconds that a coroutine function gets. A plain one is not interrupted: later collections pass it over
                while it takes longer.

        Raises:
            TypeError: ``function`` cannot be called.
            ValueError: ``timeout`` is not above 0.
            InvalidLabelsError: A label name is not allowed.

        Examples:
            >>> jobs = ["a", "b"]
            >>> Gauge("queue_jobs", "Jobs that wait.").set_function({"queue": "mail"}, lambda: len(jobs))
        """
        check_labels({} if labels is None else labels, self._reserved)
        key = canonical_pairs(labels or {}, self.const_labels)
        self._functions.add(key, function, timeout)

    def remove(self, labels: Labels | None) -> None:
        """Forget a series, and the function that gives its value.

        Raises:
            KeyError: There is neither.
        """
        check_labels({} if labels is None else labels, self._reserved)
        gone = canonical_pairs(labels or {}, self.const_labels)
        had_function = self._functions.keep(lambda key: key != gone)
        try:
            super().remove(labels)
        except KeyError:
            if not had_function:
                raise

    def remove_matching(self, labels: Labels) -> int:
        """Forget all series that have these labels, and the functions that give their values."""
        check_mapping(labels)
        wanted = label_texts(labels)
        self._functions.keep(lambda key: not has_labels((*self.const_labels.items(), *key), wanted))
        return super().remove_matching(labels)

    def clear(self) -> None:
        """Forget all series and functions."""
        self._functions.keep(lambda _: False)
        super().clear()

    def _copy_empty(self) -> Self:
        other = super()._copy_empty()
        other._functions = Functions(other)  # noqa: SLF001 - the same class
        return other

    def _take(self, other: Self) -> None:
        self._functions.take_over(other._functions)
        super()._take(other)

    def chores(self) -> list[Chore]:
        """Return what must be done before each collection."""
        return [*super().chores(), *self._functions.chores()]


class Counter(NumberCollector[CounterSeries]):
    """A value that only rises, such as requests served.

    Args:
        name: Metric name; it ends in ``_total`` by custom.
        doc: What is counted, in a sentence.
        const_labels: Labels that every series has.
        exemplars: Asked for an exemplar with each measurement that brings none: a function that returns labels, or ``None``.
            ``otel_aioprom.otel.tracing.trace_exemplar`` returns the ids of the active sampled span.
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
        made: CounterSeries = self._class_for(plain)(names, values, text, created=time())
        if isinstance(made, SampledCounterSeries) and self._source is not None:
            made.source = self._source
        return made

    def _create_for(self, labels: Labels | None, value: Any) -> CounterSeries:
        child = super()._create_for(labels, value)
        if value and not child.value:
            child.created = None  # when what was counted elsewhere began is not known
        return child

    def inc(self, labels: Labels | None = None, *, exemplar: ExemplarLabels | None = None) -> None:
        """Add one; the first use of a label set starts from 0.

        Args:
            labels: Names and values.
            exemplar: Labels that lead to what is counted, such as a trace id; 128 code points together at most.

        Raises:
            InvalidLabelsError: A name is not allowed, or the exemplar is too long; nothing changes.
        """
        child = self._find(labels)
        if child is None:
            exemplar = check_exemplar(exemplar)  # what is refused leaves no series behind
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
            CounterSeries().add(value)  # what is refused leaves no series behind
            child = self._create(labels)
        if exemplar is None:
            child.add(value)
        else:
            child.add(value, exemplar)

    def count_exceptions(
        self,
        labels: Labels | None = None,
        types: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    ) -> Exceptions:
        """Count the exceptions that leave a block, or the calls of a function.

        Cancellation is none of the usual ones. There is no series before the first exception.

        Args:
            labels: Labels of the series.
            types: Classes of exceptions that count.

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
        return Exceptions(partial(self.inc, self._allowed(labels)), types)


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
        made: GaugeSeries = self._class_for(GaugeSeries)(names, values, text)
        return made

    def inc(self, labels: Labels | None = None) -> None:
        """Add one; the first use of a label set starts from 0.

        Raises:
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        child = self._find(labels)
        (self._create(labels) if child is None else child).inc()

    def dec(self, labels: Labels | None = None) -> None:
        """Take one away; the first use of a label set starts from 0.

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
        """Take an amount away, which may be negative.

        Raises:
            TypeError: ``value`` is no number.
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        child = self._find(labels)
        (self._create_for(labels, value) if child is None else child).sub(value)

    def set_to_current_time(self, labels: Labels | None = None) -> None:
        """Set it to now, in seconds since the epoch.

        Raises:
            InvalidLabelsError: A label name is not allowed; nothing changes.
        """
        self.set(labels, time())

    def time(self, labels: Labels | None = None) -> Timing:
        """Set it to the seconds that a block, or each call of a function, took last; see ``Histogram.time``."""
        return Timing(self.set, self._allowed(labels))

    def track_inprogress(self, labels: Labels | None = None) -> Progress:
        """Keep it at the number of blocks or calls in progress; it comes down however they end.

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
        return Progress(partial(self.labels, self._allowed(labels)))
