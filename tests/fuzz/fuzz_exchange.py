"""A connection without a socket: bytes into the service's own server, and its responses taken apart."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, NamedTuple, cast

import zstandard

MOST_TURNS = 400
QUIET_TURNS = 8
"""Turns of the loop without a byte after which the server has nothing more to say."""


class Response(NamedTuple):
    """One response as it stood on the wire, its body decoded."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection(asyncio.Transport):
    """The client's end: keeps what is written, and lets the server close it.

    Args:
        protocol: The server's end.
    """

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.closed = False
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        """Keep some bytes; nobody gets what is written to a closed connection."""
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def close(self) -> None:
        """Close, and tell the server on the loop's next turn, as a socket does."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        """Close."""
        self.close()

    def pause_reading(self) -> None:
        """Nothing is read anyway."""

    def resume_reading(self) -> None:
        """Nothing is read anyway."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Only the addresses are known."""
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def receive(self, data: bytes) -> None:
        """Hand the server some bytes."""
        if not self.closed:
            self.protocol.data_received(data)

    async def settle(self) -> None:
        """Give the server its turns, until nothing comes any more."""
        quiet, size = 0, 0
        for _ in range(MOST_TURNS):
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self.written) == size else 0
            size = len(self.written)
            if quiet == QUIET_TURNS:
                return

    async def end(self) -> None:
        """Leave, and let the server see it."""
        self.close()
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0)


def responses(wire: bytes) -> list[Response]:
    """Take the bytes of a connection apart, strictly; no request was a HEAD.

    Raises:
        AssertionError: It is no row of whole HTTP responses.
    """
    found = []
    while wire:
        head, end, wire = wire.partition(b"\r\n\r\n")
        assert end, f"a head is cut off: {head[:200]!r}"
        first, *lines = head.split(b"\r\n")
        version, status, _ = first.split(b" ", 2)
        assert version.startswith(b"HTTP/"), first  # that of the request, whatever it was
        pairs = [line.split(b": ", 1) for line in lines]
        names = [name.lower().decode("ascii") for name, _ in pairs]
        assert len(set(names)) == len(names), f"a header twice: {names}"
        headers = dict(zip(names, (value.decode("latin-1") for _, value in pairs), strict=True))
        without = status in {b"204", b"304"} or status[:1] == b"1"
        body, wire = (b"", wire) if without else _body(headers, wire)
        found.append(Response(int(status), headers, decoded(headers, body)))
    return found


def _body(headers: dict[str, str], wire: bytes) -> tuple[bytes, bytes]:
    if "content-length" in headers:
        length = int(headers["content-length"])
        assert len(wire) >= length, "a body is cut off"
        return wire[:length], wire[length:]
    if headers.get("transfer-encoding") == "chunked":
        return _chunks(wire)
    return wire, b""  # up to the end of the connection


def _chunks(wire: bytes) -> tuple[bytes, bytes]:
    parts = []
    while True:
        size, end, wire = wire.partition(b"\r\n")
        assert end, "a chunk is cut off"
        length = int(size, 16)
        assert wire[length : length + 2] == b"\r\n", "a chunk is longer or shorter than it says"
        parts.append(wire[:length])
        wire = wire[length + 2 :]
        if not length:
            return b"".join(parts), wire


def decoded(headers: dict[str, str], body: bytes) -> bytes:
    """Undo the compression that the headers tell of; an empty body is that of a HEAD."""
    coding = headers.get("content-encoding")
    if not body or coding is None:
        return body
    if coding == "gzip":
        return zlib.decompress(body, zlib.MAX_WBITS | 16)
    assert coding == "zstd", coding
    return cast("bytes", zstandard.ZstdDecompressor().decompressobj().decompress(body))
