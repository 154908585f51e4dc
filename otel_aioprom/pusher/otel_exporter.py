"""An exporter that pushes what OpenTelemetry measures, for those who have no registry."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from opentelemetry.sdk.metrics import export as sdk

from otel_aioprom._concurrency.fork_safety import tell_of_forks
from otel_aioprom._concurrency.periodic import Watch
from otel_aioprom._concurrency.shared_future import running_loop
from otel_aioprom._transport.retry import Retry
from otel_aioprom.errors import MetricsError, PushError
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

_LEAST = 0.001  # seconds


class PushMetricExporter(sdk.MetricExporter):
    """Pushes each export of a ``PeriodicExportingMetricReader`` into a group of a Pushgateway.

    Works in the thread of the reader, to the end of the program. The temporality is cumulative. A push that fails is
    tried again within the time that the SDK gives it; a line is logged when pushes begin to fail, and when they work
    again.

    Args:
        job_name: The job, which every group has.
        addr: Address of the gateway.
        method: ``"replace"``: the group holds what was exported last. ``"add"``: metrics that are gone stay.
        delete_on_shutdown: Delete the group when the SDK shuts down.
        translation: The options of ``PrometheusMetricReader`` that tell what becomes of metrics: ``prefix``,
            ``translation_strategy``, ``scope_info_enabled`` and so on.
        preferred_aggregation: Instrument class → aggregation.
        **options: As for ``Pusher``, but for ``session``.

    Raises:
        TypeError: An option is of the wrong kind, or there is none of this name.
        ValueError: An option has no such value.

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
        self._pusher = BlockingPusher(job_name, addr, **options)
        self._methods = ("PUT", "POST") if method == "replace" else ("POST",)
        self._delete = delete_on_shutdown
        self._source = _Exported(Translator(make_options(**(translation or {}))))
        self._registry = CollectorRegistry()
        self._registry.add_source(self._source)
        self._watch = Watch(f"exports to {self._pusher.url}")
        self._lock, self._closing = threading.Lock(), threading.Lock()
        self._closed = False
        tell_of_forks(self)

    def export(
        self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> sdk.MetricExportResult:
        """Push a collection, and wait until it has arrived or is given up.

        Args:
            metrics_data: What the SDK has collected.
            timeout_millis: How long a push may be tried again and again.
            **kwargs: What newer SDKs may pass.
        """
        seconds = _seconds(timeout_millis)
        with self._lock:
            if self._closed:
                _logger.warning("nothing is exported after the shutdown")
                return sdk.MetricExportResult.FAILURE
            self._source.data = metrics_data
            gathering = self._registry.gather()
            if broken := [fault for fault in gathering.faults if fault.cause in SOURCE_FAILURES]:
                return self._failed(broken[0].message)
            retry = self._limited(seconds)
            try:
                result = _anywhere(
                    lambda: self._pusher.push_gathered(
                        self._methods, self._registry, gathering, retry
                    )
                )
            except (MetricsError, RuntimeError) as error:
                return self._failed(error)
        if not 200 <= result.status < 300:  # noqa: PLR2004 - HTTP
            return self._failed(PushError(self._pusher.url, result.status, result.text.strip()))
        self._watch.worked()
        return sdk.MetricExportResult.SUCCESS

    def _limited(self, seconds: float) -> Retry:
        retry = self._retry or Retry()
        return replace(retry, total=min(seconds, retry.total if self._retry else seconds))

    def _failed(self, error: object) -> sdk.MetricExportResult:
        self._watch.failed(error)
        return sdk.MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait for an export under way; nothing else is ever held back.

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
        """Export nothing from now on, and delete the group if that was asked for; a second call does nothing.

        Args:
            timeout_millis: How long an export under way, and the request, may take.
            timeout: The same, as the SDK's periodic reader calls it.
            **kwargs: What newer SDKs may pass.
        """
        seconds, began = _seconds(timeout_millis if timeout is None else timeout), monotonic()
        with self._closing:
            closed, self._closed = self._closed, True
        if self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            self._lock.release()
        if self._delete and not closed:
            retry = self._limited(max(_LEAST, seconds - (monotonic() - began)))
            try:
                _anywhere(lambda: self._pusher.delete(retry=retry))
            except (MetricsError, RuntimeError) as error:
                _logger.warning("the group of a program that ends stays: %s", error)

    def after_fork(self) -> None:
        """Start over in a child process: whoever was exporting is gone."""
        self._lock, self._closing = threading.Lock(), threading.Lock()


def _seconds(milliseconds: float) -> float:
    """Return a time that is above 0: the SDK subtracts what it has used up."""
    return max(_LEAST, milliseconds / 1000)


def _anywhere(call: Callable[[], R]) -> R:
    """Call something that needs a thread without an event loop; services flush where theirs runs."""
    if running_loop() is None:
        return call()
    found: Future[R] = Future()

    def run() -> None:
        try:
            found.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where the call was asked for
            found.set_exception(error)

    thread = threading.Thread(target=run, name="otel_aioprom export")
    thread.start()
    thread.join()
    return found.result()


class _Exported:
    """The last export as a source of a registry."""

    name = "OpenTelemetry"
    well_formed = True

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self.data: sdk.MetricsData | None = None

    def collect(self) -> Iterable[MetricFamily | Fault]:
        """Translate it; see ``SupportsCollect``."""
        data, self.data = self.data, None
        return list(self._translator.translate(data))
