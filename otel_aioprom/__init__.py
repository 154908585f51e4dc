"""Metrics of asyncio services, from OpenTelemetry and from native collectors, for Prometheus.

Each name is imported at its first use, so that recording needs neither aiohttp nor the OpenTelemetry SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_aioprom import formats as formats
    from otel_aioprom._transport.credentials import BasicAuth as BasicAuth
    from otel_aioprom._transport.credentials import BearerAuth as BearerAuth
    from otel_aioprom._transport.retry import Retry as Retry
    from otel_aioprom.collectors import Collector as Collector
    from otel_aioprom.collectors import Counter as Counter
    from otel_aioprom.collectors import Enum as Enum
    from otel_aioprom.collectors import Gauge as Gauge
    from otel_aioprom.collectors import Histogram as Histogram
    from otel_aioprom.collectors import Info as Info
    from otel_aioprom.collectors import MetricsTypes as MetricsTypes
    from otel_aioprom.collectors import StateSet as StateSet
    from otel_aioprom.collectors import Summary as Summary
    from otel_aioprom.decorators import count_exceptions as count_exceptions
    from otel_aioprom.decorators import inprogress as inprogress
    from otel_aioprom.decorators import timer as timer
    from otel_aioprom.instrument.process import process_metrics as process_metrics
    from otel_aioprom.negotiator import negotiate as negotiate
    from otel_aioprom.otel.async_callbacks import observe_async as observe_async
    from otel_aioprom.otel.reader import PrometheusMetricReader as PrometheusMetricReader
    from otel_aioprom.pusher.blocking import BlockingPusher as BlockingPusher
    from otel_aioprom.pusher.jobs import job_metrics as job_metrics
    from otel_aioprom.pusher.otel_exporter import PushMetricExporter as PushMetricExporter
    from otel_aioprom.pusher.pusher import Pusher as Pusher
    from otel_aioprom.registry.registry import REGISTRY as REGISTRY
    from otel_aioprom.registry.registry import CollectorRegistry as CollectorRegistry
    from otel_aioprom.registry.registry import Registry as Registry
    from otel_aioprom.remote_write.writer import RemoteWriter as RemoteWriter
    from otel_aioprom.renderer import async_render as async_render
    from otel_aioprom.renderer import render as render
    from otel_aioprom.service.service import Service as Service
    from otel_aioprom.service.threaded import ThreadedService as ThreadedService
    from otel_aioprom.textfile import write_textfile as write_textfile

_MODULES = {
    name: module
    for module, names in {
        "_transport.credentials": "BasicAuth BearerAuth",
        "_transport.retry": "Retry",
        "collectors": "Collector Counter Enum Gauge Histogram Info MetricsTypes StateSet Summary",
        "decorators": "count_exceptions inprogress timer",
        "instrument.process": "process_metrics",
        "negotiator": "negotiate",
        "otel.async_callbacks": "observe_async",
        "otel.reader": "PrometheusMetricReader",
        "pusher.blocking": "BlockingPusher",
        "pusher.jobs": "job_metrics",
        "pusher.otel_exporter": "PushMetricExporter",
        "pusher.pusher": "Pusher",
        "registry.registry": "REGISTRY CollectorRegistry Registry",
        "remote_write.writer": "RemoteWriter",
        "renderer": "async_render render",
        "service.service": "Service",
        "service.threaded": "ThreadedService",
        "textfile": "write_textfile",
    }.items()
    for name in names.split()
}

__all__ = sorted([*_MODULES, "formats"])  # noqa: PLE0605 - from the table, so that they cannot differ


def __getattr__(name: str) -> Any:
    if name == "formats":
        return import_module("otel_aioprom.formats")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
