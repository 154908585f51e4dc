"""The series of one collector: found, made within bounds, forgotten.

No lock is held here, for making a series allocates, and so may run the finalizers of others, who may wait for locks of their
own or record on this very collector. Each step is one operation of a dict or a list; what others do between two steps is
looked at after them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from otel_aioprom._core.labels import (
    Pairs,
    canonical_pairs,
    check_labels,
    label_texts,
    labels_text,
    pairs_to_find,
    wire_pairs,
)
from otel_aioprom._core.model import Series
from otel_aioprom.collectors.series import limits
from otel_aioprom.collectors.series.expiry import Ageing, start_ageing
from otel_aioprom.collectors.series.label_index import FilledDict, MetricDict
from otel_aioprom.collectors.series.limits import OVERFLOW, Bound, Shares, warn_of_many

Labels = Mapping[str, object]
S = TypeVar("S", bound=Series)
Make = Callable[[tuple[str, ...], tuple[str, ...], str], S]


_OVERFLOW = tuple(OVERFLOW.items())


class _FullError(Exception):
    """There is no place for a series."""


class SeriesStore(Generic[S]):
    """Label sets with their series, within limits.

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
        self._expire_after = expire_after
        self.series: MetricDict[S] = MetricDict(const_labels)
        self.overflowed = 0
        self._warned = False
        self._ageing = None if expire_after is None else Ageing(expire_after)
        self._gone: WeakValueDictionary[Pairs, S] = WeakValueDictionary()
        self._shares = Shares(None if max_series is None else Bound(max_series))

    # --- series that are made ----------------------------------------------------------

    def create(self, given: Labels | None) -> S:
        """Find a series under another spelling of its labels, or make it.

        Returns:
            The series; that of what overflows, if there must be no more.

        Raises:
            TypeError: ``given`` is no mapping.
            InvalidLabelsError: A name is not allowed; nothing is stored.
        """
        labels = {} if given is None else given
        check_mapping(labels)
        labels = label_texts(labels)
        found = self.series.find_quickly(labels)
        if found is not None:  # so it was checked before
            return found
        check_labels(labels, self._reserved)
        found = self.series.find(labels)
        if found is None:
            found = self._revived(labels)
        return self._created(labels) if found is None else found

    def _created(self, labels: Labels) -> S:
        if self._ageing is not None and self._ageing.is_due():
            self._forget(self._ageing.some_old(self.series.snapshot))
        try:
            made = self._add(labels)
        except _FullError:
            self.overflowed += 1
            overflow = self._revived(OVERFLOW)
            return self._add(OVERFLOW) if overflow is None else overflow
        if not (self._warned or self._shares) and len(self.series) >= limits.MANY:
            self._warned = True
            warn_of_many(self._name, len(self.series), self.series.count_values())
        return made

    def _add(self, labels: Labels) -> S:
        """Make a series, unless somebody else is faster.

        Raises:
            _FullError: There is no place for it.
        """
        if labels != OVERFLOW and self._shares.are_full():
            raise _FullError
        made: list[S] = []

        def make(names: tuple[str, ...], values: tuple[str, ...]) -> S:
            series = self._made(labels, names, values)
            if labels != OVERFLOW and not self._shares.admit(series):
                raise _FullError
            made.append(series)
            return series

        stored = self.series.add(labels, make)
        if self._shares:
            for series in made:
                if series is not stored:
                    self._shares.release(series)
            self._adopt(stored)  # in the bound of a registry that has come meanwhile, too
        return stored

    def _made(self, labels: Labels, names: tuple[str, ...], values: tuple[str, ...]) -> S:
        wire = wire_pairs(labels, self._const_labels)
        if len(wire) != len(names):  # constant labels, or one with an empty value
            names, values = (
                tuple([name for name, _ in wire]),
                tuple([value for _, value in wire]),
            )
        made = self._make(names, values, labels_text(wire))
        if self._ageing is not None:
            start_ageing(made, self._revive)
        return made

    # --- series that are removed -------------------------------------------------------

    def remove(self, labels: Labels | None) -> bool:
        """Forget a series for good; tell whether there was one.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        check_mapping({} if labels is None else labels)
        series = self.series.take(labels)
        key = pairs_to_find(labels, self._const_labels)
        gone = None if key is None else self._gone.pop(key, None)
        for each in (series, gone):
            if each is not None:
                self._end(each)
        return series is not None

    def _end(self, series: Any) -> None:
        """Let go of a series that is shown no more, so that it does not come back."""
        if self._ageing is not None:
            series.removed = True
            self.series.discard(dict(series.pairs), series)  # it may have been coming back
        self._shares.release(series)

    def drop(self, series: S) -> bool:
        """Forget a series for good if it is still the one of its labels; tell whether it was."""
        if not self.series.discard(dict(series.pairs), series):
            return False
        self._end(series)
        return True

    def remove_matching(self, labels: Labels) -> int:
        """Forget all series that have these labels, among others; return how many.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        check_mapping(labels)
        wanted = label_texts(labels)
        count = 0
        for series in [one for one in self.series.snapshot() if has_labels(one.pairs, wanted)]:
            count += self.drop(series)
        # Those of the sweeps that ran meanwhile among them.
        for gone in self._all_gone():
            if has_labels(gone.pairs, wanted):
                self._end(gone)
        return count

    def clear(self) -> None:
        """Forget all series."""
        if self._ageing is None and not self._shares:
            self.series.clear()
            return
        for series in self.series.drain():
            if self._ageing is not None:
                series.removed = True  # type: ignore[attr-defined]
            self._shares.release(series)
        for series in self._all_gone():
            self._end(series)

    def _all_gone(self) -> list[S]:
        held = [each() for each in self._gone.valuerefs()]  # unlike items, safe while others expire
        return [series for series in held if series is not None]

    # --- series that expire, and come back ---------------------------------------------

    def sweep(self) -> None:
        """Forget the series that are too old, until somebody records on them."""
        if self._ageing is not None:
            self._forget(self._ageing.all_old(self.series.snapshot()))

    def _forget(self, old: Sequence[tuple[Any, float]]) -> None:
        for series, age_from in old:
            labels = dict(series.pairs)
            key = canonical_pairs(labels, self._const_labels)
            # Who looks for it finds it in one of the two places.
            self._gone[key] = series
            if not self.series.discard(labels, series):  # somebody has removed it, or sweeps too
                continue
            self._shares.release(series)
            series.gone = True
            # Recorded on meanwhile, which another sweep may have seen and noted as a new age.
            if series.recorded or series.age_from != age_from:
                self._revive(series)

    def _revived(self, labels: Labels) -> S | None:
        """Bring the series of a label set back if it has gone and somebody holds it."""
        gone: Any = self._gone.get(canonical_pairs(labels, self._const_labels))
        if gone is None or gone.removed:
            return None
        self._revive(gone)
        found: S = gone
        return found

    def _revive(self, series: Any) -> None:
        """Show a series again, even if there is no place left, for nothing may be lost."""
        if series.removed:
            return
        series.gone = False  # first, for a sweep may take it again at once
        if self.series.setdefault(dict(series.pairs), series) is series:
            self._adopt(series)
        if series.removed:  # meanwhile
            self._end(series)

    # --- bounds, and sets that are replaced ----------------------------------------------

    def bound_by(self, bound: Bound) -> None:
        """Take places in a bound that others have places in, too, for all series."""
        self._shares.join(bound)
        self._adopt_all()

    def unbound_by(self, bound: Bound) -> None:
        """Give the places in a bound back."""
        self._shares.leave(bound)

    def _adopt_all(self) -> None:
        for series in self.series.snapshot():
            self._adopt(series)

    def _adopt(self, series: S) -> None:
        pairs = canonical_pairs(dict(series.pairs), self._const_labels)
        if pairs != _OVERFLOW:
            self._shares.adopt(series)
            if self.series.find(dict(pairs)) is not series:  # it was removed meanwhile
                self._shares.release(series)

    def empty(self) -> SeriesStore[S]:
        """Return another store of this kind, without series, that is to take the place of this one."""
        other = SeriesStore(
            self._name,
            self._const_labels,
            self._reserved,
            self._make,
            expire_after=self._expire_after,
        )
        other._shares = self._shares.successor()
        other._warned = self._warned
        return other

    def succeed(self, before: SeriesStore[S]) -> None:
        """Take the place of another store, whose series do not come back."""
        self.overflowed += before.overflowed
        if self._shares.succeed(before._shares):
            self._adopt_all()
        before.abandon()

    def abandon(self) -> None:
        """Give all places back; whatever is recorded from now on, nobody sees."""
        self._shares.close()
        if self._ageing is not None:
            for series in (*self.series.snapshot(), *self._all_gone()):
                series.removed = True  # type: ignore[attr-defined]

    def fill(self, series: Sequence[S]) -> None:
        """Replace all series at once by others, which have no limits."""
        self.series = FilledDict(series)


def check_mapping(labels: object) -> None:
    """Refuse what is no mapping of names and values.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels must be a dict of names and values, not {labels!r}")


def has_labels(pairs: Pairs, wanted: Mapping[str, str]) -> bool:
    """Tell whether a label set has some labels; an empty value stands for one that is absent."""
    had = dict(pairs)
    return all(had.get(name, "") == value for name, value in wanted.items())
