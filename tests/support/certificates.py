"""Certificates for tests, created by the openssl program."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

SANS = "DNS:localhost,IP:127.0.0.1"


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path


def openssl(*arguments: str | Path) -> None:
    """Run the program; without it, the test is skipped."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, timeout=60)


def make_pair(folder: Path, name: str, sans: str = SANS, issuer: Pair | None = None) -> Pair:
    """Create a certificate with elliptic keys, which are fast; without an issuer it is self-signed."""
    made = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    what = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={sans}", "-keyout", made.key]
    if issuer is None:
        openssl("req", "-x509", *kind, *what, "-days", "2", "-out", made.certificate)
        return made
    request, names = folder / f"{name}.csr", folder / f"{name}.ext"
    names.write_text(f"subjectAltName={sans}\n")
    openssl("req", "-new", *kind, *what, "-out", request)
    signed_by = ["-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial", "-days", "2"]
    openssl("x509", "-req", "-in", request, *signed_by, "-extfile", names, "-out", made.certificate)
    return made


def client_context(trusted: Pair, own: Pair | None = None) -> ssl.SSLContext:
    """The SSL context of a client that trusts a certificate, with a client certificate if it has one."""
    context = ssl.create_default_context(cafile=str(trusted.certificate))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Connect both in memory, as asyncio does over sockets.

    Returns:
        The client's side.

    Raises:
        ssl.SSLError: One side refuses the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(sides)
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
        if not waiting:
            return sides[0]
    raise AssertionError("the handshake does not end")


def common_name(side: ssl.SSLObject) -> str:
    """Common name of the peer's certificate."""
    subject = dict(pairs[0] for pairs in (side.getpeercert() or {})["subject"])
    return str(subject["commonName"])


def server_context(pair: Pair) -> ssl.SSLContext:
    """The SSL context of a server with a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context
