"""Quantiles of a stream of values, with a promise on their rank and in little memory.

A stream is kept as a few of its values, each with bounds on its rank among all values so far. Values
come in sorted batches. A batch is merged exactly, then everything is dropped again that no promise needs.
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
"""Values that wait, at least, until they are merged together."""

_POWER = 0.85  # below 1, for the reason that limit_of tells; lower ones keep more
_STEP = 1.5  # of the factor, from one point of its curve to the next
_TINY = 1e-12
_SLACK = 1 - 1e-9  # of each allowed error, so that no rounding takes from the promise


class Stream(NamedTuple):
    """What is known of all values of a stream; it never changes, a merge makes a new one.

    Attributes:
        size: How many values the stream has had.
        values: Some of them, ascending, the least and the greatest among them.
        lows: The lowest rank that each can have, counted from 1; ascending.
        highs: The highest; ascending.
    """

    size: int
    values: array[float]
    lows: array[int]
    highs: array[int]


EMPTY = Stream(0, array("d"), array("q"), array("q"))


def patience(streams: Iterable[Stream]) -> int:
    """Return how many values should wait for a merge: enough to pay for it, however large and many the streams are."""
    several = {id(stream): len(stream.values) for stream in streams}
    return max(BATCH * min(len(several), 2), 2 * sum(several.values()))


class Line(NamedTuple):
    """A piece of a limit, for low ranks of less than ``edge`` times the count.

    Two neighbours are close enough if the high rank of the second is at most
    ``slope * low + base * count``, with the low rank of the first.
    """

    edge: float
    slope: float
    base: float


@lru_cache(maxsize=256)
def limit_of(invariants: Invariants) -> tuple[Line, ...]:
    """Work out how far apart two neighbours may be, so that every invariant holds now and later.

    For an invariant (q, e), the gap from the low rank of one neighbour to the high rank of the next may
    be 2en wide where it holds the rank qn. Where it does not, values to come can move it there: one below as soon
    as their number is (n - high) / (1 - q), one above when it is low / q. With f as that number divided by n, the gap
    could be 2enf wide. It is 2en · f ** 0.85, which is never more. So each limit grows with every new value, wherever
    it falls, and what one batch could not drop a later one can. With the full width there are streams that fill the memory.

    Args:
        invariants: Pairs of quantile and allowed error. The least and the greatest value are always
            kept, so that the quantiles 0 and 1 ask for nothing more.
    """
    parts = [_lines(q, error * _SLACK) for q, error in invariants if 0 < q < 1]
    if not parts:
        return (Line(math.inf, 1, 1),)
    edges = sorted({0.0, 1.0, *(line.edge for part in parts for line in part if 0 < line.edge < 1)})
    found: list[Line] = []
    for start, end in pairwise(edges):
        middle = (start + end) / 2
        rivals = [next(line for line in part if middle < line.edge) for part in parts]
        found += _lowest(rivals, start, end)
    return (*found[:-1], found[-1]._replace(edge=math.inf))


def _lines(q: float, error: float) -> list[Line]:
    """Return the limit of one invariant as chords, which lie below the curve; ranks are shares of the count."""
    steps_below = math.ceil(math.log(1 / (1 - q), _STEP))
    steps_above = math.ceil(math.log(1 / q, _STEP))
    points: list[tuple[float, float]] = []  # low rank of one, high rank of the next
    for factor in [_STEP**step for step in range(steps_below, -1, -1)]:
        high = 1 - factor * (1 - q)
        points.append((high - 2 * error * factor**_POWER, high))
    for factor in [_STEP**step for step in range(steps_above + 1)]:
        low = q * factor
        points.append((low, low + 2 * error * factor**_POWER))
    found = []
    for (start, low), (end, high) in pairwise(points):
        slope = (high - low) / (end - start)
        found.append(Line(end, slope, low - slope * start))
    return found


def _lowest(lines: Sequence[Line], start: float, end: float) -> Iterable[Line]:
    """Yield what is lowest from one place to another, in pieces."""
    while start < end:
        heights = [line.slope * start + line.base for line in lines]
        least = min(heights) + _TINY  # of lines that meet here, the flattest goes on
        lowest = min([line for line, height in zip(lines, heights) if height <= least], key=_slope)
        crossings = [
            (line.base - lowest.base) / (lowest.slope - line.slope)
            for line in lines
            if line.slope < lowest.slope
        ]
        start = min([end, *(crossing for crossing in crossings if crossing > start)])
        yield lowest._replace(edge=start)


def _slope(line: Line) -> float:
    return line.slope


def merged(stream: Stream, batch: Sequence[float], limit: Iterable[Line]) -> Stream:
    """Return a stream with more values, cut down to what the limit asks for.

    A value of the stream moves up by the number of lower new ones. A new value has the rank bounds of the gap in the
    stream where it falls. Neither adds an error. Then, from the least value on, the next one to be kept is
    the last one that the limit allows.

    Args:
        stream: The values so far.
        batch: New ones, ascending, at least one, no NaN. Most of them are never looked at.
        limit: As ``limit_of`` returns it.
    """
    count = stream.size + len(batch)
    kept: list[float] = []
    kept_lows: list[int] = []
    kept_highs: list[int] = []
    pieces = iter(limit)
    edge = slope = base = 0.0
    reach = 0  # the highest rank that the limit allows after the value kept last
    under = taken = 0  # the gap begins above so many old and so many new values
    rows = _places(stream, batch)
    value, low, high = batch[0], 1, 1  # what to keep once the next one is out of reach
    held = rows[0][3] > 0  # so there is a new least one
    for next_value, old_low, old_high, rank in rows:
        top = old_high + rank
        while top > reach:
            ahead = reach - old_high + 1  # place of the last new value within reach
            if ahead > taken and not (held and value == next_value):
                value, low, high = batch[ahead - 1], under + ahead, reach
                taken = ahead
            elif not held:
                break  # neighbours: there is nothing closer
            held = False
            kept.append(value)
            kept_lows.append(low)
            kept_highs.append(high)
            while low >= edge:
                edge, slope, base = next(pieces)
                edge *= count
                base *= count
            reach = int(slope * low + base)
            if reach <= low:
                reach = low + 1
            if value == next_value:
                break  # whatever lies between two equal values is equal too
        value, low, high, held = next_value, old_low + rank, top, True
        under, taken = old_low, rank
    kept.append(value)
    kept_lows.append(low)
    kept_highs.append(high)
    return Stream(count, array("d", kept), array("q", kept_lows), array("q", kept_highs))


def _places(stream: Stream, batch: Sequence[float]) -> list[tuple[float, int, int, int]]:
    """Tell of each old value its rank bounds and the number of new values below; the last is the greatest of all."""
    before, values, lows, highs = stream
    size = len(batch)
    if not before or batch[-1] > values[-1]:  # a new greatest one is as good as an old one
        values, lows, highs = values[:], lows[:], highs[:]
        values.append(batch[-1])
        lows.append(before + 1)
        highs.append(before + 1)
        size -= 1
    rank = 0
    ranks = [rank := bisect_right(batch, value, rank, size) for value in values]
    rows = list(zip(values, lows, highs, ranks))
    if any([value == batch[rank - 1] for value, rank in zip(values, ranks)]):  # noqa: C419
        return list(_tied(rows, batch))
    return rows


def _tied(
    rows: list[tuple[float, int, int, int]], batch: Sequence[float]
) -> Iterable[tuple[float, int, int, int]]:
    """Put new values between the first and the last of the old ones that equal them, where they cost nothing."""
    previous = math.nan
    for index, (value, low, high, rank) in enumerate(rows):
        if value != previous:
            yield value, low, high, bisect_left(batch, value, 0, rank)
        if (value != previous or index) and (index + 1 == len(rows) or rows[index + 1][0] != value):
            yield value, low, high, rank
        previous = value


def estimate(stream: Stream, q: float, error: float) -> float:
    """Return a value whose rank is near q times the count; NaN if there are no values.

    Args:
        stream: The values.
        q: The quantile, from 0 to 1.
        error: What the stream's invariants allow for it; 0 if it is not among them.
    """
    count, values, lows, highs = stream
    if not count:
        return math.nan
    target = q * count
    exact = max(1, math.ceil(target - 1e-12 * count))
    margin = error * count
    if exact > target + margin and math.floor(target) >= max(1.0, target - margin):
        exact = math.floor(target)
    twice = [low + high for low, high in zip(lows, highs)]
    index = _closest(stream, twice, exact)
    if lows[index] < target - margin or highs[index] > target + margin:
        index = _closest(stream, twice, target if margin >= 0.5 else exact)  # noqa: PLR2004
    return values[index]


def _closest(stream: Stream, twice: list[int], rank: float) -> int:
    """Find the value whose rank is, at worst, least far away."""
    after = bisect_left(twice, 2 * rank)
    return min(
        range(max(after - 1, 0), min(after + 1, len(twice))),
        key=lambda index: max(rank - stream.lows[index], stream.highs[index] - rank),
    )
