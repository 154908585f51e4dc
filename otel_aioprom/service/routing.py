"""From a request's path to the page behind it, on the service's own server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import web

from otel_aioprom.errors import SlowReaderError
from otel_aioprom.service.aiohttp_response import deliver
from otel_aioprom.service.scrape import ALLOWED_METHODS

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Pages:
    """Answers every request that the server can read.

    Paths are looked up in a table. An aiohttp application would answer some requests itself before any handler of
    ours runs: for a ``CONNECT`` with a strange ``Expect`` its answer is an error 500.

    Args:
        pages: Handlers by path.
        headers: Returns headers that every response gets.
    """

    def __init__(
        self, pages: Mapping[str, Handler], headers: Callable[[], Mapping[str, str]]
    ) -> None:
        self._pages = pages
        self._headers = headers

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the page, or with 404; who reads none of it is cut off."""
        try:
            response = await self._page(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, body=error.body, headers=error.headers)
        if not response.prepared:
            response.headers.update(self._headers())
            with suppress(SlowReaderError):
                await deliver(request, response)
        return response

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        page = self._pages.get(request.path)
        if page is None:
            raise web.HTTPNotFound
        return await page(request)


def only_read(handler: Handler) -> Handler:
    """Wrap the handler of a page, so that other methods than GET and HEAD are refused."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ALLOWED_METHODS:
            raise web.HTTPMethodNotAllowed(request.method, ALLOWED_METHODS)
        return await handler(request)

    return handle
