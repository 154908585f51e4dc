"""The metrics endpoint as an ASGI application: FastAPI, Starlette, Quart, on asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from otel_aioprom._concurrency.greenlets import running_loop
from otel_aioprom.errors import SlowReaderError
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.messages import (
    DEFAULT_METRICS_PATH,
    ScrapeRequest,
    ScrapeResponse,
    refusal,
    selected_names,
    without_slash,
)
from otel_aioprom.service.scrape import ScrapeOptions, Scraper

if TYPE_CHECKING:
    from typing_extensions import Unpack

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_logger = logging.getLogger(__name__)

_NO_ASYNCIO = (
    "metrics are served on asyncio only, and this server runs another event loop: let it use asyncio, "
    "or serve metrics by a ThreadedService"
)
_TIMEOUT = "x-prometheus-scrape-timeout-seconds"


class MetricsApp:
    """An ASGI application that answers scrapes on any path.

    It needs asyncio. On another event loop, such as trio's, it answers 500 with one line that says so.

    In FastAPI and Starlette, ``app.add_route("/metrics", MetricsApp(registry))`` answers exactly that path, without
    the redirect that ``mount`` causes; ``MetricsMiddleware`` also answers it with a slash at the end.

    Args:
        registry: What to expose.
        **options: The options of ``Scraper``.

    Raises:
        ValueError: An option has an invalid value.
        TypeError: ``registry`` is no registry, or an option is unknown.
    """

    def __init__(self, registry: CollectorRegistry, **options: Unpack[ScrapeOptions]) -> None:
        self._scraper = Scraper(registry, **options)
        self._is_refusal_logged = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope: answer HTTP requests, accept the lifespan, close websockets."""
        if scope["type"] == "http":
            if running_loop() is None:
                await self._refuse(send)
                return
            # Returning early is the only way to abort a response. The server closes the connection once its buffer is
            # sent, and may log that the response is incomplete; it would log an exception with its trace.
            with suppress(SlowReaderError, _ClientGoneError):
                async with self._scraper.scrape(_scrape_request(scope)) as answer:
                    await _send(answer, receive, send, body=scope["method"] != "HEAD")
        elif scope["type"] == "lifespan":
            await _complete_lifespan(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _refuse(self, send: Send) -> None:
        """Answer 500 where asyncio does not run, without any of its functions."""
        if not self._is_refusal_logged:
            self._is_refusal_logged = True
            _logger.error("%s (logged once)", _NO_ASYNCIO)
        answer = refusal(500, _NO_ASYNCIO)
        await _start(answer, send)
        await send({"type": "http.response.body", "body": b"".join(answer.chunks)})


class MetricsMiddleware:
    """ASGI middleware that answers scrapes at one path, for any framework.

    Args:
        app: The application for all other requests, the lifespan and websockets.
        registry: What to expose.
        path: Path of the metrics, with or without a slash at the end.
        **options: The options of ``Scraper``.

    Raises:
        ValueError: ``path`` does not start with a slash, or an option has an invalid value.
        TypeError: ``registry`` is no registry, or an option is unknown.
    """

    def __init__(
        self,
        app: App,
        registry: CollectorRegistry,
        path: str = DEFAULT_METRICS_PATH,
        **options: Unpack[ScrapeOptions],
    ) -> None:
        self._app = app
        self._path = without_slash(path)
        self._metrics = MetricsApp(registry, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        matches = scope["type"] == "http" and _path_below_root(scope).rstrip("/") == self._path
        await (self._metrics if matches else self._app)(scope, receive, send)


def _path_below_root(scope: Scope) -> str:
    """Return the path without ``root_path``, which servers and mounts prepend."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _scrape_request(scope: Mapping[str, Any]) -> ScrapeRequest:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return ScrapeRequest(
        method=scope["method"],
        accept=headers.get("accept", ()),
        accept_encoding=headers.get("accept-encoding", ()),
        names=selected_names(scope.get("query_string", b"").decode("latin-1")),
        timeout=headers.get(_TIMEOUT, [None])[0],
        authorization=headers.get("authorization", [None])[0],
    )


class _ClientGoneError(Exception):
    """The client has disconnected, so that nobody reads the rest of the response."""


class _Disconnect:
    """Notices that the client disconnects while a body of several pieces is sent.

    Args:
        receive: Receives the server's messages about the request.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._pieces = 0
        self._watching: asyncio.Task[bool] | None = None

    def check(self) -> None:
        """Call before each piece; the first one costs nothing.

        Raises:
            _ClientGoneError: The client has disconnected.
        """
        self._pieces += 1
        if self._watching is not None:
            if self._watching.done() and self._watching.result():
                raise _ClientGoneError
        elif self._pieces > 1:
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> bool:
        """Wait until the client disconnects; return whether it has."""
        more = True
        with suppress(Exception):  # a server that cannot say it
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    return True
                if not more:  # the request's body has ended before
                    break
                more = message.get("more_body", False)
        return False

    def stop(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()


async def _start(answer: ScrapeResponse, send: Send) -> None:
    """Send the status and the headers."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.headers.items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _send(answer: ScrapeResponse, receive: Receive, send: Send, *, body: bool) -> None:
    await _start(answer, send)

    def end() -> Awaitable[None]:
        return send({"type": "http.response.body", "body": b"", "more_body": False})

    if not body:
        await end()
        return
    disconnect = _Disconnect(receive)

    def write(piece: bytes) -> Awaitable[None]:
        disconnect.check()
        return send({"type": "http.response.body", "body": piece, "more_body": True})

    try:
        await answer.send(write, end)
    finally:
        disconnect.stop()


async def _complete_lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge startup and shutdown."""
    kind = ""
    while kind != "lifespan.shutdown":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
