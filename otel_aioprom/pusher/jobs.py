"""Metrics of a batch job, pushed once when it ends."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter, time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from otel_aioprom._concurrency.shared_future import run_in_new_loop, running_loop
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
"""By URL of the group: jobs may share a registry."""


class job_metrics:  # noqa: N801 - used like a function
    """Measure duration and success of a batch job, and push them with the job's own metrics when it ends.

    A context manager, for ``async with`` or ``with``. The push is an ``add``, so that the timestamp of the last
    success stays when a later run fails. A failed push is retried a few times, then logged as an error; exceptions
    of the job are never hidden.

    Args:
        job_name: The job's name, also that of its group.
        addr: URL of the gateway.
        registry: Registry with the job's own metrics; a new one if not given.
        **options: As for ``Pusher``.

    Raises:
        DuplicateCollectorError: The registry has a metric of another type under one of the names.

    Attributes:
        registry: The registry for the job's own metrics.

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
        self._gauges = [self._gauge(*each) for each in (_DURATION, _SUCCESS, _LAST_SUCCESS)]

    async def __aenter__(self) -> Self:
        self._began = perf_counter()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._record(failed=_is_failure(error))
        # A caller that cancels does not want to wait for long.
        await self._push(ONCE if isinstance(error, asyncio.CancelledError) else None)

    def __enter__(self) -> Self:
        if running_loop() is not None:
            raise RuntimeError("use 'async with' in an event loop")
        if self._session is not None:
            raise ValueError("a session belongs to an event loop: remove it, or use 'async with'")
        self._began = perf_counter()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._record(failed=_is_failure(error))
        run_in_new_loop(self._push(None))

    async def _push(self, retry: Retry | None) -> None:
        failure: Exception | None
        try:
            response = await self._pusher.add(self.registry, retry=retry)
            failure = None if is_success(response) else await refused(response)
        except Exception as error:  # noqa: BLE001 - a failed push must not change how the job ends
            failure = error
        if failure is not None:
            _logger.error("the metrics of a job are lost: %s", failure)

    def _record(self, *, failed: bool) -> None:
        """Set the gauges; the timestamp of an earlier success of the same job stays."""
        duration, success, last = self._gauges
        duration.set({}, perf_counter() - self._began)
        success.set({}, int(not failed))
        timestamps = _last_successes.setdefault(self.registry, {})
        if not failed:
            timestamps[self._pusher.url] = time()
        if self._pusher.url in timestamps:
            last.set({}, timestamps[self._pusher.url])
        else:
            last.clear()

    def _gauge(self, name: str, doc: str) -> Gauge:
        """Return one of the gauges, the registered one if the job has run before in this process."""
        try:
            gauge = self.registry.get(name)
        except KeyError:
            return Gauge(name, doc, registry=self.registry)
        if not isinstance(gauge, Gauge):
            raise DuplicateCollectorError(name, gauge.name)
        return gauge


def _is_failure(error: BaseException | None) -> bool:
    """Return whether a job has failed; ``sys.exit()`` with status 0 is a success."""
    return error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0))
