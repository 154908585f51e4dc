"""The native collectors: Counter, Gauge, Histogram, Summary, Info, StateSet and Enum.

Labels come first in every call and may be left out where nothing follows them. Code that records often binds
its series once, ``child = counter.labels({"path": "/"})``, and calls ``child.inc()``.
"""

from __future__ import annotations

from otel_aioprom.collectors.base import Collector, MetricsTypes
from otel_aioprom.collectors.counter_gauge import Counter, Gauge
from otel_aioprom.collectors.histogram import DEFAULT_BUCKETS, Histogram
from otel_aioprom.collectors.info import Info
from otel_aioprom.collectors.series.classic_histogram import POS_INF
from otel_aioprom.collectors.stateset import Enum, StateSet
from otel_aioprom.collectors.summary import DEFAULT_INVARIANTS, Summary

__all__ = [
    "DEFAULT_BUCKETS",
    "DEFAULT_INVARIANTS",
    "POS_INF",
    "Collector",
    "Counter",
    "Enum",
    "Gauge",
    "Histogram",
    "Info",
    "MetricsTypes",
    "StateSet",
    "Summary",
]
