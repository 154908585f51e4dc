"""Basic and Bearer authentication, for servers and clients; secrets may be in files that change."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from typing import NamedTuple, Protocol

from otel_aioprom.errors import SecretError

BASIC_CHALLENGE = 'Basic realm="metrics", charset="UTF-8"'
BEARER_CHALLENGE = 'Bearer realm="metrics"'

_MAX_BYTES = 64 * 1024  # of a secret file; a larger one is another file, passed by mistake

_Path = str | os.PathLike[str]


class Authenticator(Protocol):
    """Authenticates requests by their ``Authorization`` header."""

    @property
    def challenge(self) -> str:
        """Value of the ``WWW-Authenticate`` header of a 401 response."""

    @property
    def slow(self) -> bool:
        """Whether ``check`` may take milliseconds, so that it must not run on the event loop."""

    def check(self, authorization: str | None) -> bool:
        """Return whether a request is authenticated.

        Args:
            authorization: Value of the ``Authorization`` header, whatever a client sends; ``None`` without one.

        Raises:
            SecretError: The secret cannot be read at present; no request is authenticated.
        """

    def remembers(self, authorization: str | None) -> bool:
        """Return whether the result of ``check`` is cached, so that it is fast."""


class FileSignature(NamedTuple):
    """Changes when a file is written or replaced, also behind a symbolic link."""

    modified: int
    size: int
    inode: int


def file_signature(path: _Path) -> FileSignature:
    """Return the signature of a file.

    Raises:
        OSError: The file does not exist, or is no regular file: reading a pipe would block.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, and each request pays it
    except ValueError as error:  # such as a null byte in the name
        raise OSError(errno.EINVAL, "not a valid file name") from error
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return FileSignature(status.st_mtime_ns, status.st_size, status.st_ino)


class BasicAuth:
    """Authenticate one user by name and password.

    Spec:
        RFC 7617: UTF-8; the password may contain colons.

    Args:
        username: Name of the user.
        password: The password.
        password_file: File that contains the password instead; one line break at its end is ignored. It is
            read again whenever it changes.

    Raises:
        TypeError: Not exactly one of ``password`` and ``password_file``, or not a string.
        ValueError: No client can send this name or password, or the password is empty.
        SecretError: The file cannot be used.

    Examples:
        >>> auth = BasicAuth("prometheus", "s3cret")
        >>> auth.check("Basic cHJvbWV0aGV1czpzM2NyZXQ="), auth.check("Basic Og=="), auth.check(None)
        (True, False, False)
    """

    challenge = BASIC_CHALLENGE
    slow = False

    def __init__(
        self, username: str, password: str | None = None, *, password_file: _Path | None = None
    ) -> None:
        name = _encoded("username", username)
        if b":" in name or _has_control(name):
            raise ValueError("the username contains a colon or a control character")
        self._username = username
        self._name = _digest(name)
        self._secret = _Secret("password", password, password_file, _flaw_of_password)

    def check(self, authorization: str | None) -> bool:
        """Return whether the header contains the user and the password; see ``Authenticator``."""
        # First, so that all requests get the same response if it fails.
        expected = self._secret.digest()
        credentials = basic_credentials(authorization)
        name, password = credentials or (b"", b"")
        same_name = hmac.compare_digest(_digest(name), self._name)
        same_password = hmac.compare_digest(_digest(password), expected)
        return (same_name & same_password) and credentials is not None

    def remembers(self, authorization: str | None) -> bool:
        """Tell that each check is quick; see ``Authenticator``."""
        return True

    def header(self) -> str:
        """Return the value of the ``Authorization`` header of a client request.

        Raises:
            SecretError: The password cannot be read at present.
        """
        pair = b"%b:%b" % (self._username.encode(), self._secret.value())
        return f"Basic {base64.b64encode(pair).decode()}"

    def __repr__(self) -> str:
        return f"BasicAuth({self._username!r}, {self._secret!r})"


class BearerAuth:
    """Authenticate by a bearer token.

    Spec:
        RFC 6750, section 2.1.

    Args:
        token: The token: printable ASCII without spaces.
        token_file: File that contains the token instead; one line break at its end is ignored. It is read
            again whenever it changes.

    Raises:
        TypeError: Not exactly one of ``token`` and ``token_file``, or not a string.
        ValueError: No client can send this token, or it is empty.
        SecretError: The file cannot be used.

    Examples:
        >>> auth = BearerAuth("t0ken")
        >>> auth.check("Bearer t0ken"), auth.check("bearer other"), auth.check(None)
        (True, False, False)
    """

    challenge = BEARER_CHALLENGE
    slow = False

    def __init__(self, token: str | None = None, *, token_file: _Path | None = None) -> None:
        self._secret = _Secret("token", token, token_file, _flaw_of_token)

    def check(self, authorization: str | None) -> bool:
        """Return whether the header contains the token; see ``Authenticator``."""
        expected = self._secret.digest()
        token = _after_scheme(authorization, "bearer")
        return hmac.compare_digest(_digest(token or b""), expected) and token is not None

    def remembers(self, authorization: str | None) -> bool:
        """Tell that each check is quick; see ``Authenticator``."""
        return True

    def header(self) -> str:
        """Return the value of the ``Authorization`` header of a client request.

        Raises:
            SecretError: The token cannot be read at present.
        """
        return f"Bearer {self._secret.value().decode()}"

    def __repr__(self) -> str:
        return f"BearerAuth({self._secret!r})"


def basic_credentials(authorization: str | None) -> tuple[bytes, bytes] | None:
    """Return user name and password of a Basic ``Authorization`` header, or ``None`` for any other header."""
    encoded = _after_scheme(authorization, "basic")
    if encoded is None:
        return None
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _after_scheme(authorization: str | None, wanted: str) -> bytes | None:
    """Return the credentials of a header of the wanted scheme, if they are ASCII."""
    if authorization is None or not authorization.isascii():
        return None
    scheme, _, rest = authorization.partition(" ")
    return rest.strip(" ").encode() if scheme.lower() == wanted else None


class _Secret:
    """A constant secret, or one from a file that is read again when it changes."""

    def __init__(
        self, kind: str, value: str | None, file: _Path | None, flaw: Callable[[bytes], str]
    ) -> None:
        if (value is None) is (file is None):
            raise TypeError(f"pass either {kind} or {kind}_file, and not both")
        self._flaw = flaw
        self._path = None if file is None else os.fsdecode(file)
        self._signature: FileSignature | None = None
        self._known = b""
        if value is None:
            self.value()
            return
        secret = _encoded(kind, value)
        if fault := flaw(secret):
            raise ValueError(f"the {kind} {fault}")
        self._known = secret

    def digest(self) -> bytes:
        """Return the digest of the current secret."""
        return _digest(self.value())

    def value(self) -> bytes:
        """Return the current secret."""
        if self._path is None:
            return self._known
        try:
            signature = file_signature(self._path)
            if signature == self._signature:
                return self._known
            self._signature = None  # after a failure the old secret must not be valid
            secret = _read(self._path)
        except OSError as error:
            self._signature = None
            raise SecretError(self._path, error.strerror or type(error).__name__) from error
        if fault := self._flaw(secret):
            raise SecretError(self._path, f"it {fault}")
        self._known = secret
        # From before the read, so that a change during it is noticed the next time.
        self._signature = signature
        return self._known

    def __repr__(self) -> str:
        return "***" if self._path is None else f"file={self._path!r}"


def _read(path: str) -> bytes:
    """Return the content of a file, without one line break at its end."""
    with open(path, "rb") as file:  # noqa: PTH123 - as the signature
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(errno.EFBIG, f"larger than {_MAX_BYTES} bytes")
    return content.removesuffix(b"\n").removesuffix(b"\r") if content.endswith(b"\n") else content


def _encoded(kind: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"the {kind} must be a string, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        # Not chained: that error contains the secret.
        raise ValueError(f"the {kind} contains a lone surrogate") from None


def _digest(secret: bytes) -> bytes:
    """Return a digest: all have one length, so that comparing them does not leak the secret's."""
    return hashlib.sha256(secret).digest()


def _has_control(text: bytes) -> bool:
    return any(byte < 0x20 or byte == 0x7F for byte in text)  # noqa: PLR2004 - ASCII


def _flaw_of_password(secret: bytes) -> str:
    if not secret:
        return "is empty"
    return "contains a control character, such as a line break" if _has_control(secret) else ""


def _flaw_of_token(secret: bytes) -> str:
    if not secret:
        return "is empty"
    printable = all(0x20 < byte < 0x7F for byte in secret)  # noqa: PLR2004 - ASCII
    return "" if printable else "must be printable ASCII without spaces"
