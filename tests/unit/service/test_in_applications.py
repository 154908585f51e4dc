"""What an aiohttp application around ``handle_metrics`` can add to a scrape, as the how-to says."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web_log import AccessLogger

from otel_aioprom import BasicAuth, CollectorRegistry, Counter, Service

PIECE = 64 * 1024


def registry_of(series: int) -> CollectorRegistry:
    """A registry with a counter of many series."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "What.", registry=registry)
    for number in range(series):
        counter.inc({"number": number, "filler": "f" * 50})
    return registry


class WithoutScrapes(AccessLogger):
    """As in the how-to."""

    def log(self, request: Any, response: Any, time: float) -> None:
        """Log all requests but scrapes."""
        if request.path != "/metrics":
            super().log(request, response, time)


async def add_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """As in the how-to."""
    if request.path == "/metrics":
        response.headers["Cache-Control"] = "no-store"


kinds: list[type] = []
bodies: list[bytes] = []


@web.middleware
async def note_kind(request: web.Request, handler: Any) -> web.StreamResponse:
    """Note the class of a response, as a middleware sees it."""
    response: web.StreamResponse = await handler(request)
    kinds.append(type(response))
    if isinstance(response, web.Response):
        assert isinstance(response.body, bytes)
        bodies.append(response.body)
        response.headers["X-Wrapped"] = "yes"
    return response


@asynccontextmanager
async def served(registry: CollectorRegistry) -> AsyncIterator[str]:
    """An application with two pages, and its address."""

    async def other(request: web.Request) -> web.Response:
        return web.Response(text="other")

    app = web.Application(middlewares=[note_kind])
    app.router.add_get("/metrics", Service(registry).handle_metrics)
    app.router.add_get("/other", other)
    app.on_response_prepare.append(add_headers)
    runner = web.AppRunner(app, access_log_class=WithoutScrapes)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("series", "kind"), [(1, web.Response), (5000, web.StreamResponse)])
async def test_headers_and_access_log_of_small_and_large_pages(
    series: int, kind: type, caplog: pytest.LogCaptureFixture
) -> None:
    """Headers arrive from ``on_response_prepare``; middlewares may read and change a small page as any other."""
    caplog.set_level(logging.INFO, "aiohttp.access")
    kinds.clear()
    bodies.clear()
    plain = {"Accept-Encoding": "identity"}
    async with served(registry_of(series)) as root, aiohttp.ClientSession() as session:
        async with session.get(f"{root}/metrics", headers=plain) as response:
            body = await response.read()
            headers = response.headers
        async with session.get(f"{root}/other") as response:
            await response.read()

    assert headers["Cache-Control"] == "no-store"
    assert (len(body) > PIECE) == (kind is web.StreamResponse)
    assert kinds == [kind, web.Response]
    assert bodies == ([body] if kind is web.Response else []) + [b"other"]
    assert ("X-Wrapped" in headers) == (kind is web.Response)
    assert "error" not in {each.levelname.lower() for each in caplog.records}
    lines = [each.message for each in caplog.records if each.name == "aiohttp.access"]
    assert len(lines) == 1
    assert "/other" in lines[0]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("HEAD", {}, 200), ("POST", {}, 405), ("GET", {"Authorization": "Basic no"}, 401)],
)
async def test_a_wrapper_may_change_whatever_is_small(
    method: str, headers: dict[str, str], status: int
) -> None:
    """Refusals, and responses without a body, too."""
    auth = BasicAuth("ann", "secret") if status == 401 else None
    service = Service(registry_of(1), auth=auth)

    async def wrapped(request: web.Request) -> web.StreamResponse:
        response = await service.handle_metrics(request)
        response.set_cookie("seen", "yes")
        return response

    app = web.Application()
    app.router.add_route("*", "/metrics", wrapped)
    async with TestClient(TestServer(app)) as client:
        response = await client.request(method, "/metrics", headers=headers)
        await response.read()

    assert response.status == status
    assert response.cookies["seen"].value == "yes"
