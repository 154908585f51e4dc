"""The WSGI application and middleware."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from oracles import DEADLINE, Answer, FakeSource, HeldSource, family
from otel_aioprom import wsgi
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


def ask(app: wsgi.App, path: str = "/", method: str = "GET", **environ: Any) -> Answer:
    """Send a request to a WSGI application, checked by the standard library's validator."""
    variables: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(),
    }
    variables |= environ
    setup_testing_defaults(variables)
    started: list[tuple[int, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        started.append((int(status.split(maxsplit=1)[0]), dict(headers)))
        return lambda data: None

    body: Any = validator(app)(variables, start_response)  # type: ignore[arg-type]
    try:
        content = b"".join(body)
    finally:
        body.close()
    return Answer(*started[-1], content)


def test_a_request_is_answered(registry: CollectorRegistry) -> None:
    """Format, compression, names, credentials and methods are read from the environ."""
    app = wsgi.MetricsApp(registry, auth=BearerAuth("t"), self_metrics=False)
    allowed = {"HTTP_AUTHORIZATION": "Bearer t"}
    plain = ask(app, **allowed)
    compressed = ask(app, HTTP_ACCEPT_ENCODING="gzip", QUERY_STRING="name[]=x", **allowed)
    openmetrics = ask(app, HTTP_ACCEPT="application/openmetrics-text", **allowed)

    assert (plain.status, plain.body) == (200, render(registry)[0])
    assert gzip.decompress(compressed.body) == plain.body
    assert openmetrics.body.endswith(b"# EOF\n")
    assert ask(app).status == 401
    assert ask(app, method="POST", CONTENT_LENGTH="0", **allowed).status == 405
    head = ask(app, method="HEAD", **allowed)
    assert (head.status, head.body) == (200, b"")


def test_a_source_that_hangs_is_dropped(registry: CollectorRegistry) -> None:
    """After the client's timeout."""
    held = HeldSource(family("y"))
    registry.add_source(held)
    answer = ask(wsgi.MetricsApp(registry), HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS="0.2")
    held.go.release(2)

    assert b"x_total 1\n" in answer.body
    assert b'cause="late"} 1\n' in answer.body


def test_a_response_frees_its_slot_when_it_is_closed(registry: CollectorRegistry) -> None:
    """Even if it was not read, or the server refused the headers."""
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


def test_concurrent_requests_of_threads(registry: CollectorRegistry) -> None:
    """Each response is complete."""
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


def test_the_middleware_answers_only_its_path(registry: CollectorRegistry) -> None:
    """With and without a slash; other requests go to the application."""

    def tea(environ: dict[str, Any], start_response: wsgi.StartResponse) -> Iterable[bytes]:
        start_response("418 I'm a teapot", [("Content-Type", "text/plain")])
        return [b"tea"]

    app = wsgi.MetricsMiddleware(tea, registry, "/m/")
    for path, status in (("/m", 200), ("/m/", 200), ("/", 418), ("/mm", 418)):
        assert ask(app, path).status == status
    with pytest.raises(ValueError, match="must start with a slash"):
        wsgi.MetricsMiddleware(tea, registry, "m")


def test_credentials_that_cannot_be_checked_are_503(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    """Until the file is readable again."""
    file = tmp_path / "token"
    file.write_text("t")
    app = wsgi.MetricsApp(registry, auth=BearerAuth(token_file=file))
    file.unlink()

    assert ask(app, HTTP_AUTHORIZATION="Bearer t").status == 503
    file.write_text("t")
    assert ask(app, HTTP_AUTHORIZATION="Bearer t").status == 200
