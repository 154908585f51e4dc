"""Compatibility with the predecessor: the service (N17)."""

from __future__ import annotations

import asyncio
import inspect
import socket
import warnings
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from otel_aioprom.collectors import Counter, Histogram, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service import Service

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def fetch(url: str) -> tuple[int, str, str]:
    """Status, content type and body of a GET request."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, response.headers["Content-Type"], await response.text()


def test_n17_the_arguments_of_a_service() -> None:
    """Constructor, start and stop keep the order and defaults of their arguments."""

    def defaults(call: Any) -> list[tuple[str, Any]]:
        every = inspect.signature(call).parameters.values()
        return [
            (each.name, each.default) for each in every if each.kind is each.POSITIONAL_OR_KEYWORD
        ]

    assert defaults(Service) == [("registry", None), ("loop", None)]
    assert defaults(Service().start) == [
        ("addr", ""),
        ("port", 0),
        ("ssl", None),
        ("metrics_url", "/metrics"),
    ]
    assert defaults(Service().stop) == [("wait_duration", 1.0)]


def test_n17_a_service_creates_a_registry_by_default() -> None:
    """``register`` and ``deregister`` delegate to the registry."""
    registry = CollectorRegistry()
    counter = Counter("x", "What.")
    service = Service(registry)
    service.register(counter)
    registered = registry.get_all()
    service.deregister("x")

    assert service.registry is registry
    assert (registered, registry.get_all()) == ([counter], [])
    assert Service().registry is not Service().registry


async def test_n17_a_loop_is_accepted_and_warned_about() -> None:
    """The argument is ignored."""
    with pytest.warns(DeprecationWarning, match="loop"):
        service = Service(None, asyncio.get_running_loop())
    async with service.running(addr="127.0.0.1"):
        assert service.metrics_url


async def test_n17_urls_exist_between_start_and_stop() -> None:
    """They raise before and after, and have the real port in between."""
    service = Service()

    async def check_absent() -> None:
        for name in ("base_url", "root_url", "metrics_url"):
            with pytest.raises(RuntimeError, match="start"):
                getattr(service, name)

    await check_absent()
    await service.start("127.0.0.1", 0, None, "/m")
    base = service.base_url
    status, _, _ = await fetch(f"{base}/m")
    assert (service.root_url, service.metrics_url, status) == (f"{base}/", f"{base}/m", 200)
    assert base.startswith("http://127.0.0.1:")
    assert not base.endswith(":0")
    await service.stop()
    await service.stop(wait_duration=0.1)
    await check_absent()


async def test_n17_the_pages_of_a_service() -> None:
    """Metrics, a page that links to them, and ``robots.txt``."""
    async with Service().running(addr="localhost") as service:
        service.register(Summary("x", "What."))
        metrics = await fetch(service.metrics_url)
        root = await fetch(service.root_url)
        robots = await fetch(f"{service.base_url}/robots.txt")

    assert metrics[:2] == (200, TEXT_TYPE)
    assert root[0] == 200
    assert 'href="/metrics"' in root[2]
    assert (robots[0], "Disallow: /" in robots[2]) == (200, True)


async def test_n17_starting_twice_warns() -> None:
    """The server keeps running."""
    service = Service()
    await service.start("127.0.0.1")
    before = service.base_url
    with pytest.warns(RuntimeWarning, match="runs already"):
        await service.start("127.0.0.1")
    after = service.base_url
    await service.stop()

    assert before == after


async def test_n17_a_failed_start_leaves_no_socket_open() -> None:
    """It raises, and the service can be started afterwards."""
    service = Service()
    with socket.socket() as holder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(OSError, match="cannot listen"):
            await service.start("127.0.0.1", holder.getsockname()[1])
    with pytest.raises(RuntimeError):
        _ = service.base_url
    await service.start("127.0.0.1")
    await service.stop()

    assert not caught


async def test_n17_the_handlers_work_in_any_aiohttp_application() -> None:
    """Without a started service; ``accepts`` parses a request's headers."""
    registry = CollectorRegistry()
    Histogram("x", "What.", registry=registry).observe({}, 1)
    service = Service(registry)
    accepted: list[set[str]] = []

    async def metrics(request: web.Request) -> web.StreamResponse:
        accepted.append(service.accepts(request))
        return await service.handle_metrics(request)

    application = web.Application()
    application.router.add_get("/a", metrics)
    application.router.add_get("/b", service.handle_root)
    application.router.add_get("/c", service.handle_robots)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    answers = [await fetch(f"http://{host}:{port}/{path}") for path in "abc"]
    await runner.cleanup()

    assert [status for status, _, _ in answers] == [200] * 3
    assert "x_count 1" in answers[0][2]
    assert accepted == [{"*/*"}]
