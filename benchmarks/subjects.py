"""The same counters and histograms in every library.

Each function makes an empty registry with one metric in it. The label dict of a call is
made by the caller and dropped after it, as in users' code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import aioprometheus
import prometheus_client
import prometheus_client.openmetrics.exposition
from aioprometheus.formats.text import TextFormatter
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import MetricReader

import otel_aioprom
from benchmarks.data import BUCKETS, SCOPE, LabelRow
from benchmarks.measure import AIOPROMETHEUS, OURS, PROMETHEUS, SDK

if TYPE_CHECKING:
    from collections.abc import Callable

SUMMARY = ("bench_wait_seconds", "Time in a queue.")
COUNTER = ("bench_requests_total", "Requests served.")
HISTOGRAM = ("bench_duration_seconds", "Time to answer a request.")
LABELS = ("method", "path", "code")
ACCEPT = {
    "text 0.0.4": "text/plain;version=0.0.4",
    "text 1.0.0": "text/plain;version=1.0.0",
    "openmetrics": "application/openmetrics-text;version=1.0.0",
    "protobuf": "application/vnd.google.protobuf;"
    "proto=io.prometheus.client.MetricFamily;encoding=delimited",
}
"""Our formats, and how each is asked for."""
NO_LIMIT = 10_000_000
LIMITS: dict[Any, int] = {sdk.Counter: NO_LIMIT, sdk.Histogram: NO_LIMIT}
"""The SDK stops at 2000 series of an instrument unless told otherwise."""

# One line a sample everywhere: without this a counter of prometheus_client has a second
# line, `_created`, and would be measured with twice the text.
prometheus_client.disable_created_metrics()


class Subject(NamedTuple):
    """One metric in a registry of its own.

    Attributes:
        record: Takes a row of label values and a number.
        text: Encodes the registry; for the SDK alone, which has no text, its collection.
        registry: The registry, for those who serve it.
    """

    record: Callable[[LabelRow, float], None]
    text: Callable[[], object]
    registry: object


class DroppingReader(MetricReader):
    """A reader that throws away what it gets: the price of the SDK's collection alone."""

    def _receive_metrics(self, *args: object, **kwargs: object) -> None:
        """Drop the data."""

    def shutdown(self, *args: object, **kwargs: object) -> None:
        """Hold nothing, release nothing."""


def _ours_counter() -> Subject:
    registry = otel_aioprom.CollectorRegistry()
    counter = otel_aioprom.Counter(*COUNTER, registry=registry)

    def record(row: LabelRow, value: float) -> None:
        counter.add({"method": row[0], "path": row[1], "code": row[2]}, value)

    return Subject(record, lambda: otel_aioprom.render(registry, [])[0], registry)


def _ours_histogram() -> Subject:
    registry = otel_aioprom.CollectorRegistry()
    histogram = otel_aioprom.Histogram(*HISTOGRAM, buckets=list(BUCKETS), registry=registry)

    def record(row: LabelRow, value: float) -> None:
        histogram.observe({"method": row[0], "path": row[1]}, value)

    return Subject(record, lambda: otel_aioprom.render(registry, [])[0], registry)


def _ours_native() -> Subject:
    registry = otel_aioprom.CollectorRegistry()
    histogram = otel_aioprom.Histogram(
        *HISTOGRAM, buckets=None, native_bucket_factor=1.1, registry=registry
    )

    def record(row: LabelRow, value: float) -> None:
        histogram.observe({"method": row[0], "path": row[1]}, value)

    return Subject(record, lambda: otel_aioprom.render(registry, [])[0], registry)


def _ours_summary() -> Subject:
    registry = otel_aioprom.CollectorRegistry()
    summary = otel_aioprom.Summary(*SUMMARY, registry=registry)

    def record(row: LabelRow, value: float) -> None:
        summary.observe({"method": row[0], "path": row[1]}, value)

    return Subject(record, lambda: otel_aioprom.render(registry, [])[0], registry)


def in_format(registry: Any, protocol: str) -> Callable[[], object]:
    """Give the encoding of a registry of ours in one of the formats."""
    return lambda: otel_aioprom.render(registry, [ACCEPT[protocol]])[0]


def prometheus_openmetrics(registry: Any) -> Callable[[], object]:
    """Give prometheus_client's encoding in OpenMetrics."""
    return lambda: prometheus_client.openmetrics.exposition.generate_latest(registry)


def _prometheus_counter() -> Subject:
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter(*COUNTER, LABELS, registry=registry)

    def record(row: LabelRow, value: float) -> None:
        counter.labels(method=row[0], path=row[1], code=row[2]).inc(value)

    return Subject(record, lambda: prometheus_client.generate_latest(registry), registry)


def _prometheus_histogram() -> Subject:
    registry = prometheus_client.CollectorRegistry()
    histogram = prometheus_client.Histogram(
        *HISTOGRAM, LABELS[:2], buckets=BUCKETS, registry=registry
    )

    def record(row: LabelRow, value: float) -> None:
        histogram.labels(method=row[0], path=row[1]).observe(value)

    return Subject(record, lambda: prometheus_client.generate_latest(registry), registry)


def _aioprometheus_counter() -> Subject:
    registry = aioprometheus.Registry()
    counter = aioprometheus.Counter(*COUNTER, registry=registry)

    def record(row: LabelRow, value: float) -> None:
        counter.add({"method": row[0], "path": row[1], "code": row[2]}, value)

    return Subject(record, lambda: TextFormatter().marshall(registry), registry)


def _aioprometheus_histogram() -> Subject:
    registry = aioprometheus.Registry()
    bounds = [*BUCKETS, float("inf")]
    histogram = aioprometheus.Histogram(*HISTOGRAM, registry=registry, buckets=bounds)

    def record(row: LabelRow, value: float) -> None:
        histogram.observe({"method": row[0], "path": row[1]}, value)

    return Subject(record, lambda: TextFormatter().marshall(registry), registry)


def _aioprometheus_summary() -> Subject:
    registry = aioprometheus.Registry()
    summary = aioprometheus.Summary(*SUMMARY, registry=registry)

    def record(row: LabelRow, value: float) -> None:
        summary.observe({"method": row[0], "path": row[1]}, value)

    return Subject(record, lambda: TextFormatter().marshall(registry), registry)


def _sdk_counter() -> Subject:
    reader = DroppingReader(cardinality_limits=LIMITS)
    provider = sdk.MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    counter = provider.get_meter(*SCOPE).create_counter("bench.requests")

    def record(row: LabelRow, value: float) -> None:
        counter.add(value, {"method": row[0], "path": row[1], "code": row[2]})

    return Subject(record, reader.collect, provider)


def _sdk_histogram() -> Subject:
    reader = DroppingReader(cardinality_limits=LIMITS)
    provider = sdk.MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    histogram = provider.get_meter(*SCOPE).create_histogram(
        "bench.duration", unit="s", explicit_bucket_boundaries_advisory=BUCKETS
    )

    def record(row: LabelRow, value: float) -> None:
        histogram.record(value, {"method": row[0], "path": row[1]})

    return Subject(record, reader.collect, provider)


COUNTERS: dict[str, Callable[[], Subject]] = {
    OURS: _ours_counter,
    PROMETHEUS: _prometheus_counter,
    AIOPROMETHEUS: _aioprometheus_counter,
    SDK: _sdk_counter,
}
HISTOGRAMS: dict[str, Callable[[], Subject]] = {
    OURS: _ours_histogram,
    PROMETHEUS: _prometheus_histogram,
    AIOPROMETHEUS: _aioprometheus_histogram,
    SDK: _sdk_histogram,
}
SUMMARIES: dict[str, Callable[[], Subject]] = {
    OURS: _ours_summary,
    AIOPROMETHEUS: _aioprometheus_summary,
}
NATIVE_HISTOGRAMS: dict[str, Callable[[], Subject]] = {OURS: _ours_native}
