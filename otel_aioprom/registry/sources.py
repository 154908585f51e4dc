"""Sources: what a registry collects families from."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import Any, Protocol

from otel_aioprom._concurrency.shared_future import SharedFuture
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Collector
from otel_aioprom.registry.faults import Fault

SourceItem = MetricFamily | Collector[Any] | Fault

Preparation = Mapping[SharedFuture[Any], float]
"""Futures to wait for before a source is collected, each with the seconds that it may take."""


class SupportsCollect(Protocol):
    """A source of families, collected anew for each response.

    Besides ``name`` and ``collect`` a source may have these attributes and methods:

    - ``after_fork()``: called in child processes. Needed by sources that hold locks.
    - ``before_collection()``: starts what has to end before ``collect`` is called, and returns a ``Preparation``.
    - ``well_formed``: true if all names and series are valid, so that they need not be checked.
    - ``refreshes_only``: true if the source returns no families, but updates values that are exposed elsewhere. If it
      is late, the last values are exposed, and the next collection does not wait for the late call, but calls
      ``collect`` again, unless it was late only by a client's deadline, that is, ``hangs()`` returned false.
    - ``hangs()``, of such a source: returns whether a call has exceeded its own timeout.
    - ``any_missing()``, of such a source: returns whether there is a value that has never been set.

    Attributes:
        name: Its name in logs and errors.
    """

    name: str

    def collect(self) -> Iterable[SourceItem]:
        """Return the current families, or collectors that have them, and a ``Fault`` for what is missing.

        Called in a thread of its own or in the thread that renders, never twice at the same time. An exception drops
        this source alone. Callbacks (``set_function``) of returned collectors are not called, and their series do not
        expire.
        """


class SupportsAsyncCollect(Protocol):
    """A source that is awaited on the event loop of the service; it may have what ``SupportsCollect`` lists.

    Attributes:
        name: Its name in logs and errors.
    """

    name: str

    def collect(self) -> Awaitable[Iterable[SourceItem]] | AsyncIterable[SourceItem]:
        """Return what ``SupportsCollect.collect`` does: as a coroutine function, or an asynchronous generator function.

        It is cancelled after as many seconds as the attribute ``timeout`` says; 30 if the source has none.
        """
