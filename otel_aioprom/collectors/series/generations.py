"""Generations: objects that replace one another, even if several threads replace one at the same time."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Generation(Generic[T]):
    """A value that is current until another generation follows.

    A generation refers to its successors only, so that earlier ones are freed.

    Args:
        value: The value of this generation.
    """

    def __init__(self, value: T) -> None:
        self.value = value
        # The successor, under one key: of several threads, ``setdefault`` lets one win without a lock.
        self._next: dict[None, Generation[T]] = {}

    def append(self, other: Generation[T]) -> Generation[T]:
        """Append a generation after the latest one, and return its predecessor."""
        before = self.latest()
        while not before.try_append(other):
            before = before.latest()
        return before

    def try_append(self, other: Generation[T]) -> bool:
        """Make a generation the direct successor unless there is one; return whether it is."""
        return self._next.setdefault(None, other) is other

    def latest(self) -> Generation[T]:
        """Return the latest generation."""
        found = self
        while (next_one := found._next.get(None)) is not None:
            found = next_one
        return found
