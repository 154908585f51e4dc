"""Other hosts than aiohttp: an ASGI application, a WSGI application, a file."""

from __future__ import annotations

import asyncio
import gzip
import io
import stat
import threading
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from oracles import DEADLINE, OWN, FakeSource, HeldSource, TextReader, all_kinds, family, until
from otel_aioprom import asgi, wsgi
from otel_aioprom._transport.credentials import BearerAuth
from otel_aioprom.collectors import Counter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.textfile import write_textfile

Headers = list[tuple[bytes, bytes]]


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with a counter."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    return registry


class Answer:
    """A response of either interface."""

    status = 0
    body = b""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.finished = False


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
        raise AssertionError("nothing of the request's body is needed")

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


# --- ASGI ------------------------------------------------------------------------------


async def test_an_asgi_request_is_answered(registry: CollectorRegistry) -> None:
    """With body and headers as everywhere."""
    answer = await call(asgi.MetricsApp(registry, self_metrics=False))

    assert (answer.status, answer.body, answer.finished) == (200, render(registry)[0], True)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_what_an_asgi_request_asks_for(registry: CollectorRegistry) -> None:
    """Format, compression, names, credentials, several lines of a header; nonsense does no harm."""
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


async def test_the_life_span_is_tolerated(registry: CollectorRegistry) -> None:
    """Start and end are said yes to; a websocket is turned away."""
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


async def test_an_asgi_middleware_answers_its_path_alone(registry: CollectorRegistry) -> None:
    """With and without a slash; everything else goes on."""
    app = asgi.MetricsMiddleware(other, registry, "/m")

    for path, status in (("/m", 200), ("/m/", 200), ("/", 418), ("/mm", 418), ("/m/x", 418)):
        assert (await call(app, path)).status == status
    with pytest.raises(ValueError, match="must start with a slash"):
        asgi.MetricsMiddleware(other, registry, "m")
    with pytest.raises(TypeError, match="includ"):
        asgi.MetricsApp(registry, includ=["x"])  # type: ignore[call-arg]


async def test_an_asgi_client_that_stops_reading_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The response stays unfinished, so that the server cuts the connection; the place is free again."""
    registry = all_kinds()
    app = asgi.MetricsApp(registry, send_timeout=0.05)
    sent: list[str] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing of the request's body is needed")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await asyncio.wait_for(app(scope, receive, send), DEADLINE)

    assert sent == ["http.response.start", "http.response.body"]
    assert app._scraper._busy.value == 0
    assert b'cause="slow_reader"} 1' in render(registry)[0]
    assert "took nothing of its response" in caplog.text


async def test_an_asgi_request_that_is_cancelled_frees_its_place(
    registry: CollectorRegistry,
) -> None:
    """Wherever it is."""
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


# --- WSGI ------------------------------------------------------------------------------


def ask(app: wsgi.App, path: str = "/", method: str = "GET", **environ: Any) -> Answer:
    """Send a request to a WSGI application, watched by the standard library's validator."""
    answer = Answer()
    given: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(),
    }
    given |= environ
    setup_testing_defaults(given)

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        answer.status, answer.headers = int(status.split(maxsplit=1)[0]), dict(headers)
        return lambda data: None

    body: Any = validator(app)(given, start_response)  # type: ignore[arg-type]
    try:
        answer.body = b"".join(body)
    finally:
        body.close()
    return answer


def test_a_wsgi_request_is_answered(registry: CollectorRegistry) -> None:
    """Format, compression, names, credentials, methods."""
    app = wsgi.MetricsApp(registry, auth=BearerAuth("t"), self_metrics=False)
    allowed = {"HTTP_AUTHORIZATION": "Bearer t"}
    plain = ask(app, **allowed)
    packed = ask(app, HTTP_ACCEPT_ENCODING="gzip", QUERY_STRING="name[]=x", **allowed)
    openmetrics = ask(app, HTTP_ACCEPT="application/openmetrics-text", **allowed)

    assert (plain.status, plain.body) == (200, render(registry)[0])
    assert gzip.decompress(packed.body) == plain.body
    assert openmetrics.body.endswith(b"# EOF\n")
    assert ask(app).status == 401
    assert ask(app, method="POST", CONTENT_LENGTH="0", **allowed).status == 405
    head = ask(app, method="HEAD", **allowed)
    assert (head.status, head.body) == (200, b"")


def test_a_wsgi_source_that_hangs_costs_itself(registry: CollectorRegistry) -> None:
    """As long as the client waits."""
    held = HeldSource(family("y"))
    registry.add_source(held)
    answer = ask(wsgi.MetricsApp(registry), HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS="0.2")
    held.go.release(2)

    assert b"x_total 1\n" in answer.body
    assert b'cause="late"} 1\n' in answer.body


def test_a_wsgi_response_frees_its_place_when_it_is_closed(registry: CollectorRegistry) -> None:
    """Though nobody has read it; and if the server refuses the headers."""
    app = wsgi.MetricsApp(registry, max_concurrent=1)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    body: Any = app(environ, lambda *_: None)
    busy = ask(app)
    body.close()

    def refuse(*_: Any) -> None:
        raise RuntimeError("headers already sent")

    assert (busy.status, busy.headers["Retry-After"]) == (503, "1")
    with pytest.raises(RuntimeError, match="already sent"):
        app(environ, refuse)
    assert ask(app).status == 200


def test_a_wsgi_application_in_many_threads(registry: CollectorRegistry) -> None:
    """Each response is whole."""
    app = wsgi.MetricsApp(registry, self_metrics=False)
    registry.add_source(FakeSource(family("y")))
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(ask(app).body)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)

    assert len(bodies) == 8
    assert set(bodies) == {render(registry)[0]}


def test_a_wsgi_middleware_answers_its_path_alone(registry: CollectorRegistry) -> None:
    """With and without a slash; everything else goes on."""

    def tea(environ: dict[str, Any], start_response: wsgi.StartResponse) -> Iterable[bytes]:
        start_response("418 I'm a teapot", [("Content-Type", "text/plain")])
        return [b"tea"]

    app = wsgi.MetricsMiddleware(tea, registry, "/m/")
    for path, status in (("/m", 200), ("/m/", 200), ("/", 418), ("/mm", 418)):
        assert ask(app, path).status == status
    with pytest.raises(ValueError, match="must start with a slash"):
        wsgi.MetricsMiddleware(tea, registry, "m")


# --- a file ----------------------------------------------------------------------------


def test_a_file_is_written_at_once(tmp_path: Path) -> None:
    """In text 0.0.4 without timestamps, readable by others; nothing else is left in the folder."""
    registry = all_kinds({"a": "é"})
    path = tmp_path / "app.prom"
    with TextReader() as reader:
        for target in (path, str(path)):
            write_textfile(registry, target)
            assert reader.read(path.read_bytes()).encode() == render(registry)[0]

    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing beside it."""
    path = tmp_path / "app.prom"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_textfile(all_kinds(), path)
    with pytest.raises(FileNotFoundError):
        write_textfile(all_kinds(), tmp_path / "missing" / "app.prom")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_what_could_be_collected(tmp_path: Path, registry: CollectorRegistry) -> None:
    """A source that raises costs itself."""
    registry.add_source(FakeSource(RuntimeError("broken"), name="bad"))
    write_textfile(registry, tmp_path / "app.prom")
    text = (tmp_path / "app.prom").read_text()

    assert "x_total 1\n" in text
    assert f'{OWN}source_failures_total{{cause="raised",source="bad"}} 1' in text


def test_a_wsgi_application_refuses_while_credentials_cannot_be_checked(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    """With 503, until the file is back."""
    file = tmp_path / "token"
    file.write_text("t")
    app = wsgi.MetricsApp(registry, auth=BearerAuth(token_file=file))
    file.unlink()

    assert ask(app, HTTP_AUTHORIZATION="Bearer t").status == 503
    file.write_text("t")
    assert ask(app, HTTP_AUTHORIZATION="Bearer t").status == 200
