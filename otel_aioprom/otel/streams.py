"""Streams: the points of one metric, and the series that they become, from collection to collection.

The SDK gives a point the same attribute dict in each collection. So a stream remembers which
series belongs to which dict: as long as the dicts are the same objects in the same order, a
collection is one pass that copies values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter, is_
from typing import Any

from otel_aioprom.faults import Fault
from otel_aioprom.histogram import HistogramSeries, check_bounds
from otel_aioprom.merge import merge_series
from otel_aioprom.model import MetricFamily, Series
from otel_aioprom.numbers import INT_LIMIT, coerce_number
from otel_aioprom.series import NumberSeries

Labels = tuple[tuple[str, ...], tuple[str, ...], str]
"""Names, values and text of a series."""

_AT_ONCE = 512
_NO_RECORDED_VALUE = 1
_NO_BOUNDS = (math.inf,)
_attributes_of = attrgetter("attributes")
_value_of = attrgetter("value")
_PLAIN = frozenset({int, float})


class Stream:
    """Turns the points of one metric into series, the same series for the same attributes each time.

    Args:
        head: The family without series.
        labels: Works out the labels of a point from its attributes.
        series_type: What a number becomes.
    """

    def __init__(
        self,
        head: MetricFamily,
        labels: Callable[[Mapping[str, object] | None], Labels],
        series_type: type[NumberSeries],
    ) -> None:
        self._head = head
        self._labels = labels
        self._series_type = series_type
        self._attributes: list[Any] = []
        self._targets: list[Any] = []
        self._distinct = True
        self.faults: list[Fault] = []

    def family(self, series: Sequence[Series]) -> MetricFamily:
        """Return the metric's family with these series."""
        return replace(self._head, series=series)

    def update(self, points: Sequence[Any]) -> Sequence[Series]:
        """Take the points of a collection in.

        Args:
            points: The SDK's points; a list is emptied, for the memory's sake.

        Returns:
            The series that these points make, no two with the same labels.
        """
        self.faults = []
        usable = self._usable(points)
        attributes = list(map(_attributes_of, usable))
        if len(attributes) != len(self._attributes) or not all(
            map(is_, attributes, self._attributes)
        ):
            self._plan(attributes, usable)
        self._load(usable)
        _release(points)
        if self._distinct:
            return self._targets
        return merge_series(self._head.name, self._targets, self.faults)

    def _usable(self, points: Sequence[Any]) -> Sequence[Any]:
        """Leave out points that have ended, and those that make no sense: each is a fault of its own."""
        return [point for point in points if self._is_usable(point)]

    def _is_usable(self, point: Any) -> bool:
        try:
            return self._check(point)
        except (TypeError, ValueError) as error:
            message = f"a point is left out: {error}"
            self.faults.append(Fault("untranslatable", self._head.name, message))
            return False

    def _check(self, point: Any) -> bool:
        """Tell whether a point is to be shown; raise if it cannot be."""
        raise NotImplementedError

    def _plan(self, attributes: list[Any], points: Sequence[Any]) -> None:
        """Match points with series anew: those whose attribute dict is known keep theirs."""
        known = {id(old): series for old, series in zip(self._attributes, self._targets)}
        targets = [
            known.get(id(new)) or self._make(self._labels(new), point)
            for new, point in zip(attributes, points)
        ]
        # Kept together: the dicts must live as long as their ids mean something.
        self._attributes, self._targets = attributes, targets
        self._distinct = len({series.text for series in targets}) == len(targets)

    def _make(self, labels: Labels, point: Any) -> Series:
        raise NotImplementedError

    def _load(self, points: Sequence[Any]) -> None:
        raise NotImplementedError


class NumberStream(Stream):
    """Sums and gauges."""

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
        return self._series_type(*labels)

    def _load(self, points: Sequence[Any]) -> None:
        for series, point in zip(self._targets, points):
            value = point.value
            kind = type(value)
            # Plain integers are within the limits, or the points would have been checked one by one.
            series.value = value if kind is float or kind is int else coerce_number(value)


class HistogramStream(Stream):
    """Histograms with explicit bounds."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._bounds: dict[tuple[float, ...], tuple[float, ...]] = {}

    def _usable(self, points: Sequence[Any]) -> Sequence[Any]:
        try:
            fit = [len(point.bucket_counts) - len(point.explicit_bounds) for point in points]
        except TypeError:
            return super()._usable(points)
        return points if set(fit) <= {1} else super()._usable(points)

    def _check(self, point: Any) -> bool:
        buckets, bounds = len(point.bucket_counts), len(point.explicit_bounds)
        if buckets != bounds + 1 and (buckets or bounds):
            raise ValueError(f"{buckets} bucket counts do not go with {bounds} bounds")
        return True

    def _make(self, labels: Labels, point: Any) -> HistogramSeries:
        given = tuple(point.explicit_bounds)
        bounds = self._bounds.get(given)
        if (
            bounds is None
        ):  # shared by all series that have them, in memory and when they are written
            bounds = self._bounds[given] = check_bounds((*given, math.inf))
        return HistogramSeries(*labels, bounds)

    def _load(self, points: Sequence[Any]) -> None:
        for series, point in zip(self._targets, points):
            total = point.sum
            total = total if type(total) is float else _sum(total)
            # Without buckets the count stands for the last one (M31).
            series.load(point.bucket_counts or (point.count,), total)


class ExponentialStream(Stream):
    """Exponential histograms as classic ones, with the last bucket only (M37)."""

    def _check(self, point: Any) -> bool:
        # A flag says that the series has ended (M71).
        return not getattr(point, "flags", 0) & _NO_RECORDED_VALUE

    def _make(self, labels: Labels, point: Any) -> HistogramSeries:
        return HistogramSeries(*labels, _NO_BOUNDS)

    def _load(self, points: Sequence[Any]) -> None:
        for series, point in zip(self._targets, points):
            series.load((point.count,), _sum(point.sum))


def _sum(total: Any) -> float | None:
    return None if total is None else coerce_number(total)


def _within_limits(values: list[Any]) -> bool:
    return bool(min(values) >= -INT_LIMIT and max(values) <= INT_LIMIT)


def _release(points: Sequence[Any]) -> None:
    """Let points go in pieces: freeing tens of thousands in one go stops every thread for milliseconds."""
    if isinstance(points, list):
        while points:
            del points[-_AT_ONCE:]
