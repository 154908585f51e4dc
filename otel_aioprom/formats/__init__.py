"""Exposition formats, one formatter class each: metric families in, chunks of bytes out."""

from otel_aioprom.formats import binary, text
from otel_aioprom.formats.base import IFormatter, with_escaping
from otel_aioprom.formats.openmetrics import OpenMetrics001Formatter, OpenMetricsFormatter
from otel_aioprom.formats.protobuf import BinaryFormatter
from otel_aioprom.formats.text import Text100Formatter, TextFormatter

__all__ = [
    "BinaryFormatter",
    "IFormatter",
    "OpenMetrics001Formatter",
    "OpenMetricsFormatter",
    "Text100Formatter",
    "TextFormatter",
    "binary",
    "text",
    "with_escaping",
]
