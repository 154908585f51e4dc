"""Folder of messages: one file for each, written and read by one process at a time. Blocking."""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import suppress
from os import scandir
from pathlib import Path
from typing import IO, Any, NamedTuple

from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom.errors import SpoolError
from otel_aioprom.remote_write.sending.queue import QueuedMessage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"(\d{16})-(1\.0|2\.0)-(\d+)\.(snappy|part)")
_LOCK = "lock"
_UNFINISHED = ".part"


class _Stored(NamedTuple):
    name: str
    version: str
    samples: int
    size: int
    timestamp: int = 0  # unknown after a restart


class SpoolFolder:
    """A queue of messages in a folder, with a file for each message, for one process at a time.

    Files are written under a temporary name and renamed, so that a kill leaves only complete messages. A message in
    flight when the process ends is sent again: receivers accept equal samples twice. There is no fsync: a crash of
    the system, unlike one of the process, may lose the last seconds.

    Args:
        path: The folder; it is created if it does not exist.
        limit: Maximum size of all messages together, in bytes.

    Attributes:
        size: Size of all messages, in bytes.

    Raises:
        SpoolError: The folder cannot be used, or another process uses it.
    """

    def __init__(self, path: str | os.PathLike[str], limit: int) -> None:
        self._path = Path(path)
        self._limit = limit
        self._in_flight = False
        self.size = 0
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._lock = _open_locked(self._path / _LOCK)
            try:
                self._stored = deque(self._stored_messages())
            except OSError:
                self._lock.close()
                raise
        except OSError as error:
            raise spool_error(self._path, error) from error
        last = self._stored[-1].name if self._stored else "0"
        self._next = int(last.partition("-")[0]) + 1
        register_after_fork(self)

    def close(self) -> None:
        """Release the lock on the folder; the messages stay in it."""
        self._lock.close()

    def after_fork(self) -> None:
        """Close a child's copy of the lock: it would keep the folder after the end of the parent."""
        self._lock.close()

    def __len__(self) -> int:
        return len(self._stored)

    def _stored_messages(self) -> list[_Stored]:
        """Return the complete messages of an earlier run, and delete unfinished ones."""
        found = {}
        with scandir(self._path) as entries:
            for entry in entries:
                match = _NAME.fullmatch(entry.name)
                if match is None or not entry.is_file():
                    continue
                if entry.name.endswith(_UNFINISHED):
                    Path(entry).unlink()
                else:
                    stored = _Stored(entry.name, match[2], int(match[3]), entry.stat().st_size)
                    found[entry.name] = stored
                    self.size += stored.size
        return [found[name] for name in sorted(found)]  # strings are sorted fast, under the GIL

    def put(self, message: QueuedMessage) -> int:
        """Append a message; see ``MessageQueue``.

        Raises:
            SpoolError: It cannot be written.
        """
        name = f"{self._next:016d}-{message.version}-{message.samples}.snappy"
        path = self._path / name
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            unfinished.write_bytes(message.body)
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise spool_error(path, error) from error
        self._next += 1
        size = len(message.body)
        stored = _Stored(name, message.version, message.samples, size, message.timestamp)
        self._stored.append(stored)
        self.size += size
        return self._shrink()

    def _shrink(self) -> int:
        """Drop the oldest messages, except the one in flight."""
        dropped = 0
        while self.size > self._limit and len(self._stored) > self._in_flight:
            stored = self._stored[self._in_flight]
            del self._stored[self._in_flight]
            dropped += stored.samples
            self._delete(stored)
        return dropped

    def _delete(self, stored: _Stored) -> None:
        self.size -= stored.size
        with suppress(OSError):  # then a later run sends it again
            (self._path / stored.name).unlink()

    def first(self) -> QueuedMessage | None:
        """Return the oldest message; see ``MessageQueue``. Files that were deleted meanwhile are skipped.

        Raises:
            SpoolError: It cannot be read at present.
        """
        while self._stored:
            stored = self._stored[0]
            path = self._path / stored.name
            try:
                body = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):  # deleted by someone else
                self._stored.popleft()
                self.size -= stored.size
                continue
            except OSError as error:  # possibly temporary
                raise spool_error(path, error) from error
            self._in_flight = True
            return QueuedMessage(stored.version, stored.samples, body, stored.timestamp)
        return None

    def done(self) -> None:
        """Remove the first message; see ``MessageQueue``."""
        if self._in_flight:
            self._in_flight = False
            self._delete(self._stored.popleft())


def spool_error(path: Path, error: OSError) -> SpoolError:
    """Return the error for one of the system."""
    return SpoolError(str(path), error.strerror or type(error).__name__)


def _open_locked(path: Path) -> IO[Any]:
    """Open and lock a file, until it is closed or the process ends.

    Raises:
        OSError: Another process has locked it.
    """
    opened = path.open("ab", buffering=0)  # closing it waits for no lock of a thread
    if fcntl is not None:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            opened.close()
            raise OSError(error.errno, "another process uses it") from error
    return opened
