"""The connections of the service's server: all are closed when it has stopped, and broken responses look broken."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import web

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for zero seconds: close sends a reset
_FLUSH = struct.pack("ii", 0, 0)  # SO_LINGER off: close sends what is left, then the end
_ABORT = 1.0  # seconds; a reset takes one iteration of the event loop

_unfinished: set[asyncio.BaseTransport] = set()  # with a body that ends when they are closed


class Server(web.Server):
    """aiohttp's server, which knows which of its connections are still open.

    aiohttp closes connections without waiting: one whose client reads slowly would outlive the server, and even the
    event loop.

    Args:
        handler: Answers requests.
        **options: The options of ``aiohttp.web.Server``.
    """

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], **options: Any
    ) -> None:
        super().__init__(handler, **options)
        self._transports: dict[web.RequestHandler, asyncio.Transport] = {}
        self._all_closed = asyncio.Event()
        self._over = False

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a new connection; reset one that was accepted just before the server stopped."""
        super().connection_made(handler, transport)
        self._transports[handler] = transport
        if self._over:
            reset(transport)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Note that a connection is closed."""
        super().connection_lost(handler, exc)
        self._transports.pop(handler, None)
        if not self._transports:
            self._all_closed.set()

    def sockets(self) -> list[Any]:
        """Return the sockets of its open connections, as event loops give them."""
        every = self._transports.copy().values()
        return [transport.get_extra_info("socket") for transport in every]

    async def shutdown(self, timeout: float | None = None) -> None:
        """Cancel what runs; reset what must not end as if it were whole, which TLS would even announce."""
        self._over = True
        for transport in self._transports.copy().values():
            if transport in _unfinished:
                reset(transport)
        await super().shutdown(timeout)

    async def close_connections(self, seconds: float) -> None:
        """After ``shutdown``: wait until its connections are closed.

        Args:
            seconds: How long clients may take to read what is left; then their connections are reset.
        """
        try:
            await self._wait_closed(seconds)
        finally:
            for transport in self._transports.copy().values():
                reset(transport)
            await self._wait_closed(_ABORT)

    async def _wait_closed(self, seconds: float) -> None:
        if self._transports:
            self._all_closed.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), seconds)


def reset(transport: asyncio.BaseTransport) -> None:
    """Reset a connection; drop what waits in the send buffers."""
    _set_linger(transport, _RESET)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


@contextmanager
def reset_if_broken_off(transport: asyncio.BaseTransport) -> Iterator[None]:
    """Have the system reset a connection that is closed inside the block, even by the end of the process.

    For a body whose end is the end of the connection: closed as usual, it would look whole.
    """
    _set_linger(transport, _RESET)
    _unfinished.add(transport)
    try:
        yield
    finally:
        _unfinished.discard(transport)
    _set_linger(transport, _FLUSH)


def _set_linger(transport: asyncio.BaseTransport, option: bytes) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):  # it is closed
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
