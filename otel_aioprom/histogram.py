"""Classic histograms by themselves, and helpers that make bounds of buckets: the names of aioprometheus."""

from __future__ import annotations

from otel_aioprom.collectors.series.classic_histogram import (
    POS_INF,
    Histogram,
    exponential_buckets,
    exponentialBuckets,
    linear_buckets,
    linearBuckets,
)

__all__ = [
    "POS_INF",
    "Histogram",
    "exponentialBuckets",
    "exponential_buckets",
    "linearBuckets",
    "linear_buckets",
]
