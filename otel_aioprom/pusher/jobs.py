"""Metrics of a job that begins and ends, pushed once when it has ended."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter, time
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from otel_aioprom._concurrency.shared_future import run_apart, running_loop
from otel_aioprom._transport.delivery import is_success, refused
from otel_aioprom._transport.retry import ONCE, Retry
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import DuplicateCollectorError
from otel_aioprom.pusher.pusher import Pusher
from otel_aioprom.registry.registry import CollectorRegistry

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from otel_aioprom.pusher.pusher import PusherOptions

_logger = logging.getLogger(__name__)

_DURATION = ("job_duration_seconds", "How long the job's last run took.")
_SUCCESS = ("job_success", "Whether the job's last run ended well.")
_LAST_SUCCESS = ("job_last_success_timestamp_seconds", "When the job last ended well.")


_last_successes: WeakKeyDictionary[CollectorRegistry, dict[str, float]] = WeakKeyDictionary()
"""By group: jobs may share a registry."""


class job_metrics:  # noqa: N801 - used like a function
    """Measures a job and pushes that, with what the job itself has measured, when the block ends.

    A context manager, ``async with`` or ``with``. The push adds to the group, so that the time of the last success
    stays when a job fails. A push that fails is logged as an error and tried again a few times; what the job raises
    is never hidden.

    Args:
        job_name: The job's name, which is its group's.
        addr: Address of the gateway.
        registry: What to push besides; a new registry if none is given.
        **options: As for ``Pusher``.

    Raises:
        DuplicateCollectorError: The registry has a metric of another kind under one of the names.

    Attributes:
        registry: For metrics of the job's own.

    Examples:
        >>> async def nightly() -> None:
        ...     async with job_metrics("nightly", "http://localhost:9091") as job:
        ...         rows = Gauge("nightly_rows", "Rows copied.", registry=job.registry)
        ...         rows.set({}, 12)
    """

    def __init__(
        self,
        job_name: str,
        addr: str,
        registry: CollectorRegistry | None = None,
        **options: Unpack[PusherOptions],
    ) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        options.setdefault("retry", Retry())
        self._pusher = Pusher(job_name, addr, **options)
        self._session = options.get("session")
        self._began = 0.0
        self._gauges = [self._gauge(*words) for words in (_DURATION, _SUCCESS, _LAST_SUCCESS)]

    async def __aenter__(self) -> Self:
        self._began = perf_counter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._note(failed=_is_failure(error))
        # Who cancels does not want to wait for long.
        await self._push(ONCE if isinstance(error, asyncio.CancelledError) else None)

    def __enter__(self) -> Self:
        if running_loop() is not None:
            raise RuntimeError("in an event loop a job is measured by 'async with'")
        if self._session is not None:
            raise ValueError(
                "a session belongs to an event loop: leave it out, or use 'async with'"
            )
        self._began = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._note(failed=_is_failure(error))
        run_apart(self._push(None))

    async def _push(self, retry: Retry | None) -> None:
        problem: Exception | None = None
        try:
            response = await self._pusher.add(self.registry, retry=retry)
            problem = None if is_success(response) else await refused(response)
        except Exception as error:  # noqa: BLE001 - the job has ended, well or not, all the same
            problem = error
        if problem is not None:
            _logger.error("the metrics of a job are lost: %s", problem)

    def _note(self, *, failed: bool) -> None:
        """Enter how it went; the time of an earlier success of this very job stays."""
        duration, success, last = self._gauges
        duration.set({}, perf_counter() - self._began)
        success.set({}, int(not failed))
        known = _last_successes.setdefault(self.registry, {})
        if not failed:
            known[self._pusher.url] = time()
        if self._pusher.url in known:
            last.set({}, known[self._pusher.url])
        else:
            last.clear()

    def _gauge(self, name: str, doc: str) -> Gauge:
        """Return one of the job's own metrics, the same one when the job runs again in this process."""
        try:
            found = self.registry.get(name)
        except KeyError:
            return Gauge(name, doc, registry=self.registry)
        if not isinstance(found, Gauge):
            raise DuplicateCollectorError(name, found.name)
        return found


def _is_failure(error: BaseException | None) -> bool:
    """Tell whether a job has failed: it may also end by ``sys.exit()``."""
    return error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0))
