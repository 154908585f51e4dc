"""Metrics of asyncio services, from OpenTelemetry and from native collectors, for Prometheus.

Each name is loaded when it is first asked for, so that recording needs neither aiohttp nor the
OpenTelemetry SDK.
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

_HOMES = {
    "REGISTRY": "registry.registry",
    "BasicAuth": "_transport.credentials",
    "BearerAuth": "_transport.credentials",
    "BlockingPusher": "pusher.blocking",
    "Collector": "collectors",
    "CollectorRegistry": "registry.registry",
    "Counter": "collectors",
    "Enum": "collectors",
    "Gauge": "collectors",
    "Histogram": "collectors",
    "Info": "collectors",
    "MetricsTypes": "collectors",
    "PrometheusMetricReader": "otel.reader",
    "PushMetricExporter": "pusher.otel_exporter",
    "Pusher": "pusher.pusher",
    "Registry": "registry.registry",
    "RemoteWriter": "remote_write.writer",
    "Retry": "_transport.retry",
    "Service": "service.service",
    "StateSet": "collectors",
    "Summary": "collectors",
    "ThreadedService": "service.threaded",
    "async_render": "renderer",
    "count_exceptions": "decorators",
    "inprogress": "decorators",
    "job_metrics": "pusher.jobs",
    "negotiate": "negotiator",
    "observe_async": "otel.async_callbacks",
    "process_metrics": "instrument.process",
    "render": "renderer",
    "timer": "decorators",
    "write_textfile": "textfile",
}

__all__ = sorted([*_HOMES, "formats"])  # noqa: PLE0605 - the same as the table that loads them


def __getattr__(name: str) -> Any:
    if name == "formats":
        return import_module("otel_aioprom.formats")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
