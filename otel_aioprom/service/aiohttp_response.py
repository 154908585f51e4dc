"""Scrapes over aiohttp: from its request to ours, and our response onto its connection."""

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
from otel_aioprom.service.write_timeout import Patience

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:  # no generic class before Python 3.11
    _Adapter = logging.LoggerAdapter

_logger = logging.getLogger(__name__)

_AT_ONCE = struct.pack("ii", 1, 0)  # to linger, for no time at all
_PAGE_TIMEOUT = 10.0  # seconds
_MALFORMED = "a malformed request was refused: %s"

_TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"
_NAMES = "name[]"


class QuietLogger(_Adapter):
    """The server's logger: strangers can send what they like without an error in our log for it."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, a malformed request at the level ``DEBUG`` and in one line."""
        error = kwargs.get("exc_info")
        error = sys.exc_info()[1] if error is True else error
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            super().log(logging.DEBUG, _MALFORMED, getattr(error, "message", error))
        else:
            super().log(level, msg, *args, **kwargs)


server_logger = QuietLogger(_logger, {})


def scrape_request(request: web.BaseRequest) -> ScrapeRequest:
    """Take from a request what matters."""
    return ScrapeRequest(
        method=request.method,
        accept=request.headers.getall(hdrs.ACCEPT, []),
        accept_encoding=request.headers.getall(hdrs.ACCEPT_ENCODING, []),
        names=request.query.getall(_NAMES, []),
        timeout=request.headers.get(_TIMEOUT),
        authorization=request.headers.get(hdrs.AUTHORIZATION),
    )


async def send(
    request: web.BaseRequest, answer: ScrapeResponse, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send a response piece by piece; a client that takes nothing for too long is cut off.

    A body of one piece goes in one write, with its length.

    Args:
        request: What to answer.
        answer: The response to a scrape.
        headers: More headers.

    Raises:
        SlowReaderError: The client was cut off.
    """
    try:
        with Patience(answer.send_timeout) as patience:
            async with aclosing(answer.pieces()) as pieces:
                return await _send(request, answer, {**answer.headers, **headers}, pieces, patience)
    except SlowReaderError:
        _cut_off(request)
        raise


async def deliver(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send a page; a client that takes nothing of it for too long is cut off.

    Args:
        request: What to answer.
        response: The page, nothing of which has left.

    Raises:
        SlowReaderError: The client was cut off.
    """
    try:
        with Patience(_PAGE_TIMEOUT) as patience:
            await patience.wait(response.prepare(request))
            await patience.wait(response.write_eof())
    except SlowReaderError:
        _cut_off(request)
        raise
    except ConnectionError:
        _logger.debug("the client went away before it was answered")


async def _send(
    request: web.BaseRequest,
    answer: ScrapeResponse,
    headers: Mapping[str, str],
    pieces: AsyncGenerator[bytes, None],
    patience: Patience,
) -> web.StreamResponse:
    first = await anext(pieces, b"")
    second = await anext(pieces, None) if first else None
    response: web.StreamResponse
    if second is None:
        response = web.Response(body=first, status=answer.status, headers=headers)
    else:
        response = web.StreamResponse(status=answer.status, headers=headers)
    try:
        await patience.wait(response.prepare(request))
        if second is not None:
            await patience.wait(response.write(first))
            await patience.wait(response.write(second))
            async for piece in pieces:
                await patience.wait(response.write(piece))
        await patience.wait(response.write_eof())
    except ConnectionError:
        _logger.debug("the client went away in the middle of a response")
    return response


def _cut_off(request: web.BaseRequest) -> None:
    """End a connection at once, with what still waits in the system's buffers."""
    transport = request.transport
    if transport is None:
        return
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
