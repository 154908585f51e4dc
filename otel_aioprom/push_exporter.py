"""An exporter that pushes what OpenTelemetry measures, for those who have no registry."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry.sdk.metrics import export as sdk

from otel_aioprom.blocking import BlockingPusher
from otel_aioprom.errors import MetricsError, PushError
from otel_aioprom.otel.options import make_options
from otel_aioprom.otel.translate import Translator
from otel_aioprom.periodic import Watch
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.retrying import Retry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from otel_aioprom.faults import Fault
    from otel_aioprom.model import MetricFamily
    from otel_aioprom.otel.options import TranslationOptions
    from otel_aioprom.pusher import PusherOptions

_logger = logging.getLogger(__name__)


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
        >>> reader = sdk.PeriodicExportingMetricReader(exporter, export_interval_millis=15_000)
        >>> provider = MeterProvider(metric_readers=[reader])  # doctest: +SKIP
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
        self._push = self._pusher.replace if method == "replace" else self._pusher.add
        self._delete = delete_on_shutdown
        self._source = _Exported(Translator(make_options(**(translation or {}))))
        self._registry = CollectorRegistry()
        self._registry.add_source(self._source)
        self._watch = Watch(f"exports to {self._pusher.url}")
        self._lock = threading.Lock()
        self._closed = False

    def export(
        self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> sdk.MetricExportResult:
        """Push a collection, and wait until it has arrived or is given up.

        Args:
            metrics_data: What the SDK has collected.
            timeout_millis: How long a push may be tried again and again.
            **kwargs: What newer SDKs may pass.
        """
        with self._lock:
            if self._closed:
                _logger.warning("nothing is exported after the shutdown")
                return sdk.MetricExportResult.FAILURE
            self._source.data = metrics_data
            retry = self._retry or Retry(total=max(timeout_millis, 1) / 1000)
            try:
                result = self._push(self._registry, retry=retry)
            except MetricsError as error:
                return self._failed(error)
        if not 200 <= result.status < 300:  # noqa: PLR2004 - HTTP
            return self._failed(PushError(self._pusher.url, result.status, result.text.strip()))
        self._watch.worked()
        return sdk.MetricExportResult.SUCCESS

    def _failed(self, error: Exception) -> sdk.MetricExportResult:
        self._watch.failed(error)
        return sdk.MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait for an export under way; nothing else is ever held back.

        Returns:
            Whether it has ended in time.
        """
        ended = self._lock.acquire(timeout=timeout_millis / 1000)
        if ended:
            self._lock.release()
        return ended

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Export nothing from now on, and delete the group if that was asked for; a second call does nothing."""
        with self._lock:
            closed, self._closed = self._closed, True
        if self._delete and not closed:
            try:
                self._pusher.delete(retry=self._retry or Retry(total=timeout_millis / 1000))
            except MetricsError as error:
                _logger.warning("the group of a program that ends stays: %s", error)


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
