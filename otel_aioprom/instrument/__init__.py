"""Ready-made instrumentation."""

from __future__ import annotations

from otel_aioprom.instrument.process import process_metrics as process_metrics
