"""The reader that the OpenTelemetry SDK creates from the environment or from a configuration file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from otel_aioprom.errors import ConfigurationError
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry.registry import REGISTRY, CollectorRegistry
from otel_aioprom.service.port_range import PortRangeService
from otel_aioprom.service.threaded import ThreadedService

_logger = logging.getLogger(__name__)

HOST, PORT, FILE = (
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "OTEL_CONFIG_FILE",
)
DEFAULT_HOST, DEFAULT_PORT = "localhost", 9464
_MAX_PORT = 65_535
_STRATEGIES = {
    "underscore_escaping_with_suffixes": "UnderscoreEscapingWithSuffixes",
    "underscore_escaping_without_suffixes": "UnderscoreEscapingWithoutSuffixes",
    "no_utf8_escaping_with_suffixes": "NoUTF8EscapingWithSuffixes",
    "no_translation": "NoTranslation",
}
_DEVELOPMENT = "/development"
_RENAMED = {
    "without_scope_info": "scope_info_enabled",
    "without_target_info": "target_info_enabled",
    "with_resource_constant_labels": "resource_constant_labels",
    "without_units": "translation_strategy",
    "without_type_suffix": "translation_strategy",
}


class AutoPrometheusMetricReader(PrometheusMetricReader):
    """A ``PrometheusMetricReader`` that also serves its registry over HTTP, with a ``ThreadedService``.

    The SDK creates it for ``OTEL_METRICS_EXPORTER=otel_aioprom``, without arguments, and for the key ``otel_aioprom``
    of a declarative configuration, with the keys below it. Without a configuration file,
    ``OTEL_EXPORTER_PROMETHEUS_HOST`` and ``OTEL_EXPORTER_PROMETHEUS_PORT`` are the defaults of ``host`` and ``port``.
    If another process has the port, or in a forked child, the next free one is taken, of a hundred, and logged, as
    soon as there is something to serve. If no address can be bound, an error is logged and the program continues.

    Args:
        registry: What to serve, native collectors included; ``REGISTRY`` if not given.
        **keys: ``host``, ``port``, ``scope_info_enabled``, ``target_info_enabled``, ``resource_constant_labels`` and
            ``translation_strategy``, as in a declarative configuration; each may end in ``/development``. ``None``
            means absent.

    Raises:
        ConfigurationError: A key is unknown, or a value has the wrong type.

    Spec:
        M73 to M79.
    """

    def __init__(self, *, registry: CollectorRegistry = REGISTRY, **keys: Any) -> None:
        options = _options(keys)
        host, port = _address(options)
        super().__init__(registry=registry, **options)
        self._service = PortRangeService(registry)
        self._service.serve(host, port)

    @property
    def service(self) -> ThreadedService:
        """The HTTP service; it is not running if its start failed."""
        return self._service

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Stop serving, and remove the reader from its registry; a second call does nothing.

        Args:
            timeout_millis: How long to wait for scrapes in flight; a second at most.
            **kwargs: Arguments of newer SDKs, passed on.
        """
        self._service.stop(min(1.0, max(timeout_millis, 0) / 1000))
        super().shutdown(timeout_millis, **kwargs)


def _address(options: dict[str, Any]) -> tuple[str, int]:
    """Remove host and port from the options; absent ones come from the environment unless there is a file."""
    host, port = options.pop("host", None), options.pop("port", None)
    environment: Mapping[str, str] = {} if os.environ.get(FILE) else os.environ
    if host is None:
        host = environment.get(HOST, "").strip() or DEFAULT_HOST
    if port is None:
        port = _port_from(environment.get(PORT, "").strip())
    return host, port


def _port_from(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= _MAX_PORT:
        return int(text)
    if text:
        message = "%s=%r is no port number (0 to %d): %d is used instead"
        _logger.warning(message, PORT, text, _MAX_PORT, DEFAULT_PORT)
    return DEFAULT_PORT


def _options(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the keys of a configuration; return them as options of the reader."""
    options: dict[str, Any] = {}
    for key, value in keys.items():
        name = key.removesuffix(_DEVELOPMENT)
        check = _KEYS.get(name)
        if check is None:
            former = _RENAMED.get(name)
            near = [former] if former else get_close_matches(name, _KEYS, 1, 0.0)
            raise ConfigurationError(key, f"there is no such key; did you mean {near[0]}?")
        if value is None:
            continue
        if name in options:
            raise ConfigurationError(key, f"{name} is given twice")
        options[name] = check(key, value)
    return options


def _host(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(key, f"a host name or address is needed, not {value!r}")
    return value.strip()


def _port(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_PORT:
        raise ConfigurationError(key, f"a number from 0 to {_MAX_PORT} is needed, not {value!r}")
    return value


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(key, f"true or false is needed, not {value!r}")
    return value


def _patterns(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(key, f"lists 'included' and 'excluded' are needed, not {value!r}")
    return dict(value)


def _strategy(key: str, value: Any) -> str:
    name = value.removesuffix(_DEVELOPMENT) if isinstance(value, str) else value
    if name in _STRATEGIES.values():
        return str(name)
    if not isinstance(name, str) or name not in _STRATEGIES:
        raise ConfigurationError(key, f"one of {', '.join(_STRATEGIES)} is needed, not {value!r}")
    return _STRATEGIES[name]


_KEYS: dict[str, Callable[[str, Any], Any]] = {
    "host": _host,
    "port": _port,
    "scope_info_enabled": _flag,
    "target_info_enabled": _flag,
    "resource_constant_labels": _patterns,
    "translation_strategy": _strategy,
}
