"""TLS settings of a web configuration, up to the handshake."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from certificates import Pair, client_context, common_name, make_pair, openssl, shake_hands
from otel_aioprom.errors import WebConfigError
from otel_aioprom.service.web_config.config import WebConfig
from otel_aioprom.service.web_config.tls import LiveContext


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the certificates."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def server(folder: Path) -> Pair:
    """The server's certificate."""
    return make_pair(folder, "server")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Pair:
    """The authority that signs client certificates."""
    return make_pair(folder, "authority")


def context(folder: Path, **settings: Any) -> ssl.SSLContext:
    """The context of a configuration with the server's certificate and these settings."""
    files = {"cert_file": "server.crt", "key_file": "server.key"}
    tls = {key: value for key, value in {**files, **settings}.items() if value != ""}
    file = folder / "web.yml"
    file.write_text(yaml.safe_dump({"tls_server_config": tls}))
    context = WebConfig.load(file).ssl
    assert isinstance(context, LiveContext)
    return context


def current(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context that a live context delegates to."""
    assert isinstance(context, LiveContext)
    return context.current


def test_a_certificate_enables_https(folder: Path, server: Pair) -> None:
    """With TLS 1.3 by default, 1.2 at least, and HTTP/1.1; no client certificate is requested."""
    made = context(folder)
    client = client_context(server)
    client.set_alpn_protocols(["h2", "http/1.1"])
    side = shake_hands(made, client)

    assert common_name(side) == "server"
    assert side.version() == "TLSv1.3"
    assert side.selected_alpn_protocol() == "http/1.1"
    assert current(made).minimum_version == ssl.TLSVersion.TLSv1_2
    assert current(made).maximum_version == ssl.TLSVersion.TLSv1_3
    assert current(made).verify_mode == ssl.CERT_NONE
    assert current(made).options & ssl.OP_CIPHER_SERVER_PREFERENCE


async def test_it_serves_asyncio(folder: Path, server: Pair) -> None:
    """Which calls the context for each connection."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context(folder))
    port = listening.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context(server), server_hostname="localhost"
    )
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    listening.close()
    await listening.wait_closed()

    assert said == b"hello"


def test_it_is_for_asyncio_only(folder: Path, server: Pair) -> None:
    """On plain sockets, names would not be checked after the handshake."""
    with pytest.raises(NotImplementedError, match="asyncio"):
        context(folder).wrap_socket(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "where", "words"),
    [
        ({"cert_file": ""}, "cert_file", "is needed for TLS"),
        ({"key_file": ""}, "key_file", "is needed for TLS"),
        ({"key_file": None}, "key_file", "is needed for TLS"),
        ({"cert_file": "no.crt"}, "cert_file", "no.crt': No such file"),
        ({"key_file": "."}, "key_file", "not a regular file"),
        ({"key_file": "a\0b"}, "key_file", "not a valid file name"),
        ({"key_file": "authority.key"}, "cert_file", "KEY VALUES MISMATCH"),
        ({"cert_file": "web.yml"}, "cert_file", "web.yml' and"),
        ({"key_file": "locked.key"}, "cert_file", "the key is encrypted"),
        ({"cert": "PEM"}, "cert", "file and name that in cert_file"),
        ({"key": "PEM"}, "key", "file and name that in key_file"),
        ({"client_ca": "PEM"}, "client_ca", "file and name that in client_ca_file"),
        ({"cert_fil": "x"}, "cert_fil", "did you mean 'cert_file'"),
        ({"zzz": "x"}, "zzz", "known are cert_file, key_file"),
        ({"cert_file": 3}, "cert_file", "must be text, not a number"),
        ({"min_version": "TLS1.3"}, "min_version", "did you mean 'TLS13'"),
        ({"min_version": 1.2}, "min_version", "must be text, not a number"),
        ({"max_version": "SSL30"}, "max_version", "unknown"),
        ({"min_version": "TLS13", "max_version": "TLS12"}, "min_version", "above max_version"),
        ({"max_version": "TLS11"}, "min_version", "above max_version"),
        ({"cipher_suites": ["AES"]}, "cipher_suites[0]", "unknown"),
        ({"cipher_suites": "AES"}, "cipher_suites", "must be a list, not text"),
        ({"cipher_suites": [[]]}, "cipher_suites[0]", "must be text, not a list"),
        ({"cipher_suites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}, "cipher_suites[0]", "did you mean"),
        ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, "cipher_suites", "always on in TLS 1.3"),
        ({"curve_preferences": ["P256"]}, "curve_preferences[0]", "did you mean 'CurveP256'"),
        ({"prefer_server_cipher_suites": "yes"}, "prefer_server_cipher_suites", "true or false"),
        ({"client_auth_type": "Require"}, "client_auth_type", "unknown"),
        ({"client_auth_type": "RequestClientCert"}, "client_auth_type", "does not verify"),
        ({"client_auth_type": "RequireAnyClientCert"}, "client_auth_type", "does not verify"),
        ({"client_auth_type": "RequireClientCert"}, "client_auth_type", "does not verify"),
        ({"client_auth_type": "RequireAndVerifyClientCert"}, "client_auth_type", "client_ca_file"),
        ({"client_ca_file": "authority.crt"}, "client_auth_type", "client_ca_file goes with"),
        ({"client_ca_file": "no.crt"}, "client_ca_file", "No such file"),
        ({"client_allowed_sans": ["a"]}, "client_allowed_sans", "needs client_auth_type"),
    ],
)
def test_invalid_settings_raise(
    folder: Path, server: Pair, authority: Pair, settings: dict[str, Any], where: str, words: str
) -> None:
    """The error names the key and a valid value."""
    locked = ["ec", "-aes128", "-passout", "pass:x", "-in", server.key]
    openssl(*locked, "-out", folder / "locked.key")
    with pytest.raises(WebConfigError) as caught:
        context(folder, **settings)

    assert caught.value.where == f"tls_server_config.{where}"
    assert words in caught.value.reason
    assert caught.value.path == str(folder / "web.yml")


VERIFIED: dict[str, Any] = {
    "client_auth_type": "RequireAndVerifyClientCert",
    "client_ca_file": "authority.crt",
}


@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN X509 CRL-----"])
def test_invalid_authorities_raise(folder: Path, server: Pair, content: str) -> None:
    """Otherwise no client could connect."""
    (folder / "empty.crt").write_text(content)
    with pytest.raises(WebConfigError, match=r"client_ca_file: .*empty.crt' cannot be used"):
        context(folder, **{**VERIFIED, "client_ca_file": "empty.crt"})


def test_a_revocation_list_is_no_authority(folder: Path, server: Pair, authority: Pair) -> None:
    """OpenSSL loads it without an error."""
    config = folder / "ca.cnf"
    (folder / "index.txt").write_text("")
    config.write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\ndefault_md=sha256\n")
    signer = ["-cert", authority.certificate, "-keyfile", authority.key, "-crldays", "2"]
    openssl("ca", "-gencrl", "-config", config, *signer, "-out", folder / "list.crl")
    with pytest.raises(WebConfigError, match=r"list.crl' holds no certificate"):
        context(folder, **{**VERIFIED, "client_ca_file": "list.crl"})


@pytest.mark.parametrize(
    ("kind", "needed"), [("VerifyClientCertIfGiven", False), ("RequireAndVerifyClientCert", True)]
)
def test_client_certificates_are_verified(
    folder: Path, server: Pair, authority: Pair, kind: str, needed: bool
) -> None:
    """Those of the authority are accepted, others refused; a missing one is as configured."""
    made = context(folder, **{**VERIFIED, "client_auth_type": kind})
    good = make_pair(folder, "client", issuer=authority)
    bad = make_pair(folder, "other")
    shake_hands(made, client_context(server, good))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(made, client_context(server, bad))
    if needed:
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN"):
            shake_hands(made, client_context(server))
    else:
        shake_hands(made, client_context(server))


@pytest.mark.parametrize(
    ("sans", "passes"),
    [
        ("DNS:a.example", True),
        ("DNS:z.example,email:me@example.org", True),
        ("URI:spiffe://x/y", True),
        ("IP:10.0.0.1", True),
        ("IP:2001:db8::1", True),
        ("DNS:b.a.example", False),
        ("IP:10.0.0.2", False),
        ("otherName:1.2.3.4;UTF8:a.example", False),
    ],
)
def test_only_allowed_names_connect(
    folder: Path, server: Pair, authority: Pair, sans: str, passes: bool
) -> None:
    """One SAN must be in the list, exactly; IP addresses in any notation."""
    allowed = ["a.example", "me@example.org", "spiffe://x/y", "10.0.0.1", "2001:DB8:0::1"]
    made = context(folder, **VERIFIED, client_allowed_sans=allowed)
    client = client_context(server, make_pair(folder, "named", sans, authority))
    if passes:
        assert shake_hands(made, client).version() == "TLSv1.3"
    else:
        with pytest.raises(ssl.SSLCertVerificationError, match="allowed"):
            shake_hands(made, client)


async def test_asyncio_ends_a_connection_of_another_name(
    folder: Path, server: Pair, authority: Pair
) -> None:
    """Before anything is read from it."""
    served: list[object] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)

    made = context(folder, **VERIFIED, client_allowed_sans=["other.example"])
    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=made)
    port = listening.sockets[0].getsockname()[1]
    client = client_context(server, make_pair(folder, "client", issuer=authority))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client, server_hostname="localhost"
    )
    try:
        said = await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        said = b""
    writer.close()
    listening.close()
    await listening.wait_closed()

    assert (said, served) == (b"", [])


def test_an_empty_list_of_allowed_names_raises(folder: Path, server: Pair, authority: Pair) -> None:
    """No client could connect; a key without a value counts as absent."""
    with pytest.raises(WebConfigError, match="nobody could connect"):
        context(folder, **VERIFIED, client_allowed_sans=[])
    made = current(context(folder, **VERIFIED, client_allowed_sans=None))

    assert made.sslobject_class is ssl.SSLObject


def test_cipher_suites_are_configured(folder: Path, server: Pair) -> None:
    """By Go's names; those of TLS 1.3 stay enabled."""
    suites = ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
    made = context(folder, cipher_suites=suites, max_version="TLS12")
    side = shake_hands(made, client_context(server))

    assert side.version() == "TLSv1.2"
    assert side.cipher() == ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2", 256)


def test_suites_of_tls_13_alone_need_tls_13(folder: Path, server: Pair) -> None:
    """With it, they have no effect."""
    made = context(folder, cipher_suites=["TLS_AES_128_GCM_SHA256"], min_version="TLS13")

    assert shake_hands(made, client_context(server)).version() == "TLSv1.3"


def test_the_client_order_of_suites_may_be_preferred(folder: Path, server: Pair) -> None:
    """With ``prefer_server_cipher_suites: false``."""
    made = current(context(folder, prefer_server_cipher_suites=False))

    assert not made.options & ssl.OP_CIPHER_SERVER_PREFERENCE


def knows(curve: str) -> bool:
    """Whether these versions of Python and OpenSSL support a curve."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(curve)
    except (ValueError, ssl.SSLError):
        return False
    return True


@pytest.mark.parametrize(
    "curve",
    [
        "CurveP256",
        "CurveP384",
        "CurveP521",
        pytest.param(
            "X25519",
            marks=pytest.mark.skipif(not knows("X25519"), reason="ssl does not know it"),
        ),
    ],
)
def test_one_curve_can_be_chosen(folder: Path, server: Pair, curve: str) -> None:
    """Clients without it cannot connect."""
    made = context(folder, curve_preferences=[curve])
    other = client_context(server)
    other.set_ecdh_curve("prime256v1" if curve == "CurveP384" else "secp384r1")
    shake_hands(made, client_context(server))
    with pytest.raises(ssl.SSLError):
        shake_hands(made, other)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("set_ciphers", {"cipher_suites": ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]}),
        ("set_ecdh_curve", {"curve_preferences": ["X25519"]}),
        ("set_groups", {"curve_preferences": ["X25519", "CurveP256"]}),
    ],
)
def test_features_that_openssl_lacks_raise(
    folder: Path,
    server: Pair,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    settings: dict[str, Any],
) -> None:
    """Like any invalid setting."""

    def refuse(*_: object) -> None:
        raise ssl.SSLError(1, "[SSL] not here")

    monkeypatch.setattr(ssl.SSLContext, "set_groups", None, raising=False)
    monkeypatch.setattr(ssl.SSLContext, method, refuse, raising=False)
    with pytest.raises(WebConfigError, match=f"{next(iter(settings))}: .*cannot be used"):
        context(folder, **settings)


def test_several_curves_need_a_newer_python(
    folder: Path, server: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error before Python 3.15."""
    calls: list[str] = []
    monkeypatch.setattr(ssl.SSLContext, "set_groups", None, raising=False)
    with pytest.raises(WebConfigError, match="takes one curve"):
        context(folder, curve_preferences=["CurveP256", "X25519"])
    monkeypatch.setattr(
        ssl.SSLContext, "set_groups", lambda _, groups: calls.append(groups), raising=False
    )
    context(folder, curve_preferences=["CurveP256", "X25519"])

    assert calls == ["prime256v1:X25519"]


@pytest.mark.parametrize(("name", "version"), [("TLS10", "TLSv1"), ("TLS11", "TLSv1.1")])
def test_old_versions_must_be_configured(
    folder: Path, server: Pair, name: str, version: str
) -> None:
    """They are disabled by default."""
    client = client_context(server)
    client.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1
        client.maximum_version = getattr(ssl.TLSVersion, version.replace(".", "_"))
    with pytest.raises(ssl.SSLError):
        shake_hands(context(folder), client)
    suites = ["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"]
    for settings in ({}, {"cipher_suites": suites}):
        made = context(folder, min_version=name, **settings)
        assert shake_hands(made, client).version() == version
