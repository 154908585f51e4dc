"""Scrapes over aiohttp: from its request to ours, and our response onto its connection."""

from __future__ import annotations

import logging

from aiohttp import hdrs, web

from otel_aioprom.errors import SlowReaderError
from otel_aioprom.exchange import ScrapeRequest, ScrapeResponse

_logger = logging.getLogger(__name__)

_TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"
_NAMES = "name[]"


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


async def send(request: web.BaseRequest, answer: ScrapeResponse) -> web.StreamResponse:
    """Send a response piece by piece; a client that takes nothing for too long is cut off.

    A body of one piece goes in one write, with its length.
    """
    pieces = answer.pieces()
    first = await anext(pieces, b"")
    second = await anext(pieces, None) if first else None
    response: web.StreamResponse
    if second is None:
        response = web.Response(body=first, status=answer.status, headers=answer.headers)
    else:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
    try:
        await answer.patiently(response.prepare(request))
        if second is not None:
            await answer.patiently(response.write(first))
            await answer.patiently(response.write(second))
            async for piece in pieces:
                await answer.patiently(response.write(piece))
        await answer.patiently(response.write_eof())
    except SlowReaderError:
        if request.transport is not None:
            request.transport.abort()
        raise
    except ConnectionError:
        _logger.debug("the client went away in the middle of a response")
    finally:
        await pieces.aclose()
    return response
