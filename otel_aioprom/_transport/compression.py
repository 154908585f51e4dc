"""Compression of a stream of chunks: gzip always, zstd where a library for it is installed."""

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
"""For more costs more time than it saves on the wire."""


class _Compressor(Protocol):
    """What compresses a stream."""

    def compress(self, data: bytes, /) -> bytes:
        """Take some bytes in, and return what is ready."""

    def flush(self) -> bytes:
        """Return the rest."""


def codings() -> tuple[str, ...]:
    """Return what can be served, as ``Content-Encoding`` calls it, the best first."""
    return ("gzip",) if _zstd() is None else ("zstd", "gzip")


def compressed(chunks: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Compress a stream.

    Args:
        chunks: The stream.
        coding: One of ``codings()``.

    Yields:
        As many chunks as there were, often empty ones, and the rest.
    """
    compressor = _gzip() if coding == "gzip" else _zstd_of(_zstd())
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()


def _gzip() -> _Compressor:
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)


def _zstd_of(make: Callable[[], _Compressor] | None) -> _Compressor:
    if make is None:
        raise MissingExtraError("zstandard", "zstd")
    return make()


@cache
def _zstd() -> Callable[[], _Compressor] | None:
    """Find a maker of zstd streams: in the standard library from 3.14 on, else in ``zstandard``."""
    if sys.version_info >= (3, 14):
        try:
            module: Any = import_module("compression.zstd")
        except ImportError:  # built without it
            pass
        else:
            return lambda: module.ZstdCompressor(level=_LEVEL)
    try:
        package: Any = import_module("zstandard")
    except ImportError:
        return None
    return lambda: package.ZstdCompressor(level=_LEVEL).compressobj()
