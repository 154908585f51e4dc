"""The native collectors: Counter, Gauge, Histogram, Summary, Info, StateSet and Enum.

Labels come first in every call and may be omitted where no argument follows. On a hot path, bind the series once,
``child = counter.labels({"path": "/"})``, and call ``child.inc()``: that needs no look-up.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_aioprom.collectors.base import Collector as Collector
from otel_aioprom.collectors.base import MetricsTypes as MetricsTypes
from otel_aioprom.collectors.counter import Counter as Counter
from otel_aioprom.collectors.gauge import Gauge as Gauge
from otel_aioprom.collectors.histogram import DEFAULT_BUCKETS as DEFAULT_BUCKETS
from otel_aioprom.collectors.histogram import Histogram as Histogram
from otel_aioprom.collectors.info import Info as Info
from otel_aioprom.collectors.series.classic_histogram import POS_INF as POS_INF
from otel_aioprom.collectors.stateset import Enum as Enum
from otel_aioprom.collectors.stateset import StateSet as StateSet
from otel_aioprom.collectors.summary import DEFAULT_INVARIANTS as DEFAULT_INVARIANTS
from otel_aioprom.collectors.summary import Summary as Summary

REGISTRY: Any
"""The default registry, ``registry.REGISTRY``, where aioprometheus 21 to 23 has it; imported at its first use."""
Registry: Any
"""``registry.Registry``, likewise."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # By name: collectors, which stand below the registry, do not import it.
        if name in ("REGISTRY", "Registry"):
            return getattr(import_module("otel_aioprom.registry.registry"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
