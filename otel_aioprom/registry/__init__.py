"""The registry: all metrics, of native collectors and of sources, in one place and one order."""

from __future__ import annotations

from otel_aioprom._core.model import MetricFamily as MetricFamily
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint as SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries as HistogramSeries
from otel_aioprom.collectors.series.number import CounterSeries as CounterSeries
from otel_aioprom.collectors.series.number import NumberSeries as NumberSeries
from otel_aioprom.registry.faults import Fault as Fault
from otel_aioprom.registry.registry import REGISTRY as REGISTRY
from otel_aioprom.registry.registry import CollectorRegistry as CollectorRegistry
from otel_aioprom.registry.registry import Registry as Registry
from otel_aioprom.registry.sources import SupportsAsyncCollect as SupportsAsyncCollect
from otel_aioprom.registry.sources import SupportsCollect as SupportsCollect
