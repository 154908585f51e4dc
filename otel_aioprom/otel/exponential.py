"""Exponential histograms as native histograms, and as classic ones for formats without native histograms."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import HIGHEST_SCHEMA, LOWEST_SCHEMA, NativeBuckets
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.otel.streams import Labels, Stream, keep_in_buckets, start_of, sum_of
from otel_aioprom.registry.faults import Fault

ZERO_THRESHOLD = 1e-128
"""Width of the zero bucket, which points do not contain (M36)."""

_NO_RECORDED_VALUE = 1
_NO_BOUNDS = (math.inf,)
_MAX_EXEMPLARS = 10


def native_buckets(point: Any, exemplars: Sequence[Exemplar] = ()) -> NativeBuckets:
    """Convert the buckets of a point to those of a native histogram.

    Args:
        point: The SDK's point.
        exemplars: Exemplars of the native histogram.

    Raises:
        ValueError: The scale is too low, or counts are invalid.

    Spec:
        M33 to M36.
    """
    shift = max(0, point.scale - HIGHEST_SCHEMA)
    return NativeBuckets(
        point.scale - shift,
        ZERO_THRESHOLD,
        point.zero_count,
        _shifted(point.positive, shift),
        _shifted(point.negative, shift),
        exemplars,
    )


def _shifted(buckets: Any, shift: int) -> list[tuple[int, int]]:
    """Merge buckets to a lower scale, and return their counts by the index of the upper bound."""
    if not shift:
        first = buckets.offset + 1
        return [(first + place, n) for place, n in enumerate(buckets.bucket_counts) if n]
    merged: dict[int, int] = {}
    for place, n in enumerate(buckets.bucket_counts):
        if n:
            # The shift applies to the index of the lower bound, and rounds down, also below zero.
            index = ((buckets.offset + place) >> shift) + 1
            merged[index] = merged.get(index, 0) + n
    return sorted(merged.items())


def upper_bounds(point: Any) -> Iterator[tuple[float, int]]:
    """Yield the upper bound and the count of each non-empty bucket, ascending.

    Spec:
        M37.
    """
    negative, positive = point.negative, point.positive
    for place in reversed(range(len(negative.bucket_counts))):
        if negative.bucket_counts[place]:
            yield -power(point.scale, negative.offset + place), negative.bucket_counts[place]
    if point.zero_count:
        yield ZERO_THRESHOLD, point.zero_count
    for place, n in enumerate(positive.bucket_counts):
        if n:
            yield power(point.scale, positive.offset + place + 1), n


def power(scale: int, index: int) -> float:
    """Return the lower bound of a positive bucket: the base of the scale to the power of the index."""
    try:
        return float(2.0 ** (index / 2.0**scale))
    except OverflowError:
        return math.inf


def is_recorded(point: Any) -> bool:
    """Return whether a point has a value: without one, its series has ended (M71)."""
    return not getattr(point, "flags", 0) & _NO_RECORDED_VALUE


def classic_counts(buckets: Iterable[tuple[float, int]], bounds: Sequence[float]) -> list[int]:
    """Distribute counts to classic buckets by their upper bounds.

    Args:
        buckets: Upper bounds with counts.
        bounds: Bounds of the classic buckets, ``inf`` the last.

    Returns:
        The count of each classic bucket alone.
    """
    counts = [0] * len(bounds)
    for bound, n in buckets:
        counts[bisect_left(bounds, bound)] += n
    return counts


class ExponentialStream(Stream):
    """Exponential histograms as native and classic ones.

    Attributes:
        bounds: Bounds of the classic buckets; by default only the infinite one (M37).
    """

    bounds: tuple[float, ...] = _NO_BOUNDS

    def _usable(self, points: Sequence[Any]) -> Sequence[Any]:
        self._natives: list[NativeBuckets | None] = []
        return super()._usable(points)

    def _check(self, point: Any) -> bool:
        if not is_recorded(point):
            return False
        if point.scale < LOWEST_SCHEMA:
            raise ValueError(
                f"its scale is {point.scale}; native histograms begin at {LOWEST_SCHEMA}"
            )
        if point.sum is None:
            raise ValueError("it has no sum")
        native = native_buckets(point)
        consistent = native.observations == point.count
        if not consistent:
            # Only possible with data that the SDK has not aggregated; a server would reject the whole scrape.
            message = f"buckets contain {native.observations} of {point.count} observations; only the count is exposed"
            self.faults.append(Fault("untranslatable", self._head.name, message, lost=False))
        self._natives.append(native if consistent else None)
        return True

    def _make(self, labels: Labels, point: Any) -> HistogramSeries:
        return HistogramSeries(*labels, self.bounds, start_of(point))

    def _load(self, points: Sequence[Any]) -> None:
        for series, point, counted in zip(self._targets, points, self._natives):
            known = series.native.exemplars if series.native is not None else ()
            exemplars = self._merged(known, point) if point.exemplars else known
            counts = self._classic(point, consistent=counted is not None)
            native = counted and replace(counted, exemplars=exemplars)
            series.load(counts, sum_of(point.sum), native)
            series.created = start_of(point)
            if point.exemplars:
                keep_in_buckets(series, self._exemplar, point)
            if series.exemplars is not None:
                # The value of an exemplar may be below the bucket that counts its observation.
                series.exemplars = [
                    each if n else None for each, n in zip(series.exemplars, counts)
                ]
        self._natives = []

    def _classic(self, point: Any, *, consistent: bool) -> Sequence[int]:
        """Return the counts of the classic buckets; without usable buckets all are in the infinite one (M31)."""
        if consistent and self.bounds is not _NO_BOUNDS:
            return classic_counts(upper_bounds(point), self.bounds)
        return [0] * (len(self.bounds) - 1) + [point.count]

    def keep_exemplars(self, series: Any, point: Any) -> None:
        """Keep the exemplars of a collection that is not exposed (M64)."""
        if series.native is None and series.observations:
            return  # it is exposed without native buckets
        native = series.native or native_buckets(point)
        exemplars = self._merged(native.exemplars, point)
        series.native = replace(native, exemplars=exemplars)
        keep_in_buckets(series, self._exemplar, point)

    def _merged(self, known: Sequence[Exemplar], point: Any) -> list[Exemplar]:
        """Return the latest exemplars of both."""
        merged = [*known, *map(self._exemplar, point.exemplars)]
        return sorted(merged, key=lambda each: each.timestamp or 0)[-_MAX_EXEMPLARS:]
