"""The users of a web configuration: Basic credentials against bcrypt hashes."""

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

# The last character of the salt carries two bits; another one than these four is refused by bcrypt.
_HASH = re.compile(
    r"\$2[abxy]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
)
_COUNTED = 72  # bytes of a password that bcrypt looks at; its newest releases refuse longer ones
_REMEMBERED = 600.0  # seconds that a password found right is not hashed again


class HashedUsers:
    """Users with bcrypt hashes; an ``Authenticator``.

    One password is hashed at a time, whichever threads ask, because hashing is meant to be
    expensive. A password found right is remembered for some minutes, as a keyed digest.

    Args:
        users: Hashes by user name.
        clock: What tells the seconds.

    Raises:
        MissingExtraError: There is nothing that knows bcrypt.
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
        self._right: dict[bytes, float] = {}
        self.replace(users)

    def replace(self, users: Mapping[str, str]) -> None:
        """Put other users in the place of these, from the next check on."""
        self._users = {name.encode(): hashed.encode() for name, hashed in users.items()}

    def check(self, authorization: str | None) -> bool:
        """Tell whether the header names a user and the password; see ``credentials.Authenticator``."""
        asked = self._asked(authorization)
        if asked is None:
            return False
        known, hashed, password, key = asked
        if known and self._is_remembered(key):
            return True
        with self._lock:
            if known and self._is_remembered(key):  # by who held the lock
                return True
            right = self._matches(password, hashed) and known
            if right:
                self._remember(key)
        return right

    def remembers(self, authorization: str | None) -> bool:
        """Tell whether nothing has to be hashed, because there is nothing to check or the password is remembered."""
        asked = self._asked(authorization)
        return asked is None or (asked[0] and self._is_remembered(asked[3]))

    def _asked(self, authorization: str | None) -> tuple[bool, bytes, bytes, bytes] | None:
        """Return whether the user is known, the hash and the password to compare, and what both are remembered by."""
        given = basic_credentials(authorization)
        users = self._users
        if given is None or not users:
            return None
        name, password = given[0], given[1][:_COUNTED]
        known = name in users
        hashed = users[name] if known else self._decoy(name, list(users.values()))
        return known, hashed, password, self._digest(hashed + name + b":" + password)

    def _decoy(self, name: bytes, hashes: list[bytes]) -> bytes:
        """A hash for an unknown name, always the same, so that it takes as long as a known name's."""
        return hashes[int.from_bytes(self._digest(name)[:8], "big") % len(hashes)]

    def _digest(self, text: bytes) -> bytes:
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def _matches(self, password: bytes, hashed: bytes) -> bool:
        try:
            return bool(self._bcrypt.checkpw(password, hashed))
        except ValueError:  # some releases refuse a zero byte
            return False

    def _is_remembered(self, key: bytes) -> bool:
        return self._right.get(key, 0.0) > self._clock()

    def _remember(self, key: bytes) -> None:
        now = self._clock()
        kept = {other: end for other, end in self._right.items() if end > now}
        self._right = {**kept, key: now + _REMEMBERED}

    def __repr__(self) -> str:
        return f"HashedUsers({len(self._users)} users)"


def read_users(section: Section) -> dict[str, str]:
    """Return the users of a configuration's ``basic_auth_users``.

    Raises:
        WebConfigError: A name that no client can send, or no bcrypt hash.
    """
    users = {}
    for name, value in section.values.items():
        if ":" in name or not name.isprintable():
            raise section.error(ascii(name), "a user name has no colon and no control character")
        if not _HASH.fullmatch(section.as_text(name, value)):
            reason = (
                "this is no bcrypt hash, such as 'htpasswd -nB' makes ($2y$10$ and 53 characters)"
            )
            raise section.error(name, reason)
        users[name] = section.as_text(name, value)
    return users
