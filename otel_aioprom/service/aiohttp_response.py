"""The aiohttp adapter: reads a scrape from an aiohttp request, and sends responses with write timeouts."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import HttpProcessingError

from otel_aioprom.service.connections import reset, reset_if_broken_off
from otel_aioprom.service.messages import ScrapeRequest, ScrapeResponse
from otel_aioprom.service.write_timeout import WriteTimeout

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:  # no generic class before Python 3.11
    _Adapter = logging.LoggerAdapter

_logger = logging.getLogger(__name__)

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
    request: web.BaseRequest,
    answer: ScrapeResponse,
    headers: Mapping[str, str],
    *,
    leaves_small: bool = False,
) -> web.StreamResponse:
    """Send the response to a scrape piece by piece; disconnect a client that reads too slowly.

    A body of one piece is sent in one write, with its ``Content-Length``. The end of a longer one is marked in
    HTTP/1.1; in HTTP/1.0 it is the end of the connection. Whatever breaks a response off resets the connection, so
    that no client takes the first part for the whole.

    Args:
        request: The request to answer.
        answer: The response.
        headers: Additional headers.
        leaves_small: Leave a response whose body is one piece to the caller, who may change it, and sends it.

    Raises:
        SlowReaderError: The client was disconnected.
    """
    headers = {**answer.headers, **headers}
    with answer.write_timeout() as write_timeout:
        async with aclosing(answer.pieces()) as pieces:
            first = await anext(pieces, b"")
            second = await anext(pieces, None) if first else None
            if second is None and leaves_small:
                return web.Response(body=first, status=answer.status, headers=headers)
            return await _send(
                request, answer.status, headers, (first, second), pieces, write_timeout
            )


async def deliver(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send a page; disconnect a client that reads too slowly.

    Args:
        request: The request to answer.
        response: The page, not yet prepared.

    Raises:
        SlowReaderError: The client was disconnected.
    """
    with WriteTimeout(_PAGE_TIMEOUT) as write_timeout, _whole_or_reset(request, response):
        await write_timeout.wait(response.prepare(request))
        await write_timeout.wait(response.write_eof())


async def _send(
    request: web.BaseRequest,
    status: int,
    headers: Mapping[str, str],
    begin: tuple[bytes, bytes | None],
    pieces: AsyncGenerator[bytes, None],
    write_timeout: WriteTimeout,
) -> web.StreamResponse:
    first, second = begin
    response: web.StreamResponse
    if second is None:
        response = web.Response(body=first, status=status, headers=headers)
    else:
        response = web.StreamResponse(status=status, headers=headers)
    until_close = second is not None and request.version < HttpVersion11
    if until_close:
        response.force_close()  # aiohttp would keep it open for a client that asks for that
    with _whole_or_reset(request, response, until_close=until_close):
        await response.prepare(request)  # calls the application, and waits for no client
        if second is not None:
            await write_timeout.wait(response.write(first))
            await write_timeout.wait(response.write(second))
            async for piece in pieces:
                await write_timeout.wait(response.write(piece))
        await write_timeout.wait(response.write_eof())
        if until_close:
            await write_timeout.wait(_flush(request))
    return response


@contextmanager
def _whole_or_reset(
    request: web.BaseRequest, response: web.StreamResponse, *, until_close: bool = False
) -> Iterator[None]:
    """Reset the connection if a response is broken off, by whatever; a client may leave.

    Args:
        request: The request.
        response: The response, not yet prepared.
        until_close: The end of the connection is the end of the body.
    """
    transport = request.transport  # aiohttp forgets it before it is closed
    try:
        with reset_if_broken_off(transport) if until_close and transport else nullcontext():
            yield
    except BaseException as error:
        if transport is not None and response.prepared:
            reset(transport)
        if not isinstance(error, ConnectionError):
            raise
        _logger.debug("the client went away in the middle of a response")


async def _flush(request: web.BaseRequest) -> None:
    """Wait until the system has all bytes: it sends them whatever becomes of this process."""
    if request.transport is not None:
        request.transport.set_write_buffer_limits(0)
        await request.writer.drain()
