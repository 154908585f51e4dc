"""Faults of real gateways: down, restarted, frozen, guarded."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from certificates import make_pair
from otel_aioprom._transport.credentials import BasicAuth
from otel_aioprom._transport.retry import Retry
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import PushError
from otel_aioprom.pusher import Pusher
from otel_aioprom.registry import CollectorRegistry
from processes import wait_until
from pushgateway import VERSIONS, Pushgateway

pytestmark = pytest.mark.integration
PATIENT = Retry(attempts=200, total=30, first_wait=0.05, longest_wait=0.1)


def gauge_of(value: float) -> CollectorRegistry:
    """A registry with one sample."""
    registry = CollectorRegistry()
    Gauge("value", "A value.", registry=registry).set({}, value)
    return registry


async def test_a_gateway_that_is_down_at_the_start_is_waited_for() -> None:
    """As long as the retries allow; a single call without them says so at once."""
    gateway = Pushgateway(VERSIONS[-1])
    pusher = Pusher("late", gateway.url)
    with pytest.raises(PushError, match="no response"):
        await pusher.replace(gauge_of(1))
    pushing = asyncio.create_task(pusher.replace(gauge_of(2), retry=PATIENT))
    await asyncio.to_thread(gateway.start)
    try:
        response = await pushing
        found = gateway.samples(job="late")
    finally:
        gateway.stop()

    assert response.status == 200
    assert found["value"] == {(): 2}


async def test_a_restart_in_the_middle_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A line when pushes begin to fail, one when they work again, and the last values are there."""
    caplog.set_level(logging.INFO, "otel_aioprom._concurrency.periodic")
    registry = CollectorRegistry()
    value = Gauge("value", "A value.", registry=registry)
    value.set({}, 1)
    with Pushgateway(VERSIONS[-1]) as gateway:
        requests = registry.pushes.requests
        arrived = {"destination": gateway.url, "code": "200"}
        failed = {"destination": gateway.url, "code": "error"}
        pusher = Pusher("run", gateway.url, retry=Retry(attempts=2, first_wait=0.01))
        async with pusher.running(registry, interval=0.05):
            await _until(lambda: _count(requests, arrived) >= 1)
            await asyncio.to_thread(gateway.halt)
            await _until(lambda: _count(requests, failed) >= 2)
            value.set({}, 2)
            await asyncio.to_thread(gateway.start)
            before = _count(requests, arrived)
            await _until(lambda: _count(requests, arrived) > before)
        found = gateway.samples(job="run")

    assert found["value"] == {(): 2}
    messages = [record.getMessage() for record in caplog.records]
    assert [" fail: " in message for message in messages] == [True, False]
    assert "work again" in messages[1]


async def test_a_gateway_that_does_not_respond_times_out() -> None:
    """And tried again."""
    with Pushgateway(VERSIONS[-1]) as gateway:
        pusher = Pusher("slow", gateway.url, timeout=0.2)
        gateway.freeze()
        try:
            with pytest.raises(PushError, match="timed out"):
                await pusher.replace(gauge_of(2))
            pushing = asyncio.create_task(pusher.replace(gauge_of(2), retry=PATIENT))
            await asyncio.sleep(0.3)
        finally:
            gateway.thaw()
        response = await pushing
        found = gateway.samples(job="slow")

    assert response.status == 200
    assert found["value"] == {(): 2}


@pytest.fixture(scope="module", params=VERSIONS)
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pushgateway, Path]]:
    """A gateway with TLS and a password, and the folder of its certificate."""
    folder = tmp_path_factory.mktemp("guarded")
    make_pair(folder, "own")
    password = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    config = folder / "web.yml"
    config.write_text(
        f"tls_server_config:\n  cert_file: {folder}/own.crt\n  key_file: {folder}/own.key\n"
        f"basic_auth_users:\n  user: {password}\n",
        encoding="utf-8",
    )
    gateway = Pushgateway(request.param, [f"--web.config.file={config}"])
    gateway._is_ready = lambda: "Listening on" in gateway.log()  # type: ignore[method-assign]
    with gateway:
        wait_until(lambda: "TLS is enabled" in gateway.log())
        yield gateway, folder


async def test_password_and_certificate(guarded: tuple[Pushgateway, Path]) -> None:
    """The right ones pass; a wrong password is an error, and a wrong certificate is not retried."""
    gateway, folder = guarded
    url = gateway.url.replace("http://127.0.0.1", "https://localhost")
    trusted = ssl.create_default_context(cafile=str(folder / "own.crt"))
    right, wrong = BasicAuth("user", "right"), BasicAuth("user", "wrong")
    passed = await Pusher("j", url, auth=right, ssl=trusted).replace(gauge_of(1))
    refused = await Pusher("j", url, auth=wrong, ssl=trusted).replace(gauge_of(1))
    began = asyncio.get_running_loop().time()
    with pytest.raises(PushError, match="certificate") as caught:
        await Pusher("j", url, auth=right).replace(gauge_of(1), retry=PATIENT)

    assert (passed.status, refused.status, caught.value.status) == (200, 401, None)
    assert asyncio.get_running_loop().time() - began < PATIENT.total
    assert "right" not in str(caught.value)


def _count(requests: object, labels: dict[str, str]) -> float:
    try:
        return float(requests.get(labels))  # type: ignore[attr-defined]
    except KeyError:
        return 0


async def _until(predicate: object) -> None:
    end = asyncio.get_running_loop().time() + 20
    while not predicate():  # type: ignore[operator]
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)
