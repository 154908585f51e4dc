"""The web configuration file of Prometheus and its exporters: TLS, users and headers."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from ssl import SSLContext
from typing import NamedTuple

from otel_aioprom._transport.credentials import Authenticator, FileSignature, file_signature
from otel_aioprom.errors import MetricsError
from otel_aioprom.service.web_config import tls
from otel_aioprom.service.web_config.document import Document, Section
from otel_aioprom.service.web_config.users import HashedUsers, read_users

_logger = logging.getLogger(__name__)

_TLS, _HTTP, _USERS = "tls_server_config", "http_server_config", "basic_auth_users"
_FIXED = "cannot come or go while the server runs: restart it"
_REFUSED = {"rate_limit": "rates are not limited here: leave it out"}
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}


class _Settings(NamedTuple):
    context: SSLContext | None
    users: dict[str, str]
    headers: dict[str, str]


class WebConfig:
    """TLS, users and headers as a web configuration file has them.

    The format is that of Prometheus and its exporter toolkit. Needs the extra ``web-config``. What
    cannot be done here is refused, never ignored: HTTP/2, client certificates that nobody verifies,
    several curves (before Python 3.15), certificates as text, limits of rates.

    ``ssl`` and ``auth`` are the same objects as long as this one lives, and follow the file.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".yml") as file:
        ...     _ = file.write(b"http_server_config: {headers: {X-Frame-Options: deny}}")
        ...     file.flush()
        ...     WebConfig.load(file.name).headers
        {'X-Frame-Options': 'deny'}
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._told = ""  # the error that was logged last, since the file was good
        document = Document(self._path)
        settings = _read(document)
        self._files: dict[Path, FileSignature | None] = document.files
        self._users = HashedUsers(settings.users) if settings.users else None
        self._ssl = None if settings.context is None else tls.LiveContext(settings.context)
        self._headers = settings.headers

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WebConfig:
        """Read a file, and the certificates that it names, from its folder where their paths are relative.

        Raises:
            WebConfigError: The file makes no sense, or asks for what cannot be done.
            MissingExtraError: What the extra ``web-config`` brings is not installed.
        """
        return cls(path)

    @property
    def ssl(self) -> SSLContext | None:
        """The context for HTTPS; none if the file configures no TLS."""
        return self._ssl

    @property
    def auth(self) -> Authenticator | None:
        """Who may pass; none if the file names no users."""
        return self._users

    @property
    def headers(self) -> dict[str, str]:
        """What responses carry in addition."""
        return dict(self._headers)

    def refresh(self) -> bool:
        """Read the files again if one of them has changed on disk.

        Costs some microseconds if none has. May be called from any thread. New certificates are for
        new connections, new users and headers for the next request. A file that makes no sense
        changes nothing and is logged once; nor can TLS or users come or go while a server runs.

        Returns:
            Whether other settings are in force now.
        """
        if not self._lock.acquire(blocking=False):
            return False  # another thread is at it
        try:
            return self._has_changed() and self._reload()
        finally:
            self._lock.release()

    def _has_changed(self) -> bool:
        return any(_signature(path) != known for path, known in self._files.items())

    def _reload(self) -> bool:
        document = Document(self._path)
        try:
            settings = _read(document)
            self._apply(document, settings)
        except MetricsError as error:
            # The files as far as they were read: a change of what was wrong is seen.
            self._files = document.files
            if str(error) != self._told:
                self._told = str(error)
                _logger.error("the settings stay as they were: %s", error)  # noqa: TRY400 - it says all
            return False
        self._files = document.files
        self._told = ""
        _logger.info("%s: new settings are in force", self._path)
        return True

    def _apply(self, document: Document, settings: _Settings) -> None:
        if (settings.context is None) is not (self._ssl is None):
            raise document.error(_TLS, _FIXED)
        if bool(settings.users) is (self._users is None):
            raise document.error(_USERS, _FIXED)
        if self._ssl is not None and settings.context is not None:
            self._ssl.current = settings.context
        if self._users is not None:
            self._users.replace(settings.users)
        self._headers = settings.headers


def _signature(path: Path) -> FileSignature | None:
    try:
        return file_signature(path)
    except OSError:
        return None


def _read(document: Document) -> _Settings:
    root = document.read((_TLS, _HTTP, _USERS), _REFUSED)
    section = root.section(_TLS, tls.KEYS, tls.REFUSED)
    http = root.section(_HTTP, ("http2", "headers"))
    if http.flag("http2", default=False):
        raise http.error("http2", "only HTTP/1.1 is served: set it to false or leave it out")
    headers = _read_headers(http.section("headers", _HEADERS))
    users = read_users(root.section(_USERS, ()))
    return _Settings(tls.read_tls(section), users, headers)


def _read_headers(section: Section) -> dict[str, str]:
    """Return the headers with a value; those without are not set."""
    headers = {name: _header(section, name) for name in section.values}
    return {name: value for name, value in headers.items() if value}


def _header(section: Section, name: str) -> str:
    held = section.values[name]
    # 0 needs no quotes.
    value = str(held) if type(held) is int and held in {0, 1} else section.text(name)
    allowed = _HEADERS[name]
    if value and allowed and value not in allowed:
        raise section.error(name, f"must be {' or '.join(allowed)}")
    if not (value.isascii() and value.isprintable()):
        raise section.error(name, "must be one line of ASCII")
    return value
