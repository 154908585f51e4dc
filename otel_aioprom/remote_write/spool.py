"""Messages that wait to be sent, on disk: a restart, also after a kill, goes on where the last run was."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from otel_aioprom._concurrency.thread_pool import in_worker
from otel_aioprom.errors import SpoolError
from otel_aioprom.remote_write.queue import Entry

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
    """A backlog in a folder, a file for each message; one process uses it at a time.

    Files are written beside their place and moved there, so that a kill leaves whole messages alone. What was in
    flight when the process ended is sent again: receivers take equal samples twice without harm. Nothing is
    synchronised to the disk: a crash of the system, unlike one of the process, may lose the last seconds.

    Args:
        folder: The folder; it is made if it is missing.
        limit: Bytes that all messages may have together.

    Raises:
        SpoolError: The folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        self._folder = Path(folder)
        self._limit = limit
        self._held = False
        self._one = asyncio.Lock()
        self.size = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._folder / _LOCK)
            try:
                self._stored = deque(self._found())
            except OSError:
                self._lock.close()
                raise
        except OSError as error:
            raise _failure(self._folder, error) from error
        last = self._stored[-1].path.name if self._stored else "0"
        self._next = int(last.partition("-")[0]) + 1

    def close(self) -> None:
        """Let another process use the folder; what waits stays."""
        self._lock.close()

    def __len__(self) -> int:
        return len(self._stored)

    async def put(self, entry: Entry) -> int:
        """Add a message; see ``Backlog``.

        Raises:
            SpoolError: It cannot be written.
        """
        return await self._in_thread(self._put, entry)

    async def first(self) -> Entry | None:
        """Return the oldest message; see ``Backlog``. A file that is gone is passed over.

        Raises:
            SpoolError: It cannot be read at present.
        """
        return await self._in_thread(self._first)

    async def done(self) -> None:
        """Take the first message away."""
        await self._in_thread(self._done)

    async def _in_thread(self, work: Callable[..., R], *arguments: Any) -> R:
        """Do one thing at a time, in a thread: the folder may lie on a slow disk."""
        async with self._one:
            working = asyncio.ensure_future(in_worker(work, *arguments))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                while not working.done():  # a thread cannot be stopped: the next one waits for it
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([working])
                raise

    def _found(self) -> list[_Stored]:
        """Look for what an earlier run has left, whole messages only."""
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

    def _put(self, entry: Entry) -> int:
        name = f"{self._next:016d}-{entry.version}-{entry.samples}.snappy"
        path = self._folder / name
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            unfinished.write_bytes(entry.body)
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise _failure(path, error) from error
        self._next += 1
        self._stored.append(_Stored(path, entry.version, entry.samples, len(entry.body)))
        self.size += len(entry.body)
        return self._shrink()

    def _shrink(self) -> int:
        """Drop the oldest messages but for the one that is being sent."""
        dropped = 0
        while self.size > self._limit and len(self._stored) > self._held:
            stored = self._stored[self._held]
            del self._stored[self._held]
            dropped += stored.samples
            self._forget(stored)
        return dropped

    def _forget(self, stored: _Stored) -> None:
        self.size -= stored.size
        with suppress(OSError):  # then a later run sends it once more
            stored.path.unlink()

    def _first(self) -> Entry | None:
        while self._stored:
            stored = self._stored[0]
            try:
                body = stored.path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):  # somebody has tidied up
                self._stored.popleft()
                self.size -= stored.size
                continue
            except OSError as error:  # it may be read another time
                raise _failure(stored.path, error) from error
            self._held = True
            return Entry(stored.version, stored.samples, body)
        return None

    def _done(self) -> None:
        if self._held:
            self._held = False
            self._forget(self._stored.popleft())


def _failure(path: Path, error: OSError) -> SpoolError:
    return SpoolError(str(path), error.strerror or type(error).__name__)


def _locked(path: Path) -> IO[Any]:
    """Open a file that no other process has locked; it stays locked until it is closed, or the process ends.

    Raises:
        OSError: Another process has it.
    """
    opened = path.open("ab")
    if fcntl is not None:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            opened.close()
            raise OSError(error.errno, "another process uses it") from error
    return opened
