"""The registry: all that is measured, hand-made or from a source, in one place and one order."""

from __future__ import annotations

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.registry import REGISTRY, CollectorRegistry, Registry
from otel_aioprom.registry.sources import SupportsAsyncCollect, SupportsCollect

__all__ = [
    "REGISTRY",
    "CollectorRegistry",
    "Fault",
    "MetricFamily",
    "Registry",
    "SupportsAsyncCollect",
    "SupportsCollect",
]
