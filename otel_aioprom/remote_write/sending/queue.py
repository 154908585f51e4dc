"""Queue of messages in memory: FIFO, with a size limit; the oldest messages are dropped first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol


class QueuedMessage(NamedTuple):
    """A compressed message.

    Attributes:
        version: Version of the protocol.
        samples: Number of samples and histograms.
        body: The compressed body.
        timestamp: Timestamp of its samples in milliseconds since the epoch; 0 if it is unknown.
    """

    version: str
    samples: int
    body: bytes
    timestamp: int = 0


class MessageQueue(Protocol):
    """Queue of messages, for one producer task and one consumer task."""

    async def put(self, message: QueuedMessage) -> int:
        """Append a message, and drop the oldest ones beyond the size limit.

        Args:
            message: The message.

        Returns:
            Number of samples and histograms that were dropped.
        """

    async def first(self) -> QueuedMessage | None:
        """Return the oldest message without removing it, and do not drop it any more; ``None`` if there is none."""

    async def done(self) -> None:
        """Remove the message that ``first`` has returned."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """Size of all messages, in bytes."""


class MemoryQueue:
    """A ``MessageQueue`` in memory.

    Args:
        limit: Maximum size of all messages together, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[QueuedMessage] = deque()
        self._head: QueuedMessage | None = None
        self.size = 0

    def __len__(self) -> int:
        return len(self._messages) + (self._head is not None)

    async def put(self, message: QueuedMessage) -> int:
        """Append a message; see ``MessageQueue``."""
        self._messages.append(message)
        self.size += len(message.body)
        return sum([dropped.samples for dropped in self._shrink()])

    def _shrink(self) -> Iterator[QueuedMessage]:
        while self.size > self._limit and self._messages:
            dropped = self._messages.popleft()
            self.size -= len(dropped.body)
            yield dropped

    async def first(self) -> QueuedMessage | None:
        """Return the oldest message; see ``MessageQueue``."""
        if self._head is None and self._messages:
            self._head = self._messages.popleft()
        return self._head

    async def done(self) -> None:
        """Remove the first message; see ``MessageQueue``."""
        if self._head is not None:
            self.size -= len(self._head.body)
            self._head = None
