"""Native histograms: counts in buckets of exponential width, as the protobuf format carries them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from math import inf, ldexp

from otel_aioprom._core.model import Exemplar

LOWEST_SCHEMA = -4
HIGHEST_SCHEMA = 8
LARGEST = sys.float_info.max

Buckets = Sequence[tuple[int, int]]
"""Index and count of each bucket, ascending; buckets that are absent are empty."""

_OVERFLOW_EXPONENT = 1024  # of the first power of two beyond a double
_BRIDGED = 2  # up to so many empty buckets are shorter than another span


@dataclass(frozen=True, slots=True)
class NativeBuckets:
    """Snapshot of the buckets of a native histogram.

    The bucket of index *i* counts values in (*b* ** (*i* - 1), *b* ** *i*], where *b* = 2 ** (2 ** -schema). Negative
    values have buckets of their own, by their absolute value.

    Attributes:
        schema: Resolution, from -4 (one bucket for 16 powers of two) to 8 (256 buckets for each power of two).
        zero_threshold: Values whose absolute value does not exceed it count as zero.
        zero_count: Count of such values.
        positive: Buckets of the positive values.
        negative: Buckets of the negative values.
        exemplars: Any number, each with a timestamp.

    Raises:
        ValueError: The schema is out of range, a count or the threshold is negative, or indexes do not ascend.

    Spec:
        E68, E71, E72, E75.
    """

    schema: int
    zero_threshold: float = 0.0
    zero_count: int = 0
    positive: Buckets = ()
    negative: Buckets = ()
    exemplars: Sequence[Exemplar] = ()

    def __post_init__(self) -> None:
        if not LOWEST_SCHEMA <= self.schema <= HIGHEST_SCHEMA:
            raise ValueError(
                f"a schema must lie between {LOWEST_SCHEMA} and {HIGHEST_SCHEMA}, not {self.schema}"
            )
        if not self.zero_threshold >= 0 or self.zero_count < 0:
            raise ValueError("neither the zero threshold nor the zero count may be negative")
        for buckets in (self.positive, self.negative):
            if any(count < 0 for _, count in buckets):
                raise ValueError("no count of a bucket may be negative")
            if any(first >= second for (first, _), (second, _) in pairwise(buckets)):
                raise ValueError("the indexes of buckets must ascend")

    def plus(self, other: NativeBuckets) -> NativeBuckets:
        """Return the sum with another histogram, in the lower schema of the two.

        The sum has the wider zero bucket, extended to the upper bound of a bucket of the other one that it would cut.

        Args:
            other: The other histogram.

        Spec:
            E75, E77.
        """
        schema = min(self.schema, other.schema)
        mine, theirs = _coarser(self, schema), _coarser(other, schema)
        mine = _widened(mine, theirs.zero_threshold)
        theirs = _widened(theirs, mine.zero_threshold)
        # If it was extended once more, then to the bound of a bucket: it cuts none of the others.
        mine = _widened(mine, theirs.zero_threshold)
        return NativeBuckets(
            schema,
            mine.zero_threshold,
            mine.zero_count + theirs.zero_count,
            _added(mine.positive, theirs.positive),
            _added(mine.negative, theirs.negative),
            [*self.exemplars, *other.exemplars],
        )

    @property
    def observations(self) -> int:
        """Count of observations in all buckets; NaN is in none."""
        return self.zero_count + sum(
            [n for part in (self.positive, self.negative) for _, n in part]
        )


def upper_bound(index: int, schema: int) -> float:
    """Return the upper bound of a bucket (E72): the largest double for the last one before the overflow bucket."""
    per_power = 1 << max(schema, 0)
    power, step = divmod(index << max(-schema, 0), per_power)
    if power >= _OVERFLOW_EXPONENT:
        return LARGEST if (power, step) == (_OVERFLOW_EXPONENT, 0) else inf
    return ldexp(2.0 ** (step / per_power - 1), power + 1)


def _coarser(native: NativeBuckets, schema: int) -> NativeBuckets:
    """Lower the schema: each step merges two buckets into one, and halves the index, rounded up."""
    times = native.schema - schema
    if not times:
        return native
    positive, negative = (
        _added([(-(-index >> times), count) for index, count in side])
        for side in (native.positive, native.negative)
    )
    return replace(native, schema=schema, positive=positive, negative=negative)


def _widened(native: NativeBuckets, threshold: float) -> NativeBuckets:
    """Extend the zero bucket to a threshold, and on to the upper bound of a non-empty bucket that this cuts."""
    if threshold <= native.zero_threshold:
        return native
    last, zero = -inf, native.zero_count
    for index, count in sorted((*native.positive, *native.negative)):
        if upper_bound(index - 1, native.schema) >= threshold:
            break
        if count:
            threshold = max(threshold, upper_bound(index, native.schema))
        last = index
        zero += count
    positive, negative = (
        [bucket for bucket in side if bucket[0] > last]
        for side in (native.positive, native.negative)
    )
    return NativeBuckets(native.schema, threshold, zero, positive, negative)


def _added(*parts: Buckets) -> list[tuple[int, int]]:
    sums: dict[int, int] = {}
    for index, count in chain(*parts):
        sums[index] = sums.get(index, 0) + count
    return sorted(sums.items())


def spans(buckets: Buckets) -> list[tuple[int, list[int]]]:
    """Group buckets into spans without gaps; gaps of one or two empty buckets are filled with zeros.

    Args:
        buckets: Ascending by index.

    Returns:
        Pairs of offset and counts: the first offset is an index, each other one the number of buckets that are skipped.

    Spec:
        E74.

    Examples:
        >>> spans([(-2, 3), (-1, 5), (2, 1), (7, 3)])
        [(-2, [3, 5, 0, 0, 1]), (4, [3])]
    """
    found: list[tuple[int, list[int]]] = []
    following = 0
    for index, count in buckets:
        gap = index - following
        if found and gap <= _BRIDGED:
            found[-1][1].extend([0] * gap)
            found[-1][1].append(count)
        else:
            found.append((gap, [count]))
        following = index + 1
    return found


def deltas(grouped: list[tuple[int, list[int]]]) -> Iterator[int]:
    """Yield the first count of all spans, then the difference of each count to the one before.

    Spec:
        E74.
    """
    before = 0
    for _, counts in grouped:
        for count in counts:
            yield count - before
            before = count
