"""TLS as a web configuration describes it: Go's names for what Python's ``ssl`` can do."""

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

_INLINE = "texts of certificates are not served: put it into a file and name that in {}_file"
REFUSED = {name: _INLINE.format(name) for name in ("cert", "key", "client_ca")}
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
    """A server's context that hands each new connection to the newest of a row of contexts.

    Certificates, authorities and options of a context cannot be replaced together without a moment
    in which they do not fit, and authorities cannot be taken away at all. So each change makes a
    context of its own. This one only stands for them, for servers that ask for ``wrap_bio``, as
    asyncio does.

    Attributes:
        current: The context for new connections.
    """

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> LiveContext:  # noqa: PYI034 - Self is of 3.11
        """Make one around a first context."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made.current = current
        return made

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection with the context as it is now; arguments as in the base class."""
        return self.current.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: what is checked after a handshake is checked for asyncio's connections only."""
        raise NotImplementedError("the context of a web configuration is for servers of asyncio")


class _Context(ssl.SSLContext):
    """A context that may ask for certain names in the certificates of clients."""

    allowed_sans: frozenset[str] = frozenset()


class _NamedPeer(ssl.SSLObject):
    """A connection that ends if the client's certificate has none of the allowed names."""

    def do_handshake(self) -> None:
        """Shake hands, then look at the names."""
        super().do_handshake()
        context = self.context
        names = _sans(self.getpeercert() or {})
        if isinstance(context, _Context) and not names & context.allowed_sans:
            _logger.info("a client was turned away: no name of its certificate is allowed")
            raise ssl.SSLCertVerificationError("no name of the client's certificate is allowed")


def read_tls(section: Section) -> ssl.SSLContext | None:
    """Make a context from a configuration's ``tls_server_config``.

    Returns:
        The context; none if the section is empty.

    Raises:
        WebConfigError: The section makes no sense, a file cannot be used, or Python's ``ssl`` cannot
            do what is asked for.
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
    with _complaining(section, "cert_file", f"{str(certificate)!r} and {str(key)!r}"):
        context.load_cert_chain(certificate, key, _no_password)


def _no_password() -> NoReturn:
    """What OpenSSL calls for an encrypted key; without it, it would ask at the terminal."""
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")


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
    context.allowed_sans = frozenset(map(_plain, section.texts("client_allowed_sans")))
    if not context.allowed_sans:
        raise section.error("client_allowed_sans", "the list is empty: nobody could connect")
    context.sslobject_class = _NamedPeer


def _load_authorities(context: ssl.SSLContext, section: Section, path: Path) -> None:
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Go: whom the file names is trusted
    with _complaining(section, "client_ca_file", repr(str(path))):
        context.load_verify_locations(path)
    if not context.cert_store_stats()["x509"]:
        raise section.error("client_ca_file", f"{str(path)!r} holds no certificate")


def _set_versions(context: ssl.SSLContext, section: Section) -> None:
    lowest = section.choice("min_version", _VERSIONS, "TLS12")
    highest = section.choice("max_version", _VERSIONS, "TLS13")
    if lowest > highest:
        raise section.error("min_version", "is above max_version")
    with warnings.catch_warnings():  # old versions are deprecated; who names them knows
        warnings.simplefilter("ignore", DeprecationWarning)
        with _complaining(section, "min_version", f"from {lowest.name} to {highest.name}"):
            context.minimum_version, context.maximum_version = lowest, highest


def _set_ciphers(context: ssl.SSLContext, section: Section) -> None:
    named = section.choices("cipher_suites", _CIPHERS)
    old = section.choice("min_version", _VERSIONS, "TLS12") < ssl.TLSVersion.TLSv1_2
    suites = [name for name in named or (_CIPHERS.values() if old else ()) if name != _ALWAYS_ON]
    if named and not suites and context.minimum_version != ssl.TLSVersion.TLSv1_3:
        reason = "these are always on in TLS 1.3, and TLS 1.2 has none: name some, or set min_version: TLS13"
        raise section.error("cipher_suites", reason)
    if suites:
        # OpenSSL shakes hands below TLS 1.2 at its lowest level of security only.
        with _complaining(section, "cipher_suites", ", ".join(suites)):
            context.set_ciphers(":".join([*suites, *(["@SECLEVEL=0"] if old else [])]))
    if not section.flag("prefer_server_cipher_suites", default=True):
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _set_curves(context: ssl.SSLContext, section: Section) -> None:
    curves = section.choices("curve_preferences", _CURVES)
    set_groups = getattr(context, "set_groups", None)  # from Python 3.15 on
    if len(curves) > 1 and set_groups is None:
        reason = "Python's ssl takes one curve here: name one, or none for OpenSSL's own choice"
        raise section.error("curve_preferences", reason)
    with _complaining(section, "curve_preferences", ", ".join(curves)):
        if curves and set_groups is not None:
            set_groups(":".join(curves))
        elif curves:
            context.set_ecdh_curve(curves[0])  # not every version of Python knows X25519


@contextmanager
def _complaining(section: Section, key: str, what: str) -> Iterator[None]:
    """Tell what ``ssl`` complains about."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise section.error(key, f"{what} cannot be used: {_reason(error)}") from error


def _sans(certificate: dict[str, Any]) -> frozenset[str]:
    entries: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    return frozenset(
        _plain(name) for kind, name in entries if kind in {"DNS", "email", "URI", "IP Address"}
    )


def _plain(name: str) -> str:
    """Spell an address in its one way; anything else is left as it is."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        # None where a file holds no PEM, and not there at all where no suite is known.
        reason: str | None = getattr(error, "reason", None)
        return (reason or "OpenSSL finds nothing there that it knows").replace("_", " ")
    return reason_of(error) if isinstance(error, OSError) else str(error)
