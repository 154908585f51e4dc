"""Classic histograms: the store of one series, and helpers that make bounds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from otel_aioprom._concurrency.atomic import one_step
from otel_aioprom._core.model import Exemplar, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom._core.numbers import INT_LIMIT, Number, coerce_number
from otel_aioprom.collectors.series.exemplars import ExemplarLabels, ExemplarSource, make_exemplar

POS_INF = math.inf


def check_bounds(buckets: Iterable[float]) -> tuple[float, ...]:
    """Return upper bounds as floats, ``inf`` at the end.

    Args:
        buckets: Upper bounds, strictly ascending; ``inf`` may be left out.

    Raises:
        ValueError: There are none, one is NaN, or they do not ascend.
        TypeError: One is no number.

    Spec:
        N7.
    """
    bounds = tuple([float(coerce_number(bound)) for bound in buckets])
    if not bounds:
        raise ValueError("a histogram needs one bucket bound or more")
    if any(not lower < upper for lower, upper in pairwise(bounds)) or math.isnan(bounds[0]):
        raise ValueError(f"bucket bounds must ascend and be numbers: {bounds}")
    return bounds if bounds[-1] == POS_INF else (*bounds, POS_INF)


@one_step("observe", "snapshot", "load")
class Histogram(Series):
    """Counts of observations by upper bound, and their sum.

    Each count is kept for its own bucket alone; what is exposed is summed up when it is read, so
    that the last bucket and the count can never disagree.

    Args:
        *buckets: Upper bounds, ascending; ``inf`` is added when absent.

    Raises:
        ValueError: The bounds are empty, do not ascend, or hold NaN.

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
            value: What was observed.
            exemplar: Labels that lead to it, such as a trace id; its bucket keeps them until others come.

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
        # NaN, the one value that differs from itself, compares as false with every bound and would end in the first bucket.
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
        """Keep an exemplar as long as the counts are there to which its observation belongs."""
        while self.counts is counts:
            before = self.exemplars
            places = [*(before or [None] * len(self.bounds))]
            places[index] = exemplar
            if self.counts is counts and self.exemplars is before:
                self.exemplars = places  # another list, for somebody may read the old one
                return

    def snapshot(self) -> list[int | float | None]:
        """Read everything in one step.

        Returns:
            The count of each bucket alone, then the sum (``None`` where the source gave none).
        """
        return [*self.counts, self.total]

    def load(self, counts: Sequence[int], total: float | None) -> None:
        """Replace everything in one step, as a collection from elsewhere does.

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
        """How many values were observed."""
        return sum(self.counts)


@one_step("load", "read")
class HistogramSeries(Histogram):
    """One series of a histogram, bound: recording on it looks no labels up.

    Args:
        names: Label names as exposed, sorted.
        values: Their values.
        text: Both as exposition text.
        bounds: Upper bounds as ``check_bounds`` returns them, shared by all series that have them.
        created: When counting began, in seconds since the epoch, if that is known.

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
            What ``snapshot`` gives, and the buckets of a native histogram if there are any.
        """
        return [*self.counts, self.total], self.native

    def showed(self, observed: int, created: float | None) -> None:
        """Be told that a response shows the native buckets that were read; one that is broken off later counts as well.

        Args:
            observed: How many observations were read.
            created: When counting had begun, looked at before they were read.

        Spec:
            E77.
        """

    def load(
        self, counts: Sequence[int], total: float | None, native: NativeBuckets | None = None
    ) -> None:
        """Replace everything in one step, as a collection from elsewhere does.

        Args:
            counts: Observations per classic bucket alone, one for each bound.
            total: Sum of the observed values, or ``None``.
            native: The same observations in native buckets, if there are such.

        Raises:
            ValueError: The native buckets hold another number of observations than the classic ones; a server
                would refuse the whole response.

        Spec:
            E71, E76.
        """
        if native is not None:
            _check_native(native, sum(counts), total)
        self.counts = counts
        self.total = total
        self.native = native

    def renamed(
        self, names: tuple[str, ...], values: tuple[str, ...], text: str
    ) -> AssembledHistogram:
        """Return this series as it stands now, under other labels; see ``Series.renamed``."""
        created, exemplars = self.created, self.exemplars  # before the counts, which may start over
        (*counts, total), native = self.read()
        parts = [(self, sum(counts), created)]
        other = AssembledHistogram(names, values, text, self.bounds, created, parts)
        # Not checked again: what it stands for may be a stranger's, which costs no response.
        other.counts, other.total, other.native = counts, total, native
        other.exemplars = exemplars
        return other

    def __copy__(self) -> AssembledHistogram:
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
    """A histogram as others stood at one moment, alone or added up.

    Args:
        names: See ``HistogramSeries``.
        values: Likewise.
        text: Likewise.
        bounds: Likewise.
        created: Likewise.
        parts: Those others, each with the number of its observations and their start time.
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

    def showed(self, observed: int, created: float | None) -> None:
        """Tell those whose native buckets a response shows; see ``HistogramSeries.showed``."""
        for series, count, begun in self._parts:
            series.showed(count, begun)


class SampledObservations(HistogramSeries):
    """What asks for an exemplar with each observation, put before a class of series.

    Attributes:
        source: Gives their labels.
    """

    __slots__ = ()
    source: ExemplarSource

    def observe(self, value: Number, exemplar: ExemplarLabels | None = None) -> None:
        """Count a value; see ``Histogram.observe``."""
        super().observe(value, self.source.ask() if exemplar is None else exemplar)

    add = observe


class SampledHistogramSeries(SampledObservations):
    """A series with classic buckets that asks for exemplars."""

    __slots__ = ("source",)


def _check_native(native: NativeBuckets, observed: int, total: float | None) -> None:
    held = native.observations
    # A sum that is NaN, which differs from itself, tells of NaN observations: they are in no native bucket.
    if held > observed or (held < observed and total == total):  # noqa: PLR0124
        raise ValueError(f"native buckets hold {held} observations, classic ones {observed}")


def linear_buckets(start: float, width: float, count: int) -> list[float]:
    """Make bounds that lie equally far apart.

    Args:
        start: The first bound.
        width: Distance to the next, above 0.
        count: How many, at least 1; ``inf`` is not among them.

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
    """Make bounds of which each is ``factor`` times the one before.

    Args:
        start: The first bound, above 0.
        factor: Ratio of neighbours, above 1.
        count: How many, at least 1; ``inf`` is not among them.

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
        raise ValueError(f"the last of {count} bounds is more than a float can hold") from None


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")


linearBuckets = linear_buckets  # noqa: N816 - the predecessor's spelling is part of the promise
exponentialBuckets = exponential_buckets  # noqa: N816
