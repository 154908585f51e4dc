"""The write timeout: one timer for all writes of a response."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from otel_aioprom.errors import SlowReaderError
from otel_aioprom.service.places import Place

if TYPE_CHECKING:
    from typing_extensions import Self


class WriteTimeout:
    """A context manager that raises ``SlowReaderError`` if one of several waits takes too long.

    ``asyncio.wait_for`` would cost a timer, and before Python 3.12 a task, for each wait; here each wait moves the
    deadline of one timer.

    Args:
        seconds: How long each wait may take; ``None`` sets no limit.
        place: The place of the request, which may be given to another one during a wait.
    """

    def __init__(self, seconds: float | None, place: Place | None = None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._place = place
        self._since = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task: asyncio.Task[Any] = task
        if self._seconds < math.inf:
            self._timer = self._loop.call_later(self._seconds, self._check)
        if self._place is not None:
            self._place.reader = self
        return self

    async def wait(self, write: Awaitable[object]) -> None:
        """Await one write."""
        self._since = self._loop.time()
        await write
        self._since = math.inf

    def waiting(self) -> float:
        """Return how long the current wait has taken; negative without one, or on another event loop."""
        if asyncio.get_running_loop() is not self._loop or self._expired:
            return -math.inf
        return self._loop.time() - self._since

    def cut(self) -> None:
        """End the current wait: the place is needed."""
        self._seconds = round(self.waiting(), 3)
        self._expired = True
        self._task.cancel()

    def _check(self) -> None:
        """Cancel the task after the deadline; before it, check again when the current wait may be over it."""
        now = self._loop.time()
        deadline = self._since + self._seconds
        if now < deadline:
            self._timer = self._loop.call_at(min(deadline, now + self._seconds), self._check)
        elif not self._expired:
            self._expired = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._place is not None:
            self._place.reader = None
        if self._expired and isinstance(error, asyncio.CancelledError):
            uncancel = getattr(self._task, "uncancel", None)  # from Python 3.11 on
            if uncancel is None or not uncancel():
                raise SlowReaderError(self._seconds) from None
