"""Samples of histograms and summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom._core.numbers import canonical_float

SampleSuffix = tuple[str, str, str]
"""What distinguishes a sample of a series: the suffix of the metric name, and an additional label, its name empty if
there is none."""

NO_SUFFIX: tuple[SampleSuffix, ...] = (("", "", ""),)
"""The single sample of a number."""


class Reading(NamedTuple):
    """A consistent reading of a series.

    Attributes:
        layout_key: Determines which samples there are: as long as it is equal, so are their label sets.
        values: Values of the samples, in their order.
        exemplars: Exemplars of the first samples, if there are any.
        native: Count, sum and buckets of the native histogram, the last sample, if there is one.
    """

    layout_key: tuple[Any, ...]
    values: Sequence[float]
    exemplars: Sequence[Exemplar | None]
    native: tuple[int, float | None, NativeBuckets] | None


def _read_histogram(one: Any, native_enabled: bool) -> Reading:
    """Read a histogram.

    One with native buckets is sent as a native histogram; also as a classic one only if it has explicit bounds.

    Args:
        one: The series.
        native_enabled: Whether native histograms are sent at all.

    Spec:
        E99, E104.
    """
    exemplars = one.exemplars  # before the counts, which may be reset meanwhile
    (*counts, total), native = one.read()
    native = native if native_enabled else None
    classic = native is None or len(counts) > 1
    layout_key = (one.bounds if classic else (), total is not None, native is not None)
    values: list[float] = []
    if classic:
        values = list(accumulate(counts))
        values += [values[-1]] if total is None else [total, values[-1]]
    content = None if native is None else (sum(counts), total, native)
    return Reading(layout_key, values, (exemplars if classic else None) or (), content)


def _histogram_suffixes(layout_key: tuple[Any, ...]) -> Iterator[SampleSuffix]:
    """Return the suffixes of a histogram, in the order of its values."""
    return _suffixes(layout_key, "_sum", "_count")


def _gauge_histogram_suffixes(layout_key: tuple[Any, ...]) -> Iterator[SampleSuffix]:
    """Return the suffixes of a gauge histogram, in the same order."""
    return _suffixes(layout_key, "_gsum", "_gcount")


def _suffixes(layout_key: tuple[Any, ...], total: str, count: str) -> Iterator[SampleSuffix]:
    bounds, has_sum, native = layout_key
    for bound in bounds:
        yield "_bucket", "le", canonical_float(bound)
    if bounds and has_sum:
        yield total, "", ""
    if bounds:
        yield count, "", ""
    if native:
        yield "", "", ""


def _read_summary(one: Any, native_enabled: bool) -> Reading:
    """Read a summary; see ``_read_histogram``."""
    found = one.quantiles()
    count, total = one.snapshot()
    layout_key = (tuple([quantile for quantile, _ in found]), total is not None, count is not None)
    both = [value for value in (total, count) if value is not None]
    return Reading(layout_key, [*[estimate for _, estimate in found], *both], (), None)


def _summary_suffixes(layout_key: tuple[Any, ...]) -> Iterator[SampleSuffix]:
    """Yield the suffixes of a summary, in the order of its values."""
    quantiles, has_sum, has_count = layout_key
    for quantile in quantiles:
        yield "", "quantile", canonical_float(quantile)
    if has_sum:
        yield "_sum", "", ""
    if has_count:
        yield "_count", "", ""


class SampleLayout(NamedTuple):
    """The samples of a type whose series have several.

    Attributes:
        read: Reads a series, with its native buckets if they are enabled.
        suffixes: Yields the suffixes of its samples for a layout key.
        gauge: Whether its values may fall, so that it has no start time.
    """

    read: Callable[[Any, bool], Reading]
    suffixes: Callable[[tuple[Any, ...]], Iterator[SampleSuffix]]
    gauge: bool = False


SAMPLE_LAYOUTS = {
    "histogram": SampleLayout(_read_histogram, _histogram_suffixes),
    "gaugehistogram": SampleLayout(_read_histogram, _gauge_histogram_suffixes, gauge=True),
    "summary": SampleLayout(_read_summary, _summary_suffixes),
}
"""By type; series of all other types are numbers."""
