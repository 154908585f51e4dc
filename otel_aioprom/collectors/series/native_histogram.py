"""Series of histograms with native buckets, with or without classic ones."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from math import floor, inf, log2
from typing import Any

from otel_aioprom._concurrency.atomic import atomic_methods
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import LOWEST_SCHEMA, NativeBuckets, upper_bound
from otel_aioprom._core.numbers import INT_LIMIT, Number, coerce_number
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries, SampledObservations
from otel_aioprom.collectors.series.exemplars import (
    NO_EXEMPLARS,
    ExemplarLabels,
    ExemplarReservoir,
    in_order,
    make_exemplar,
    reservoir,
)
from otel_aioprom.collectors.series.native_resolution import Resolution, grid_of

_TRIES = 8
"""Attempts of one observation to reduce the resolution while other threads record; the next observation tries again."""


_NOWHERE = {0: 0}
"""Where NaN is counted instead of a native bucket."""


class _State:
    """Buckets of one resolution; if it was replaced meanwhile, a thread has to retry.

    Attributes:
        since: Time of the last reset, by the monotonic clock.
        limited: The resolution was reduced since then.
        pending: There may be too many buckets: the next observation has to check.
        exposed: Observations that a response has exposed since a reset was due; the next observation resets.
        positive: Bucket index → count of positive values.
        negative: Likewise, of negative values.
        zero: The zero bucket alone, under 0.
    """

    __slots__ = (
        "exposed",
        "grid",
        "limited",
        "negative",
        "pending",
        "positive",
        "scale",
        "schema",
        "since",
        "threshold",
        "zero",
    )

    def __init__(self, schema: int, threshold: float, since: float) -> None:
        self.schema = schema
        self.threshold = threshold
        self.since = since
        self.limited = self.pending = False
        self.exposed: int | None = None
        self.grid = grid_of(schema)
        self.scale = self.grid.scale
        self.positive: dict[int, int] = {}
        self.negative: dict[int, int] = {}
        self.zero = {0: 0}

    def bucket(self, value: Number) -> tuple[dict[int, int], int]:
        """Return the bucket of a value that is not NaN: a mapping, and the key in it."""
        size = abs(value)
        if size <= self.threshold:
            return self.zero, 0
        side = self.positive if value > 0 else self.negative
        return side, self.grid.place(size) if size < inf else self.grid.overflow


@atomic_methods("observe", "read")
class NativeHistogramSeries(HistogramSeries):
    """One series of a histogram with native buckets.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        bounds: Upper bounds of the classic buckets; the infinite one alone for none.
        created: Start time in seconds since the epoch.
        resolution: Resolution of the native buckets.

    Spec:
        E73 to E77.
    """

    __slots__ = ("_reservoir", "_resolution", "_state")

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        bounds: tuple[float, ...],
        created: float | None,
        resolution: Resolution,
    ) -> None:
        super().__init__(names, values, text, bounds, created)
        self._resolution = resolution
        self._state = self._fresh()
        self._reservoir: ExemplarReservoir = NO_EXEMPLARS

    def observe(  # noqa: C901 - function calls would double the time
        self, value: Number, exemplar: ExemplarLabels | None = None
    ) -> None:
        """Count a value in its classic bucket and in its native one.

        NaN counts in the last classic bucket and in no native one; infinities have a native bucket of their own.

        Args:
            value: The observed value.
            exemplar: Labels of an exemplar; kept in its classic bucket, and in the reservoir of the native histogram.

        Raises:
            TypeError: ``value`` is no number.
            InvalidLabelsError: The exemplar's labels are not allowed; nothing changes.
        """
        kind = type(value)
        if kind is not float and (kind is not int or not -INT_LIMIT <= value <= INT_LIMIT):
            value = coerce_number(value)
        kept = None if exemplar is None else make_exemplar(exemplar, value)
        place = bisect_left(self.bounds, value) if value == value else -1  # noqa: PLR0124
        while True:
            state = self._state
            if state.exposed is not None and (fresh := self._reset_if_exposed(state, place, value)):
                counts = fresh
                break
            if state.threshold < value < inf:
                side = state.positive
                bound, below, above = state.grid[floor(log2(value) * state.scale + 0.5)]
                index = below if value <= bound else above
            elif state.threshold < (size := -value) < inf:
                side = state.negative
                bound, below, above = state.grid[floor(log2(size) * state.scale + 0.5)]
                index = below if size <= bound else above
            elif value == value:  # noqa: PLR0124 - NaN alone differs from itself
                side, index = state.bucket(value)
            else:
                side, index = _NOWHERE, 0
            try:
                # No call from here on: either everything is counted in this state, or nothing.
                if self._state is state:
                    counts = self.counts
                    side[index] += 1
                    counts[place] += 1  # type: ignore[index]
                    self.total += value  # type: ignore[operator]
                    break
            except KeyError:
                side.setdefault(index, 0)
                state.pending = True
        if state.pending:
            counts = self._limit(counts, place, value)
        if kept is not None:
            self._keep(counts, place, kept)  # type: ignore[possibly-undefined]

    add = observe

    def read(self) -> tuple[list[Any], NativeBuckets | None]:
        """Read everything in one step; see ``HistogramSeries.read``."""
        while True:
            state, current, kept = self._state, self.counts, self._reservoir
            counts, zero = [*current, self.total], state.zero[0]
            positive, negative = {**state.positive}, {**state.negative}
            # While older interpreters make a list, they may collect garbage, and a finalizer may observe.
            if self._state is state and current == counts[:-1]:
                break
        return counts, NativeBuckets(
            state.schema,
            state.threshold,
            zero,
            sorted(positive.items()),
            sorted(negative.items()),
            in_order(kept),
        )

    def mark_exposed(self, observed: int, created: float | None) -> None:
        """Let the next observation reset if the resolution was reduced and it is time; see ``HistogramSeries.mark_exposed``."""
        state = self._state
        if state.limited and self.created == created and self._may_reset(state):
            state.exposed = observed

    def load(self, *_: object) -> None:
        """Refuse to replace the values: native buckets cannot be derived from classic ones.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a histogram with native buckets cannot be set from classic ones")

    def _fresh(self) -> _State:
        return _State(self._resolution.schema, self._resolution.zero_threshold, time.monotonic())

    def _may_reset(self, state: _State) -> bool:
        duration = self._resolution.min_reset_duration
        return bool(duration) and time.monotonic() - state.since >= duration

    def _keep(self, counts: Sequence[int], index: int, exemplar: Exemplar) -> None:
        super()._keep(counts, index, exemplar)
        while self.counts is counts:
            before = self._reservoir
            after = reservoir(before, exemplar)
            if self.counts is counts and self._reservoir is before:
                self._reservoir = after
                return

    def _reset_if_exposed(self, state: _State, place: int, value: Number) -> Sequence[int] | None:
        """Reset, with a value as the first one, if a response has exposed all others; NaN never resets.

        Returns:
            The new classic counts; ``None`` if the value is still to be counted.
        """
        seen = [*self.counts]
        if sum(seen) == state.exposed and value == value:  # noqa: PLR0124 - NaN alone differs from itself
            return self._reset(state, seen, place, value)
        state.exposed = None  # the next response exposes more
        return None

    def _reset(
        self, state: _State, seen: Sequence[int], place: int, value: Number
    ) -> Sequence[int] | None:
        """Reset native and classic buckets to one value, unless another thread has recorded meanwhile."""
        fresh, counts, now = self._fresh(), [0] * len(self.bounds), time.time()
        side, index = fresh.bucket(value)
        side[index] = counts[place] = 1
        if self._state is not state or self.counts != seen:
            return None
        self._state = fresh
        self.counts = counts
        self.total = value
        self.created = now
        self.exemplars = None
        self._reservoir = NO_EXEMPLARS
        return counts

    def _limit(self, counts: Sequence[int], place: int, value: Number) -> Sequence[int]:
        """Reset if it is due, or reduce the resolution: one step per observation, as client_golang does.

        Args:
            counts: Classic counts that include a value observed just now.
            place: Index of its classic bucket.
            value: The value.

        Returns:
            The classic counts that include the value afterwards.
        """
        if value != value:  # noqa: PLR0124 - NaN is in no native bucket
            return counts
        for _ in range(_TRIES):
            state, current = self._state, self.counts
            if current is not counts:  # another thread has reset
                break
            seen = [*counts]
            state.pending = False  # before the check: a thread that adds a bucket sets it again
            if not self._has_too_many(state):
                break
            state.pending = True
            if self._may_reset(state):
                return self._reset(state, seen, place, value) or counts
            other = self._widened(state) or self._coarser(state)
            if other is None:
                break
            other.pending = self._has_too_many(other)
            # Each observation is in a classic bucket too: if their counts are the same, none was added meanwhile.
            if self._state is state and counts == seen:
                self._state = other
                break
        return counts

    def _has_too_many(self, state: _State) -> bool:
        return 0 < self._resolution.max_buckets < len(state.positive) + len(state.negative)

    def _widened(self, state: _State) -> _State | None:
        """Widen the zero bucket by the bucket nearest to it, unless it would be too wide."""
        populated = [*state.positive, *state.negative]
        nearest = min(populated)
        threshold = upper_bound(nearest, state.schema)
        if not threshold <= self._resolution.max_zero_threshold:
            return None
        other = _State(state.schema, threshold, state.since)
        nearer = state.positive.get(nearest, 0) + state.negative.get(nearest, 0)
        other.zero[0] = state.zero[0] + nearer
        for mine, theirs in ((other.positive, state.positive), (other.negative, state.negative)):
            mine.update(theirs)
            mine.pop(nearest, None)
        other.limited = True
        return other

    def _coarser(self, state: _State) -> _State | None:
        """Merge pairs of buckets, unless the schema is the lowest already."""
        if state.schema == LOWEST_SCHEMA:
            return None
        other = _State(state.schema - 1, state.threshold, state.since)
        for mine, theirs in ((other.positive, state.positive), (other.negative, state.negative)):
            for index, count in {**theirs}.items():
                wider = -(-index // 2)
                mine[wider] = mine.get(wider, 0) + count
        other.zero, other.limited = {**state.zero}, True
        return other


class SampledNativeSeries(SampledObservations, NativeHistogramSeries):
    """A series with native buckets and an exemplar function."""

    __slots__ = ("source",)
