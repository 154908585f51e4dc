"""The places of an endpoint: who gets one, and who loses it."""

from __future__ import annotations

import asyncio
import math
import socket
from contextlib import ExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from oracles import DEADLINE, until
from otel_aioprom import asgi
from otel_aioprom.collectors import Counter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service import Service
from otel_aioprom.service.places import Place, Places
from served import running


class FakeReader:
    """A client that has read nothing for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_cut = False

    def waiting(self) -> float:
        """Return the seconds."""
        return self.seconds

    def cut(self) -> None:
        """Note it."""
        self.is_cut = True


def taken_by(places: Places, stack: ExitStack, *readers: FakeReader | None) -> list[Place]:
    """Places of requests whose clients are these; ``None`` where nothing is sent yet."""
    taken = []
    for reader in readers:
        place = stack.enter_context(places.place())
        place.reader = reader
        taken.append(place)
    return taken


async def test_a_free_place_costs_nobody_his() -> None:
    """Whoever else waits for its client."""
    places, slow = Places(2), FakeReader(9)
    with ExitStack() as stack:
        *_, own = taken_by(places, stack, slow, None)

        assert await places.admit(own)
        assert not slow.is_cut
    assert places.busy.value == 0


async def test_the_client_that_reads_nothing_for_longest_loses_its_place() -> None:
    """At once; what counts is how long the current wait has taken."""
    places, readers = Places(3), [FakeReader(3), FakeReader(9), FakeReader(-math.inf)]
    with ExitStack() as stack:
        *_, own = taken_by(places, stack, *readers, None)

        assert await places.admit(own)
        assert [each.is_cut for each in readers] == [False, True, False]
        assert places.busy.value == 3
    assert places.busy.value == 0


async def test_nobody_loses_his_place_while_his_response_is_made() -> None:
    """The further request is refused at once."""
    places = Places(2)
    with ExitStack() as stack:
        *_, own = taken_by(places, stack, None, FakeReader(-math.inf), None)

        assert not await places.admit(own)
        assert places.busy.value == 3
    assert places.busy.value == 0


async def test_a_client_has_a_moment_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the further request waits; a place that becomes free meanwhile is its own."""
    monkeypatch.setattr("otel_aioprom.service.places._GRACE", DEADLINE / 100)
    places, slow = Places(1), FakeReader(0.0)
    with ExitStack() as stack:
        first, own = taken_by(places, stack, slow, None)
        waiting = asyncio.create_task(places.admit(own))
        await until(lambda: places.busy.value == 1)
        slow.seconds = DEADLINE
        assert await asyncio.wait_for(waiting, DEADLINE)
        assert slow.is_cut
        assert not first._taken

    with ExitStack() as stack:
        first, own = taken_by(places, stack, slow := FakeReader(0.0), None)
        waiting = asyncio.create_task(places.admit(own))
        await until(lambda: places.busy.value == 1)
        first.leave()
        assert await asyncio.wait_for(waiting, DEADLINE)
        assert not slow.is_cut


async def test_nobody_waits_for_a_place_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every client has just begun not to read, again and again."""
    monkeypatch.setattr("otel_aioprom.service.places._GRACE", 0.01)
    monkeypatch.setattr("otel_aioprom.service.places._QUEUE", 0.1)
    places = Places(1)
    with ExitStack() as stack:
        _, own = taken_by(places, stack, FakeReader(0.0), None)

        assert not await asyncio.wait_for(places.admit(own), DEADLINE)
        assert places.busy.value == 2


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry whose response is larger than small buffers."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "What.", registry=registry)
    for number in range(4000):
        counter.inc({"path": f"/items/{number}", "pad": "x" * 100})
    return registry


def deaf_client(port: int) -> socket.socket:
    """A client that asks and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


async def test_clients_that_read_nothing_keep_no_scraper_out(registry: CollectorRegistry) -> None:
    """As many of them as there are places, and as many again after each scrape."""
    service = Service(registry, max_concurrent=4, send_timeout=None, self_metrics=False)
    statuses = []
    clients: list[socket.socket] = []
    async with service.running("127.0.0.1"):
        [opened] = service._sockets
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        port = int(service.base_url.rpartition(":")[2])
        for _ in range(4):
            while len(clients) < 4 * (len(statuses) + 1):
                clients.append(await asyncio.to_thread(deaf_client, port))
            async with aiohttp.ClientSession() as session, session.get(service.metrics_url) as got:
                statuses.append(got.status)
                assert len(await got.read()) > 400_000
        assert service._scraper._busy.value <= 4
        for client in clients:
            client.close()

    assert statuses == [200] * 4
    assert 'cause="slow_reader"' in render(registry)[0].decode()


async def test_asgi_clients_that_read_nothing_keep_no_scraper_out(
    registry: CollectorRegistry,
) -> None:
    """The application returns early for them, so that the server closes their connections."""
    app = asgi.MetricsApp(registry, max_concurrent=1, send_timeout=None)
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    reached = asyncio.Event()
    statuses = []

    async def hang(message: Any) -> None:
        if message["type"] == "http.response.body":
            reached.set()
            await asyncio.Event().wait()

    async def take(message: Any) -> None:
        statuses.append(message.get("status"))

    async def receive() -> Any:
        await asyncio.Event().wait()

    deaf = asyncio.create_task(app(scope, receive, hang))
    await asyncio.wait_for(reached.wait(), DEADLINE)
    await asyncio.wait_for(app(scope, receive, take), DEADLINE)
    await asyncio.wait_for(deaf, DEADLINE)

    assert statuses[0] == 200
    assert app._scraper._busy.value == 0


async def test_an_application_that_takes_long_costs_no_client_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it does in ``on_response_prepare`` is not the client's time; the further request is refused."""
    monkeypatch.setattr("otel_aioprom.service.places._GRACE", 0.01)
    prepared, go = asyncio.Event(), asyncio.Event()

    async def prepare(_: web.BaseRequest, response: web.StreamResponse) -> None:
        if response.status == 200:
            prepared.set()
            await go.wait()

    registry = CollectorRegistry()
    large = Counter("x_total", "What.", registry=registry)  # a small page has no place
    for number in range(5000):
        large.inc({"number": number, "filler": "f" * 20})
    app = web.Application()
    app.router.add_get("/m", Service(registry, max_concurrent=1).handle_metrics)
    app.on_response_prepare.append(prepare)
    timeout = aiohttp.ClientTimeout(DEADLINE)
    async with running(app) as url, aiohttp.ClientSession(timeout=timeout) as session:

        async def status() -> int:
            headers = {"Accept-Encoding": "identity"}
            async with session.get(f"{url}/m", headers=headers) as response:
                await response.read()
                return response.status

        first = asyncio.create_task(status())
        await asyncio.wait_for(prepared.wait(), DEADLINE)
        await asyncio.sleep(0.02)
        assert await status() == 503
        go.set()
        assert await first == 200
