"""Things of which one follows the other, whoever else puts others in their place at the same time."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Turn(Generic[T]):
    """Something that has its turn until another one follows.

    A turn knows those after it, and none knows those before, so that nobody keeps what is over.

    Args:
        thing: What has its turn.
    """

    def __init__(self, thing: T) -> None:
        self.thing = thing
        # Of several that are to follow at once, the one that ``setdefault`` puts here does, so that no lock is needed.
        self._following: dict[None, Turn[T]] = {}

    def followed_by(self, other: Turn[T]) -> Turn[T]:
        """Put another turn at the end of the row, and return the one before it."""
        before = self.latest()
        while not before.gives_way_to(other):
            before = before.latest()
        return before

    def gives_way_to(self, other: Turn[T]) -> bool:
        """Let another turn follow at once, unless a quicker one does; tell whether it does."""
        return self._following.setdefault(None, other) is other

    def latest(self) -> Turn[T]:
        """Return the last one of the row."""
        found = self
        while (following := found._following.get(None)) is not None:
            found = following
        return found
