"""The native collectors: Counter, Gauge, Histogram, Summary, Info, StateSet and Enum.

Labels come first in every call and may be left out where nothing follows them. Code that records often binds
its series once, ``child = counter.labels({"path": "/"})``, and calls ``child.inc()``.
"""

from __future__ import annotations

from otel_aioprom.histogram import POS_INF
from otel_aioprom.kinds.base import Collector, MetricsTypes
from otel_aioprom.kinds.facts import Info
from otel_aioprom.kinds.histograms import DEFAULT_BUCKETS, Histogram
from otel_aioprom.kinds.numeric import Counter, Gauge
from otel_aioprom.kinds.states import Enum, StateSet
from otel_aioprom.kinds.summaries import DEFAULT_INVARIANTS, Summary

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
