"""The store of one collector: creates its series within limits, expires, revives and removes them.

It takes no lock. Creating a series allocates memory, which may run finalizers of user code: these may wait for locks of
their own, or record on this very collector. Each step is one operation of a dict or a list, and is followed by a check
for what other threads did meanwhile.
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
from otel_aioprom.collectors.series.expiry import Expiry, start_expiry
from otel_aioprom.collectors.series.label_index import FilledDict, MetricDict, check_mapping
from otel_aioprom.collectors.series.limits import (
    OVERFLOW,
    SeriesLimit,
    SlotShares,
    Stock,
    Tally,
    hide_when_set,
    warn_of_cardinality,
    warn_of_hidden,
)
from otel_aioprom.collectors.series.owners import register_owner

Labels = Mapping[str, object]
S = TypeVar("S", bound=Series)
Make = Callable[[tuple[str, ...], tuple[str, ...], str], S]


_OVERFLOW = tuple(OVERFLOW.items())


class _FullError(Exception):
    """There is no free slot for a series."""


class SeriesStore(Generic[S]):
    """The series of one collector, by label set.

    Args:
        name: Name of the collector, for the log.
        const_labels: Labels that every series has.
        reserved: A label name that is not allowed.
        make: Creates a series from label names, values and text.
        max_series: Series limit; ``None`` for no limit.
        expire_after: Idle time in seconds after which a series expires; ``None`` for never.

    Attributes:
        name: The argument.
        series: The label index.
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
        self.name = name
        self._const_labels = const_labels
        self._reserved = reserved
        self._make = make
        self._expire_after = expire_after
        self.series: MetricDict[S] = MetricDict(const_labels)
        self._overflows = Tally()
        self._warnings = Stock(1)
        self._hidden_warned = False
        self._hidden: S | None = None
        self._expiry = None if expire_after is None else Expiry(expire_after)
        self._expired: WeakValueDictionary[Pairs, S] = WeakValueDictionary()
        self._shares = SlotShares(None if max_series is None else SeriesLimit(max_series))
        register_owner(self)

    def owns(self, series: Any) -> bool:
        """Return whether a series is exposed, has expired and may be revived, or stands for what exceeds the limit."""
        pairs = canonical_pairs(dict(series.pairs), self._const_labels)
        return any(
            own is series
            for own in (self.series.find(dict(pairs)), self._expired.get(pairs), self._hidden)
        )

    @property
    def overflowed(self) -> int:
        """How often the limit refused a label set."""
        return self._overflows.value

    # --- creation ----------------------------------------------------------------------

    def create(self, labels: Labels | None) -> S:
        """Find the series under the canonical form of its labels, or create it.

        Returns:
            The series, or the overflow series if the limit is reached.

        Raises:
            TypeError: ``labels`` is no mapping.
            InvalidLabelsError: A name is not allowed; nothing is stored.
        """
        labels = {} if labels is None else labels
        check_mapping(labels)
        labels = label_texts(labels)
        found = self.series.find_quickly(labels)
        if found is not None:  # so it was checked before
            return found
        check_labels(labels, self._reserved)
        return self.series.find(labels) or self._find_revived(labels) or self._created(labels)

    def _created(self, labels: Labels) -> S:
        if self._expiry is not None and self._expiry.is_due():
            self._expire(self._expiry.find_some_expired(self.series.snapshot))
        try:
            made = self._add(labels)
        except _FullError:
            self._overflows.add(1)
            return self._overflow_series()
        many = self._warnings.left and not self._shares and len(self.series) >= limits.MANY
        if many and self._warnings.take():
            warn_of_cardinality(self.name, len(self.series), self.series.count_values())
        return made

    def _overflow_series(self) -> S:
        """Return the series for what exceeds the limit; no longer exposed once a value was set on it."""
        if self._hidden is not None:
            return self._hidden
        series = self._find_revived(OVERFLOW) or self._add(OVERFLOW)
        hide_when_set(series, self._hide)
        return series

    def _hide(self, series: S) -> None:
        if self._hidden is series:
            return
        self._hidden = series  # first, so that look-ups find it
        self.series.discard(dict(series.pairs), series)
        if not self._hidden_warned:
            self._hidden_warned = True
            warn_of_hidden(self.name)

    def _add(self, labels: Labels) -> S:
        """Create a series, unless another thread is faster.

        Raises:
            _FullError: There is no free slot for it.
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
            self._adopt(stored)  # also for a limit that has joined meanwhile
        return stored

    def _made(self, labels: Labels, names: tuple[str, ...], values: tuple[str, ...]) -> S:
        wire = wire_pairs(labels, self._const_labels)
        if len(wire) != len(names):  # constant labels, or one with an empty value
            names = tuple([name for name, _ in wire])
            values = tuple([value for _, value in wire])
        made = self._make(names, values, labels_text(wire))
        if self._expiry is not None:
            start_expiry(made, self._revive)
        return made

    # --- removal -----------------------------------------------------------------------

    def remove(self, labels: Labels | None) -> bool:
        """Remove a series for good; return whether there was one.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        check_mapping({} if labels is None else labels)
        series = self.series.take(labels)
        key = pairs_to_find(labels, self._const_labels)
        expired = None if key is None else self._expired.pop(key, None)
        for each in (series, expired):
            if each is not None:
                self._end(each)
        return series is not None

    def _end(self, series: Any) -> None:
        """Release a series that is no longer exposed, so that it is never revived."""
        if self._expiry is not None:
            series.removed = True
            self.series.discard(dict(series.pairs), series)  # it may have been revived meanwhile
        self._shares.release(series)

    def drop(self, series: S) -> bool:
        """Remove a series for good if it is still the one stored for its labels; return whether it was."""
        if not self.series.discard(dict(series.pairs), series):
            return False
        self._end(series)
        return True

    def remove_matching(self, labels: Labels) -> int:
        """Remove all series that have these labels, among others; return how many.

        Raises:
            TypeError: ``labels`` is no mapping.
        """
        check_mapping(labels)
        wanted = label_texts(labels)
        count = 0
        for series in [one for one in self.series.snapshot() if has_labels(one.pairs, wanted)]:
            count += self.drop(series)
        # Last, for sweeps may have run meanwhile.
        for expired in self._all_expired():
            if has_labels(expired.pairs, wanted):
                self._end(expired)
        return count

    def clear(self) -> None:
        """Remove all series."""
        self._hidden = None
        if self._expiry is None and not self._shares:
            self.series.clear()
            return
        for series in self.series.drain():
            if self._expiry is not None:
                series.removed = True  # type: ignore[attr-defined]
            self._shares.release(series)
        for series in self._all_expired():
            self._end(series)

    def _all_expired(self) -> list[S]:
        # valuerefs, unlike items, is safe while other threads expire series.
        held = [reference() for reference in self._expired.valuerefs()]
        return [series for series in held if series is not None]

    # --- expiry and revival ------------------------------------------------------------

    def sweep(self) -> None:
        """Expire idle series; recording on one revives it."""
        if self._expiry is not None:
            self._expire(self._expiry.find_expired(self.series.snapshot()))

    def _expire(self, idle: Sequence[tuple[Any, float]]) -> None:
        for series, idle_since in idle:
            labels = dict(series.pairs)
            key = canonical_pairs(labels, self._const_labels)
            # First, so that a look-up always finds it in one of the two mappings.
            self._expired[key] = series
            if not self.series.discard(labels, series):  # another thread has removed or expired it
                continue
            self._shares.release(series)
            series.expired = True
            # Recorded on meanwhile; another sweep may have restarted its idle time already.
            if series.recorded or series.idle_since != idle_since:
                self._revive(series)

    def _find_revived(self, labels: Labels) -> S | None:
        """Revive the series of a label set if it has expired and user code still refers to it."""
        expired: Any = self._expired.get(canonical_pairs(labels, self._const_labels))
        if expired is None or expired.removed:
            return None
        self._revive(expired)
        found: S = expired
        return found

    def _revive(self, series: Any) -> None:
        """Expose a series again, even beyond the limit, for no measurement may be lost."""
        if series.removed or series is self._hidden:
            return
        series.expired = False  # first, for a sweep may expire it again at once
        if self.series.setdefault(dict(series.pairs), series) is series:
            self._adopt(series)
        if series.removed:  # meanwhile
            self._end(series)

    # --- limits and replacement --------------------------------------------------------

    def join_limit(self, limit: SeriesLimit) -> None:
        """Acquire slots for all series in a limit that is shared with other collectors."""
        self._shares.join(limit)
        self._adopt_all()

    def leave_limit(self, limit: SeriesLimit) -> None:
        """Release the slots of a shared limit."""
        self._shares.leave(limit)

    def _adopt_all(self) -> None:
        for series in self.series.snapshot():
            self._adopt(series)

    def _adopt(self, series: S) -> None:
        pairs = canonical_pairs(dict(series.pairs), self._const_labels)
        if pairs != _OVERFLOW:
            self._shares.adopt(series)
            if self.series.find(dict(pairs)) is not series:  # removed meanwhile
                self._shares.release(series)

    def empty(self) -> SeriesStore[S]:
        """Return an empty store that is to replace this one."""
        other = SeriesStore(
            self.name,
            self._const_labels,
            self._reserved,
            self._make,
            expire_after=self._expire_after,
        )
        other._shares = self._shares.successor()
        other._warnings, other._hidden_warned = self._warnings, self._hidden_warned
        return other

    def take_over(self, before: SeriesStore[S]) -> None:
        """Replace another store, whose series are never revived."""
        self._overflows.add(before.overflowed)
        if self._shares.take_over(before._shares):
            self._adopt_all()
        before.abandon()

    def abandon(self) -> None:
        """Release all slots; what is recorded from now on is not exposed."""
        self._shares.close()
        if self._expiry is not None:
            for series in (*self.series.snapshot(), *self._all_expired()):
                series.removed = True  # type: ignore[attr-defined]

    def fill(self, series: Sequence[S]) -> None:
        """Replace all series at once by others, which are not limited."""
        self.series = FilledDict(series)


def has_labels(pairs: Pairs, wanted: Mapping[str, str]) -> bool:
    """Return whether a label set has some labels; an empty value matches an absent label."""
    had = dict(pairs)
    return all(had.get(name, "") == value for name, value in wanted.items())
