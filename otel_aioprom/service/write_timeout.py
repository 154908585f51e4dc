"""Waiting for a client, but not for ever: one timer for a whole response."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from otel_aioprom.errors import SlowReaderError

if TYPE_CHECKING:
    from typing_extensions import Self


class Patience:
    """Ends a task's block if one of the things that it waits for takes too long.

    A deadline for each wait would cost a task and a timer each; here a wait moves one deadline.

    Args:
        seconds: How long each wait may take; ``None`` for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task: asyncio.Task[Any] = task
        if self._seconds < math.inf:
            self._timer = self._loop.call_later(self._seconds, self._look)
        return self

    async def wait(self, awaited: Awaitable[object]) -> None:
        """Wait for one thing."""
        self._deadline = self._loop.time() + self._seconds
        await awaited
        self._deadline = math.inf

    def _look(self) -> None:
        """Come again when the wait that is now under way could have taken too long."""
        now = self._loop.time()
        if now >= self._deadline:
            self._expired = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_at(min(self._deadline, now + self._seconds), self._look)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._expired and isinstance(error, asyncio.CancelledError):
            uncancel = getattr(self._task, "uncancel", None)  # of Python 3.11
            if uncancel is None or not uncancel():
                raise SlowReaderError(self._seconds) from None
