"""Classic histograms: their series, and helpers that compute bucket bounds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from otel_aioprom._concurrency.atomic import atomic_methods
from otel_aioprom._core.model import Exemplar, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom._core.numbers import INT_LIMIT, Number, coerce_number
from otel_aioprom.collectors.series.exemplars import ExemplarLabels, ExemplarSource, make_exemplar
from otel_aioprom.collectors.series.owners import BoundSeries, refuse_if_owned

POS_INF = math.inf


def check_bounds(buckets: Iterable[float]) -> tuple[float, ...]:
    """Return upper bounds as floats, ``inf`` at the end.

    Args:
        buckets: Upper bounds, strictly ascending; ``inf`` may be omitted.

    Raises:
        ValueError: There are no bounds, one is NaN, or they do not ascend.
        TypeError: A bound is no number.

    Spec:
        N7.
    """
    bounds = tuple([float(coerce_number(bound)) for bound in buckets])
    if not bounds:
        raise ValueError("a histogram needs one bucket bound or more")
    if any(not lower < upper for lower, upper in pairwise(bounds)) or math.isnan(bounds[0]):
        raise ValueError(f"bucket bounds must ascend and be numbers: {bounds}")
    return bounds if bounds[-1] == POS_INF else (*bounds, POS_INF)


@atomic_methods("observe", "snapshot", "load")
class Histogram(Series):
    """Counts of observations by bucket, and their sum.

    Counts are kept per bucket and accumulated when they are read, so that the last bucket always equals the count.

    Args:
        *buckets: Upper bounds, ascending; ``inf`` is added when absent.

    Raises:
        ValueError: The bounds are empty, not ascending, or contain NaN.

    Spec:
        N10.

    Examples:
        >>> sizes = Histogram(1, 2)
        >>> sizes.observe(1.5)
        >>> sizes.buckets, sizes.sum, sizes.observations
        ({1.0: 0, 2.0: 1, inf: 1}, 1.5, 1)
    """

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, *buckets: float) -> None:
        self._start(check_bounds(buckets))

    def _start(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts: Sequence[int] = [0] * len(bounds)
        self.total: int | float | None = 0
        self.exemplars: Sequence[Exemplar | None] | None = None

    def observe(self, value: Number, exemplar: ExemplarLabels | None = None) -> None:
        """Count a value in its bucket. Bounds are inclusive; NaN counts in the last bucket only.

        Args:
            value: The observed value.
            exemplar: Labels of an exemplar, such as a trace id; its bucket keeps the latest one.

        Raises:
            TypeError: ``value`` is no number.
            InvalidLabelsError: The exemplar's labels are not allowed; nothing changes.
        """
        if exemplar is not None:
            self._observe_with(value, exemplar)
            return
        kind = type(value)
        if kind is not float and (kind is not int or not -INT_LIMIT <= value <= INT_LIMIT):
            value = coerce_number(value)
        # NaN, the only value that differs from itself, is not above any bound and would fall into the first bucket.
        index = bisect_left(self.bounds, value) if value == value else -1  # noqa: PLR0124
        self.counts[index] += 1  # type: ignore[index]
        self.total += value  # type: ignore[operator]

    def _observe_with(self, value: Number, exemplar: ExemplarLabels) -> None:
        value = coerce_number(value)
        kept = make_exemplar(exemplar, value)
        index = bisect_left(self.bounds, value) if value == value else -1  # noqa: PLR0124
        counts = self.counts
        counts[index] += 1  # type: ignore[index]
        self.total += value  # type: ignore[operator]
        self._keep(counts, index, kept)

    def _keep(self, counts: Sequence[int], index: int, exemplar: Exemplar) -> None:
        """Keep an exemplar unless the counts to which its observation belongs were replaced."""
        while self.counts is counts:
            before = self.exemplars
            exemplars = [*(before or [None] * len(self.bounds))]
            exemplars[index] = exemplar
            if self.counts is counts and self.exemplars is before:
                self.exemplars = exemplars  # a new list, for other threads may read the old one
                return

    def snapshot(self) -> list[int | float | None]:
        """Read everything in one step.

        Returns:
            The count of each bucket alone, then the sum (``None`` if the source has none).
        """
        return [*self.counts, self.total]

    def load(self, counts: Sequence[int], total: float | None) -> None:
        """Replace everything in one step, as the collection of a source does.

        Args:
            counts: Observations per bucket alone, one for each bound.
            total: Sum of the observed values, or ``None``.
        """
        self.counts = counts
        self.total = total

    @property
    def buckets(self) -> dict[float, int]:
        """Upper bound → observations up to it, ascending, ``inf`` last."""
        return dict(zip(self.bounds, accumulate(self.counts)))

    @property
    def sum(self) -> float | None:
        """Sum of the observed values."""
        return self.total

    @property
    def observations(self) -> int:
        """Number of observed values."""
        return sum(self.counts)


@atomic_methods("load", "read")
class HistogramSeries(BoundSeries, Histogram):
    """One series of a histogram, a bound child: recording on it needs no look-up.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        bounds: Upper bounds as ``check_bounds`` returns them; shared by the series of a collector.
        created: Start time in seconds since the epoch, if known.

    Attributes:
        native: The same observations in the buckets of a native histogram, or ``None``.
    """

    __slots__ = ("created", "names", "native", "text", "values", "wire")

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        bounds: tuple[float, ...],
        created: float | None = None,
    ) -> None:
        self._start(bounds)
        self.names = names
        self.values = values
        self.text = text
        self.wire = None
        self.created = created
        self.native: NativeBuckets | None = None

    def read(self) -> tuple[list[Any], NativeBuckets | None]:
        """Read everything in one step.

        Returns:
            What ``snapshot`` returns, and the native buckets if there are any.
        """
        return [*self.counts, self.total], self.native

    def mark_exposed(self, observed: int, created: float | None) -> None:
        """Note that a response exposes the native buckets that were read, even if it is aborted later.

        Args:
            observed: Number of observations that were read.
            created: The start time, read before them.

        Spec:
            E77.
        """

    def load(
        self, counts: Sequence[int], total: float | None, native: NativeBuckets | None = None
    ) -> None:
        """Replace everything in one step, as the collection of a source does.

        Args:
            counts: Observations per classic bucket alone, one for each bound.
            total: Sum of the observed values, or ``None``.
            native: The same observations in native buckets, if any.

        Raises:
            ValueError: The native buckets count more or fewer observations than the classic ones; Prometheus
                would refuse the whole response.

        Spec:
            E71, E76.
        """
        if native is not None:
            held, observed = native.observations, sum(counts)
            # If the sum is NaN, which differs from itself, there were NaN observations, which are in no native bucket.
            if held > observed or (held < observed and total == total):  # noqa: PLR0124
                raise ValueError(
                    f"native buckets count {held} observations, classic ones {observed}"
                )
        self.counts = counts
        self.total = total
        self.native = native

    def renamed(
        self, names: tuple[str, ...], values: tuple[str, ...], text: str
    ) -> AssembledHistogram:
        """Return a snapshot of this series under other labels; see ``Series.renamed``."""
        created, exemplars = self.created, self.exemplars  # before the counts, which may be reset
        (*counts, total), native = self.read()
        parts = [(self, sum(counts), created)]
        other = AssembledHistogram(names, values, text, self.bounds, created, parts)
        # Not checked again: invalid data of user code must not fail a response.
        other.counts, other.total, other.native = counts, total, native
        other.exemplars = exemplars
        return other

    def __copy__(self) -> AssembledHistogram:
        refuse_if_owned(self)
        return self.renamed(self.names, self.values, self.text)

    add = Histogram.observe

    def get(self) -> dict[str | float, int | float | None]:
        """Return upper bound → cumulative count, then ``"count"`` and ``"sum"``."""
        *counts, total = self.snapshot()
        found: dict[str | float, int | float | None] = dict(zip(self.bounds, accumulate(counts)))
        found["count"] = found[POS_INF]
        found["sum"] = total
        return found


class AssembledHistogram(HistogramSeries):
    """A snapshot of one histogram, or the sum of several.

    Args:
        names: See ``HistogramSeries``.
        values: Likewise.
        text: Likewise.
        bounds: Likewise.
        created: Likewise.
        parts: The original series, each with the number of its observations and its start time.
    """

    __slots__ = ("_parts",)

    def __init__(
        self,
        names: tuple[str, ...],
        values: tuple[str, ...],
        text: str,
        bounds: tuple[float, ...],
        created: float | None,
        parts: Sequence[tuple[HistogramSeries, int, float | None]],
    ) -> None:
        super().__init__(names, values, text, bounds, created)
        self._parts = parts

    def mark_exposed(self, observed: int, created: float | None) -> None:
        """Notify the original series; see ``HistogramSeries.mark_exposed``."""
        for series, count, begun in self._parts:
            series.mark_exposed(count, begun)


class SampledObservations(HistogramSeries):
    """Mixin for series that call a function for the exemplar of each observation.

    Attributes:
        source: Returns the labels of exemplars.
    """

    __slots__ = ()
    source: ExemplarSource

    def observe(self, value: Number, exemplar: ExemplarLabels | None = None) -> None:
        """Count a value; see ``Histogram.observe``."""
        super().observe(value, self.source.labels() if exemplar is None else exemplar)

    add = observe


class SampledHistogramSeries(SampledObservations):
    """A series with classic buckets and an exemplar function."""

    __slots__ = ("source",)


def linear_buckets(start: float, width: float, count: int) -> list[float]:
    """Return bucket bounds of equal distance.

    Args:
        start: The first bound.
        width: Distance between bounds, above 0.
        count: Number of bounds, at least 1, without ``inf``.

    Raises:
        ValueError: ``count`` is below 1 or ``width`` not above 0.

    Spec:
        N11.

    Examples:
        >>> linear_buckets(1, 0.5, 3)
        [1.0, 1.5, 2.0]
    """
    _check_count(count)
    if not width > 0:
        raise ValueError(f"width must be above 0, not {width}")
    return [float(start + k * width) for k in range(count)]


def exponential_buckets(start: float, factor: float, count: int) -> list[float]:
    """Return bucket bounds each of which is ``factor`` times the one before.

    Args:
        start: The first bound, above 0.
        factor: Ratio of adjacent bounds, above 1.
        count: Number of bounds, at least 1, without ``inf``.

    Raises:
        ValueError: ``count`` is below 1 or too high, ``start`` not above 0, or ``factor`` not above 1.

    Spec:
        N11.

    Examples:
        >>> exponential_buckets(1, 2, 4)
        [1.0, 2.0, 4.0, 8.0]
    """
    _check_count(count)
    if not start > 0:
        raise ValueError(f"start must be above 0, not {start}")
    if not factor > 1:
        raise ValueError(f"factor must be above 1, not {factor}")
    try:
        return [float(start * factor**k) for k in range(count)]
    except OverflowError:
        raise ValueError(f"the last of {count} bounds is too large for a float") from None


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")


linearBuckets = linear_buckets  # noqa: N816 - the name of aioprometheus
exponentialBuckets = exponential_buckets  # noqa: N816
