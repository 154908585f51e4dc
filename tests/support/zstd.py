"""Decompress zstd with the standard library's decoder, or before Python 3.14 with that of zstandard."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

_NAME = "compression.zstd" if sys.version_info >= (3, 14) else "zstandard"


def decompress(body: bytes) -> bytes:
    """Return what one frame holds; there is nothing behind it."""
    decoder: Any = import_module(_NAME).ZstdDecompressor()
    if _NAME == "zstandard":
        decoder = decoder.decompressobj()
    content = bytes(decoder.decompress(body))
    assert decoder.eof
    assert decoder.unused_data == b""
    return content
