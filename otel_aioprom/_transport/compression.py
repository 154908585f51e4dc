"""Streaming compression: gzip always, zstd where a library for it is installed."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from otel_aioprom.errors import MissingExtraError

_GZIP = zlib.MAX_WBITS | 16
_LEVEL = 1
"""Higher levels cost more time than they save on the wire."""


class _Compressor(Protocol):
    """A streaming compressor."""

    def compress(self, data: bytes, /) -> bytes:
        """Feed bytes, and return the output that is ready."""

    def flush(self) -> bytes:
        """Finish the stream, and return its last bytes."""


def codings() -> tuple[str, ...]:
    """Return the supported content codings, the preferred one first."""
    return ("gzip",) if _zstd() is None else ("zstd", "gzip")


def compressed(chunks: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Compress a stream.

    Args:
        chunks: The stream.
        coding: One of ``codings()``.

    Yields:
        One chunk, often empty, for each input chunk, and the end of the stream.
    """
    compressor: _Compressor
    if coding == "gzip":
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    elif (make := _zstd()) is not None:
        compressor = make()
    else:
        raise MissingExtraError("zstandard", "zstd")
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()


@cache
def _zstd() -> Callable[[], _Compressor] | None:
    """Return a factory of zstd compressors: of the standard library from 3.14 on, else of ``zstandard``."""
    if sys.version_info >= (3, 14):
        try:
            module: Any = import_module("compression.zstd")
        except ImportError:  # Python was built without it
            pass
        else:
            return lambda: module.ZstdCompressor(level=_LEVEL)
    try:
        package: Any = import_module("zstandard")
    except ImportError:
        return None
    return lambda: package.ZstdCompressor(level=_LEVEL).compressobj()
