"""Queue of messages on disk, which survives a restart and a kill of the process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from otel_aioprom.errors import SpoolError
from otel_aioprom.remote_write.sending import disk_thread
from otel_aioprom.remote_write.sending.disk_thread import DiskThread
from otel_aioprom.remote_write.sending.queue import QueuedMessage
from otel_aioprom.remote_write.sending.spool_folder import SpoolFolder

P = ParamSpec("P")
R = TypeVar("R")


class Spool:
    """A ``MessageQueue`` in a ``SpoolFolder``, whose files are read and written in a thread of its own.

    Belongs to one event loop. Created by ``open``.

    Args:
        path: The folder.
        limit: Maximum size of all messages together, in bytes.
    """

    def __init__(self, path: str | os.PathLike[str], limit: int) -> None:
        self._path = os.fspath(path)
        self._limit = limit
        self._thread = DiskThread()
        self._opened: SpoolFolder | None = None

    @classmethod
    async def open(cls, path: str | os.PathLike[str], limit: int) -> Spool:
        """Open a spool; arguments as for the class.

        Raises:
            SpoolError: The folder cannot be used, or another process uses it.
        """
        spool = cls(path, limit)
        try:
            await spool._call(spool._open)
        except BaseException:
            _ = spool._thread.stop(spool._close)
            raise
        return spool

    async def close(self, timeout: float = disk_thread.TIMEOUT) -> bool:
        """Release the lock on the folder; the messages stay in it.

        Args:
            timeout: Seconds to wait for a disk that hangs, ``TIMEOUT`` at most.

        Returns:
            Whether it is released; else it is later, or at the end of the process.
        """
        timeout = min(timeout, disk_thread.TIMEOUT)
        done, _ = await asyncio.wait([self._thread.stop(self._close)], timeout=timeout)
        return bool(done)

    def __len__(self) -> int:
        return len(self._folder)

    @property
    def size(self) -> int:
        """Size of all messages, in bytes."""
        return self._folder.size

    async def put(self, message: QueuedMessage) -> int:
        """Append a message; see ``MessageQueue``.

        Raises:
            SpoolError: It cannot be written.
        """
        return await self._call(self._folder.put, message)

    async def first(self) -> QueuedMessage | None:
        """Return the oldest message; see ``MessageQueue``. Files that were deleted meanwhile are skipped.

        Raises:
            SpoolError: It cannot be read at present.
        """
        return await self._call(self._folder.first)

    async def done(self) -> None:
        """Remove the first message; see ``MessageQueue``.

        Raises:
            SpoolError: The disk hangs.
        """
        await self._call(self._folder.done)

    @property
    def _folder(self) -> SpoolFolder:
        if self._opened is None:
            raise RuntimeError("the spool is not open")
        return self._opened

    def _open(self) -> None:
        self._opened = SpoolFolder(self._path, self._limit)

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    async def _call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await self._thread.call(function, *args, **kwargs)
        except TimeoutError as error:
            reason = f"the disk does not respond for {disk_thread.TIMEOUT:g} s"
            raise SpoolError(self._path, reason) from error


def check_folder(spool: Any) -> str:
    """Return the path of a folder for a ``Spool``.

    Raises:
        ValueError: ``spool`` is no path.
    """
    path = os.fspath(spool) if isinstance(spool, (str, os.PathLike)) else ""
    if not path or "\0" in path:
        raise ValueError(f"spool must be the path of a folder, not {spool!r}")
    return path
