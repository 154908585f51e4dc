"""HTTPS with a context of the caller's."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from otel_aioprom import CollectorRegistry, Counter, Service


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that signs itself, with its key in one file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate, both = (tmp_path / name for name in ("key.pem", "cert.pem", "both.pem"))
    options = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([program, *options, *names, *files], check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    return both


async def test_a_service_speaks_https(certificate: Path) -> None:
    """The address says so, and who trusts the certificate reads the metrics."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    async with (
        Service(registry).running(addr="127.0.0.1", ssl=server) as service,
        aiohttp.ClientSession() as session,
        session.get(service.metrics_url, ssl=client) as response,
    ):
        body = await response.text()

    assert service.registry is registry
    assert str(response.url).startswith("https://127.0.0.1:")
    assert "x_total 1" in body
