"""A connection without a socket: bytes for the service's own server, and a parser of its responses."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, NamedTuple

import zstd

MOST_TURNS = 400
QUIET_TURNS = 8
"""Iterations of the event loop without a byte after which the server is idle."""


class Response(NamedTuple):
    """One response, its body decoded."""

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
        """Record some bytes; drop what is written to a closed connection."""
        if not self.closed:
            self.written += data

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def close(self) -> None:
        """Close, and notify the server in the loop's next iteration, like a socket."""
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
        """Only addresses are available."""
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def receive(self, data: bytes) -> None:
        """Send some bytes to the server."""
        if not self.closed:
            self.protocol.data_received(data)

    async def settle(self) -> None:
        """Yield to the server until it is idle."""
        quiet, size = 0, 0
        for _ in range(MOST_TURNS):
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self.written) == size else 0
            size = len(self.written)
            if quiet == QUIET_TURNS:
                return

    async def end(self) -> None:
        """Disconnect, and let the server notice."""
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
        assert version.startswith(b"HTTP/"), first  # the version of the request, valid or not
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
    return wire, b""  # until the end of the connection


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
    """Decompress by the headers; an empty body is that of a HEAD."""
    coding = headers.get("content-encoding")
    if not body or coding is None:
        return body
    if coding == "gzip":
        return zlib.decompress(body, zlib.MAX_WBITS | 16)
    assert coding == "zstd", coding
    return zstd.decompress(body)
