"""Cache of the encoded label sets of a family, so that known series are not encoded again."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from operator import attrgetter
from typing import Any

from otel_aioprom._core.model import Series

_BATCH = 512

_text_of = attrgetter("text")


class CachedSeries:
    """The encoded label sets of a histogram or a summary.

    Attributes:
        layout_key: Which samples they are for, see ``Reading``.
        label_sets: One for each sample.
    """

    __slots__ = ("label_sets", "layout_key")

    def __init__(self, layout_key: tuple[Any, ...], label_sets: list[Any]) -> None:
        self.layout_key = layout_key
        self.label_sets = label_sets


class FamilyCache:
    """The series of a family as they were sent last.

    Attributes:
        type: Type of the family.
        entries: For each series its ``CachedSeries`` or, for a number, its label set; ``None`` if there is none yet.
        complete: Whether each series has an entry.
    """

    __slots__ = ("_texts", "complete", "entries", "type")

    def __init__(self, kind: str) -> None:
        self.type = kind
        self._texts: list[str] = []
        self.entries: list[Any] = []
        self.complete = True

    def is_same(self, every: Sequence[Series]) -> Generator[None, None, bool]:
        """Return whether a family still has the same series in the same order; works in batches."""
        if len(every) != len(self._texts):
            return False
        for start in range(0, len(every), _BATCH):
            stop = start + _BATCH
            # Each series keeps its string, so that this compares only addresses.
            if list(map(_text_of, every[start:stop])) != self._texts[start:stop]:
                return False
            yield
        return True

    def arrange(self, every: Sequence[Series]) -> Generator[None, None, list[Any]]:
        """Adopt the order of a family's series, in batches; new ones have no entry yet.

        Returns:
            Entries of series that have ended.
        """
        # Most series stay near their position, so that this dict stays small.
        waiting: dict[str, Any] = {}
        texts: list[str] = []
        found: list[Any] = []
        for start in range(0, max(len(every), len(self._texts)), _BATCH):
            stop = start + _BATCH
            waiting.update(self._pairs(start, stop))
            some = list(map(_text_of, every[start:stop]))
            texts += some
            # Of two series with the same labels, the second gets none.
            found += [waiting.pop(text, None) for text in some]
            yield
        for start in range(0, len(found) if waiting else 0, _BATCH):
            for index, entry in enumerate(found[start : start + _BATCH], start):
                if entry is None:
                    found[index] = waiting.pop(texts[index], None)
            yield
        self._texts, self.entries, self.complete = texts, found, False
        return list(waiting.values())

    def _pairs(self, start: int, stop: int) -> Iterable[tuple[str, Any]]:
        """Return the series that have an entry, with it."""
        pairs = zip(self._texts[start:stop], self.entries[start:stop])
        return pairs if self.complete else [pair for pair in pairs if pair[1] is not None]


def label_sets_of(entry: Any) -> Sequence[Any]:
    """Return the label sets of an entry of ``FamilyCache.entries``."""
    if entry is None:
        return ()
    return entry.label_sets if isinstance(entry, CachedSeries) else (entry,)
