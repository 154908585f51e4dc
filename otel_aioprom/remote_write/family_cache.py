"""What a table remembers of a family, so that a series that goes on is not looked at again."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from operator import attrgetter
from typing import Any

from otel_aioprom._core.model import Series

_AT_ONCE = 512

_text_of = attrgetter("text")


class Entry:
    """The lines of a histogram or a summary.

    Attributes:
        mark: What they were made for, see ``Reading``.
        lines: One for each of its samples.
    """

    __slots__ = ("lines", "mark")

    def __init__(self, mark: tuple[Any, ...], lines: list[Any]) -> None:
        self.mark = mark
        self.lines = lines


class Known:
    """A family as it was sent last.

    Attributes:
        type: The family's.
        entries: For each series its ``Entry`` or, if it is a number, its line; ``None`` if it has none yet.
        whole: Each series has an entry.
    """

    __slots__ = ("_texts", "entries", "type", "whole")

    def __init__(self, kind: str) -> None:
        self.type = kind
        self._texts: list[str] = []
        self.entries: list[Any] = []
        self.whole = True

    def is_same(self, every: Sequence[Series]) -> Generator[None, None, bool]:
        """Find out whether a family still has the same series in the same order, a step at a time."""
        if len(every) != len(self._texts):
            return False
        for start in range(0, len(every), _AT_ONCE):
            stop = start + _AT_ONCE
            # Texts are made once for each series, so that this compares nothing but addresses.
            if list(map(_text_of, every[start:stop])) != self._texts[start:stop]:
                return False
            yield
        return True

    def arrange(self, every: Sequence[Series]) -> Generator[None, None, list[Any]]:
        """Take over the order of a family's series, a step at a time; new ones have no entry yet.

        Returns:
            Entries of series that have ended.
        """
        # Most series stay near their place. So few entries wait here at a time, and no large dict has to grow.
        waiting: dict[str, Any] = {}
        texts: list[str] = []
        found: list[Any] = []
        for start in range(0, max(len(every), len(self._texts)), _AT_ONCE):
            stop = start + _AT_ONCE
            waiting.update(self._pairs(start, stop))
            some = list(map(_text_of, every[start:stop]))
            texts += some
            # Of two series with the same labels, the second finds nothing.
            found += [waiting.pop(text, None) for text in some]
            yield
        for start in range(0, len(found) if waiting else 0, _AT_ONCE):
            for place, entry in enumerate(found[start : start + _AT_ONCE], start):
                if entry is None:
                    found[place] = waiting.pop(texts[place], None)
            yield
        self._texts, self.entries, self.whole = texts, found, False
        return list(waiting.values())

    def _pairs(self, start: int, stop: int) -> Iterable[tuple[str, Any]]:
        """Return texts with their entries, of those that have one."""
        pairs = zip(self._texts[start:stop], self.entries[start:stop])
        return pairs if self.whole else [pair for pair in pairs if pair[1] is not None]


def lines_of(entry: Any) -> Sequence[Any]:
    """Return the lines of an entry; none, if there is none."""
    if entry is None:
        return ()
    return entry.lines if isinstance(entry, Entry) else (entry,)
