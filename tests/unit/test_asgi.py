"""The ASGI application and middleware."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import MutableMapping
from typing import Any

import pytest

from oracles import DEADLINE, HeldSource, all_kinds, family, until
from otel_aioprom import asgi
from otel_aioprom._transport.credentials import BearerAuth
from otel_aioprom.collectors import Counter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with a counter."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    return registry


class Answer:
    """A response."""

    status = 0
    body = b""
    finished = False

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


async def call(
    app: asgi.App,
    path: str = "/metrics",
    method: str = "GET",
    query: bytes = b"",
    *headers: tuple[bytes, bytes],
) -> Answer:
    """Send a request to an ASGI application."""
    answer = Answer()

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message["body"]
            answer.finished = not message["more_body"]

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the request's body is not needed")

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": list(headers),
    }
    await app(scope, receive, send)
    return answer


async def other(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """The application behind a middleware."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"tea", "more_body": False})


async def test_a_request_is_answered(registry: CollectorRegistry) -> None:
    """With the same body and headers as by ``render``."""
    answer = await call(asgi.MetricsApp(registry, self_metrics=False))

    assert (answer.status, answer.body, answer.finished) == (200, render(registry)[0], True)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_the_parameters_of_a_request(registry: CollectorRegistry) -> None:
    """Format, compression, names, credentials, repeated headers; malformed ones are ignored."""
    app = asgi.MetricsApp(registry, auth=BearerAuth("t"), self_metrics=False)
    allowed = (b"authorization", b"Bearer t")
    accept = (b"accept", b"application/openmetrics-text;version=1.0.0")
    lines = [(b"Accept", b"a/b"), accept, (b"accept-encoding", b"gzip"), allowed]
    answer = await call(app, "/", "GET", b"name%5B%5D=x_total&name[]=%zz&=&&&\xff", *lines)

    assert gzip.decompress(answer.body).startswith(b"# TYPE x counter\n")
    assert answer.headers["content-encoding"] == "gzip"
    assert (await call(app)).status == 401
    head = await call(app, "/", "HEAD", b"", allowed)
    assert (head.status, head.body, head.finished) == (200, b"", True)
    assert (await call(app, "/", "POST", b"", allowed)).status == 405
    none = await call(
        app, "/", "GET", b"name[]=none", allowed, (b"x-prometheus-scrape-timeout-seconds", b"1")
    )
    assert (none.status, none.body) == (200, b"")


async def test_the_lifespan_is_acknowledged(registry: CollectorRegistry) -> None:
    """Startup and shutdown; a websocket is closed."""
    app = asgi.MetricsApp(registry)
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return dict(next(messages, {"type": "websocket.connect"}))

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    await app({"type": "websocket"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


async def test_the_middleware_answers_only_its_path(registry: CollectorRegistry) -> None:
    """With and without a slash; other requests go to the application."""
    app = asgi.MetricsMiddleware(other, registry, "/m")

    for path, status in (("/m", 200), ("/m/", 200), ("/", 418), ("/mm", 418), ("/m/x", 418)):
        assert (await call(app, path)).status == status
    with pytest.raises(ValueError, match="must start with a slash"):
        asgi.MetricsMiddleware(other, registry, "m")
    with pytest.raises(TypeError, match="includ"):
        asgi.MetricsApp(registry, includ=["x"])  # type: ignore[call-arg]


@pytest.mark.parametrize("at_the_end", [False, True])
async def test_a_client_that_stops_reading_is_disconnected(
    caplog: pytest.LogCaptureFixture, at_the_end: bool
) -> None:
    """The response stays incomplete, so that the server closes the connection; its slot is free again.

    Also where the server waits for the client before it sends the end of the body, as uvicorn does.
    """
    registry = all_kinds()
    app = asgi.MetricsApp(registry, send_timeout=0.05)
    sent: list[str] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body" and message["more_body"] is not at_the_end:
            await asyncio.Event().wait()

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the request's body is not needed")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await asyncio.wait_for(app(scope, receive, send), DEADLINE)

    assert sent == ["http.response.start", *["http.response.body"] * (1 + at_the_end)]
    assert app._scraper._busy.value == 0
    assert b'cause="slow_reader"} 1' in render(registry)[0]
    assert "took nothing of its response" in caplog.text


async def test_a_cancelled_request_frees_its_slot(registry: CollectorRegistry) -> None:
    """While a source is collected."""
    held = HeldSource(family("y"))
    registry.add_source(held)
    app = asgi.MetricsApp(registry)
    task = asyncio.create_task(call(app))
    await held.wait_begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.go.release(2)

    await until(lambda: app._scraper._busy.value == 0)
