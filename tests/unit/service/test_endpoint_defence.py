"""Protection of an endpoint against clients, and against mistakes in its configuration."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
from aiohttp import web

from oracles import DEADLINE, FakeSource, HeldSource, answer_to, family, number, until
from otel_aioprom import asgi
from otel_aioprom._concurrency.thread_pool import ThreadPool
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._transport.credentials import BasicAuth
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.errors import ServiceStartError
from otel_aioprom.formats import OpenMetricsFormatter, TextFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.renderer import async_encode
from otel_aioprom.service import Service
from otel_aioprom.service.messages import ScrapeRequest
from otel_aioprom.service.scrape import Scraper
from otel_aioprom.service.web_config.config import WebConfig
from served import running

AUTH = BasicAuth("ann", "secret")


class SlowAuth:
    """Credentials whose check blocks a thread until the test releases it."""

    challenge = "Basic"
    slow = True

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)

    def remembers(self, authorization: str | None) -> bool:
        """Return whether they are known."""
        return authorization == "known"

    def check(self, authorization: str | None) -> bool:
        """Return whether they are known; block for unknown ones."""
        if authorization == "known":
            return True
        assert self.go.acquire(timeout=DEADLINE)
        return False


async def test_a_flood_of_wrong_passwords_does_not_block_others() -> None:
    """Cached credentials need no thread; of the pending checks, those above the limit get 503."""
    auth = SlowAuth()
    scraper = Scraper(CollectorRegistry(), auth=auth, max_concurrent=3)
    flood = [
        asyncio.ensure_future(answer_to(scraper, ScrapeRequest(authorization="wrong")))
        for _ in range(50)
    ]
    await until(lambda: sum(task.done() for task in flood) == 30)
    known = await asyncio.wait_for(
        answer_to(scraper, ScrapeRequest(authorization="known")), DEADLINE
    )
    for _ in flood:
        auth.go.release()
    answers = await asyncio.gather(*flood)

    assert known.status == 200
    assert sorted(each.status for each in answers) == [401] * 20 + [503] * 30
    assert all("Retry-After" in each.headers for each in answers if each.status == 503)


async def test_endpoints_inherit_the_credentials_of_the_service() -> None:
    """Unless an endpoint has its own."""
    service = Service(auth=AUTH)
    service.add_endpoint("/debug")
    service.add_endpoint("/open", auth=None)
    service.add_endpoint("/other", auth=BasicAuth("bob", "b"))
    found = {}
    async with (
        service.running(addr="127.0.0.1"),
        aiohttp.ClientSession(service.base_url) as session,
    ):
        for path in ("/metrics", "/debug", "/open", "/other"):
            headers = {"Authorization": AUTH.header()}
            async with session.get(path) as nobody, session.get(path, headers=headers) as ann:
                found[path] = (nobody.status, ann.status)

    assert found == {
        "/metrics": (401, 200),
        "/debug": (401, 200),
        "/open": (200, 200),
        "/other": (401, 401),
    }


async def test_a_web_configuration_is_reloaded_in_other_applications_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server of ours, requests refresh it."""
    monkeypatch.setattr("otel_aioprom.service.service._REFRESH", 0.0)

    def write(password: str) -> None:
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        (tmp_path / "web.yml").write_text(f"basic_auth_users: {{ann: '{hashed}'}}\n")

    write("first")
    app = web.Application()
    app.router.add_get("/m", Service(web_config=tmp_path / "web.yml").handle_metrics)
    async with running(app) as url, aiohttp.ClientSession() as session:

        async def status(password: str) -> int:
            headers = {"Authorization": BasicAuth("ann", password).header()}
            async with session.get(f"{url}/m", headers=headers) as response:
                return response.status

        assert await status("first") == 200
        await asyncio.to_thread(write, "second one")
        assert await status("second one") == 200
        assert await status("first") == 401


async def test_a_disk_that_hangs_holds_no_scrape_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The web configuration that was read last applies."""
    go = threading.Event()
    monkeypatch.setattr("otel_aioprom.service.service._REFRESH", 0.0)
    monkeypatch.setattr("otel_aioprom.service.service._PATIENCE", 0.05)
    monkeypatch.setattr("otel_aioprom.service.service.file_thread", ThreadPool(1, "files"))
    monkeypatch.setattr(WebConfig, "refresh", lambda _: go.wait(DEADLINE * 3))
    (tmp_path / "web.yml").write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    app = web.Application()
    app.router.add_get("/m", Service(web_config=tmp_path / "web.yml").handle_metrics)
    timeout = aiohttp.ClientTimeout(DEADLINE)
    try:
        async with running(app) as url, aiohttp.ClientSession(timeout=timeout) as session:
            for _ in range(2):
                async with session.get(f"{url}/m") as response:
                    assert response.status == 200
                    assert response.headers["X-Frame-Options"] == "deny"
    finally:
        go.set()


class RecordingFormatter(TextFormatter):
    """A formatter that records the thread of ``prepare``."""

    thread = ""

    def prepare(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Record the thread."""
        self.thread = threading.current_thread().name
        return super().prepare(families)


@pytest.mark.parametrize("count", [1, 500, 501, 2000])
async def test_names_of_many_series_are_escaped_in_a_thread(count: int) -> None:
    """That takes longer than a millisecond; for few series a thread would cost more."""
    registry = CollectorRegistry()
    every = [number(1, {"a.b": str(place)}) for place in range(count)]
    registry.add_source(FakeSource(replace(family("x", *every), utf8=True)))
    formatter = RecordingFormatter()
    gathering = await registry.async_gather(1)
    chunks = await async_encode(registry, gathering, formatter, "continue")

    assert b"".join(chunks).count(b"x{a_b=") == count
    assert ("pool" in formatter.thread) is (count > 500)


@pytest.mark.parametrize("count", [3, 300])
async def test_many_families_are_assembled_in_a_thread(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the registry; few are assembled on the event loop."""
    registry = CollectorRegistry()
    for place in range(count):
        Gauge(f"g{place}", "", registry=registry).set({}, 1)
    threads = []
    assemble = registry._assemble

    def recording(answers: Any) -> Any:
        threads.append(threading.current_thread().name)
        return assemble(answers)

    monkeypatch.setattr(registry, "_assemble", recording)
    found = await answer_to(registry)

    assert found.body.count(b"\n# TYPE g") + 1 >= count
    assert ["pool" in name for name in threads] == [count > 100]


@pytest.mark.parametrize("header", ["0.001", "0.1"])
async def test_a_client_deadline_is_not_logged(
    header: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Late sources are dropped and counted; only those later than the endpoint's timeout are logged."""
    registry = CollectorRegistry()
    source = HeldSource(family("y"))
    registry.add_source(source)
    answer = await answer_to(registry, ScrapeRequest(timeout=header))
    assert answer.status == 200
    assert b'dropped_total{cause="late"} 1' in answer.body
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []

    await answer_to(registry, timeout=0.05)
    source.go.release()
    source.go.release()
    assert "held: no answer within 0.05 s" in caplog.text


async def test_scrapes_that_time_out_do_not_accumulate_callbacks() -> None:
    """However often a hanging source is collected."""
    registry = CollectorRegistry()
    source = HeldSource(family("y"))
    registry.add_source(source)
    [runner] = registry._all_runners()
    for _ in range(5):
        await registry.async_gather(0.001)
    future: Any = runner.flight._next[None]
    before = len(future._done_callbacks)
    for _ in range(5):
        await registry.async_gather(0.001)

    assert before == len(future._done_callbacks) == 1
    source.go.release()
    source.go.release()


@pytest.mark.skipif(
    tuple(map(int, aiohttp.__version__.split(".")[:2])) < (3, 14),
    reason="this aiohttp buffers pages that a client requests and does not read",
)
async def test_other_pages_have_a_write_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that requests thousands of pages and reads none is disconnected."""
    monkeypatch.setattr("otel_aioprom.service.aiohttp_response._PAGE_TIMEOUT", 0.2)
    async with Service().running(addr="127.0.0.1") as service:
        port = int(service.base_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]

        async def ask() -> None:
            while True:
                writer.write(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask(), 6 * DEADLINE)  # a busy machine takes long to fill buffers
        writer.close()
        del reader


@pytest.mark.parametrize(("root", "path"), [("/api", "/api/metrics"), ("/sub/", "/sub/metrics/")])
async def test_a_middleware_below_a_root_path_finds_its_path(root: str, path: str) -> None:
    """Servers and mounts prepend ``root_path``."""
    passed_on = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        passed_on.append(scope["path"])

    registry = CollectorRegistry()
    Counter("x_total", "", registry=registry).inc()
    found = []

    async def send(message: Any) -> None:
        found.append(message)

    async def receive() -> Any:
        raise AssertionError("there is nothing to read")

    middleware = asgi.MetricsMiddleware(app, registry)
    scope = {"type": "http", "method": "GET", "path": path, "root_path": root, "headers": []}
    await middleware(scope, receive, send)
    await middleware({**scope, "path": f"{root.rstrip('/')}/hello"}, receive, send)

    assert found[0]["status"] == 200
    assert passed_on == [f"{root.rstrip('/')}/hello"]


@pytest.mark.parametrize(
    ("options", "exposed"),
    [
        ({"excluded": ["secret_*"]}, {"fine"}),
        ({"excluded": ["secret.*"]}, {"fine"}),
        ({"included": ["secret_*"]}, {"secret_x"}),
        ({"included": ["secret.x"]}, {"secret_x"}),
    ],
)
async def test_patterns_match_original_and_escaped_names(
    options: dict[str, Any], exposed: set[str]
) -> None:
    """An exclusion holds for both."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(replace(family("secret.x"), utf8=True), family("fine")))
    found = await answer_to(registry, **options)
    lines = [line.split()[0] for line in found.body.decode().splitlines() if line[0] != "#"]

    assert set(lines) == exposed


@pytest.mark.parametrize("path", ["/metrics?x=1", "/m#x", "/%41", "/a//b", "/a b", "/ä", "//"])
async def test_paths_that_no_client_could_request_raise(path: str) -> None:
    """Only characters that URLs do not escape are allowed."""
    with pytest.raises(ValueError, match="path"):
        Service().add_endpoint(path)
    with pytest.raises(ValueError, match="metrics_url must be a path"):
        await Service().start("127.0.0.1", metrics_url=path)


async def test_a_host_name_without_idna_form_fails_the_start() -> None:
    """Like any address that cannot be bound."""
    with pytest.raises(ServiceStartError, match=r"a\.\.b:0"):
        await Service().start("a..b")


def test_credentials_of_a_wrong_type_raise() -> None:
    """In the constructor, not at the first scrape."""
    with pytest.raises(TypeError, match="auth must be BasicAuth or BearerAuth, not str"):
        Service(auth="nope")  # type: ignore[arg-type]


def test_the_timeout_of_a_blocking_scrape_may_be_infinite() -> None:
    """Though no lock accepts an infinite timeout."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("y")))
    with Scraper(registry, timeout=float("inf")).scrape_blocking(ScrapeRequest()) as response:
        assert b"y 1" in b"".join(response.pieces_blocking())


def test_units_that_need_escaping_are_dropped() -> None:
    """Prometheus compares them with the escaped name, and rejects the whole response."""
    families = [replace(family('x_a"b', unit='a"b'), utf8=True), family("y_s", unit="s")]
    body = b"".join(OpenMetricsFormatter().encode(families))

    assert b"# UNIT y_s s\n" in body
    assert body.count(b"# UNIT") == 1
