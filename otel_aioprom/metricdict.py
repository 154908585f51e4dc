"""A mapping keyed by label sets, in any order of their names, under the name of aioprometheus."""

from __future__ import annotations

from otel_aioprom.collectors.series.label_index import MetricDict

__all__ = ["MetricDict"]
