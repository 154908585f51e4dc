"""Active time series: which label sets have been sent, and which have ended since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic

from otel_aioprom._core.exemplars import exemplar_pairs
from otel_aioprom._core.model import Exemplar
from otel_aioprom.remote_write.fields import milliseconds
from otel_aioprom.remote_write.message import EncodedExemplar, L, Writer

_SHARDS = 64


class ActiveSeries(Generic[L]):
    """The encoded label sets of all time series that were sent and have not ended.

    Spec:
        E98, E105.
    """

    def __init__(self) -> None:
        # Many small sets, because a large one takes long to grow.
        self._shards: list[set[L]] = [set() for _ in range(_SHARDS)]
        self._ended: dict[L, None] = {}
        self._last_exemplars: dict[L, tuple[int, float, Exemplar]] = {}

    def add_one(self, label_set: L) -> bool:
        """Add the label set of a series with a single sample; see ``add``."""
        shard = self._shards[hash(label_set) % _SHARDS]
        if label_set in shard:
            return False
        shard.add(label_set)
        if self._ended:
            self._ended.pop(label_set, None)
        return True

    def add(self, label_sets: Sequence[L]) -> bool:
        """Add the label sets of a series, all or none.

        Args:
            label_sets: One for each of its samples.

        Returns:
            Whether they were added; no other series may have one of them.
        """
        if len(set(label_sets)) < len(label_sets) or any(map(self._is_active, label_sets)):
            return False
        for label_set in label_sets:
            self.add_one(label_set)
        return True

    def _is_active(self, label_set: L) -> bool:
        return label_set in self._shards[hash(label_set) % _SHARDS]

    def mark_ended(self, label_sets: Iterable[L]) -> None:
        """Remove label sets; unless they are added again in the same collection, their time series have ended."""
        for label_set in label_sets:
            self._shards[hash(label_set) % _SHARDS].discard(label_set)
            self._last_exemplars.pop(label_set, None)
            self._ended[label_set] = None

    @property
    def has_ended(self) -> bool:
        """Whether time series have ended."""
        return bool(self._ended)

    def pop_ended(self, count: int) -> list[L]:
        """Remove and return label sets of time series that have ended, ``count`` at most."""
        some = [self._ended.popitem()[0] for _ in range(min(count, len(self._ended)))]
        if not self._ended:
            self._ended = {}  # an emptied dict keeps its size
        for index, shard in enumerate(self._shards):
            if not shard:
                self._shards[index] = set()
        return some

    def new_exemplars(
        self, label_set: L, exemplars: Iterable[Exemplar], writer: Writer[L], timestamp: int
    ) -> list[EncodedExemplar]:
        """Return the exemplars of a time series that were not sent yet, in the order of their timestamps.

        Args:
            label_set: The time series.
            exemplars: All of them; one without a timestamp gets that of the collection.
            writer: Knows how label names are escaped.
            timestamp: Timestamp of the collection, in milliseconds since the epoch.

        Spec:
            E106.
        """
        known = self._last_exemplars.get(label_set)
        new = [each for each in exemplars if known is None or each != known[2]]
        encoded = sorted([(_encoded(each, writer, timestamp), each) for each in new], key=_sort_key)
        found = []
        for one, exemplar in encoded:
            # A server rejects exemplars that are not newer than the last one that it has stored.
            if known is None or (one.timestamp, one.value) > known[:2]:
                known = self._last_exemplars[label_set] = (one.timestamp, one.value, exemplar)
                found.append(one)
        return found


def _sort_key(pair: tuple[EncodedExemplar, Exemplar]) -> tuple[int, float]:
    return pair[0].timestamp, pair[0].value


def _encoded(exemplar: Exemplar, writer: Writer[Any], timestamp: int) -> EncodedExemplar:
    labels = sorted([p for p in exemplar_pairs(exemplar.labels, writer.escaping) if p[0] and p[1]])
    # In a message, the timestamp 0 means that there is none.
    return EncodedExemplar(labels, exemplar.value, milliseconds(exemplar.timestamp) or timestamp)
