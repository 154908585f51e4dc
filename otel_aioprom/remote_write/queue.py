"""Messages that wait to be sent, in memory: in order, bounded, the oldest dropped first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """A message as it is sent.

    Attributes:
        version: Of the protocol.
        samples: Samples and histograms in it.
        body: Compressed.
    """

    version: str
    samples: int
    body: bytes


class Backlog(Protocol):
    """Keeps messages until they have arrived; belongs to one task that adds and one that takes."""

    async def put(self, entry: Entry) -> int:
        """Add a message at the end, and make room for it.

        Returns:
            Samples and histograms that had to be dropped for it.
        """

    async def first(self) -> Entry | None:
        """Return the oldest message, which stays, and is not dropped any more; ``None`` if there is none."""

    async def done(self) -> None:
        """Take away what ``first`` has returned."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """Bytes of all messages."""


class MemoryBacklog:
    """A backlog that ends with the process.

    Args:
        limit: Bytes that all messages may have together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Entry] = deque()
        self._head: Entry | None = None
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting) + (self._head is not None)

    async def put(self, entry: Entry) -> int:
        """Add a message; see ``Backlog``."""
        self._waiting.append(entry)
        self.size += len(entry.body)
        return sum([dropped.samples for dropped in self._shrink()])

    def _shrink(self) -> Iterator[Entry]:
        while self.size > self._limit and self._waiting:
            dropped = self._waiting.popleft()
            self.size -= len(dropped.body)
            yield dropped

    async def first(self) -> Entry | None:
        """Return the oldest message; see ``Backlog``."""
        if self._head is None and self._waiting:
            self._head = self._waiting.popleft()
        return self._head

    async def done(self) -> None:
        """Take the first message away."""
        if self._head is not None:
            self.size -= len(self._head.body)
            self._head = None
