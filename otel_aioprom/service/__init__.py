"""The endpoint: one request, one response, on aiohttp or on any other server.

The service itself is loaded when it is first asked for, so that other servers do not load aiohttp.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_aioprom.service.service import Service as Service
    from otel_aioprom.service.threaded import ThreadedService as ThreadedService

_HOMES = {"Service": "service", "ThreadedService": "threaded"}

__all__ = ["Service", "ThreadedService"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
