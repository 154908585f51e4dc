"""The base of counters and gauges: one number per series, which a callback can supply."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from otel_aioprom._core.labels import canonical_pairs, check_labels, label_texts
from otel_aioprom.collectors.base import Collector, Labels
from otel_aioprom.collectors.callbacks import Callbacks
from otel_aioprom.collectors.hooks import PreCollectHook
from otel_aioprom.collectors.series.label_index import check_mapping
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.collectors.series.store import has_labels

if TYPE_CHECKING:
    from typing_extensions import Self

N = TypeVar("N", bound=NumberSeries)


class NumberCollector(Collector[N]):
    """Base of counters and gauges: callbacks can supply their values."""

    def _prepare(self) -> None:
        self._callbacks = Callbacks(self)

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
        """Call a function (callback) for the value of a label set before each collection, until the series is removed.

        Services and ``async_render`` call plain functions in a thread of their own, one after the other, and await
        coroutine functions on their event loop. ``render`` calls plain functions in its own thread; it runs coroutine
        functions too, unless an event loop runs in that thread.

        If a callback raises, is late, or returns no number, the last good value stays until it expires, and
        ``otel_aioprom_source_failures_total`` counts the failure. Before the first good value there is no series, and
        the missing value counts as lost.

        Args:
            labels: Names and values.
            function: Returns a number; for a counter, a smaller one than before is a reset.
            timeout: Seconds after which a coroutine function is cancelled. A plain function is not interrupted: while
                it takes longer, later collections skip it.

        Raises:
            TypeError: ``function`` is not callable.
            ValueError: ``timeout`` is not above 0.
            InvalidLabelsError: A label name is not allowed.

        Examples:
            >>> from otel_aioprom import Gauge
            >>> jobs = ["a", "b"]
            >>> Gauge("queue_jobs", "Jobs that wait.").set_function({"queue": "mail"}, lambda: len(jobs))
        """
        check_labels({} if labels is None else labels, self._reserved)
        key = canonical_pairs(labels or {}, self.const_labels)
        self._callbacks.add(key, function, timeout)
        self._is_prepared = True

    def remove(self, labels: Labels | None) -> None:
        """Remove a series and its callback.

        Raises:
            KeyError: There is neither.
        """
        check_labels({} if labels is None else labels, self._reserved)
        removed = canonical_pairs(labels or {}, self.const_labels)
        had_callback = self._callbacks.retain(lambda key: key != removed)
        try:
            super().remove(labels)
        except KeyError:
            if not had_callback:
                raise

    def remove_matching(self, labels: Labels) -> int:
        """Remove all series that have these labels, and their callbacks; return the number of series."""
        check_mapping(labels)
        wanted = label_texts(labels)
        self._callbacks.retain(
            lambda key: not has_labels((*self.const_labels.items(), *key), wanted)
        )
        return super().remove_matching(labels)

    def clear(self) -> None:
        """Remove all series and callbacks."""
        self._callbacks.retain(lambda _: False)
        super().clear()

    def _copy_empty(self) -> Self:
        other = super()._copy_empty()
        other._prepare()  # noqa: SLF001 - the same class
        return other

    def _take(self, other: Self) -> None:
        self._callbacks.take_over(other._callbacks)
        self._is_prepared = self._is_prepared or other._is_prepared
        super()._take(other)

    def pre_collect_hooks(self) -> list[PreCollectHook]:
        """Return the user code that must run before each collection."""
        return self._callbacks.pre_collect_hooks()
