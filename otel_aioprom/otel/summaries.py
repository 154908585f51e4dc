"""Summaries from histograms: quantiles estimated from the counts of buckets.

They are over the whole life of a stream, as its counts are.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.otel.exponential import is_recorded, power
from otel_aioprom.otel.streams import Labels, Stream, check_buckets, start_of, sum_of

_ROUNDING = 2.0**-50


def explicit_quantile(quantile: float, bounds: Sequence[float], counts: Sequence[int]) -> float:
    """Estimate a quantile as ``histogram_quantile`` does: linearly inside the bucket that it lies in.

    Args:
        quantile: Between 0 and 1.
        bounds: Upper bounds, without the infinite one.
        counts: Of each bucket alone, one more than bounds.

    Returns:
        The estimate; the highest bound for what lies above it; NaN if there is nothing, or no bound.

    Examples:
        >>> explicit_quantile(0.5, [1, 2], [0, 4, 0])
        1.5
    """
    total = sum(counts)
    if not total or not bounds:
        return math.nan
    rank = quantile * total
    upto = list(accumulate(counts))
    place = next(i for i, n in enumerate(counts) if n and upto[i] >= rank)
    if place == len(bounds):
        return float(bounds[-1])
    bound, count = bounds[place], counts[place]
    lower = bounds[place - 1] if place else 0.0
    if lower >= bound:  # the first bucket, if it ends at zero or below
        return float(bound)
    return float(lower + (bound - lower) * (rank - upto[place] + count) / count)


def exponential_quantile(quantile: float, point: Any) -> float:
    """Estimate a quantile of an exponential histogram.

    Args:
        quantile: Between 0 and 1.
        point: The SDK's.

    Returns:
        Of the bucket's values, the one that is off by the same ratio at both ends: (base - 1) / (base + 1) at
        most. NaN if there is nothing.
    """
    held = list(_ascending(point))
    if not held:
        return math.nan
    upto = list(accumulate([count for _, count in held]))
    total = upto[-1]
    # A product such as 0.55 · 100 lies above the rank that it means.
    place = bisect_left(upto, math.ceil(quantile * total - total * _ROUNDING))
    return held[place][0]


def _ascending(point: Any) -> Iterator[tuple[float, int]]:
    """Yield an estimate for the values of each bucket that holds some, with the count."""
    scale, negative, positive = point.scale, point.negative, point.positive
    for place in reversed(range(len(negative.bucket_counts))):
        if negative.bucket_counts[place]:
            yield -_middle(scale, negative.offset + place), negative.bucket_counts[place]
    if point.zero_count:
        yield 0.0, point.zero_count
    for place, count in enumerate(positive.bucket_counts):
        if count:
            yield _middle(scale, positive.offset + place), count


def _middle(scale: int, index: int) -> float:
    """The harmonic mean of both ends, written so that neither product nor sum leaves the range."""
    lower = power(scale, index)
    base = power(scale, 1)
    return lower * (2 * base / (1 + base)) if base < math.inf else lower


class SummaryStream(Stream):
    """Histograms of either kind as summaries.

    Attributes:
        quantiles: Which to estimate, ascending.
    """

    quantiles: tuple[float, ...] = ()

    def _check(self, point: Any) -> bool:
        if hasattr(point, "scale"):
            return is_recorded(point)
        return check_buckets(point)

    def _make(self, labels: Labels, point: Any) -> SummaryPoint:
        return SummaryPoint(*labels, 0, 0.0, (), start_of(point))

    def _load(self, points: Sequence[Any]) -> None:
        for series, point in zip(self._targets, points):
            estimates = [(quantile, self._estimate(quantile, point)) for quantile in self.quantiles]
            total = sum_of(point.sum)
            series.load(point.count, math.nan if total is None else total, estimates)
            series.created = start_of(point)

    def _estimate(self, quantile: float, point: Any) -> float:
        if hasattr(point, "scale"):
            return exponential_quantile(quantile, point)
        return explicit_quantile(quantile, point.explicit_bounds, point.bucket_counts)
