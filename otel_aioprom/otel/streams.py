"""Streams: translate the points of one metric to series, and reuse these in later collections.

The SDK returns the same attribute dict for a point in each collection. A stream remembers the series of each dict: as
long as the dicts are the same objects in the same order, a collection only copies values.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter, is_
from typing import Any

from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.names import is_valid_label_name
from otel_aioprom._core.numbers import INT_LIMIT, coerce_number
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries, check_bounds
from otel_aioprom.collectors.series.number import (
    CounterSeries,
    GaugeSeries,
    NumberSeries,
    UpDownSeries,
)
from otel_aioprom.otel.exemplars import is_newer, latest
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.merge import merge_series

Labels = tuple[tuple[str, ...], tuple[str, ...], str]
"""Names, values and text of a series."""

_BATCH = 512
_NANOSECONDS = 1_000_000_000
_attributes_of = attrgetter("attributes")
_value_of = attrgetter("value")
_start_of = attrgetter("start_time_unix_nano")
_count_of = attrgetter("count")
_counts_of = attrgetter("bucket_counts")
_PLAIN = frozenset({int, float})


class Stream:
    """Translate the points of one metric to series, always the same series for the same attributes.

    Args:
        head: The family without series.
        labels: Computes the labels of a point from its attributes.
        exemplar: Translates an exemplar.

    Attributes:
        faults: Faults of the last collection.
    """

    def __init__(
        self,
        head: MetricFamily,
        labels: Callable[[Mapping[str, object] | None], Labels],
        exemplar: Callable[[Any], Exemplar],
    ) -> None:
        self._head = head
        self._labels = labels
        self._exemplar = exemplar
        self._attributes: list[Any] = []
        self._targets: list[Any] = []
        self._starts: list[int] = []
        self._distinct = True
        self.faults: list[Fault] = []

    def family(self, series: Sequence[Series]) -> MetricFamily:
        """Return the metric's family with these series."""
        return replace(self._head, series=series)

    def update(self, points: Sequence[Any]) -> Sequence[Series]:
        """Translate the points of a collection.

        Args:
            points: The SDK's points; a list is emptied, to free memory.

        Returns:
            The series of these points, no two with the same labels.
        """
        self.faults = []
        usable = self._match(points)
        self._load(usable)
        _release(points)
        if self._distinct:
            return self._targets
        return merge_series(self._head.name, self._targets, self.faults)

    def _match(self, points: Sequence[Any]) -> Sequence[Any]:
        """Match points with their series, and return the usable points."""
        usable = self._usable(points)
        attributes = list(map(_attributes_of, usable))
        if len(attributes) != len(self._attributes) or not all(
            map(is_, attributes, self._attributes)
        ):
            self._plan(attributes, usable)
        return usable

    def _usable(self, points: Sequence[Any]) -> Sequence[Any]:
        """Return the points without those that have ended, and without invalid ones, each of which is a fault."""
        return [point for point in points if self._is_usable(point)]

    def _is_usable(self, point: Any) -> bool:
        try:
            return self._check(point)
        except (TypeError, ValueError) as error:
            message = f"a point is dropped: {error}"
            self.faults.append(Fault("untranslatable", self._head.name, message))
            return False

    def _check(self, point: Any) -> bool:
        """Return whether a point has a value; raise if it is invalid."""
        raise NotImplementedError

    def keep_exemplars(self, series: Any, point: Any) -> None:
        """Keep the exemplars of a point, which the SDK returns only once (M64); by default, do nothing."""

    def keep_all_exemplars(self, points: Sequence[Any]) -> None:
        """Keep the exemplars of a collection that is not exposed."""
        for point, series in zip(self._match(points), self._targets):
            if getattr(point, "exemplars", None):
                self.keep_exemplars(series, point)

    def _plan(self, attributes: list[Any], points: Sequence[Any]) -> None:
        """Match points with series anew: points with a known attribute dict keep their series."""
        known = {id(old): series for old, series in zip(self._attributes, self._targets)}
        targets = [
            known.get(id(new)) or self._make(self._labels(new), point)
            for new, point in zip(attributes, points)
        ]
        if not self._head.utf8 and not all(map(_are_classic, {one.names for one in targets})):
            self._head = replace(self._head, utf8=True)
        # Both are kept, because ids of dicts are unique only as long as the dicts live.
        self._attributes, self._targets = attributes, targets
        self._distinct = len({series.text for series in targets}) == len(targets)

    def _make(self, labels: Labels, point: Any) -> Series:
        raise NotImplementedError

    def _load(self, points: Sequence[Any]) -> None:
        raise NotImplementedError


class NumberStream(Stream):
    """Gauges, and sums that become gauges."""

    series_type: type[NumberSeries] = GaugeSeries

    def _usable(self, points: Sequence[Any]) -> Sequence[Any]:
        values = list(map(_value_of, points))
        kinds = set(map(type, values))
        if kinds <= _PLAIN and (int not in kinds or _within_limits(values)):
            return points
        return super()._usable(points)

    def _check(self, point: Any) -> bool:
        coerce_number(point.value)
        return True

    def _make(self, labels: Labels, point: Any) -> NumberSeries:
        return self.series_type(*labels)

    def _load(self, points: Sequence[Any]) -> None:
        for series, point in zip(self._targets, points):
            value = point.value
            kind = type(value)
            # Plain integers are within the limits, or _usable would have checked each point.
            series.value = value if kind is float or kind is int else coerce_number(value)


class UpDownStream(NumberStream):
    """Non-monotonic sums: gauges that are added up when labels collide."""

    series_type = UpDownSeries


class CounterStream(NumberStream):
    """Monotonic sums, with start timestamps and exemplars."""

    def _make(self, labels: Labels, point: Any) -> CounterSeries:
        return CounterSeries(*labels, 0, start_of(point))

    def _load(self, points: Sequence[Any]) -> None:
        for series, point in zip(self._targets, points):
            value = point.value
            kind = type(value)
            series.value = value if kind is float or kind is int else coerce_number(value)
            if point.exemplars:
                self.keep_exemplars(series, point)
        starts = list(map(_start_of, points))
        if starts != self._starts:
            self._starts = starts
            for series, point in zip(self._targets, points):
                series.created, series.wire = start_of(point), None

    def keep_exemplars(self, series: Any, point: Any) -> None:
        """Keep the latest exemplar (M64)."""
        exemplar = self._exemplar(latest(point.exemplars))
        if is_newer(exemplar, series.exemplar):
            series.exemplar = exemplar


class HistogramStream(Stream):
    """Histograms with explicit bounds."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._bounds: dict[tuple[float, ...], tuple[float, ...]] = {}

    def _usable(self, points: Sequence[Any]) -> Sequence[Any]:
        try:
            fit = [len(point.bucket_counts) - len(point.explicit_bounds) for point in points]
            held = list(map(sum, map(_counts_of, points)))
        except TypeError:
            return super()._usable(points)
        whole = set(fit) <= {1} and held == list(map(_count_of, points))
        return points if whole else super()._usable(points)

    def _check(self, point: Any) -> bool:
        return check_buckets(point)

    def _make(self, labels: Labels, point: Any) -> HistogramSeries:
        explicit = tuple(point.explicit_bounds)
        bounds = self._bounds.get(explicit)
        if bounds is None:
            # Shared by all series with these bounds, to save memory and time when they are encoded.
            bounds = self._bounds[explicit] = check_bounds((*explicit, math.inf))
        return HistogramSeries(*labels, bounds, start_of(point))

    def _load(self, points: Sequence[Any]) -> None:
        for series, point in zip(self._targets, points):
            total = point.sum
            total = total if type(total) is float else sum_of(total)
            # Without buckets, all observations are in the last one (M31).
            series.load(point.bucket_counts or (point.count,), total)
            if point.exemplars:
                self.keep_exemplars(series, point)
        starts = list(map(_start_of, points))
        if starts != self._starts:
            self._starts = starts
            for series, point in zip(self._targets, points):
                series.created = start_of(point)

    def keep_exemplars(self, series: Any, point: Any) -> None:
        """Keep the latest exemplar of each bucket (M64)."""
        keep_in_buckets(series, self._exemplar, point)


def check_buckets(point: Any) -> bool:
    """Check the buckets of a histogram's point, and return ``True``.

    Raises:
        ValueError: The counts do not match the bounds, or the number of observations.

    Spec:
        M31.
    """
    buckets, bounds = len(point.bucket_counts), len(point.explicit_bounds)
    if buckets != bounds + 1 and (buckets or bounds):
        raise ValueError(f"{buckets} bucket counts do not match {bounds} bounds")
    held = sum(point.bucket_counts)
    if buckets and held != point.count:
        raise ValueError(f"its buckets contain {held} of {point.count} observations")
    return True


def keep_in_buckets(series: Any, translate: Callable[[Any], Exemplar], point: Any) -> None:
    """Keep the latest exemplar of each classic bucket, by its value.

    Spec:
        M61, M64.
    """
    places: list[Exemplar | None] = list(series.exemplars or [None] * len(series.bounds))
    for original in point.exemplars:
        exemplar = translate(original)
        place = bisect_left(series.bounds, exemplar.value)
        if is_newer(exemplar, places[place]):
            places[place] = exemplar
    series.exemplars = places


def sum_of(total: Any) -> float | None:
    """Return the sum of a point as a plain number, or ``None`` without one."""
    return None if total is None else coerce_number(total)


def start_of(point: Any) -> float | None:
    """Return the start timestamp of a point, in seconds since the epoch, or ``None`` if it is unknown.

    Spec:
        M66.
    """
    start = point.start_time_unix_nano
    return start / _NANOSECONDS if start else None


@lru_cache(maxsize=4096)  # bounded, because names can come from clients
def _are_classic(names: tuple[str, ...]) -> bool:
    return all(map(is_valid_label_name, names))


def _within_limits(values: list[Any]) -> bool:
    return bool(min(values) >= -INT_LIMIT and max(values) <= INT_LIMIT)


def _release(points: Sequence[Any]) -> None:
    """Free points in batches: freeing tens of thousands at once stops all threads for milliseconds."""
    if isinstance(points, list):
        while points:
            del points[-_BATCH:]
