"""Routing of requests by path, on the service's own server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import web

from otel_aioprom.errors import SlowReaderError
from otel_aioprom.service.aiohttp_response import deliver
from otel_aioprom.service.scrape import ALLOWED_METHODS

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Router:
    """Routes every request that the server can parse to the handler of its path.

    An aiohttp application would answer some requests before any handler runs: a ``CONNECT`` with an unknown
    ``Expect`` gets 500.

    Args:
        handlers: Handlers by path.
        headers: Returns the headers to add to every response.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], headers: Callable[[], Mapping[str, str]]
    ) -> None:
        self._handlers = handlers
        self._headers = headers

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the page of the path, or with 404; disconnect a client that does not read it."""
        try:
            handler = self._handlers.get(request.path)
            if handler is None:
                raise web.HTTPNotFound
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, body=error.body, headers=error.headers)
        if not response.prepared:
            response.headers.update(self._headers())
            with suppress(SlowReaderError):
                await deliver(request, response)
        return response


def read_only(handler: Handler) -> Handler:
    """Wrap the handler of a page: methods other than GET and HEAD get 405."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ALLOWED_METHODS:
            raise web.HTTPMethodNotAllowed(request.method, ALLOWED_METHODS)
        return await handler(request)

    return handle
