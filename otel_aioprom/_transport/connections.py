"""Client sessions that tell whether a request went over a kept connection, which the server may have closed."""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver

# What a connection raises that the server has closed.
_CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError)


class Connection:
    """What is known about the connection of an attempt.

    Attributes:
        reused: Whether it is one that was kept; stays false in a caller's session, which does not tell.
        answered: Whether the head of a response has arrived.
    """

    def __init__(self) -> None:
        self.reused = False
        self.answered = False

    def was_closed(self, error: Exception | None) -> bool:
        """Return whether an error means that a kept connection was closed before a byte of the response."""
        if not self.reused or self.answered or not isinstance(error, _CLOSED):
            return False
        # Otherwise the message is the beginning of a response.
        return isinstance(getattr(error, "message", ""), str)


def create_session(resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    """Create a session whose requests take a ``Connection`` as ``trace_request_ctx``."""
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_reuse)
    connector = aiohttp.TCPConnector(resolver=resolver)
    session = aiohttp.ClientSession(connector=connector, trace_configs=[tracing])
    # Otherwise aiohttp retries by itself; there is no public option, and in old releases none at all.
    if hasattr(session, "_retry_connection"):
        session._retry_connection = False  # noqa: SLF001
    return session


async def _note_reuse(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    context.trace_request_ctx.reused = True
