"""The places of an endpoint: how many requests are answered at once, and whose place is given to another one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from otel_aioprom.collectors.series.number import GaugeSeries

_GRACE = 0.25  # seconds that a client may read nothing before its place is given to another one
_QUEUE = 1.0  # seconds that a request waits for a place


class Reader(Protocol):
    """The client that a response is being sent to."""

    def waiting(self) -> float:
        """Return for how many seconds it has read nothing; negative if nobody waits for it here."""

    def cut(self) -> None:
        """Break its response off."""


class Place:
    """The place of one request.

    Args:
        busy: Counts the places that are taken.

    Attributes:
        reader: The client, while the response is being sent.
    """

    def __init__(self, busy: GaugeSeries) -> None:
        self._busy = busy
        self._taken = False
        self.reader: Reader | None = None

    def take(self) -> None:
        """Count the request."""
        self._taken = True
        self._busy.inc()

    def leave(self) -> None:
        """Count it no longer; a second call does nothing."""
        if self._taken:
            self._taken = False
            self._busy.dec()


class Places:
    """The places of an endpoint.

    Args:
        limit: How many there are.

    Attributes:
        busy: How many are taken, by requests that wait for one too.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._places: set[Place] = set()
        self.busy = GaugeSeries()

    @property
    def full(self) -> bool:
        """Whether there are more requests than places."""
        return self.busy.value > self._limit

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Count a request while it is answered."""
        place = Place(self.busy)
        place.take()
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.discard(place)
            place.leave()

    async def admit(self, place: Place) -> bool:
        """Return whether a request may be answered now.

        If all places are taken, the client that has read nothing for longest loses its own; a request waits until
        one has done so for a moment.

        Args:
            place: The place of the request.
        """
        left = _QUEUE
        while self.full:
            slowest = max(self._places.copy(), key=_waiting)
            pause = _GRACE - _waiting(slowest)
            if pause > min(left, _GRACE):  # every response is still collected or encoded
                return False
            if pause > 0:
                left -= pause
                place.leave()
                await asyncio.sleep(pause)
                place.take()
            else:
                if (reader := slowest.reader) is not None:  # else it has just ended
                    reader.cut()
                slowest.leave()
        return True


def _waiting(place: Place) -> float:
    reader = place.reader  # read once: an event loop of another thread may set it to None
    return -1.0 if reader is None else reader.waiting()
