"""Exposition formats: families of series in, chunks of bytes out; one class a format."""

from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.text import TextFormatter

__all__ = ["IFormatter", "TextFormatter"]
