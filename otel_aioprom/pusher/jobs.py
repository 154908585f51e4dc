"""Metrics of a batch job, pushed when it begins and when it ends."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter, time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from otel_aioprom._concurrency.greenlets import running_loop
from otel_aioprom._concurrency.shared_future import run_in_new_loop
from otel_aioprom._concurrency.sigterm import call_in_loop, sigterm
from otel_aioprom._transport.delivery import is_success, refused
from otel_aioprom._transport.retry import ONCE, Retry
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import DuplicateCollectorError
from otel_aioprom.pusher.pusher import Pusher
from otel_aioprom.registry.registry import CollectorRegistry, check_registry

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from otel_aioprom.pusher.pusher import PusherOptions

_logger = logging.getLogger(__name__)

_START = ("job_last_start_timestamp_seconds", "When the job's last run began.")
_DURATION = ("job_duration_seconds", "How long the job's last run took.")
_SUCCESS = ("job_success", "Whether the job's last run ended well.")
_LAST_SUCCESS = ("job_last_success_timestamp_seconds", "When the job last ended well.")

_START_RETRY = Retry(attempts=1, total=5.0)  # the job waits for it
_SIGTERM_RETRY = Retry(total=5.0)  # whoever has sent the signal waits for it

_last_successes: WeakKeyDictionary[CollectorRegistry, dict[str, float]] = WeakKeyDictionary()
"""By URL of the group: jobs may share a registry."""


class job_metrics:  # noqa: N801 - used like a function
    """Measure duration and success of a batch job, and push them with the job's own metrics when it ends.

    A context manager, for ``async with`` or ``with``. The push is an ``add``, so that the timestamp of the last
    success stays when a later run fails. A failed push is retried a few times, then logged as an error; exceptions
    of the job are never hidden. The time of the start is pushed when the job begins, in one attempt of 5 s at most.

    ``SIGTERM`` ends the job in the main thread, unless the application handles it: ``SystemExit`` is raised in the
    block, or its task is cancelled while it waits. The push of the failure may take 5 s; then the signal ends the
    process.

    Args:
        job_name: The job's name, also that of its group.
        addr: URL of the gateway.
        registry: Registry with the job's own metrics; a new one if not given.
        **options: As for ``Pusher``.

    Raises:
        TypeError: ``registry`` is no registry.
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
        self.registry = CollectorRegistry() if registry is None else check_registry(registry)
        options.setdefault("retry", Retry())
        self._pusher = Pusher(job_name, addr, **options)
        self._session = options.get("session")
        self._began = 0.0
        self._task: asyncio.Task[object] | None = None
        self._in_block = self._terminated = False
        self._start, *self._gauges = [
            self._gauge(*each) for each in (_START, _DURATION, _SUCCESS, _LAST_SUCCESS)
        ]

    async def __aenter__(self) -> Self:
        await self._push_start()
        self._task = asyncio.current_task()
        return self._begin()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end(error)
        # A caller that cancels does not want to wait for long.
        retry = ONCE if isinstance(error, asyncio.CancelledError) else None
        try:
            await self._push(_SIGTERM_RETRY if self._terminated else retry)
        finally:
            sigterm.remove(self)

    def __enter__(self) -> Self:
        if running_loop() is not None:
            raise RuntimeError("use 'async with' in an event loop")
        if self._session is not None:
            raise ValueError("a session belongs to an event loop: remove it, or use 'async with'")
        run_in_new_loop(self._push_start())
        return self._begin()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end(error)
        try:
            run_in_new_loop(self._push(_SIGTERM_RETRY if self._terminated else None))
        finally:
            sigterm.remove(self)

    def _begin(self) -> Self:
        self._began = perf_counter()
        self._in_block, self._terminated = True, False
        loop = None if self._task is None else self._task.get_loop()
        if sigterm.add(self, self._terminate, loop) and loop is not None:
            loop.call_soon(self._cancel)
        return self

    def _end(self, error: BaseException | None) -> None:
        self._in_block = False
        self._record(failed=_is_failure(error) or self._terminated)

    def _terminate(self) -> bool:
        """End the block, called on ``SIGTERM`` in the main thread; see ``SigtermHandler.add``."""
        if not self._in_block:
            return False
        loop = None if self._task is None else self._task.get_loop()
        # A task that runs now may not yield for long.
        if loop is None or asyncio.current_task(loop) is self._task:
            self._terminated = True
            return True
        return call_in_loop(loop, self._cancel)

    def _cancel(self) -> None:
        if self._in_block and self._task is not None:
            self._terminated = True
            self._task.cancel()

    async def _push_start(self) -> None:
        """Push the time of the start, and nothing else: what the last run has pushed stays."""
        self._start.set({}, time())
        registry = CollectorRegistry()
        registry.register(self._start)
        failure = await self._add(registry, _START_RETRY)
        if failure is not None:
            _logger.warning("the start of a job could not be pushed: %s", failure)

    async def _push(self, retry: Retry | None) -> None:
        failure = await self._add(self.registry, retry)
        if failure is not None:
            _logger.error("the metrics of a job are lost: %s", failure)

    async def _add(self, registry: CollectorRegistry, retry: Retry | None) -> Exception | None:
        """Push a registry; return why that failed, for a failed push must not change how the job ends."""
        try:
            response = await self._pusher.add(registry, retry=retry)
            return None if is_success(response) else await refused(response)
        except Exception as error:  # noqa: BLE001 - see above
            return error

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
