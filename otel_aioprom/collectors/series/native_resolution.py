"""The resolution of native histograms, and the bucket of an observation."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from math import frexp, ldexp, nextafter

from otel_aioprom._core.native_histogram import HIGHEST_SCHEMA, LARGEST, LOWEST_SCHEMA, upper_bound

DEFAULT_ZERO_THRESHOLD = 2.0**-128
"""Values up to it count as zero: negligible in practice, and a bucket bound in every schema."""

_MOST_BOUNDS = 1 << 15  # cached per schema, a few megabytes


@dataclass(frozen=True, slots=True)
class Resolution:
    """The resolution of a native histogram, and how its number of buckets is limited.

    Attributes:
        schema: Initial schema, also after each reset.
        zero_threshold: Initial width of the zero bucket, also after each reset.
        max_buckets: Most populated buckets, positive and negative ones together; 0 for no limit.
        min_reset_duration: Seconds since the last reset before a histogram with too many buckets is reset; 0 for never.
        max_zero_threshold: Most that the zero bucket may be widened to before the schema is lowered; 0 for not at all.

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
    """Return the coarsest schema whose bucket bounds grow by at most a factor.

    Args:
        factor: Above 1; 1.1 is a good choice.

    Raises:
        TypeError: ``factor`` is no number.
        ValueError: ``factor`` is not above 1.

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


class Grid(dict[int, tuple[float, int, int]]):
    """The bucket bounds of one schema, to find the index of a value's bucket.

    ``grid[round(log2(value) * grid.scale)]`` is the bound nearest to a value, the index of the bucket below it, and
    that of the one above. Comparing the value with this bound is faster than computing its index, and as exact: a
    rounding error of the logarithm only matters halfway between two bounds, where either one will do. Bounds are
    computed at first use.

    Args:
        schema: Schema of the buckets.

    Attributes:
        scale: Number of buckets per power of two.
        overflow: Index of the bucket of infinity.

    Spec:
        E72, E73.

    Examples:
        >>> grid = grid_of(0)
        >>> grid[round(math.log2(5.0) * grid.scale)]
        (4.0, 2, 3)
    """

    __slots__ = ("_indexes", "_inner", "_schema", "_shift", "overflow", "scale")

    def __init__(self, schema: int) -> None:
        super().__init__()
        self._indexes: dict[int, int] = {}
        self._schema = schema
        self._shift = max(-schema, 0)
        self._inner = [upper_bound(k, schema) / 2 for k in range(1 << max(schema, 0))]
        self.scale = ldexp(1.0, schema)
        self.overflow = self.place(LARGEST) + 1

    def place(self, value: float) -> int:
        """Compute the index of the bucket of an absolute value above 0.

        Examples:
            >>> [grid_of(3).place(value) for value in (1.0, 3.0, 0.1, 100.0)]
            [0, 13, -26, 54]
        """
        fraction, exponent = frexp(value)
        if fraction > 1:
            return self.overflow
        narrow = bisect_left(self._inner, fraction) + (exponent - 1) * len(self._inner)
        return (narrow + (1 << self._shift) - 1) >> self._shift

    def __missing__(self, index: int) -> tuple[float, int, int]:
        bound = upper_bound(index, self._schema)
        if self.place(bound) > index:  # rounded up, for subnormal numbers have few bits
            bound = nextafter(bound, 0.0)
        if len(self) >= _MOST_BOUNDS:
            self.clear()
            self._indexes.clear()
        same = self._indexes.setdefault  # identical objects, which dicts find without comparing
        self[index] = found = bound, same(index, index), same(index + 1, index + 1)
        return found


@cache
def grid_of(schema: int) -> Grid:
    """Return the cached grid of a schema."""
    return Grid(schema)
