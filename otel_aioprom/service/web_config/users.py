"""The section ``basic_auth_users``: HTTP Basic authentication against bcrypt hashes."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping

from otel_aioprom._transport.credentials import BASIC_CHALLENGE, basic_credentials
from otel_aioprom.service.web_config.document import Section
from otel_aioprom.service.web_config.yaml import require

# The last character of the salt carries two bits; bcrypt refuses any but these four.
_HASH = re.compile(
    r"\$2[abxy]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
)
_MAX_PASSWORD = 72  # bytes that bcrypt uses; its newest releases refuse longer passwords
_CACHED = 600.0  # seconds for which a correct password is not hashed again


class HashedUsers:
    """Users with bcrypt hashes; an ``Authenticator``.

    Hashing is expensive on purpose, so all threads together hash one password at a time. A correct password is
    cached for some minutes, as a keyed digest.

    Args:
        users: Hashes by user name.
        clock: Returns the time in seconds.

    Raises:
        MissingExtraError: The package bcrypt is not installed.
    """

    challenge = BASIC_CHALLENGE
    slow = True

    def __init__(
        self, users: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bcrypt = require("bcrypt", "bcrypt")
        self._clock = clock
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        self._cache: dict[bytes, float] = {}
        self.replace(users)

    def replace(self, users: Mapping[str, str]) -> None:
        """Replace all users, from the next check on."""
        self._users = {name.encode(): hashed.encode() for name, hashed in users.items()}

    def check(self, authorization: str | None) -> bool:
        """Return whether the header has a user's name and password; see ``credentials.Authenticator``."""
        attempt = self._attempt(authorization)
        if attempt is None:
            return False
        known, hashed, password, key = attempt
        if known and self._is_cached(key):
            return True
        with self._lock:
            if known and self._is_cached(key):  # by the previous holder of the lock
                return True
            correct = self._matches(password, hashed) and known
            if correct:
                self._add_to_cache(key)
        return correct

    def remembers(self, authorization: str | None) -> bool:
        """Return whether ``check`` would hash nothing: the header is malformed or the password is cached."""
        attempt = self._attempt(authorization)
        return attempt is None or (attempt[0] and self._is_cached(attempt[3]))

    def _attempt(self, authorization: str | None) -> tuple[bool, bytes, bytes, bytes] | None:
        """Return whether the user is known, the hash and the password to compare, and the cache key of both."""
        credentials = basic_credentials(authorization)
        users = self._users
        if credentials is None or not users:
            return None
        name, password = credentials[0], credentials[1][:_MAX_PASSWORD]
        known = name in users
        hashed = users[name] if known else self._decoy(name, list(users.values()))
        return known, hashed, password, self._digest(hashed + name + b":" + password)

    def _decoy(self, name: bytes, hashes: list[bytes]) -> bytes:
        """Return a hash for an unknown name, always the same one: it takes as long as a known name's."""
        return hashes[int.from_bytes(self._digest(name)[:8], "big") % len(hashes)]

    def _digest(self, text: bytes) -> bytes:
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def _matches(self, password: bytes, hashed: bytes) -> bool:
        try:
            return bool(self._bcrypt.checkpw(password, hashed))
        except ValueError:  # some releases refuse a zero byte
            return False

    def _is_cached(self, key: bytes) -> bool:
        return self._cache.get(key, 0.0) > self._clock()

    def _add_to_cache(self, key: bytes) -> None:
        now = self._clock()
        current = {other: end for other, end in self._cache.items() if end > now}
        self._cache = {**current, key: now + _CACHED}

    def __repr__(self) -> str:
        return f"HashedUsers({len(self._users)} users)"


def read_users(section: Section) -> dict[str, str]:
    """Return the users of the section ``basic_auth_users``.

    Raises:
        WebConfigError: A name cannot be sent by a client, or a value is no bcrypt hash.
    """
    users = {}
    for name, value in section.values.items():
        if ":" in name or not name.isprintable():
            raise section.error(ascii(name), "a user name has no colon and no control character")
        if not _HASH.fullmatch(section.as_text(name, value)):
            reason = "this is no bcrypt hash as of 'htpasswd -nB' ($2y$10$ and 53 characters)"
            raise section.error(name, reason)
        users[name] = section.as_text(name, value)
    return users
