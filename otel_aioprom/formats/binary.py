"""The protobuf format under the module name of aioprometheus."""

from __future__ import annotations

from otel_aioprom.formats.protobuf import BINARY_CONTENT_TYPE, BinaryFormatter

BINARY_ACCEPTS = set(BINARY_CONTENT_TYPE.split("; "))
"""The items of the content type, as ``parse_accepts`` returns them."""

__all__ = ["BINARY_ACCEPTS", "BINARY_CONTENT_TYPE", "BinaryFormatter"]
