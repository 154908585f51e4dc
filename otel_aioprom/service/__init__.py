"""The metrics endpoint, on aiohttp or behind any other server.

``Service`` and ``ThreadedService`` are imported on first access, so that other servers do not import aiohttp.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_aioprom.service.messages import DEFAULT_METRICS_PATH as DEFAULT_METRICS_PATH

if TYPE_CHECKING:
    from otel_aioprom.service.service import Service as Service
    from otel_aioprom.service.threaded import ThreadedService as ThreadedService

_MODULES = {"Service": "service", "ThreadedService": "threaded"}

__all__ = ["DEFAULT_METRICS_PATH", "Service", "ThreadedService"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
