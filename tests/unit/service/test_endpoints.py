"""More paths, probes, credentials, headers, misbehaving clients, and self-metrics."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest

from oracles import DEADLINE, DROPPED, OWN, HeldSource, family, until
from otel_aioprom._transport.credentials import BasicAuth, BearerAuth
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.errors import ServiceError, WebConfigError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service import Service


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with two metrics."""
    registry = CollectorRegistry()
    Counter("app_requests_total", "Requests.", registry=registry).inc()
    Gauge("debug_level", "Level.", registry=registry).set({}, 3)
    return registry


@asynccontextmanager
async def client_of(service: Service, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a running service."""
    async with (
        service.running(addr="127.0.0.1", **options),
        aiohttp.ClientSession(service.base_url) as session,
    ):
        yield session


async def get(
    session: aiohttp.ClientSession, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and body."""
    async with session.get(path, headers=headers) as response:
        return response.status, await response.text()


def read(file: Path) -> str:
    """Read a file, quickly enough for an event loop."""
    return file.read_text()


def write(file: Path, text: str) -> None:
    """Write a file, quickly enough for an event loop."""
    file.write_text(text)


def basic(user: str, password: str) -> dict[str, str]:
    """The ``Authorization`` header."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def samples(text: str) -> set[str]:
    """Names of samples, but for the library's own."""
    lines = [line for line in text.splitlines() if not line.startswith(("#", OWN))]
    return {line.split("{")[0].split()[0] for line in lines}


# --- several endpoints -------------------------------------------------------------------


async def test_endpoints_expose_what_their_patterns_select(registry: CollectorRegistry) -> None:
    """Each path has its own selection of one registry, or another registry."""
    other = CollectorRegistry()
    Gauge("elsewhere", "", registry=other).set({}, 1)
    service = Service(registry, excluded=["debug_*"])
    service.add_endpoint("/metrics/debug", included=["debug_*"])
    service.add_endpoint("/other/", other)
    async with client_of(service) as session:
        found = {
            path: samples((await get(session, path))[1])
            for path in ("/metrics", "/metrics/", "/metrics/debug", "/other", "/other/")
        }
        _, page = await get(session, "/")

    assert found["/metrics"] == found["/metrics/"] == {"app_requests_total"}
    assert found["/metrics/debug"] == {"debug_level"}
    assert found["/other"] == found["/other/"] == {"elsewhere"}
    assert all(f'href="{path}"' in page for path in ("/metrics", "/metrics/debug", "/other"))


@pytest.mark.parametrize(
    "path", ["/", "", "metrics", "/-/ready", "/robots.txt", "/taken", "/taken/"]
)
def test_paths_that_cannot_be_served_raise(path: str) -> None:
    """Invalid, reserved or taken ones."""
    service = Service()
    service.add_endpoint("/taken")
    with pytest.raises(ValueError, match="path"):
        service.add_endpoint(path)


async def test_a_taken_metrics_path_raises() -> None:
    """The service does not start, and can be started with another path."""
    service = Service()
    service.add_endpoint("/metrics")
    with pytest.raises(ValueError, match="is taken"):
        await service.start(addr="127.0.0.1")
    await service.start(addr="127.0.0.1", metrics_url="/all")
    await service.stop()


async def test_endpoints_are_added_before_the_start() -> None:
    """Adding one to a running service raises."""
    async with Service().running(addr="127.0.0.1") as service:
        with pytest.raises(ServiceError, match="before the service starts"):
            service.add_endpoint("/later")


def test_unknown_options_raise() -> None:
    """The error names them."""
    with pytest.raises(TypeError, match="max_scrapes"):
        Service(max_scrapes=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="inclued"):
        Service().add_endpoint("/x", inclued=["a"])  # type: ignore[call-arg]


# --- health ------------------------------------------------------------------------------


async def test_probes_are_answered(registry: CollectorRegistry) -> None:
    """Liveness and readiness, without credentials."""
    service = Service(registry, auth=BearerAuth("t"))
    async with client_of(service) as session:
        assert await get(session, "/-/healthy") == (200, "healthy\n")
        assert await get(session, "/-/ready") == (200, "ready\n")


async def test_a_service_that_stops_is_not_ready(registry: CollectorRegistry) -> None:
    """While scrapes in flight end, open connections get 503 from the readiness probe."""
    source = HeldSource(family("y"))
    registry.add_source(source)
    service = Service(registry)
    await service.start(addr="127.0.0.1")
    async with aiohttp.ClientSession(service.base_url) as session:
        await get(session, "/-/ready")  # opens a connection that is kept
        async with aiohttp.ClientSession(service.base_url) as other:
            scrape = asyncio.create_task(get(other, "/metrics"))
            await source.wait_begun()
            stop = asyncio.create_task(service.stop(wait_duration=DEADLINE))
            await until(lambda: service._runner is None)
            answer = await get(session, "/-/ready")
            source.go.release()
            status, _ = await scrape
        await stop

    assert answer == (503, "stopping\n")
    assert status == 200


# --- credentials -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("ann", "wrong"),
        basic("bob", "secret"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!"},
        {"Authorization": "Bearer secret"},
        {"Authorization": ""},
    ],
)
async def test_wrong_credentials_are_401(
    registry: CollectorRegistry, headers: dict[str, str]
) -> None:
    """With the same body for every mistake; the page of links needs credentials too."""
    service = Service(registry, auth=BasicAuth("ann", "secret"))
    async with client_of(service) as session:
        for path in ("/metrics", "/"):
            async with session.get(path, headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
                assert await response.text() == "these metrics require credentials\n"
        assert (await get(session, "/metrics", basic("ann", "secret")))[0] == 200
        assert (await get(session, "/", basic("ann", "secret")))[0] == 200


async def test_a_token_from_a_file_is_read_again(
    registry: CollectorRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When it changes; while it cannot be read, scrapes get 503, and the reason is logged."""
    file = tmp_path / "token"
    file.write_text("first\n")
    first, second = ({"Authorization": f"Bearer {token}"} for token in ("first", "second"))
    async with client_of(Service(registry, auth=BearerAuth(token_file=file))) as session:
        assert (await get(session, "/metrics", first))[0] == 200
        file.write_text("second and longer"[:6])
        assert (await get(session, "/metrics", first))[0] == 401
        assert (await get(session, "/metrics", second))[0] == 200
        file.unlink()
        status, body = await get(session, "/metrics", second)
        assert (status, body) == (503, "credentials cannot be checked at present\n")
        assert str(file) in caplog.text
        assert str(file) not in body
        file.write_text("second")
        assert (await get(session, "/metrics", second))[0] == 200


# --- the web configuration -----------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A web configuration with a user and a header."""
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(
        f"basic_auth_users: {{ann: '{hashed}'}}\n"
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )
    return file


async def test_a_web_configuration_applies_to_every_endpoint(
    registry: CollectorRegistry, config: Path
) -> None:
    """Users and headers, for the metrics, further endpoints and the page of links."""
    service = Service(registry, web_config=config)
    service.add_endpoint("/more")
    async with client_of(service) as session:
        for path in ("/metrics", "/more", "/"):
            assert (await get(session, path))[0] == 401
            assert (await get(session, path, basic("ann", "wrong")))[0] == 401
            async with session.get(path, headers=basic("ann", "secret")) as response:
                assert response.status == 200
                assert response.headers["X-Frame-Options"] == "deny"


async def test_a_web_configuration_is_reloaded(
    registry: CollectorRegistry, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some seconds after it was changed, without a restart."""
    monkeypatch.setattr("otel_aioprom.service.service._REFRESH", 0.02)
    text = read(config)
    async with client_of(Service(registry, web_config=config)) as session:

        async def frame_options() -> str | None:
            async with session.get("/-/healthy") as response:
                return response.headers.get("X-Frame-Options")

        assert await frame_options() == "deny"
        write(config, text.replace("deny", "sameorigin"))
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while await frame_options() != "sameorigin":
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)


def test_an_invalid_web_configuration_raises(tmp_path: Path) -> None:
    """In the constructor."""
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_user: {}\n")
    with pytest.raises(WebConfigError, match="basic_auth_users"):
        Service(web_config=file)


def test_users_and_the_option_auth_conflict(config: Path) -> None:
    """The web configuration and the option cannot both have credentials."""
    with pytest.raises(ValueError, match="leave the option auth out"):
        Service(web_config=config, auth=BearerAuth("t"))


# --- misbehaving clients -------------------------------------------------------------------


def port_of(service: Service) -> int:
    """The port it listens on."""
    return int(service.base_url.rpartition(":")[2])


async def test_a_client_that_stops_reading_is_disconnected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After ``send_timeout``, which frees its slot and is counted."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "", registry=registry)
    for number in range(100_000):
        counter.inc({"number": number, "pad": "x" * 100})
    async with Service(registry, send_timeout=0.2, max_concurrent=1).running(
        "127.0.0.1"
    ) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service), limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: service._in_flight == 1)
        await until(lambda: service._in_flight == 0)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()
        async with aiohttp.ClientSession(service.base_url) as session:
            status, text = await get(session, "/metrics?name[]=" + DROPPED)

    assert status == 200
    assert f'{DROPPED}{{cause="slow_reader"}} 1\n' in text
    assert "Traceback" not in caplog.text


async def test_scrapes_above_max_concurrent_are_503(registry: CollectorRegistry) -> None:
    """With ``Retry-After``; once a slot is free, they are served."""
    source = HeldSource(family("y"))
    registry.add_source(source)
    service = Service(registry, max_concurrent=2)
    async with client_of(service) as session:
        in_flight = [asyncio.create_task(get(session, "/metrics")) for _ in range(2)]
        await until(lambda: service._in_flight == 2)
        async with session.get("/metrics") as response:
            refused, headers = response.status, response.headers
        source.go.release(4)
        served = [await task for task in in_flight]
        later, _ = await get(session, "/metrics")

    assert refused == 503
    assert headers["Retry-After"] == "1"
    assert [status for status, _ in served] == [200, 200]
    assert later == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", b"400"),
        (b"GET /metrics?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET /unknown HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"GET /unknown HTTP/1.1\r\nHost: x\r\nExpect: \x91\r\n\r\n", b"404"),
        (b"CONNECT /-/healthy HTTP/1.1\r\nHost: x\r\nExpect: \x91\r\n\r\n", b"404"),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: \x91\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", b"405"),
        (b"PATCH /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"POST /-/ready HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"405"),
    ],
)
async def test_malformed_requests_are_4xx(
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    request_bytes: bytes,
    status: bytes,
) -> None:
    """Nothing is logged above ``DEBUG``, and the next client is served."""
    async with Service(registry).running("127.0.0.1") as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(request_bytes)
        line = await asyncio.wait_for(reader.readline(), DEADLINE)
        writer.close()
        async with aiohttp.ClientSession(service.base_url) as session:
            served, _ = await get(session, "/metrics")

    assert line.split()[1] == status
    assert served == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_body_of_a_request_is_not_awaited(registry: CollectorRegistry) -> None:
    """The response is sent at once, and the connection is closed."""
    async with Service(registry).running("127.0.0.1") as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")
    assert render(registry)[0].splitlines()[0] in answer


# --- self-metrics ----------------------------------------------------------------------------


async def test_scrapes_are_measured(registry: CollectorRegistry) -> None:
    """Count, duration and bytes, by status and format."""
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    service = Service(registry)
    async with client_of(service, metrics_url="/m") as session:
        first = await get(session, "/m", {"Accept-Encoding": "identity"})
        await get(session, "/m", accept)
        async with session.post("/m") as response:
            assert response.status == 405
        await until(lambda: not service._in_flight)
        _, text = await get(session, "/m")

    assert OWN not in first[1]
    own = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in text.splitlines()}
    kind = 'format="PrometheusText0.0.4"'
    assert own[f'{OWN}scrapes_total{{code="200",{kind}}}'] == "1"
    assert own[f'{OWN}scrapes_total{{code="200",format="OpenMetricsText1.0.0"}}'] == "1"
    assert own[f'{OWN}scrapes_total{{code="405"}}'] == "1"
    assert own[f"{OWN}scrape_response_bytes_total{{{kind}}}"] == str(len(first[1]))
    assert own[f"{OWN}scrape_duration_seconds_count{{{kind}}}"] == "1"


async def test_self_metrics_can_be_switched_off(registry: CollectorRegistry) -> None:
    """Then a response has only the registry's own metrics."""
    async with client_of(Service(registry, self_metrics=False)) as session:
        first, second = await get(session, "/metrics"), await get(session, "/metrics")

    assert first == second
    assert OWN not in second[1]
