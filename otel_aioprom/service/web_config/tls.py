"""The section ``tls_server_config``: Go's names of TLS settings, mapped to Python's ``ssl``."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from otel_aioprom.service.web_config.document import Section, reason_of

_logger = logging.getLogger(__name__)

_INLINE = "inline certificates are not supported: put it into a file and name that in {}_file"
UNSUPPORTED = {name: _INLINE.format(name) for name in ("cert", "key", "client_ca")}
KEYS = (
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "cipher_suites",
    "curve_preferences",
    "min_version",
    "max_version",
    "prefer_server_cipher_suites",
)

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_ALWAYS_ON = ""  # the suites of TLS 1.3 cannot be chosen, here as in Go
_CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_AES_128_GCM_SHA256": _ALWAYS_ON,
    "TLS_AES_256_GCM_SHA384": _ALWAYS_ON,
    "TLS_CHACHA20_POLY1305_SHA256": _ALWAYS_ON,
}
_UNVERIFIED = (
    "Python's ssl asks for no certificate that it does not verify: use RequireAndVerifyClientCert"
)
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    "RequestClientCert": None,
    "RequireAnyClientCert": None,
    "RequireClientCert": None,
}


class LiveContext(ssl.SSLContext):
    """A server context that wraps each new connection with the most recently loaded context.

    Certificates, authorities and options of a context cannot be replaced atomically, and authorities cannot be
    removed. So each reload creates a context, and this one delegates to it, for servers that call ``wrap_bio`` as
    asyncio does.

    Attributes:
        current: The context for new connections.
    """

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> LiveContext:  # noqa: PYI034 - Self is of 3.11
        """Create one that delegates to a first context."""
        created = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        created.current = current
        return created

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Wrap a connection with the current context; arguments as in the base class."""
        return self.current.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: object, **kwargs: object) -> NoReturn:
        """Raise: names are checked after the handshake, which is implemented for ``wrap_bio`` only."""
        raise NotImplementedError("the context of a web configuration is for servers of asyncio")


class _Context(ssl.SSLContext):
    """A context that may require certain names (SANs) in client certificates."""

    allowed_sans: frozenset[str] = frozenset()


class _NamedPeer(ssl.SSLObject):
    """A connection that fails if the client's certificate has none of the allowed names."""

    def do_handshake(self) -> None:
        """Perform the handshake, then check the names."""
        super().do_handshake()
        context = self.context
        names = _sans(self.getpeercert() or {})
        if isinstance(context, _Context) and not names & context.allowed_sans:
            _logger.info("a client was refused: no name of its certificate is allowed")
            raise ssl.SSLCertVerificationError("no name of the client's certificate is allowed")


def read_tls(section: Section) -> ssl.SSLContext | None:
    """Create a context from the section ``tls_server_config``.

    Returns:
        The context; ``None`` if the section is empty.

    Raises:
        WebConfigError: The section is invalid, a file cannot be used, or Python's ``ssl`` does not support a setting.
    """
    if all(value is None for value in section.values.values()):
        return None
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _set_certificate(context, section)
    _set_clients(context, section)
    _set_versions(context, section)
    _set_ciphers(context, section)
    _set_curves(context, section)
    return context


def _set_certificate(context: ssl.SSLContext, section: Section) -> None:
    certificate, key = section.file("cert_file"), section.file("key_file")
    if certificate is None or key is None:
        missing = "cert_file" if certificate is None else "key_file"
        raise section.error(missing, "is needed for TLS")
    with _reported(section, "cert_file", f"{str(certificate)!r} and {str(key)!r}"):
        context.load_cert_chain(certificate, key, _no_password)


def _no_password() -> NoReturn:
    """Raise for an encrypted key: without this callback, OpenSSL would prompt at the terminal."""
    raise ValueError("the key is encrypted, and its password cannot be prompted for")


def _set_clients(context: _Context, section: Section) -> None:
    mode = section.choice("client_auth_type", _CLIENT_AUTH, "NoClientCert")
    authorities = section.file("client_ca_file")
    if mode is None:
        raise section.error("client_auth_type", _UNVERIFIED)
    if (authorities is not None) is (mode is ssl.CERT_NONE):
        reason = "client_ca_file goes with VerifyClientCertIfGiven and RequireAndVerifyClientCert"
        raise section.error("client_auth_type", f"{reason}, and they with it")
    if authorities is not None:
        _load_authorities(context, section, authorities)
    context.verify_mode = mode
    if section.values.get("client_allowed_sans") is None:
        return
    if mode is not ssl.CERT_REQUIRED:
        reason = "needs client_auth_type: RequireAndVerifyClientCert"
        raise section.error("client_allowed_sans", reason)
    context.allowed_sans = frozenset(map(_normalized, section.texts("client_allowed_sans")))
    if not context.allowed_sans:
        raise section.error("client_allowed_sans", "the list is empty: nobody could connect")
    context.sslobject_class = _NamedPeer


def _load_authorities(context: ssl.SSLContext, section: Section, path: Path) -> None:
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as in Go: intermediates are trusted too
    with _reported(section, "client_ca_file", repr(str(path))):
        context.load_verify_locations(path)
    if not context.cert_store_stats()["x509"]:
        raise section.error("client_ca_file", f"{str(path)!r} holds no certificate")


def _set_versions(context: ssl.SSLContext, section: Section) -> None:
    lowest = section.choice("min_version", _VERSIONS, "TLS12")
    highest = section.choice("max_version", _VERSIONS, "TLS13")
    if lowest > highest:
        raise section.error("min_version", "is above max_version")
    with warnings.catch_warnings():  # old versions are deprecated, but were configured on purpose
        warnings.simplefilter("ignore", DeprecationWarning)
        with _reported(section, "min_version", f"from {lowest.name} to {highest.name}"):
            context.minimum_version, context.maximum_version = lowest, highest


def _set_ciphers(context: ssl.SSLContext, section: Section) -> None:
    listed = section.choices("cipher_suites", _CIPHERS)
    old = section.choice("min_version", _VERSIONS, "TLS12") < ssl.TLSVersion.TLSv1_2
    suites = [name for name in listed or (_CIPHERS.values() if old else ()) if name != _ALWAYS_ON]
    if listed and not suites and context.minimum_version != ssl.TLSVersion.TLSv1_3:
        reason = "these are always on in TLS 1.3, and TLS 1.2 has none: name some, or set min_version: TLS13"
        raise section.error("cipher_suites", reason)
    if suites:
        # Below TLS 1.2, OpenSSL needs its lowest security level.
        with _reported(section, "cipher_suites", ", ".join(suites)):
            context.set_ciphers(":".join([*suites, *(["@SECLEVEL=0"] if old else [])]))
    if not section.flag("prefer_server_cipher_suites", default=True):
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _set_curves(context: ssl.SSLContext, section: Section) -> None:
    curves = section.choices("curve_preferences", _CURVES)
    set_groups = getattr(context, "set_groups", None)  # from Python 3.15 on
    if len(curves) > 1 and set_groups is None:
        reason = "Python's ssl takes one curve here: name one, or none for OpenSSL's own choice"
        raise section.error("curve_preferences", reason)
    with _reported(section, "curve_preferences", ", ".join(curves)):
        if curves and set_groups is not None:
            set_groups(":".join(curves))
        elif curves:
            context.set_ecdh_curve(curves[0])  # not every version of Python knows X25519


@contextmanager
def _reported(section: Section, key: str, what: str) -> Iterator[None]:
    """Turn errors of ``ssl`` into errors about a setting."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise section.error(key, f"{what} cannot be used: {_reason(error)}") from error


def _sans(certificate: dict[str, Any]) -> frozenset[str]:
    entries: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    return frozenset(
        _normalized(name) for kind, name in entries if kind in {"DNS", "email", "URI", "IP Address"}
    )


def _normalized(name: str) -> str:
    """Return the canonical form of an IP address; any other name unchanged."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        # None if a file holds no PEM; no attribute at all if no suite is known.
        reason: str | None = getattr(error, "reason", None)
        return (reason or "OpenSSL finds nothing there that it knows").replace("_", " ")
    return reason_of(error) if isinstance(error, OSError) else str(error)
