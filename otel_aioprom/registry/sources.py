"""Sources: what a registry asks for families at each collection."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import Any, Protocol

from otel_aioprom._concurrency.shared_future import Run
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Collector
from otel_aioprom.registry.faults import Fault

Answer = MetricFamily | Collector[Any] | Fault

Preparation = Mapping[Run[Any], float]
"""What has to end before a source is collected, each with the seconds that it may take."""


class SupportsCollect(Protocol):
    """A source of families, asked anew for each collection.

    Attributes:
        name: What logs and errors call it.
    """

    name: str

    def collect(self) -> Iterable[Answer]:
        """Return the families as they stand now, or collectors that have them, and what cannot be given as a ``Fault``.

        Called in a worker thread, or in the thread of whoever renders; never twice at once. Of a collector that it gives,
        functions (``set_function``) are not asked, and nothing expires. Whatever it raises costs this source alone. A source that holds locks may have a method
        ``after_fork``, which is called in child processes. One that promises that all names and series are well
        formed says so by an attribute ``well_formed``, and is spared the check. One that only brings values up to date
        has an attribute ``upkeep``: if a call is late, the values before it stand unless its method ``lacks_any`` says that one was never there,
        and the next call does not wait for it, unless a stranger was in a hurry and its method ``hangs`` says that it does not. One
        with a method ``before_collection`` begins there what has to be done before, and returns a ``Preparation``.
        """


class SupportsAsyncCollect(Protocol):
    """A source that is awaited on the event loop of whoever serves.

    Attributes:
        name: What logs and errors call it.
    """

    name: str

    def collect(self) -> Awaitable[Iterable[Answer]] | AsyncIterable[Answer]:
        """As in ``SupportsCollect``: a coroutine function, or an asynchronous generator function.

        It is cancelled after as many seconds as the source's attribute ``timeout`` says, or 30.
        """
