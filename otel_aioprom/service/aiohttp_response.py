"""The aiohttp adapter: reads a scrape from an aiohttp request, and sends responses with write timeouts."""

from __future__ import annotations

import logging
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from otel_aioprom.errors import SlowReaderError
from otel_aioprom.service.messages import ScrapeRequest, ScrapeResponse
from otel_aioprom.service.write_timeout import WriteTimeout

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:  # no generic class before Python 3.11
    _Adapter = logging.LoggerAdapter

_logger = logging.getLogger(__name__)

_NO_LINGER = struct.pack("ii", 1, 0)  # SO_LINGER on, for zero seconds: close sends a reset
_PAGE_TIMEOUT = 10.0  # seconds


class QuietLogger(_Adapter):
    """The server's logger, in which no client can cause errors by malformed requests."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log; for a malformed request one line at the level ``DEBUG``."""
        error = kwargs.get("exc_info")
        error = sys.exc_info()[1] if error is True else error
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            message = "refused a malformed request: %s"
            super().log(logging.DEBUG, message, getattr(error, "message", error))
        else:
            super().log(level, msg, *args, **kwargs)


server_logger = QuietLogger(_logger, {})


def scrape_request(request: web.BaseRequest) -> ScrapeRequest:
    """Read a scrape from an aiohttp request."""
    return ScrapeRequest(
        method=request.method,
        accept=request.headers.getall(hdrs.ACCEPT, []),
        accept_encoding=request.headers.getall(hdrs.ACCEPT_ENCODING, []),
        names=request.query.getall("name[]", []),
        timeout=request.headers.get("X-Prometheus-Scrape-Timeout-Seconds"),
        authorization=request.headers.get(hdrs.AUTHORIZATION),
    )


async def send(
    request: web.BaseRequest, answer: ScrapeResponse, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send the response to a scrape piece by piece; disconnect a client that reads too slowly.

    A body of one piece is sent in one write, with its ``Content-Length``.

    Args:
        request: The request to answer.
        answer: The response.
        headers: Additional headers.

    Raises:
        SlowReaderError: The client was disconnected.
    """
    try:
        with WriteTimeout(answer.send_timeout) as write_timeout:
            async with aclosing(answer.pieces()) as pieces:
                return await _send(
                    request, answer, {**answer.headers, **headers}, pieces, write_timeout
                )
    except SlowReaderError:
        _abort(request)
        raise


async def deliver(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send a page; disconnect a client that reads too slowly.

    Args:
        request: The request to answer.
        response: The page, not yet prepared.

    Raises:
        SlowReaderError: The client was disconnected.
    """
    try:
        with WriteTimeout(_PAGE_TIMEOUT) as write_timeout:
            await write_timeout.wait(response.prepare(request))
            await write_timeout.wait(response.write_eof())
    except SlowReaderError:
        _abort(request)
        raise
    except ConnectionError:
        _logger.debug("the client went away before it was answered")


async def _send(
    request: web.BaseRequest,
    answer: ScrapeResponse,
    headers: Mapping[str, str],
    pieces: AsyncGenerator[bytes, None],
    write_timeout: WriteTimeout,
) -> web.StreamResponse:
    first = await anext(pieces, b"")
    second = await anext(pieces, None) if first else None
    response: web.StreamResponse
    if second is None:
        response = web.Response(body=first, status=answer.status, headers=headers)
    else:
        response = web.StreamResponse(status=answer.status, headers=headers)
    try:
        await write_timeout.wait(response.prepare(request))
        if second is not None:
            await write_timeout.wait(response.write(first))
            await write_timeout.wait(response.write(second))
            async for piece in pieces:
                await write_timeout.wait(response.write(piece))
        await write_timeout.wait(response.write_eof())
    except ConnectionError:
        _logger.debug("the client went away in the middle of a response")
    return response


def _abort(request: web.BaseRequest) -> None:
    """Reset a connection; drop what waits in the send buffers."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
