"""Instrumentation: what measures for the user."""

from __future__ import annotations

from otel_aioprom.instrument.process import process_metrics

__all__ = ["process_metrics"]
