"""Which samples a histogram or a summary has, at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom._core.numbers import canonical_float

Part = tuple[str, str, str]
"""What one sample's labels have over those of its series: a suffix of the name, then one more label, if its
name is not empty."""

BARE: tuple[Part, ...] = (("", "", ""),)
"""The one sample of a number."""


class Reading(NamedTuple):
    """A series, read at once.

    Attributes:
        mark: What decides which samples there are. As long as it stays the same, so do they.
        values: Of the samples, in their order.
        exemplars: Of the first samples, if there are any.
        native: Count, sum and buckets of a native histogram, which has the last place.
    """

    mark: tuple[Any, ...]
    values: Sequence[float]
    exemplars: Sequence[Exemplar | None]
    native: tuple[int, float | None, NativeBuckets] | None


def _read_histogram(one: Any, native_too: bool) -> Reading:
    """Read a histogram.

    One that has native buckets is sent as such, and as a classic one too only if it has bounds of its own.

    Args:
        one: The series.
        native_too: Whether native histograms are sent at all.

    Spec:
        E99, E104.
    """
    exemplars = one.exemplars  # before the counts, which may start over meanwhile
    (*counts, total), native = one.read()
    native = native if native_too else None
    classic = native is None or len(counts) > 1
    mark = (one.bounds if classic else (), total is not None, native is not None)
    values: list[float] = []
    if classic:
        values = list(accumulate(counts))
        values += [values[-1]] if total is None else [total, values[-1]]
    found = None if native is None else (sum(counts), total, native)
    return Reading(mark, values, (exemplars if classic else None) or (), found)


def _histogram_parts(mark: tuple[Any, ...]) -> Iterator[Part]:
    """Yield the samples of a histogram, in the order of its values."""
    bounds, summed, native = mark
    for bound in bounds:
        yield "_bucket", "le", canonical_float(bound)
    if bounds and summed:
        yield "_sum", "", ""
    if bounds:
        yield "_count", "", ""
    if native:
        yield "", "", ""


def _read_summary(one: Any, native_too: bool) -> Reading:
    """Read a summary; see ``_read_histogram``."""
    found = one.quantiles()
    count, total = one.snapshot()
    mark = tuple([quantile for quantile, _ in found])
    return Reading(mark, [*[estimate for _, estimate in found], total, count], (), None)


def _summary_parts(mark: tuple[Any, ...]) -> Iterator[Part]:
    """Yield the samples of a summary, in the order of its values."""
    for quantile in mark:
        yield "", "quantile", canonical_float(quantile)
    yield "_sum", "", ""
    yield "_count", "", ""


class Shape(NamedTuple):
    """How series of a type that have several samples are read.

    Attributes:
        read: Reads a series, with its native buckets if they are wanted.
        parts: Yields its samples, given the mark that reading has found.
    """

    read: Callable[[Any, bool], Reading]
    parts: Callable[[tuple[Any, ...]], Iterator[Part]]


SHAPES = {
    "histogram": Shape(_read_histogram, _histogram_parts),
    "summary": Shape(_read_summary, _summary_parts),
}
"""By type; all others are numbers."""
