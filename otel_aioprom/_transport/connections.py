"""Kept connections: whether a request went over one, which the server may have closed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractStreamWriter

# What a connection raises that the server has closed.
_CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError)


class KeptConnections:
    """The connections that have returned a response; a later request may go over one of them.

    Known by aiohttp's protocol objects, of which each connection has its own. So it is the same in a session of the
    caller, except for connections that only other requests of the caller have used.
    """

    def __init__(self) -> None:
        self._protocols: WeakSet[object] = WeakSet()

    def attempt(self, chunks: Sequence[bytes]) -> Attempt:
        """Return an attempt to send a body."""
        return Attempt(chunks, self._protocols)


class Attempt(aiohttp.payload.Payload):
    """The body of one attempt, which learns over which connection it is sent.

    It can be sent once: aiohttp may retry by itself when the connection was lost.

    Args:
        chunks: The body, in chunks that are written at once.
        kept: The protocols of connections that have returned a response.
    """

    _value: Sequence[bytes]

    def __init__(self, chunks: Sequence[bytes], kept: WeakSet[object]) -> None:
        super().__init__(chunks)
        self._size = sum(map(len, chunks))
        self._kept = kept
        self._protocol: object = None
        self._reused = self._answered = self._sent = False

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all chunks."""
        if self._sent:  # newer releases of aiohttp check this before
            raise aiohttp.ClientConnectionError("the connection was lost")
        self._sent = self._consumed = True
        self._protocol = getattr(writer, "protocol", None)
        self._reused = self._protocol in self._kept
        for chunk in self._value:
            await writer.write(chunk)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as a string; the base class asks for this method."""
        return b"".join(self._value).decode(encoding, errors)

    def answered(self) -> None:
        """Note that the head of a response has arrived."""
        self._answered = True
        if self._protocol is not None:
            self._kept.add(self._protocol)

    def found_closed(self, error: Exception | None) -> bool:
        """Return whether an error means that a kept connection was closed before a byte of the response."""
        if not self._reused or self._answered or not isinstance(error, _CLOSED):
            return False
        # Otherwise the message is the beginning of a response.
        return isinstance(getattr(error, "message", ""), str)
