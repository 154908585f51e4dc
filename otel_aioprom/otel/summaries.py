"""Summaries from histograms: quantiles estimated from bucket counts, since the start of the stream."""

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
    """Estimate a quantile as ``histogram_quantile`` does, by linear interpolation within its bucket.

    Args:
        quantile: Between 0 and 1.
        bounds: Upper bounds, without the infinite one.
        counts: Count of each bucket alone, one more than bounds.

    Returns:
        The estimate; the highest bound if it is above it; NaN without observations or bounds.

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
    if lower >= bound:  # the first bucket, with an upper bound of zero or below
        return float(bound)
    return float(lower + (bound - lower) * (rank - upto[place] + count) / count)


def exponential_quantile(quantile: float, point: Any) -> float:
    """Estimate a quantile of an exponential histogram.

    Args:
        quantile: Between 0 and 1.
        point: The SDK's point.

    Returns:
        The value in the bucket with the smallest maximum relative error, (base - 1) / (base + 1); NaN without
        observations.
    """
    buckets = list(_ascending(point))
    if not buckets:
        return math.nan
    upto = list(accumulate([count for _, count in buckets]))
    total = upto[-1]
    # A product such as 0.55 · 100 is above the intended rank, due to rounding.
    place = bisect_left(upto, math.ceil(quantile * total - total * _ROUNDING))
    return buckets[place][0]


def _ascending(point: Any) -> Iterator[tuple[float, int]]:
    """Yield a representative value and the count of each non-empty bucket, ascending."""
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
    """Return the harmonic mean of both bounds, without overflow."""
    lower = power(scale, index)
    base = power(scale, 1)
    return lower * (2 * base / (1 + base)) if base < math.inf else lower


class SummaryStream(Stream):
    """Histograms of both kinds as summaries.

    Attributes:
        quantiles: The quantiles to estimate, ascending.
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
