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
_FIXED = "cannot be added or removed while the server runs: restart it"
_UNSUPPORTED = {"rate_limit": "rate limits are not supported: leave it out"}
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
    """TLS, users and headers from a web configuration file.

    The format is that of Prometheus and its exporter toolkit. Needs the extra ``web-config``. Unsupported settings
    raise an error: HTTP/2, client certificates without verification, several curves (before Python 3.15), inline
    certificates, rate limits.

    ``ssl`` and ``auth`` stay the same objects when the file is reloaded.

    Args:
        path: The file.

    Raises:
        WebConfigError: The file is invalid, or has an unsupported setting.
        MissingExtraError: The extra ``web-config`` is not installed.

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
        self._logged = ""  # the last error, since the file was valid
        document = Document(self._path)
        settings = _read(document)
        self._files: dict[Path, FileSignature | None] = document.files
        self._users = HashedUsers(settings.users) if settings.users else None
        self._ssl = None if settings.context is None else tls.LiveContext(settings.context)
        self._headers = settings.headers

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WebConfig:
        """Read a file and its certificates; relative paths start at the file's folder. Raises as the constructor."""
        return cls(path)

    @property
    def ssl(self) -> SSLContext | None:
        """The context for HTTPS; ``None`` if the file configures no TLS."""
        return self._ssl

    @property
    def auth(self) -> Authenticator | None:
        """Checks the users' credentials; ``None`` if the file names no users."""
        return self._users

    @property
    def headers(self) -> dict[str, str]:
        """Headers to add to all responses."""
        return dict(self._headers)

    def refresh(self) -> bool:
        """Reload the files if one of them has changed on disk.

        Takes some microseconds if none has. Thread-safe. New certificates apply to new connections, new users and
        headers to the next request. An invalid file changes nothing and is logged once; neither can TLS or users be
        added or removed.

        Returns:
            Whether settings were reloaded.
        """
        if not self._lock.acquire(blocking=False):
            return False  # another thread is refreshing
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
            # The files read so far, so that a correction of one of them is noticed.
            self._files = document.files
            if str(error) != self._logged:
                self._logged = str(error)
                _logger.error("the settings stay unchanged: %s", error)  # noqa: TRY400 - no trace
            return False
        self._files = document.files
        self._logged = ""
        _logger.info("%s: the settings were reloaded", self._path)
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
    root = document.read((_TLS, _HTTP, _USERS), _UNSUPPORTED)
    section = root.section(_TLS, tls.KEYS, tls.UNSUPPORTED)
    http = root.section(_HTTP, ("http2", "headers"))
    if http.flag("http2", default=False):
        raise http.error("http2", "only HTTP/1.1 is supported: set it to false or leave it out")
    headers = _read_headers(http.section("headers", _HEADERS))
    users = read_users(root.section(_USERS, ()))
    return _Settings(tls.read_tls(section), users, headers)


def _read_headers(section: Section) -> dict[str, str]:
    """Return the headers that have a value."""
    headers = {name: _header(section, name) for name in section.values}
    return {name: value for name, value in headers.items() if value}


def _header(section: Section, name: str) -> str:
    raw = section.values[name]
    # 0 needs no quotes.
    value = str(raw) if type(raw) is int and raw in {0, 1} else section.text(name)
    allowed = _HEADERS[name]
    if value and allowed and value not in allowed:
        raise section.error(name, f"must be {' or '.join(allowed)}")
    if not (value.isascii() and value.isprintable()):
        raise section.error(name, "must be one line of ASCII")
    return value
