"""Families for tests, and all formats."""

from __future__ import annotations

import math
from typing import Any

from client_model import read_delimited
from oracles import CounterSeries, number
from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.formats import (
    BinaryFormatter,
    IFormatter,
    OpenMetrics001Formatter,
    OpenMetricsFormatter,
    Text100Formatter,
    TextFormatter,
    with_escaping,
)

FORMATS: tuple[type[IFormatter], ...] = (
    TextFormatter,
    Text100Formatter,
    OpenMetrics001Formatter,
    OpenMetricsFormatter,
    BinaryFormatter,
)


def encode(
    formatter: type[IFormatter],
    *families: MetricFamily,
    scheme: Escaping | None = None,
    **options: Any,
) -> bytes:
    """Encode families as in a response, with the default escaping scheme of the format or another one."""
    made = with_escaping(formatter, scheme or formatter.escaping)(**options)
    ready, _ = made.prepare(families)
    return b"".join(made.encode(ready))


def write(*families: MetricFamily, **options: Any) -> bytes:
    """Encode families as protobuf."""
    return encode(BinaryFormatter, *families, **options)


def read(*families: MetricFamily, **options: Any) -> list[Any]:
    """Encode families as protobuf, and parse them by the official runtime."""
    return read_delimited(write(*families, **options))


def _parts(labels: dict[str, str] | None) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    pairs = sorted((labels or {}).items())
    return tuple(name for name, _ in pairs), tuple(value for _, value in pairs), labels_text(pairs)


def counter(
    value: float,
    labels: dict[str, str] | None = None,
    created: float | None = None,
    exemplar: Exemplar | None = None,
) -> Any:
    """A counter's series."""
    series: Any = number(value, labels, CounterSeries)
    series.created, series.exemplar = created, exemplar
    return series


def histogram(
    counts: list[int],
    total: float | None,
    bounds: tuple[float, ...] = (),
    native: NativeBuckets | None = None,
    *,
    labels: dict[str, str] | None = None,
    created: float | None = None,
    exemplars: list[Exemplar | None] | None = None,
) -> HistogramSeries:
    """A histogram's series; the infinite bound is added."""
    series = HistogramSeries(*_parts(labels), (*bounds, math.inf), created)
    series.load(counts, total, native)
    series.exemplars = exemplars
    return series


def summary(
    count: int | None,
    total: float | None,
    estimates: list[tuple[float, float]],
    labels: dict[str, str] | None = None,
    created: float | None = None,
) -> SummaryPoint:
    """A summary's series."""
    return SummaryPoint(*_parts(labels), count, total, estimates, created)
