"""OpenTelemetry metric exporter that pushes to a Pushgateway, without a registry of the application."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from opentelemetry.sdk.metrics import export as sdk

from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom._concurrency.greenlets import (
    running_loop,
    threads_are_greenlets,
    without_loop,
)
from otel_aioprom._concurrency.periodic import FailureLogger
from otel_aioprom._transport.retry import Retry
from otel_aioprom.errors import MetricsError
from otel_aioprom.otel.options import make_options
from otel_aioprom.otel.translate import Translator
from otel_aioprom.pusher.blocking import BlockingPusher
from otel_aioprom.registry.faults import SOURCE_FAILURES
from otel_aioprom.registry.registry import CollectorRegistry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from otel_aioprom._core.model import MetricFamily
    from otel_aioprom.otel.options import TranslationOptions
    from otel_aioprom.pusher.pusher import PusherOptions
    from otel_aioprom.registry.faults import Fault

_logger = logging.getLogger(__name__)

R = TypeVar("R")

_MIN_TIMEOUT = 0.001  # seconds
_PID = "pid"  # the grouping label of forked children


class PushMetricExporter(sdk.MetricExporter):
    """Push each export of a ``PeriodicExportingMetricReader`` to a group of a Pushgateway.

    Works in the thread of the reader, until the interpreter exits. The temporality is cumulative. A failed push is
    retried within the timeout of the SDK; a message is logged when pushes begin to fail, and when they work again.

    The SDK goes on in forked children. There the exporter pushes to a group of its own, with the additional label
    ``pid``, and logs that once: in its parent's group each would overwrite the other.

    Args:
        job_name: The ``job`` label of the group.
        addr: URL of the gateway.
        method: ``"replace"``: each push replaces the whole group. ``"add"``: metrics that have disappeared stay.
        delete_on_shutdown: Delete the group when the SDK shuts down.
        translation: Translation options of ``PrometheusMetricReader``: ``prefix``, ``translation_strategy``,
            ``scope_info_enabled`` and so on.
        preferred_aggregation: Instrument class → aggregation.
        **options: As for ``Pusher``, except ``session`` and ``raise_for_status``.

    Raises:
        TypeError: An option has the wrong type, or is unknown.
        ValueError: An option has an invalid value.

    Spec:
        M6, E81 to E91.

    Examples:
        >>> from opentelemetry.sdk.metrics import MeterProvider
        >>> exporter = PushMetricExporter("worker", "http://localhost:9091")
        >>> provider = MeterProvider([sdk.PeriodicExportingMetricReader(exporter)])  # doctest: +SKIP
    """

    def __init__(
        self,
        job_name: str,
        addr: str,
        *,
        method: Literal["replace", "add"] = "replace",
        delete_on_shutdown: bool = False,
        translation: TranslationOptions | None = None,
        preferred_aggregation: dict[type, Any] | None = None,
        **options: Unpack[PusherOptions],
    ) -> None:
        super().__init__(preferred_aggregation=preferred_aggregation)
        if method not in {"replace", "add"}:
            raise ValueError(f"method must be 'replace' or 'add', not {method!r}")
        self._retry = options.get("retry")
        options["raise_for_status"] = True
        self._group = (job_name, addr, options)
        self._pusher = BlockingPusher(job_name, addr, **options)
        self._pid = os.getpid()
        self._methods = ("PUT", "POST") if method == "replace" else ("POST",)
        self._delete = delete_on_shutdown
        self._source = _ExportSource(Translator(make_options(**(translation or {}))))
        self._registry = CollectorRegistry()
        self._registry.add_source(self._source)
        self._failure_log = FailureLogger(f"exports to {self._pusher.url}")
        self._lock, self._closing = threading.Lock(), threading.Lock()
        self._closed = False
        register_after_fork(self)

    def export(
        self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> sdk.MetricExportResult:
        """Push a collection, and block until it has arrived or failed.

        Args:
            metrics_data: What the SDK has collected.
            timeout_millis: Timeout of all attempts together, in milliseconds.
            **kwargs: Arguments of newer SDKs; ignored.
        """
        seconds = _seconds(timeout_millis)
        with self._lock:
            if self._closed:
                _logger.warning("nothing is exported after shutdown")
                return sdk.MetricExportResult.FAILURE
            self._leave_group_of_parent()
            self._source.data = metrics_data
            gathering = self._registry.gather()
            if faults := [fault for fault in gathering.faults if fault.cause in SOURCE_FAILURES]:
                return self._failed(faults[0].message)
            arguments = (self._methods, self._registry, gathering, self._retry_within(seconds))
            try:
                _without_loop(lambda: self._pusher.push_gathered(*arguments))
            except (MetricsError, RuntimeError) as error:
                return self._failed(error)
        self._failure_log.worked()
        return sdk.MetricExportResult.SUCCESS

    def _retry_within(self, seconds: float) -> Retry:
        retry = self._retry or Retry()
        return replace(retry, total=min(seconds, retry.total if self._retry else seconds))

    def _failed(self, error: object) -> sdk.MetricExportResult:
        self._failure_log.failed(error)
        return sdk.MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait for an export in progress; nothing is buffered.

        Args:
            timeout_millis: Timeout in milliseconds.

        Returns:
            Whether it has ended in time.
        """
        ended = self._lock.acquire(timeout=min(_seconds(timeout_millis), threading.TIMEOUT_MAX))
        if ended:
            self._lock.release()
        return ended

    def shutdown(
        self, timeout_millis: float = 30_000, timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Stop exporting, and delete the group if ``delete_on_shutdown`` is set; a second call does nothing.

        Args:
            timeout_millis: Timeout of an export in progress and of the request, in milliseconds.
            timeout: The same, under the name that the SDK's periodic reader uses.
            **kwargs: Arguments of newer SDKs; ignored.
        """
        seconds, began = _seconds(timeout_millis if timeout is None else timeout), monotonic()
        with self._closing:
            closed, self._closed = self._closed, True
        if self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            self._lock.release()
        if self._delete and not closed:
            self._leave_group_of_parent()
            retry = self._retry_within(max(_MIN_TIMEOUT, seconds - (monotonic() - began)))
            try:
                _without_loop(lambda: self._pusher.delete(retry=retry))
            except (MetricsError, RuntimeError) as error:
                _logger.warning("the group could not be deleted on shutdown: %s", error)

    def _leave_group_of_parent(self) -> None:
        """Push to another group in a child process than its parent."""
        if os.getpid() == self._pid:
            return
        parent, self._pid = self._pid, os.getpid()
        job_name, addr, options = self._group
        options["grouping_key"] = {**(options.get("grouping_key") or {}), _PID: str(self._pid)}
        self._pusher = BlockingPusher(job_name, addr, **options)
        self._failure_log = FailureLogger(f"exports to {self._pusher.url}")
        message = (
            "process %d was forked from process %d, which exports metrics: it exports to a group of its own, %s; "
            "create the exporter after the fork, with a grouping_key of its own, to name that group"
        )
        _logger.warning(message, self._pid, parent, self._pusher.url)

    def after_fork(self) -> None:
        """Reset the locks in a child process: the thread that held them does not exist there."""
        self._lock, self._closing = threading.Lock(), threading.Lock()


def _seconds(milliseconds: float) -> float:
    """Convert a timeout to seconds above 0: the SDK subtracts the time that has passed."""
    return max(_MIN_TIMEOUT, milliseconds / 1000)


def _without_loop(call: Callable[[], R]) -> R:
    """Call a function in a thread without a running event loop; services flush in the thread of theirs."""
    if running_loop() is None:
        return call()
    if threads_are_greenlets():
        with without_loop():
            return call()
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            future.set_exception(error)

    thread = threading.Thread(target=run, name="otel_aioprom export")
    thread.start()
    thread.join()
    return future.result()


class _ExportSource:
    """Registry source with the data of the current export."""

    name = "OpenTelemetry"
    well_formed = True

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self.data: sdk.MetricsData | None = None

    def collect(self) -> Iterable[MetricFamily | Fault]:
        """Translate the data; see ``SupportsCollect``."""
        data, self.data = self.data, None
        return list(self._translator.translate(data))
