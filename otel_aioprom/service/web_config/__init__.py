"""The web configuration file of Prometheus' servers: TLS, users and headers."""

from __future__ import annotations

from otel_aioprom.service.web_config.config import WebConfig as WebConfig
