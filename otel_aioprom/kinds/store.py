"""The series of one collector: found, made within bounds, forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary, ref

from otel_aioprom.forks import ForkSafeLock
from otel_aioprom.kinds.bounds import (
    MANY,
    OVERFLOW,
    Ageing,
    Bound,
    start_ageing,
    warn_of_many,
)
from otel_aioprom.labels import (
    Pairs,
    canonical_pairs,
    check_labels,
    label_value,
    labels_text,
    wire_pairs,
)
from otel_aioprom.metricdict import FilledDict, MetricDict
from otel_aioprom.model import Series

Labels = Mapping[str, object]
S = TypeVar("S", bound=Series)
Make = Callable[[tuple[str, ...], tuple[str, ...], str], S]


_MAKING = ForkSafeLock()
"""One for all: a handler that records on another collector must not wait for who waits for this one."""


class SeriesStore(Generic[S]):
    """Label sets with their series, within bounds.

    Args:
        name: The collector's, for the log.
        const_labels: Labels that every series has.
        reserved: A label name that none may have.
        make: Makes a series of label names, values and text.
        max_series: How many there may be; ``None`` for any number.
        expire_after: Seconds without a measurement after which one is forgotten; ``None`` for never.

    Attributes:
        series: The mapping itself.
        overflowed: How often a label set was asked for that there was no place for.
        bounds: Its own, if it has one, then those of registries.
        replaces: The store whose place it is to take.
    """

    def __init__(
        self,
        name: str,
        const_labels: Mapping[str, str],
        reserved: str | None,
        make: Make[S],
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        self._name = name
        self._const_labels = const_labels
        self._reserved = reserved
        self._make = make
        self.series: MetricDict[S] = MetricDict(const_labels)
        self.overflowed = 0
        self._warned = False
        self._max_series = max_series
        self._expire_after = expire_after
        self._ageing = None if expire_after is None else Ageing(expire_after)
        self._gone: WeakValueDictionary[Any, S] = WeakValueDictionary()
        self.bounds: list[Bound] = []
        self.replaces: SeriesStore[S] | None = None
        self._successor: ref[SeriesStore[S]] | None = None
        self._promised = 0
        if max_series is not None:
            bound = Bound(max_series)
            bound.add(self)
            self.bounds.append(bound)

    def empty(self) -> SeriesStore[S]:
        """Return another store of this kind, without series, that is to take the place of this one."""
        other = SeriesStore(
            self._name,
            self._const_labels,
            self._reserved,
            self._make,
            self._max_series,
            self._expire_after,
        )
        other.bounds += self.bounds[len(other.bounds) :]  # those of registries
        other.replaces = self
        self._successor = ref(other)
        return other

    def count_series(self) -> int:
        """Return how many series there are, or will be when another store takes the place of this one."""
        mine = self._promised + len(self.series) - (self.series.find(OVERFLOW) is not None)
        successor = None if self._successor is None else self._successor()
        return mine if successor is None else max(mine, successor.count_series())

    def _let_go(self, wanted: Callable[[Pairs], bool] = bool) -> None:
        """Forget for good what has expired and somebody holds: it does not come back."""
        for held in self._gone.valuerefs():  # unlike items, safe while others expire
            series: Any = held()
            if series is not None and (wanted is bool or wanted(series.pairs)):
                self._come_back(series)

    def create(self, given: Labels | None) -> S:
        """Find a series under another spelling of its labels, or make it.

        Returns:
            The series; that of what overflows, if there must be no more.

        Raises:
            TypeError: ``given`` is no mapping.
            InvalidLabelsError: A name is not allowed; nothing is stored.
        """
        labels = {} if given is None else given
        check_labels(labels, self._reserved)
        # To text before the lock is taken: that may run any code.
        labels = {name: label_value(value) for name, value in labels.items()}
        if not self.bounds and self._ageing is None:
            found = self._add(labels)
        else:
            with _MAKING:
                found = self._create_within_bounds(labels)
        if not self._warned and not self.bounds and len(self.series) >= MANY:
            self._warned = True
            warn_of_many(self._name, self.series.snapshot())
        return found

    def _create_within_bounds(self, labels: Labels) -> S:
        found = self.series.find(labels)
        if found is not None:
            return found
        gone = self._revived(labels)
        if gone is not None:
            return gone
        if self._ageing is not None and self._ageing.is_due():
            self.sweep()
        if labels != OVERFLOW and any(bound.reached(self) for bound in self.bounds):
            self.overflowed += 1
            return self._revived(OVERFLOW) or self._add(OVERFLOW)
        self._promised += 1  # its place: a signal handler may make another one meanwhile
        try:
            return self._add(labels)
        finally:
            self._promised -= 1

    def _add(self, labels: Labels) -> S:
        def make(names: tuple[str, ...], values: tuple[str, ...]) -> S:
            wire = wire_pairs(labels, self._const_labels)
            if len(wire) != len(names):  # constant labels, or one with an empty value
                names, values = (
                    tuple([name for name, _ in wire]),
                    tuple([value for _, value in wire]),
                )
            return self._made(names, values, labels_text(wire))

        return self.series.add(labels, make)

    def _made(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> S:
        made = self._make(names, values, text)
        if self._ageing is not None:
            start_ageing(made, self._revive)
        return made

    def sweep(self) -> None:
        """Forget the series that are too old."""
        if self._ageing is None:
            return
        for series in self._ageing.expired(self.series.snapshot()):
            with _MAKING:
                found: Any = self.series.find(dict(series.pairs))
                if found is not series:
                    continue
                self._gone[canonical_pairs(dict(series.pairs), self._const_labels)] = series
                self._removed(dict(series.pairs))
                series.gone = True
            if series.recorded:  # meanwhile, by somebody who has not seen that it has gone
                self._revive(series)

    def _revived(self, labels: Labels) -> S | None:
        """Bring the series of a label set back if it has gone and somebody holds it."""
        gone = self._gone.get(canonical_pairs(labels, self._const_labels))
        if gone is not None:
            self._revive(gone)
        return gone

    def _revive(self, series: Any) -> None:
        with _MAKING:
            if series.gone:
                self._come_back(series)
                self.series.setdefault(dict(series.pairs), series)

    def _come_back(self, series: Any) -> None:
        series.gone = False
        self._gone.pop(canonical_pairs(dict(series.pairs), self._const_labels), None)

    def remove(self, labels: Labels | None) -> bool:
        """Forget a series for good; tell whether there was one.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        had = self.series.find(labels) is not None
        gone: Any = self._gone.get(canonical_pairs(labels or {}, self._const_labels))
        if gone is not None:
            self._come_back(gone)
        return had and self._removed(labels)

    def remove_matching(self, labels: Labels) -> int:
        """Forget all series that have these labels, among others; return how many.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        check_mapping(labels)
        self._let_go(lambda pairs: has_labels(pairs, labels))
        keys = [key for key, series in self.series.entries() if has_labels(series.pairs, labels)]
        return sum(map(self._removed, keys))

    def _removed(self, labels: Labels | None) -> bool:
        try:
            del self.series[labels]
        except KeyError:  # another thread was quicker
            return False
        return True

    def drop(self, series: S) -> None:
        """Forget a series, if it is exactly this one that its labels have."""
        labels = dict(series.pairs)
        if self.series.find(labels) is series:
            self._removed(labels)

    def clear(self) -> None:
        """Forget all series."""
        self._let_go()
        self.series.clear()

    def fill(self, series: Sequence[S]) -> None:
        """Replace all series at once by others, which have no bounds."""
        self.series = FilledDict(series)

    def take(self, other: SeriesStore[S]) -> None:
        """Replace all series at once by those of another store, which is not used any more."""
        for series in other.series.values() if self._ageing is not None else ():
            start_ageing(series, self._revive)
        self._let_go()
        self._successor = None
        self.series = other.series
        self.overflowed += other.overflowed


def check_mapping(labels: object) -> None:
    """Refuse what is no mapping of names and values.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels must be a dict of names and values, not {labels!r}")


def has_labels(pairs: Pairs, wanted: Labels) -> bool:
    """Tell whether a label set has some labels; an empty value stands for one that is absent."""
    had = dict(pairs)
    return all(had.get(name, "") == label_value(value) for name, value in wanted.items())
