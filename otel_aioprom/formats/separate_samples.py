"""Metrics written as several metrics of one value each, for readers that misread them as a whole.

- Gauge histograms have no type in text 0.0.4. In protobuf, Prometheus 2.42 mixes up their names, 3.x calls ``_gcount``
  and ``_gsum`` otherwise than in OpenMetrics, and a Pushgateway 1.5 breaks off its page.
- Of a summary without count or sum, protobuf readers and gateways make one with a count or sum of zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.numbers import canonical_float
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.formats.name_escaping import EscapedSeries

T = TypeVar("T")


class Sample(NamedTuple):
    """One sample of a series.

    Attributes:
        suffix: What follows the family's name.
        label: Name of an additional label, or empty.
        bound: Its value.
        value: The value.
    """

    suffix: str
    label: str
    bound: str
    value: float


class Separation(NamedTuple):
    """How a type is written.

    Attributes:
        type: The type of the metrics.
        suffixes: What follows the family's name in the names of the metrics.
        samples: Returns the samples of a series, from one reading.
    """

    type: str
    suffixes: Sequence[str]
    samples: Callable[[Any], list[Sample]]


def _gauge_histogram(one: Any) -> list[Sample]:
    *counts, total = one.snapshot()
    upto = list(accumulate(counts))
    samples = [
        Sample("_bucket", "le", canonical_float(bound), count)
        for bound, count in zip(one.bounds, upto)
    ]
    samples.append(Sample("_gcount", "", "", upto[-1]))
    return samples if total is None else [*samples, Sample("_gsum", "", "", total)]


def _summary(one: Any) -> list[Sample]:
    count, total = one.snapshot()
    samples = [
        Sample("", "quantile", canonical_float(quantile), estimate)
        for quantile, estimate in one.quantiles()
    ]
    both = (("_sum", total), ("_count", count))
    return [*samples, *[Sample(end, "", "", value) for end, value in both if value is not None]]


GAUGE_HISTOGRAMS = Separation("gauge", ("_bucket", "_gcount", "_gsum"), _gauge_histogram)
SUMMARIES = Separation("untyped", ("", "_sum", "_count"), _summary)


def separation_of(family: MetricFamily) -> Separation | None:
    """Return how gauge histograms are written; ``None`` for other types."""
    return GAUGE_HISTOGRAMS if family.type == "gaugehistogram" else None


def relayed_separation_of(family: MetricFamily) -> Separation | None:
    """Return how to write a family for a gateway, which keeps the last message of a name only."""
    if family.type == "summary" and any(map(_is_partial, originals(family.series))):
        return SUMMARIES
    return separation_of(family)


def _is_partial(one: Any) -> bool:
    return isinstance(one, SummaryPoint) and one.is_partial


def originals(every: Sequence[Series]) -> Sequence[Any]:
    """Return the series of a family before their names were escaped: escaped ones are created when they are read."""
    return every.originals if isinstance(every, EscapedSeries) else every


def by_suffix(
    separation: Separation, series: Sequence[Any], write: Callable[[Any, Sample], T]
) -> dict[str, list[T]]:
    """Encode the samples of some series, each of which is read once.

    Args:
        separation: How they are written.
        series: The series.
        write: Encodes a sample of a series.

    Returns:
        Encoded samples by their suffix.
    """
    found: dict[str, list[T]] = {suffix: [] for suffix in separation.suffixes}
    for one in series:
        for sample in separation.samples(one):
            found[sample.suffix].append(write(one, sample))
    return found
