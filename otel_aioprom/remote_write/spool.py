"""Queue of messages on disk, which survives a restart and a kill of the process."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from otel_aioprom._concurrency.thread_pool import run_in_thread
from otel_aioprom.errors import SpoolError
from otel_aioprom.remote_write.queue import QueuedMessage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

R = TypeVar("R")

_NAME = re.compile(r"(\d{16})-(1\.0|2\.0)-(\d+)\.(snappy|part)")
_LOCK = "lock"
_UNFINISHED = ".part"


class _Stored(NamedTuple):
    path: Path
    version: str
    samples: int
    size: int


class Spool:
    """A ``MessageQueue`` in a folder, with a file for each message, for one process at a time.

    Files are written under a temporary name and renamed, so that a kill leaves only complete messages. A message in
    flight when the process ends is sent again: receivers accept equal samples twice. There is no fsync: a crash of
    the system, unlike one of the process, may lose the last seconds.

    Args:
        folder: The folder; it is created if it does not exist.
        limit: Maximum size of all messages together, in bytes.

    Raises:
        SpoolError: The folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        self._folder = Path(folder)
        self._limit = limit
        self._in_flight = False
        self._access = asyncio.Lock()
        self.size = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _open_locked(self._folder / _LOCK)
            try:
                self._stored = deque(self._stored_messages())
            except OSError:
                self._lock.close()
                raise
        except OSError as error:
            raise _spool_error(self._folder, error) from error
        last = self._stored[-1].path.name if self._stored else "0"
        self._next = int(last.partition("-")[0]) + 1

    def close(self) -> None:
        """Release the lock on the folder; the messages stay in it."""
        self._lock.close()

    def __len__(self) -> int:
        return len(self._stored)

    async def put(self, message: QueuedMessage) -> int:
        """Append a message; see ``MessageQueue``.

        Raises:
            SpoolError: It cannot be written.
        """
        return await self._in_thread(self._put, message)

    async def first(self) -> QueuedMessage | None:
        """Return the oldest message; see ``MessageQueue``. Files that were deleted meanwhile are skipped.

        Raises:
            SpoolError: It cannot be read at present.
        """
        return await self._in_thread(self._first)

    async def done(self) -> None:
        """Remove the first message; see ``MessageQueue``."""
        await self._in_thread(self._done)

    async def _in_thread(self, work: Callable[..., R], *arguments: Any) -> R:
        """Run one file operation at a time, in a thread: the disk may be slow."""
        async with self._access:
            running = asyncio.ensure_future(run_in_thread(work, *arguments))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                while not running.done():  # a thread cannot be stopped: keep the lock until it ends
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([running])
                raise

    def _stored_messages(self) -> list[_Stored]:
        """Return the complete messages of an earlier run, and delete unfinished ones."""
        found = []
        for path in sorted(self._folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match is None or not path.is_file():
                continue
            if path.suffix == _UNFINISHED:
                path.unlink()
            else:
                stored = _Stored(path, match[2], int(match[3]), path.stat().st_size)
                found.append(stored)
                self.size += stored.size
        return found

    def _put(self, message: QueuedMessage) -> int:
        name = f"{self._next:016d}-{message.version}-{message.samples}.snappy"
        path = self._folder / name
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            unfinished.write_bytes(message.body)
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise _spool_error(path, error) from error
        self._next += 1
        self._stored.append(_Stored(path, message.version, message.samples, len(message.body)))
        self.size += len(message.body)
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
            stored.path.unlink()

    def _first(self) -> QueuedMessage | None:
        while self._stored:
            stored = self._stored[0]
            try:
                body = stored.path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):  # deleted by someone else
                self._stored.popleft()
                self.size -= stored.size
                continue
            except OSError as error:  # possibly temporary
                raise _spool_error(stored.path, error) from error
            self._in_flight = True
            return QueuedMessage(stored.version, stored.samples, body)
        return None

    def _done(self) -> None:
        if self._in_flight:
            self._in_flight = False
            self._delete(self._stored.popleft())


def check_folder(spool: Any) -> str:
    """Return the path of a folder for a ``Spool``.

    Raises:
        ValueError: ``spool`` is no path.
    """
    path = os.fspath(spool) if isinstance(spool, (str, os.PathLike)) else ""
    if not path or "\0" in path:
        raise ValueError(f"spool must be the path of a folder, not {spool!r}")
    return path


def _spool_error(path: Path, error: OSError) -> SpoolError:
    return SpoolError(str(path), error.strerror or type(error).__name__)


def _open_locked(path: Path) -> IO[Any]:
    """Open and lock a file, until it is closed or the process ends.

    Raises:
        OSError: Another process has locked it.
    """
    opened = path.open("ab")
    if fcntl is not None:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            opened.close()
            raise OSError(error.errno, "another process uses it") from error
    return opened
