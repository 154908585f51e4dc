"""Time slices: how much work on an event loop may do between two of its iterations, all tasks together."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from weakref import WeakKeyDictionary

_SLICE = 0.001  # seconds of work in an iteration


class TimeSlices:
    """The slices of one event loop: one in an iteration, whose work goes on as long as there is time left.

    Whoever has much to do calls ``begin`` before it starts, and again each time ``over`` is true. Those who wait have
    their slices in the order in which they came, each in an iteration of its own.
    """

    def __init__(self) -> None:
        self._end = 0.0
        self._taken = (
            False  # there is a slice in this iteration, or it is promised to who waited first
        )
        self._waiting: deque[asyncio.Future[None]] = deque()

    def over(self) -> bool:
        """Return whether the time of this iteration is used up, or nobody has begun to use it."""
        return perf_counter() > self._end

    async def begin(self) -> None:
        """Wait for a slice; not at all if nobody works in this iteration."""
        if not self.over():
            return
        if self._taken and not self._waiting:
            await asyncio.sleep(0)  # who works alone goes on in the next iteration
        if self._taken:
            await self._wait()
        self._taken = True
        self._end = perf_counter() + _SLICE
        asyncio.get_running_loop().call_soon(self._next)

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._next()  # the slice was promised already
            raise

    def _next(self) -> None:
        """Promise the slice of the next iteration to who waited first."""
        self._end = 0.0
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False


_slices: WeakKeyDictionary[asyncio.AbstractEventLoop, TimeSlices] = WeakKeyDictionary()


def time_slices() -> TimeSlices:
    """Return the slices of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _slices.get(loop)
    if found is None:
        found = _slices.setdefault(loop, TimeSlices())
    return found
