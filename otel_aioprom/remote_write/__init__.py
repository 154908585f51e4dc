"""Prometheus remote write: the registry's families as messages that a server stores."""

from __future__ import annotations

from otel_aioprom.remote_write.writer import RemoteWriter as RemoteWriter
