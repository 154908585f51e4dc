"""The metrics endpoint as an ASGI application: FastAPI, Starlette, Quart, on asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from otel_aioprom.errors import SlowReaderError
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.messages import ScrapeRequest, ScrapeResponse
from otel_aioprom.service.scrape import ScrapeOptions, Scraper

if TYPE_CHECKING:
    from typing_extensions import Unpack

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TIMEOUT = "x-prometheus-scrape-timeout-seconds"


class MetricsApp:
    """An ASGI application that answers scrapes on whatever path it stands at.

    In FastAPI and Starlette, ``app.add_route("/metrics", MetricsApp(registry))`` answers that very path, without the
    redirect that ``mount`` causes; ``MetricsMiddleware`` answers it with a slash at its end too.

    Args:
        registry: What to expose.
        **options: As for ``Scraper``.

    Raises:
        ValueError: An option has no such value.
        TypeError: There is no such option.
    """

    def __init__(self, registry: CollectorRegistry, **options: Unpack[ScrapeOptions]) -> None:
        self._scraper = Scraper(registry, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope: HTTP, and the life span, of which nothing is needed."""
        if scope["type"] == "http":
            await self._serve(scope, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await _turn_away(receive, send)

    async def _serve(self, scope: Scope, send: Send) -> None:
        # There is no other way to give a response up. The server closes the connection when what it holds has left, and
        # may log that the response is incomplete; an exception would be logged with its trace.
        with suppress(SlowReaderError):
            async with self._scraper.scrape(_scrape_request(scope)) as answer:
                await _send(answer, send, body=scope["method"] != "HEAD")


class MetricsMiddleware:
    """An ASGI application in front of another one, for frameworks of any kind.

    Args:
        app: The application that everything else goes to, life span and websockets included.
        registry: What to expose.
        path: Where the metrics are, with or without a slash at the end.
        **options: As for ``Scraper``.

    Raises:
        ValueError: ``path`` is no path, or an option has no such value.
        TypeError: There is no such option.
    """

    def __init__(
        self,
        app: App,
        registry: CollectorRegistry,
        path: str = "/metrics",
        **options: Unpack[ScrapeOptions],
    ) -> None:
        if not path.startswith("/"):
            raise ValueError(f"path must start with a slash, as in '/metrics', not {path!r}")
        self._app = app
        self._path = path.rstrip("/")
        self._metrics = MetricsApp(registry, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        mine = scope["type"] == "http" and _path_below_root(scope).rstrip("/") == self._path
        await (self._metrics if mine else self._app)(scope, receive, send)


def _path_below_root(scope: Scope) -> str:
    """Return the path as the application sees it: servers and mounts put their root in front."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _scrape_request(scope: Mapping[str, Any]) -> ScrapeRequest:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    text = scope.get("query_string", b"").decode("latin-1")
    query = parse_qs(text, keep_blank_values=True, errors="replace")
    return ScrapeRequest(
        method=scope["method"],
        accept=headers.get("accept", ()),
        accept_encoding=headers.get("accept-encoding", ()),
        names=query.get("name[]", ()),
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


async def _live(receive: Receive, send: Send) -> None:
    """Say yes to start and end."""
    while True:
        message = await receive()
        kind = message["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _turn_away(receive: Receive, send: Send) -> None:
    """Close a websocket before it opens."""
    await receive()
    await send({"type": "websocket.close", "code": 1000})
