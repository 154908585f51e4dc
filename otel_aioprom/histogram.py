"""Classic histograms without a collector, and helpers for bucket bounds, under the names of aioprometheus."""

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
