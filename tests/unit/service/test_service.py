"""The aiohttp service: start, requests, stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from oracles import DEADLINE, HeldSource, family, until
from otel_aioprom.collectors import Counter
from otel_aioprom.errors import ServiceNotRunningError, ServiceStartError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service import Service, ThreadedService
from otel_aioprom.service.sockets import open_sockets
from processes import free_port


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with one counter."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    return registry


def big_registry(series: int = 20_000) -> CollectorRegistry:
    """A registry whose response takes many writes."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "What.", registry=registry)
    for number in range(series):
        counter.inc({"path": f"/items/{number}/details", "method": "GET"})
    return registry


async def test_a_large_body_is_streamed() -> None:
    """In chunks; it equals the body of ``render``."""
    registry = big_registry()
    async with (
        Service(registry, self_metrics=False).running(addr="127.0.0.1") as service,
        aiohttp.ClientSession() as session,
        session.get(service.metrics_url, headers={"Accept-Encoding": "identity"}) as response,
    ):
        body = await response.read()

    assert response.headers["Transfer-Encoding"] == "chunked"
    assert body == render(registry)[0]


async def test_a_small_body_has_a_content_length(registry: CollectorRegistry) -> None:
    """It is sent in one write."""
    async with (
        Service(registry, self_metrics=False).running(addr="127.0.0.1") as service,
        aiohttp.ClientSession() as session,
        session.get(service.metrics_url, headers={"Accept-Encoding": "identity"}) as response,
    ):
        assert response.headers["Content-Length"] == str(len(render(registry)[0]))


async def test_an_http_1_0_client_gets_the_whole_body() -> None:
    """HTTP/1.0 has no chunked encoding: the end of the connection ends the body."""
    registry = big_registry()
    async with Service(registry, self_metrics=False).running(addr="127.0.0.1") as service:
        port = int(service.base_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()

    assert answer.partition(b"\r\n\r\n")[2] == render(registry)[0]


async def test_e60_methods_and_slashes(registry: CollectorRegistry) -> None:
    """The path works with and without a slash at the end; methods other than GET and HEAD are 405."""
    async with (
        Service(registry).running(addr="127.0.0.1", metrics_url="/deep/metrics") as service,
        aiohttp.ClientSession() as session,
    ):
        statuses = {}
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            for url in (service.metrics_url, f"{service.metrics_url}/"):
                async with session.request(method, url) as response:
                    statuses[method, url.endswith("/")] = response.status
        async with session.get(f"{service.base_url}/elsewhere") as response:
            elsewhere = response.status

    refused = {method for (method, _), status in statuses.items() if status == 405}
    assert refused == {"POST", "PUT", "DELETE", "OPTIONS"}
    assert {status for status in statuses.values() if status != 405} == {200}
    assert elsewhere == 404


@pytest.mark.parametrize("url", ["", "/", "metrics", "http://x/metrics"])
async def test_invalid_metrics_urls_raise(registry: CollectorRegistry, url: str) -> None:
    """The service is not started."""
    service = Service(registry)
    with pytest.raises(ValueError, match="must be a path"):
        await service.start(addr="127.0.0.1", metrics_url=url)
    with pytest.raises(TypeError, match="must be a path"):
        await service.start(metrics_url=None)  # type: ignore[arg-type]
    with pytest.raises(ServiceNotRunningError):
        _ = service.base_url


async def test_urls_have_a_usable_host(registry: CollectorRegistry) -> None:
    """A loopback address instead of a wildcard."""
    for addr in ("", "0.0.0.0", "127.0.0.1", "localhost"):  # noqa: S104 - a wildcard on purpose
        async with (
            Service(registry).running(addr=addr) as service,
            aiohttp.ClientSession() as session,
            session.get(service.metrics_url) as response,
        ):
            assert response.status == 200


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_ipv6_addresses_are_in_brackets(registry: CollectorRegistry) -> None:
    """As in any URL."""
    async with Service(registry).running(addr="::1") as service:
        assert service.base_url.startswith("http://[::1]:")


async def test_a_taken_port_raises_service_start_error(registry: CollectorRegistry) -> None:
    """An ``OSError`` too; the service can be started on another port."""
    async with Service(registry, self_metrics=False).running(addr="127.0.0.1") as first:
        port = int(first.base_url.rpartition(":")[2])
        second = Service(registry)
        with pytest.raises(ServiceStartError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            await second.start(addr="127.0.0.1", port=port)
        async with second.running(addr="127.0.0.1"):
            pass

    assert isinstance(caught.value, OSError)
    assert caught.value.address == f"127.0.0.1:{port}"
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_port_out_of_range_raises_service_start_error(registry: CollectorRegistry) -> None:
    """Not the ``OverflowError`` of the socket."""
    with pytest.raises(ServiceStartError):
        await Service(registry).start(addr="127.0.0.1", port=70_000)


async def test_a_failed_start_leaves_no_socket_open(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it fails after the sockets were bound, with an error of aiohttp."""
    bound: list[int] = []

    async def broken(site: web.SockSite) -> None:
        bound.append(site._sock.fileno())
        raise RuntimeError("no")

    monkeypatch.setattr(web.SockSite, "start", broken)
    service = Service(registry)
    with pytest.raises(RuntimeError, match="no"):
        await service.start(addr="127.0.0.1")

    assert bound
    with pytest.raises(ServiceNotRunningError):
        _ = service.base_url


async def test_stop_waits_for_a_start(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the start is: afterwards nothing listens, and the service can be started again."""
    go, opening = asyncio.Event(), asyncio.Event()

    async def held(addr: str, port: int) -> list[socket.socket]:
        opening.set()
        await go.wait()
        return await open_sockets(addr, port)

    monkeypatch.setattr("otel_aioprom.service.service.open_sockets", held)
    port = free_port()
    service = Service(registry)
    starting = asyncio.create_task(service.start("127.0.0.1", port))
    await asyncio.wait_for(opening.wait(), DEADLINE)
    stopping = [asyncio.create_task(service.stop()) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.wait_for(asyncio.gather(starting, *stopping), DEADLINE)

    with pytest.raises(ServiceNotRunningError):
        _ = service.base_url
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    for iterations in range(30):
        starting = asyncio.create_task(service.start("127.0.0.1", port))
        for _ in range(iterations):
            await asyncio.sleep(0)
        await service.stop()
        await starting
        await service.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_stop_does_nothing_for_a_start_that_failed(registry: CollectorRegistry) -> None:
    """It waits for the failure."""
    service = Service(registry)
    starting = asyncio.create_task(service.start("no.such.host.invalid"))
    await asyncio.sleep(0)
    await asyncio.wait_for(service.stop(), DEADLINE)

    with pytest.raises(ServiceStartError):
        await starting


@pytest.mark.parametrize("port", ["80", None, 1.5, True, b"80"])
async def test_a_port_that_is_no_number_raises(registry: CollectorRegistry, port: Any) -> None:
    """Before anything is opened."""
    with pytest.raises(TypeError, match="port must be an int"):
        await Service(registry).start("127.0.0.1", port)
    with pytest.raises(TypeError, match="port must be an int"):
        ThreadedService(registry).start("127.0.0.1", port)


async def test_stop_waits_for_scrapes_in_flight(registry: CollectorRegistry) -> None:
    """Those that end in time are complete."""
    source = HeldSource(family("y"))
    registry.add_source(source)
    service = Service(registry)
    await service.start(addr="127.0.0.1")
    async with aiohttp.ClientSession() as session:
        scrape = asyncio.create_task(session.get(service.metrics_url))
        await source.wait_begun()
        stop = asyncio.create_task(service.stop(DEADLINE))
        await asyncio.sleep(0)
        source.go.release()
        response = await scrape
        body = await response.text()
        await stop

    assert "y 1" in body
    await service.stop()  # idempotent


async def test_stop_cancels_scrapes_after_the_wait_duration(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A hanging source does not delay it further."""
    source = HeldSource(family("y"))
    registry.add_source(source)
    service = Service(registry)
    await service.start(addr="127.0.0.1")
    with caplog.at_level(logging.INFO, logger="otel_aioprom.service.service"):
        async with aiohttp.ClientSession() as session:
            scrape = asyncio.create_task(session.get(service.metrics_url))
            await source.wait_begun()
            await asyncio.wait_for(service.stop(wait_duration=0.05), DEADLINE)
            with pytest.raises(aiohttp.ClientError):
                await scrape
    source.go.release()

    assert "are cancelled after" in caplog.text


async def test_a_client_may_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    """No error is logged, no task is left, and the next client is served."""
    registry = big_registry(100_000)
    caplog.clear()  # of the warning about many series
    async with Service(registry, self_metrics=False).running(addr="127.0.0.1") as service:
        port = int(service.base_url.rpartition(":")[2])
        before = len(asyncio.all_tasks())
        with caplog.at_level(logging.DEBUG, logger="otel_aioprom.service.aiohttp_response"):
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                await asyncio.wait_for(reader.read(100), DEADLINE)
                writer.transport.abort()
        await until(lambda: not service._in_flight)
        async with aiohttp.ClientSession() as session, session.get(service.metrics_url) as response:
            body = await response.read()

    assert body == render(registry)[0]
    assert "went away" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(asyncio.all_tasks()) <= before


async def test_the_handler_works_in_a_mounted_application(registry: CollectorRegistry) -> None:
    """Below a prefix and behind a middleware; the service is not started."""
    seen: list[str] = []

    @web.middleware
    async def note(request: web.Request, handler: object) -> web.StreamResponse:
        seen.append(request.path)
        response: web.StreamResponse = await handler(request)  # type: ignore[operator]
        return response

    inner, outer = web.Application(), web.Application(middlewares=[note])
    service = Service(registry)
    inner.router.add_get("/metrics", service.handle_metrics)
    outer.add_subapp("/admin", inner)
    async with TestClient(TestServer(outer)) as client:
        response = await client.get("/admin/metrics")
        text = await response.text()

    assert "x_total 1" in text
    assert seen == ["/admin/metrics"]


PROGRAM = """
import asyncio, os, socket, stat
from otel_aioprom.collectors import Counter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service import Service, service as module

start, stop_accepting = module.web.SockSite.start, module.stop_accepting
CLIENT = socket.socket()

def sockets():
    for name in os.listdir("/proc/self/fd"):
        try:
            is_socket = stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode)
        except OSError:
            continue
        if is_socket and int(name) != CLIENT.fileno():
            with socket.socket(fileno=os.dup(int(name))) as copy:
                if copy.family == socket.AF_INET:
                    yield name

def fork(moment):
    if os.fork() == 0:
        print(moment, [*sockets()], flush=True)
        os._exit(0)
    os.wait()

async def start_and_fork(site):
    await start(site)
    fork("starts")

async def stop_and_fork(opened):
    await stop_accepting(opened)
    fork("stops")

async def main():
    module.web.SockSite.start, module.stop_accepting = start_and_fork, stop_and_fork
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    async with Service(registry).running("127.0.0.1") as service:
        CLIENT.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(CLIENT, ("127.0.0.1", int(service.base_url.rpartition(":")[2])))
        await loop.sock_sendall(CLIENT, b"GET /metrics HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        await loop.sock_recv(CLIENT, 10)
        fork("runs")

asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
def test_a_child_has_no_socket_of_a_service_that_starts_or_stops() -> None:
    """Nor of one that runs: neither the port nor the connections outlive the parent."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=DEADLINE * 3,
        check=False,
    )

    assert ran.stdout.splitlines() == ["starts []", "runs []", "stops []"], ran.stderr
