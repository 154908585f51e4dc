"""Sources: what is asked for families at each collection, and how one is kept from hurting the others."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from otel_aioprom.faults import Fault
from otel_aioprom.flight import SingleFlight
from otel_aioprom.merge import Owners, merge_families
from otel_aioprom.model import MetricFamily


class SupportsCollect(Protocol):
    """A source of families, asked anew for each collection.

    Attributes:
        name: What logs and errors call it.
    """

    name: str

    def collect(self) -> Iterable[MetricFamily | Fault]:
        """Return the families as they stand now, and what cannot be given as a ``Fault``.

        Called in a worker thread, or in the thread of whoever renders; never twice at once.
        Whatever it raises costs this source alone.
        """


class Collected(NamedTuple):
    """What one source gave.

    Attributes:
        families: No two of one name.
        faults: What was wrong.
        complete: The source has answered.
    """

    families: Sequence[MetricFamily]
    faults: Sequence[Fault]
    complete: bool = True


class Feed:
    """A source in a registry: asked once at a time, whatever it does.

    Args:
        source: The source.
        owners: Who used a name first, shared by all feeds of a registry.
    """

    def __init__(self, source: SupportsCollect, owners: Owners) -> None:
        self._source = source
        self._owners = owners
        # Re-entrant: a source that renders its own registry gets an error from the depth, not a deadlock.
        self._turn = threading.RLock()
        self.names: set[str] = set()
        self.flight = SingleFlight(self.collect, f"collect {source.name}")

    def collect(self) -> Collected:
        """Ask the source, in the calling thread.

        Returns:
            One family a name, merged here so that the event loop need not do it.
        """
        with self._turn:
            try:
                answer = list(self._source.collect())
            except Exception as error:  # noqa: BLE001 - one bad source costs itself
                message = f"collecting raised {error!r}; nothing of this source is shown"
                return Collected((), [Fault("raised", self._source.name, message)], complete=False)
            faults = [item for item in answer if isinstance(item, Fault)]
            families, conflicts = merge_families(
                [item for item in answer if isinstance(item, MetricFamily)], self._owners
            )
            self.names.update([family.name for family in families])
            return Collected(families, [*faults, *conflicts])

    def late(self, timeout: float) -> Collected:
        """Say that the source has not answered in time."""
        message = f"no answer within {timeout} s; nothing of this source is shown"
        return Collected((), [Fault("late", self._source.name, message)], complete=False)
