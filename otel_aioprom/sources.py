"""Sources: what is asked for families at each collection, and how one is kept from hurting the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
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
        Whatever it raises costs this source alone. A source that holds locks may have a method
        ``after_fork``, which is called in child processes.
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

    Attributes:
        names: The names that its registry has granted it.
        flight: Asks the source in a thread of its own.
    """

    def __init__(self, source: SupportsCollect) -> None:
        self._source = source
        self._owners: Owners = {}
        self.names: set[str] = set()
        self._take_off()

    def _take_off(self) -> None:
        self._turn = threading.Lock()
        self._asking: int | None = None
        self.flight = SingleFlight(self.collect, f"collect {self._source.name}")

    def after_fork(self) -> None:
        """Start over in a child process: who was asking there is gone."""
        self._take_off()
        start_over: Callable[[], None] | None = getattr(self._source, "after_fork", None)
        if start_over is not None:
            start_over()

    def collect(self) -> Collected:
        """Ask the source, in the calling thread.

        Returns:
            One family a name, merged here so that the event loop need not do it.
        """
        if self._asking == threading.get_ident():
            # A callback that renders its own registry: waiting for the turn would be for ever.
            return self._nothing("raised", "it was asked while it was answering")
        with self._turn:
            self._asking = threading.get_ident()
            try:
                return self._sort(list(self._source.collect()))
            except Exception as error:  # noqa: BLE001 - one bad source costs itself
                return self._nothing("raised", f"collecting raised {error!r}")
            finally:
                self._asking = None

    def _sort(self, answer: Sequence[MetricFamily | Fault]) -> Collected:
        faults = [item for item in answer if isinstance(item, Fault)]
        # One without series takes no name from another.
        families = [item for item in answer if isinstance(item, MetricFamily) and item.series]
        merged, conflicts = merge_families(families, self._owners)
        return Collected(merged, [*faults, *conflicts])

    def outcome(self, future: Future[Collected], timeout: float) -> Collected:
        """Tell what came of asking in the flight's thread.

        Args:
            future: What ``flight.join`` has returned.
            timeout: Seconds that were waited.
        """
        if not future.done():
            return self._nothing("late", f"no answer within {timeout} s")
        error = future.exception()  # an exit or a cancellation, which are no exceptions
        return future.result() if error is None else self._nothing("raised", f"it raised {error!r}")

    def _nothing(self, cause: str, reason: str) -> Collected:
        message = f"{reason}; nothing of this source is shown"
        return Collected((), [Fault(cause, self._source.name, message)], complete=False)
