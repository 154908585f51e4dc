"""Which lines a server knows: each has one owner, and is remembered when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic

from otel_aioprom._core.labels import exemplar_pairs
from otel_aioprom._core.model import Exemplar
from otel_aioprom.remote_write.fields import milliseconds
from otel_aioprom.remote_write.message import L, Spot, Writer

_SHARDS = 64


class Ledger(Generic[L]):
    """All lines that a server knows from us.

    Spec:
        E98, E105.
    """

    def __init__(self) -> None:
        # Many small sets: a large one takes long to grow.
        self._taken: list[set[L]] = [set() for _ in range(_SHARDS)]
        self._ended: dict[L, None] = {}
        self._sent: dict[L, tuple[int, float, Exemplar]] = {}

    def claim_one(self, line: L) -> bool:
        """Enter the line of a series that has but one; see ``claim``."""
        shard = self._taken[hash(line) % _SHARDS]
        if line in shard:
            return False
        shard.add(line)
        if self._ended:
            self._ended.pop(line, None)
        return True

    def claim(self, lines: Sequence[L]) -> bool:
        """Enter the lines of a series, all or none.

        Returns:
            Whether nobody else has one of them, so that they can be sent.
        """
        if len(set(lines)) < len(lines) or any(map(self._is_taken, lines)):
            return False
        for line in lines:
            self.claim_one(line)
        return True

    def _is_taken(self, line: L) -> bool:
        return line in self._taken[hash(line) % _SHARDS]

    def release(self, lines: Iterable[L]) -> None:
        """Let lines end, unless somebody claims them in the same collection."""
        for line in lines:
            self._taken[hash(line) % _SHARDS].discard(line)
            self._sent.pop(line, None)
            self._ended[line] = None

    @property
    def has_ended(self) -> bool:
        """Whether there are lines that have ended."""
        return bool(self._ended)

    def ended(self, count: int) -> list[L]:
        """Return some of the lines that have ended; they are forgotten then."""
        some = [self._ended.popitem()[0] for _ in range(min(count, len(self._ended)))]
        if not self._ended:
            self._ended = {}  # an emptied dict stays as large as it was
        for place, shard in enumerate(self._taken):
            if not shard:
                self._taken[place] = set()
        return some

    def spots(
        self, line: L, exemplars: Iterable[Exemplar], writer: Writer[L], moment: int
    ) -> list[Spot]:
        """Return those exemplars of a series that a server has not got yet, in the order of time.

        Args:
            line: The series.
            exemplars: All of them; one without a timestamp gets that of the collection.
            writer: Tells how label names are spelled.
            moment: Of the collection, in milliseconds since the epoch.

        Spec:
            E106.
        """
        known = self._sent.get(line)
        new = [each for each in exemplars if known is None or each != known[2]]
        spots = []
        for spot, exemplar in sorted(
            [(_spot(each, writer, moment), each) for each in new], key=_age
        ):
            # A server refuses what is not newer than the last one that it has got.
            if known is None or (spot.moment, spot.value) > known[:2]:
                known = self._sent[line] = (spot.moment, spot.value, exemplar)
                spots.append(spot)
        return spots


def _age(found: tuple[Spot, Exemplar]) -> tuple[int, float]:
    return found[0].moment, found[0].value


def _spot(exemplar: Exemplar, writer: Writer[Any], moment: int) -> Spot:
    pairs = sorted([p for p in exemplar_pairs(exemplar.labels, writer.escaping) if p[0] and p[1]])
    # In the message, 0 means that there is none.
    return Spot(pairs, exemplar.value, milliseconds(exemplar.timestamp) or moment)
