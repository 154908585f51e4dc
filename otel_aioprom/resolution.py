"""Which bucket of a native histogram an observation falls into, and how fine the buckets are."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import frexp
from typing import NamedTuple

from otel_aioprom.native import HIGHEST_SCHEMA, LARGEST, LOWEST_SCHEMA

DEFAULT_ZERO_THRESHOLD = 2.0**-128
"""Values up to it count as zero: small enough to matter to nobody, and a bound in every schema."""

_TABLE = 1024  # buckets on each side of 1
_SAFE_POWERS = 1000  # of two, in which a double has all of its bits


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a native histogram keeps its observations, and what happens when it has too many buckets.

    Attributes:
        schema: Of the beginning, and after each reset.
        zero_threshold: Likewise.
        max_buckets: Buckets that may hold observations, positive and negative ones together; 0 for any number.
        min_reset_duration: Seconds after which a histogram with too many buckets starts over; 0 for never.
        max_zero_threshold: Up to here the zero bucket may grow before buckets are made wider; 0 for not at all.

    Raises:
        TypeError: A value is no number, or ``max_buckets`` no ``int``.
        ValueError: A value is negative or NaN, or a threshold infinite.

    Spec:
        E77.
    """

    schema: int
    zero_threshold: float = DEFAULT_ZERO_THRESHOLD
    max_buckets: int = 160
    min_reset_duration: float = 3600.0
    max_zero_threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("zero_threshold", "max_zero_threshold", "min_reset_duration"):
            object.__setattr__(self, name, _check_option(f"native_{name}", getattr(self, name)))
        if math.inf in (self.zero_threshold, self.max_zero_threshold):
            raise ValueError("native_zero_threshold and native_max_zero_threshold must be finite")
        if isinstance(self.max_buckets, bool) or not isinstance(self.max_buckets, int):
            raise TypeError(f"native_max_buckets must be an int, not {self.max_buckets!r}")
        _check_option("native_max_buckets", self.max_buckets)


def _check_option(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not value >= 0:  # nor is NaN
        raise ValueError(f"{name} must not be negative: {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must lie within the range of a double") from None


def schema_of(factor: float) -> int:
    """Return the coarsest schema in which a bucket is at most so many times as wide as the one before.

    Args:
        factor: Above 1; 1.1 is a good one.

    Raises:
        TypeError: It is no number.
        ValueError: It is not above 1.

    Spec:
        E77.

    Examples:
        >>> [schema_of(factor) for factor in (2, 1.1, 1.005, 65536)]
        [0, 3, 8, -4]
    """
    if isinstance(factor, bool) or not isinstance(factor, (int, float)):
        raise TypeError(f"native_bucket_factor must be a number, not {factor!r}")
    if not 1 < factor < math.inf:
        raise ValueError(f"native_bucket_factor must be above 1 and finite, not {factor!r}")
    schema = -math.floor(math.log2(math.log2(factor)))
    return max(LOWEST_SCHEMA, min(HIGHEST_SCHEMA, schema))


class Grid(NamedTuple):
    """How the index of a value's bucket is found in one schema.

    Attributes:
        low: Values above it, up to ``high``, are found in the table; the others are worked out.
        high: The last bound of the table.
        table: Upper bounds of buckets around 1.
        first: Index of the first of them.
        inner: Lower bounds of the buckets between a half and 1, that of a half included.
        shift: Powers of two that one bucket holds, as a power of two.
        overflow: Index of the bucket of infinity.

    Spec:
        E72, E73.
    """

    low: float
    high: float
    table: Sequence[float]
    first: int
    inner: Sequence[float]
    shift: int
    overflow: int

    def place(self, value: float) -> int:
        """Return the index of the bucket of an absolute value above 0.

        Examples:
            >>> [grid_of(3).place(value) for value in (1.0, 3.0, 0.1, 100.0)]
            [0, 13, -26, 54]
        """
        if self.low < value <= self.high:
            return bisect_left(self.table, value) + self.first
        fraction, exponent = frexp(value)
        if fraction > 1:
            return self.overflow
        narrow = bisect_left(self.inner, fraction) + (exponent - 1) * len(self.inner)
        return (narrow + (1 << self.shift) - 1) >> self.shift


@cache
def grid_of(schema: int) -> Grid:
    """Return the grid of a schema."""
    per_power, shift = 1 << max(schema, 0), max(-schema, 0)
    inner = [2.0 ** (k / per_power - 1) for k in range(per_power)]
    most = min(_TABLE, (_SAFE_POWERS * per_power) >> shift)

    def bound(index: int) -> float:
        power, place = divmod(index << shift, per_power)
        return math.ldexp(inner[place], power + 1)

    table = [bound(index) for index in range(-most, most + 1)]
    grid = Grid(table[0], table[-1], table, -most, inner, shift, 0)
    return grid._replace(overflow=grid.place(LARGEST) + 1)
