"""Targeted quantiles over data streams, after Cormode, Korn, Muthukrishnan and Srivastava (CKMS).

A stream is summarized by a few samples, each with bounds on its rank: in the paper's terms, the minimum rank of sample
i is the sum of g up to i, and delta is the maximum rank less the minimum. Values are inserted in sorted batches. Each
insertion compresses the stream: it drops the samples that the invariant f(r, n) does not need.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

Invariants = tuple[tuple[float, float], ...]

BATCH = 2048
"""Least number of buffered values that are worth a merge."""

_POWER = 0.85  # below 1, see error_function; lower powers keep more samples
_STEP = 1.5  # of the factor, from one point of its curve to the next
_TINY = 1e-12
_SLACK = 1 - 1e-9  # of each allowed error, so that rounding never breaks the guarantee


class Stream(NamedTuple):
    """The samples of a stream; immutable, a merge returns another one.

    Attributes:
        size: How many values the stream has had (n).
        values: The samples, ascending, the least and the greatest value among them.
        min_ranks: Minimum rank of each sample, counted from 1; ascending.
        max_ranks: Maximum rank of each sample; ascending.
    """

    size: int
    values: array[float]
    min_ranks: array[int]
    max_ranks: array[int]


EMPTY = Stream(0, array("d"), array("q"), array("q"))


def batch_size(streams: Iterable[Stream]) -> int:
    """Return how many values to buffer before the next merge: enough to pay for it, however many samples there are."""
    distinct = {id(stream): len(stream.values) for stream in streams}
    return max(BATCH * min(len(distinct), 2), 2 * sum(distinct.values()))


class Segment(NamedTuple):
    """A linear segment of f, for minimum ranks below ``edge * n``.

    The invariant holds for two adjacent samples if the maximum rank of the second is at most
    ``slope * r + base * n``, where r is the minimum rank of the first.
    """

    edge: float
    slope: float
    base: float


@lru_cache(maxsize=256)
def error_function(invariants: Invariants) -> tuple[Segment, ...]:
    """Return f(r, n), the greatest distance of adjacent samples for which every invariant holds, now and later.

    For an invariant (q, e), the gap from the minimum rank of one sample to the maximum rank of the next may be 2en wide
    where it contains the rank qn. Elsewhere, later values can move that rank into it: a gap below after (n - high) / (1
    - q) of them, a gap above after low / q. With k as that number divided by n, the gap could be 2enk wide. It is 2en ·
    k ** 0.85, which is never more. So f grows with every new value, wherever it falls, and a later merge can drop what
    an earlier one could not. With the full width, some streams fill the memory.

    Args:
        invariants: Pairs of quantile and allowed error. The least and the greatest value are always
            kept, so that the quantiles 0 and 1 need nothing more.
    """
    curves = [_segments(q, error * _SLACK) for q, error in invariants if 0 < q < 1]
    if not curves:
        return (Segment(math.inf, 1, 1),)
    edges = sorted(
        {0.0, 1.0, *(each.edge for curve in curves for each in curve if 0 < each.edge < 1)}
    )
    found: list[Segment] = []
    for start, end in pairwise(edges):
        middle = (start + end) / 2
        candidates = [next(each for each in curve if middle < each.edge) for curve in curves]
        found += _lower_envelope(candidates, start, end)
    return (*found[:-1], found[-1]._replace(edge=math.inf))


def _segments(q: float, error: float) -> list[Segment]:
    """Return f of one invariant as chords, which lie below the curve; ranks are fractions of n."""
    steps_below = math.ceil(math.log(1 / (1 - q), _STEP))
    steps_above = math.ceil(math.log(1 / q, _STEP))
    points: list[tuple[float, float]] = []  # minimum rank of a sample, maximum rank of the next
    for factor in [_STEP**step for step in range(steps_below, -1, -1)]:
        high = 1 - factor * (1 - q)
        points.append((high - 2 * error * factor**_POWER, high))
    for factor in [_STEP**step for step in range(steps_above + 1)]:
        low = q * factor
        points.append((low, low + 2 * error * factor**_POWER))
    found = []
    for (start, low), (end, high) in pairwise(points):
        slope = (high - low) / (end - start)
        found.append(Segment(end, slope, low - slope * start))
    return found


def _lower_envelope(lines: Sequence[Segment], start: float, end: float) -> Iterable[Segment]:
    """Yield the segments of the lower envelope of lines, from start to end."""
    while start < end:
        heights = [line.slope * start + line.base for line in lines]
        least = (
            min(heights) + _TINY
        )  # of lines that intersect here, the flattest one is the lowest from here on
        lowest = min([line for line, height in zip(lines, heights) if height <= least], key=_slope)
        crossings = [
            (line.base - lowest.base) / (lowest.slope - line.slope)
            for line in lines
            if line.slope < lowest.slope
        ]
        start = min([end, *(crossing for crossing in crossings if crossing > start)])
        yield lowest._replace(edge=start)


def _slope(line: Segment) -> float:
    return line.slope


def merge(stream: Stream, batch: Sequence[float], segments: Iterable[Segment]) -> Stream:
    """Insert values into a stream, and compress it.

    The rank of a sample rises by the number of lower new values. A new value gets the rank bounds of the gap between
    the samples where it falls. Neither adds an error. Compression goes upwards from the least value: the next sample
    to keep is the last one within f.

    Args:
        stream: The samples so far.
        batch: New values, ascending, at least one, no NaN. Most of them are never looked at.
        segments: f, as ``error_function`` returns it.
    """
    count = stream.size + len(batch)
    kept: list[float] = []
    kept_min: list[int] = []
    kept_max: list[int] = []
    pieces = iter(segments)
    edge = slope = base = 0.0
    reach = 0  # the highest rank that f allows after the sample kept last
    under = taken = 0  # the gap begins above so many old and so many new values
    rows = _ranked(stream, batch)
    value, r_min, r_max = batch[0], 1, 1  # what to keep once the next one is out of reach
    held = rows[0][3] > 0  # so there is a new least value
    for next_value, old_min, old_max, rank in rows:
        top = old_max + rank
        while top > reach:
            ahead = reach - old_max + 1  # position of the last new value within reach
            if ahead > taken and not (held and value == next_value):
                value, r_min, r_max = batch[ahead - 1], under + ahead, reach
                taken = ahead
            elif not held:
                break  # adjacent: no value lies between
            held = False
            kept.append(value)
            kept_min.append(r_min)
            kept_max.append(r_max)
            while r_min >= edge:
                edge, slope, base = next(pieces)
                edge *= count
                base *= count
            reach = int(slope * r_min + base)
            if reach <= r_min:
                reach = r_min + 1
            if value == next_value:
                break  # all values between two equal values equal them
        value, r_min, r_max, held = next_value, old_min + rank, top, True
        under, taken = old_min, rank
    kept.append(value)
    kept_min.append(r_min)
    kept_max.append(r_max)
    return Stream(count, array("d", kept), array("q", kept_min), array("q", kept_max))


def _ranked(stream: Stream, batch: Sequence[float]) -> list[tuple[float, int, int, int]]:
    """Return each sample with its rank bounds and the number of new values below; the last is the greatest of all."""
    before, values, min_ranks, max_ranks = stream
    size = len(batch)
    if not before or batch[-1] > values[-1]:  # treat a new greatest value as a sample
        values, min_ranks, max_ranks = values[:], min_ranks[:], max_ranks[:]
        values.append(batch[-1])
        min_ranks.append(before + 1)
        max_ranks.append(before + 1)
        size -= 1
    rank = 0
    ranks = [rank := bisect_right(batch, value, rank, size) for value in values]
    rows = list(zip(values, min_ranks, max_ranks, ranks))
    if any([value == batch[rank - 1] for value, rank in zip(values, ranks)]):  # noqa: C419
        return list(_ranked_ties(rows, batch))
    return rows


def _ranked_ties(
    rows: list[tuple[float, int, int, int]], batch: Sequence[float]
) -> Iterable[tuple[float, int, int, int]]:
    """Rank new values between the first and the last of the samples that equal them, where they add no error."""
    previous = math.nan
    for index, (value, r_min, r_max, rank) in enumerate(rows):
        if value != previous:
            yield value, r_min, r_max, bisect_left(batch, value, 0, rank)
        if (value != previous or index) and (index + 1 == len(rows) or rows[index + 1][0] != value):
            yield value, r_min, r_max, rank
        previous = value


def estimate(stream: Stream, q: float, error: float) -> float:
    """Return a value whose rank is near q · n; NaN if the stream is empty.

    Args:
        stream: The samples.
        q: The quantile, from 0 to 1.
        error: The error that the invariants allow for it; 0 if it is not among them.
    """
    count, values, min_ranks, max_ranks = stream
    if not count:
        return math.nan
    target = q * count
    exact = max(1, math.ceil(target - 1e-12 * count))
    margin = error * count
    if exact > target + margin and math.floor(target) >= max(1.0, target - margin):
        exact = math.floor(target)
    twice = [r_min + r_max for r_min, r_max in zip(min_ranks, max_ranks)]
    index = _closest(stream, twice, exact)
    if min_ranks[index] < target - margin or max_ranks[index] > target + margin:
        index = _closest(stream, twice, target if margin >= 0.5 else exact)  # noqa: PLR2004
    return values[index]


def _closest(stream: Stream, twice: list[int], rank: float) -> int:
    """Return the index of the sample with the least worst-case distance from a rank."""
    after = bisect_left(twice, 2 * rank)
    return min(
        range(max(after - 1, 0), min(after + 1, len(twice))),
        key=lambda index: max(rank - stream.min_ranks[index], stream.max_ranks[index] - rank),
    )
