"""HTTPS with an SSL context, client certificates, and a web configuration."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from certificates import Pair, client_context, make_pair, openssl
from oracles import DEADLINE
from otel_aioprom import CollectorRegistry, Counter, Service


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with a counter."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    return registry


@pytest.fixture
def server(tmp_path: Path) -> Pair:
    """A self-signed certificate for localhost."""
    return make_pair(tmp_path, "server")


@pytest.fixture
def authority(tmp_path: Path) -> Pair:
    """The authority that signs client certificates."""
    return make_pair(tmp_path, "authority", sans="DNS:authority")


async def scrape(service: Service, context: ssl.SSLContext) -> tuple[int, str]:
    """Status and body."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(service.metrics_url, ssl=context) as response,
    ):
        return response.status, await response.text()


async def test_a_service_serves_https(registry: CollectorRegistry, server: Pair) -> None:
    """The URL has the scheme, and clients that trust the certificate get the metrics."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server.certificate, server.key)
    async with Service(registry).running(addr="127.0.0.1", ssl=context) as service:
        status, body = await scrape(service, client_context(server))

        assert service.metrics_url.startswith("https://127.0.0.1:")
        assert status == 200
        assert "x_total 1" in body
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await scrape(service, ssl.create_default_context())


def expired(folder: Path, authority: Pair) -> Pair:
    """An expired certificate."""
    pair = make_pair(folder, "expired", issuer=authority)
    signed_by = ["-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial"]
    openssl(
        *("x509", "-req", "-in", folder / "expired.csr", *signed_by),
        *("-days", "0", "-out", pair.certificate),
    )
    return pair


# On Python 3.10, a client's transport is not closed after a failed handshake.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["none", "another one", "expired"])
async def test_only_clients_with_a_valid_certificate_connect(
    registry: CollectorRegistry, server: Pair, authority: Pair, tmp_path: Path, kind: str
) -> None:
    """The handshake of others fails, without effect on the rest."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.load_cert_chain(server.certificate, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    # From Python 3.13 on, the default requires extensions that the openssl program does not write.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    bad = {
        "none": lambda: None,
        "another one": lambda: make_pair(tmp_path, "other"),
        "expired": lambda: expired(tmp_path, authority),
    }[kind]()
    good = make_pair(tmp_path, "client", issuer=authority)
    await asyncio.sleep(1 if kind == "expired" else 0)  # it expires in the second of its creation
    async with Service(registry).running(addr="127.0.0.1", ssl=context) as service:
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(scrape(service, client_context(server, bad)), DEADLINE)
        status, _ = await scrape(service, client_context(server, good))

    assert status == 200


async def test_certificates_of_a_web_configuration_are_reloaded(
    registry: CollectorRegistry,
    server: Pair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New connections get a new certificate, without a restart."""
    monkeypatch.setattr("otel_aioprom.service.service._REFRESH", 0.02)
    config = tmp_path / "web.yml"
    config.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    async with Service(registry, web_config=config).running(addr="127.0.0.1") as service:
        assert (await scrape(service, client_context(server)))[0] == 200
        renewed = make_pair(tmp_path, "renewed")
        renewed.key.replace(server.key)
        renewed.certificate.replace(server.certificate)
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while True:
            try:
                status, _ = await scrape(service, client_context(server))
                break
            except aiohttp.ClientConnectorCertificateError:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.02)

    assert status == 200


async def test_a_context_and_certificates_of_a_web_configuration_conflict(
    server: Pair, tmp_path: Path
) -> None:
    """``start`` raises."""
    config = tmp_path / "web.yml"
    config.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    service = Service(web_config=config)

    with pytest.raises(ValueError, match="leave ssl out"):
        await service.start(addr="127.0.0.1", ssl=context)
