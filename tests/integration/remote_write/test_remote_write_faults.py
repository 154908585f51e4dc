"""Faults of a real Prometheus that takes remote writes: down, restarted, guarded, refusing."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from certificates import client_context, make_pair
from otel_aioprom._transport.credentials import BasicAuth
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.writer import RemoteWriter
from prometheus import PrometheusServer

pytestmark = pytest.mark.integration
WAIT = 30.0
RECEIVES = "--web.enable-remote-write-receiver"


def gauge_of(name: str) -> tuple[CollectorRegistry, Gauge]:
    """A registry with one gauge."""
    registry = CollectorRegistry()
    return registry, Gauge(name, "A value.", registry=registry)


@pytest.fixture
def server() -> Iterator[PrometheusServer]:
    """A Prometheus that is not running yet."""
    made = PrometheusServer("prometheus3", [], flags=[RECEIVES])
    yield made
    made.stop()


async def test_down_at_the_start_and_restarted_in_the_middle(
    server: PrometheusServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every sample that was written is there in the end, in order, whether from memory or from disk."""
    caplog.set_level(logging.INFO, "otel_aioprom.remote_write")
    registry, value = gauge_of("value")
    url = f"{server.url}/api/v1/write"
    async with RemoteWriter(url, spool=tmp_path / "spool") as writer:
        for number in range(5):
            value.set({}, number)
            await writer.write(registry)
        assert not await writer.flush(0.1)
        await asyncio.to_thread(server.start)
        assert await writer.flush(WAIT)
        await asyncio.to_thread(server.halt)
        for number in range(5, 10):
            value.set({}, number)
            await writer.write(registry)
        assert not await writer.flush(0.1)
        await asyncio.to_thread(server.start)
        assert await writer.flush(WAIT)

    assert [point.value for point in server.points("value")] == list(range(10))
    assert server.warnings() == []
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]  # of a server that flaps, no more than that for a while


async def test_rejected_samples_are_logged_and_the_rest_is_sent(
    server: PrometheusServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Samples of two hours ago are out of its bounds; those of now arrive."""
    await asyncio.to_thread(server.start)
    registry, value = gauge_of("value")
    async with RemoteWriter(f"{server.url}/api/v1/write") as writer:
        value.set({}, 1)
        await writer.write(registry)
        assert await writer.flush(WAIT)
        moment = writer._next_timestamp
        writer._next_timestamp = lambda: moment() - 2 * 3_600_000  # type: ignore[method-assign]
        value.set({}, 2)
        await writer.write(registry)
        assert await writer.flush(WAIT)
        writer._next_timestamp = moment  # type: ignore[method-assign]
        value.set({}, 3)
        await writer.write(registry)
        assert await writer.flush(WAIT)

    assert [point.value for point in server.points("value")] == [1, 3]
    assert "out of bounds" in caplog.text
    refused = registry.pushes.samples.get(
        {"destination": writer._destination, "outcome": "refused"}
    )
    assert refused >= 1


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[PrometheusServer, ssl.SSLContext]]:
    """One with TLS and authentication."""
    pair = make_pair(tmp_path, "prometheus")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(
        f"tls_server_config: {{cert_file: '{pair.certificate}', key_file: '{pair.key}'}}\n"
        f"basic_auth_users: {{ann: '{hashed}'}}\n"
    )
    flags = [RECEIVES, f"--web.config.file={tmp_path / 'web.yml'}"]
    server = PrometheusServer("prometheus3", [], flags=flags)
    server._is_ready = lambda: "Server is ready" in server.log()  # type: ignore[method-assign]
    server.start()
    yield server, client_context(pair)
    server.stop()


async def test_wrong_credentials_and_wrong_certificates(
    guarded: tuple[PrometheusServer, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    """One clear line each, and what it has cost; with the right ones it arrives."""
    server, context = guarded
    url = server.url.replace("http:", "https:") + "/api/v1/write"
    registry, value = gauge_of("value")
    value.set({}, 1)
    found = []
    for password, trusted in (("wrong", context), ("secret", None), ("secret", context)):
        caplog.clear()
        writer = RemoteWriter(
            url,
            auth=BasicAuth("ann", password),
            ssl=trusted if trusted is not None else True,
            flush_timeout=1.0,
        )
        async with writer:
            await writer.write(registry)
            arrived = await writer.flush(2.0)
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
        found.append((arrived, [each.getMessage() for each in warnings]))
    (_, wrong), (untrusted_arrived, untrusted), (right_arrived, right) = found

    assert "status 401" in "".join(wrong)
    assert "1 samples are lost" in wrong[-1]
    assert len(wrong) == 2
    assert not untrusted_arrived
    assert "certificate verify failed" in "".join(untrusted)
    assert len(untrusted) == 1
    assert right_arrived
    assert right == []
