"""The metrics endpoint as an ASGI application: FastAPI, Starlette, Quart, on asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from otel_aioprom.errors import SlowReaderError
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.messages import (
    DEFAULT_METRICS_PATH,
    ScrapeRequest,
    ScrapeResponse,
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

_TIMEOUT = "x-prometheus-scrape-timeout-seconds"


class MetricsApp:
    """An ASGI application that answers scrapes on any path.

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope: answer HTTP requests, accept the lifespan, close websockets."""
        if scope["type"] == "http":
            # Returning early is the only way to abort a response. The server closes the connection once its buffer is
            # sent, and may log that the response is incomplete; it would log an exception with its trace.
            with suppress(SlowReaderError):
                async with self._scraper.scrape(_scrape_request(scope)) as answer:
                    await _send(answer, send, body=scope["method"] != "HEAD")
        elif scope["type"] == "lifespan":
            await _complete_lifespan(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})


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


async def _send(answer: ScrapeResponse, send: Send, *, body: bool) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.headers.items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if body:
        await answer.send(
            lambda piece: send({"type": "http.response.body", "body": piece, "more_body": True})
        )
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _complete_lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge startup and shutdown."""
    kind = ""
    while kind != "lifespan.shutdown":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
