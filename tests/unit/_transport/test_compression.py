"""Streaming compression."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

import zstd
from otel_aioprom._transport import compression
from otel_aioprom._transport.compression import codings, compressed
from otel_aioprom.errors import MissingExtraError

CHUNKS: list[list[bytes]] = [
    [],
    [b""],
    [b"a"],
    [b"a" * 100_000, b"", b"b"] * 3,
    [bytes(range(256))] * 2000,
]


@pytest.fixture
def _fresh() -> Iterator[None]:
    compression._zstd.cache_clear()
    yield
    compression._zstd.cache_clear()


@pytest.mark.parametrize("chunks", CHUNKS)
def test_gzip_round_trip(chunks: list[bytes]) -> None:
    """One gzip member, whatever the chunks."""
    packed = b"".join(compressed(chunks, "gzip"))

    assert gzip.decompress(packed) == b"".join(chunks)
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    unpacker.decompress(packed)
    assert unpacker.eof
    assert unpacker.unused_data == b""


@pytest.mark.parametrize("chunks", CHUNKS)
def test_zstd_round_trip(chunks: list[bytes]) -> None:
    """One zstd frame, whatever the chunks."""
    packed = b"".join(compressed(chunks, "zstd"))

    assert zstd.decompress(packed) == b"".join(chunks)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_chunks_are_read_lazily(coding: str) -> None:
    """A stream, not a join."""
    asked: list[int] = []

    def chunks() -> Iterator[bytes]:
        for index in range(3):
            asked.append(index)
            yield b"x"

    next(compressed(chunks(), coding))

    assert asked == [0]


@pytest.mark.usefixtures("_fresh")
def test_zstd_is_served_where_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, gzip is all there is, and asking for zstd says what to install."""
    assert codings() == ("zstd", "gzip")
    compression._zstd.cache_clear()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)

    assert codings() == ("gzip",)
    with pytest.raises(MissingExtraError, match=r"pip install otel-aioprom\[zstd\]"):
        list(compressed([b"x"], "zstd"))


@pytest.mark.usefixtures("_fresh")
def test_the_standard_library_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 3.14 on it has a zstd of its own."""

    class Module:
        @staticmethod
        def ZstdCompressor(level: int) -> Any:  # noqa: N802 - the library's name
            return zlib.compressobj(level)

    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    monkeypatch.setitem(sys.modules, "compression.zstd", Module)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "zstandard", None)

    assert codings() == ("zstd", "gzip")
    assert b"".join(compressed([b"x"], "zstd")) != b""
