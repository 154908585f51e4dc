"""The OpenTelemetry side: a metric reader that is a source of a registry."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from opentelemetry.sdk.metrics import export as sdk

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.otel.async_callbacks import failures, forget, refresh_all
from otel_aioprom.otel.async_observer import reading
from otel_aioprom.otel.options import make_options
from otel_aioprom.otel.translate import Translator
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.registry import REGISTRY, CollectorRegistry
from otel_aioprom.registry.sources import Preparation


class PrometheusMetricReader(sdk.MetricReader):
    """Brings what OpenTelemetry instruments measure into a registry.

    It is a reader and nothing more: serving is the affair of a ``Service`` on the same registry. Each
    collection of the registry collects the SDK, in the thread that the registry uses; the temporality is
    cumulative.

    Args:
        disable_target_info: The official exporter's word for the opposite of ``target_info_enabled``.
        prefix: In front of every metric name, an underscore between; not on ``target_info``.
        scope_info_enabled: Put name, version, schema URL and attributes of the instrumentation scope on
            every sample, as ``otel_scope_…`` labels.
        registry: Shows the metrics; the default registry if none is given.
        target_info_enabled: Expose the resource's attributes as the labels of ``target_info``.
        resource_constant_labels: Resource attributes to copy onto every sample: a mapping with lists of
            patterns under ``included`` and ``excluded``, matched with the attributes' own keys.
        resource_attribute_filter: The official exporter's word for the same: a function that is given a key, and
            tells whether to copy the attribute.
        translation_strategy: What becomes of names: ``"UnderscoreEscapingWithSuffixes"``,
            ``"UnderscoreEscapingWithoutSuffixes"``, ``"NoUTF8EscapingWithSuffixes"`` or ``"NoTranslation"``.
        summaries: Histogram instruments to expose as summaries: patterns of their names (``*`` and ``?``) with
            the quantiles to estimate, over the whole life of the stream. The first pattern that matches counts.
        classic_buckets: Upper bounds, ascending, that exponential histograms have in formats without native
            histograms; without, they have the infinite one alone.
        preferred_aggregation: Instrument class → aggregation, for this reader.
        cardinality_limits: Instrument class → most attribute sets of a stream, for this reader.

    Raises:
        TypeError: An option is of the wrong kind, or the installed SDK does not know it.
        ValueError: An option's value makes no sense, or two options contradict each other.

    Spec:
        M1 to M5, M8, M19, M37, M48, M49, M52, M70, M80.

    Examples:
        >>> from opentelemetry.sdk.metrics import MeterProvider
        >>> registry = CollectorRegistry()
        >>> provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
    """

    def __init__(
        self,
        disable_target_info: bool = False,
        prefix: str = "",
        scope_info_enabled: bool = True,
        *,
        registry: CollectorRegistry = REGISTRY,
        target_info_enabled: bool = True,
        resource_constant_labels: Mapping[str, Sequence[str] | None] | None = None,
        resource_attribute_filter: Callable[[str], bool] | None = None,
        translation_strategy: str = "UnderscoreEscapingWithSuffixes",
        summaries: Mapping[str, Iterable[float]] | None = None,
        classic_buckets: Iterable[float] | None = None,
        preferred_aggregation: dict[type, Any] | None = None,
        cardinality_limits: Mapping[type, int] | None = None,
    ) -> None:
        if not isinstance(registry, CollectorRegistry):
            raise TypeError(f"registry must be a CollectorRegistry, not {registry!r}")
        options = make_options(
            prefix=prefix,
            scope_info_enabled=scope_info_enabled,
            target_info_enabled=target_info_enabled and not disable_target_info,
            resource_constant_labels=resource_constant_labels,
            resource_attribute_filter=resource_attribute_filter,
            translation_strategy=translation_strategy,
            summaries=summaries,
            classic_buckets=classic_buckets,
        )
        super().__init__(
            preferred_aggregation=preferred_aggregation,
            **_limits(cardinality_limits),
            **_component_type(),
        )
        self._source = _ReaderSource(self, Translator(options))
        self._registry = registry
        registry.add_source(self._source)

    def _receive_metrics(
        self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        self._source.deliver(metrics_data)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Take the reader out of its registry; a second call does nothing.

        Args:
            timeout_millis: Not needed, nothing is waited for.
            **kwargs: What newer SDKs may pass.

        Spec:
            M4.
        """
        self._source.close()
        self._registry.remove_source(self._source)


def _component_type() -> dict[str, Any]:
    """Say what kind of component this is, where the SDK asks and the name is to be had: it is no public one yet."""
    if "otel_component_type" not in inspect.signature(sdk.MetricReader.__init__).parameters:
        return {}
    try:
        module: Any = import_module("opentelemetry.semconv._incubating.attributes.otel_attributes")
        kind = module.OtelComponentTypeValues.PROMETHEUS_HTTP_TEXT_METRIC_EXPORTER
    except (ImportError, AttributeError):
        return {}
    return {"otel_component_type": kind}


def _limits(cardinality_limits: Mapping[type, int] | None) -> dict[str, Any]:
    """Pass the limits on, if there are any and the SDK takes them: it learned to in 2026."""
    if cardinality_limits is None:
        return {}
    if "cardinality_limits" not in inspect.signature(sdk.MetricReader.__init__).parameters:
        raise TypeError(
            "the installed opentelemetry-sdk knows no cardinality_limits; a newer one does"
        )
    return {"cardinality_limits": dict(cardinality_limits)}


class _ReaderSource:
    """What the registry sees of a reader.

    The SDK delivers a collection in the thread that asked for it. Each thread has a slot of its own, open
    while it collects for the registry, so that a collection never ends up with somebody else's: a flush
    in another thread delivers into nothing.

    Args:
        reader: The reader to collect.
        translator: Translates what it delivers.
    """

    name = "OpenTelemetry"
    well_formed = True

    def __init__(self, reader: sdk.MetricReader, translator: Translator) -> None:
        self._reader = reader
        self._translator = translator
        self._slot = threading.local()
        self._translating = threading.Lock()
        self._closed = False

    def collect(self) -> Iterable[MetricFamily | Fault]:
        """Collect the SDK and translate what it delivers; see ``SupportsCollect``."""
        # Without a provider the SDK would log a warning at each scrape; there is no public way to ask.
        if self._closed or getattr(self._reader, "_collect", self) is None:
            return []
        self._slot.data = None
        self._slot.open = True
        try:
            # No deadline: the SDK counts twice what it collected before one (P7). Who waits has its own.
            with reading(self):
                self._reader.collect(timeout_millis=math.inf)
        finally:
            self._slot.open = False
        data, self._slot.data = self._slot.data, None
        with self._translating:
            return [*self._translator.translate(data), *failures(self)]

    def before_collection(self) -> Preparation:
        """Let the coroutine functions of observable instruments be awaited; see ``SupportsCollect``."""
        return refresh_all(self)

    def after_fork(self) -> None:
        """Start over in a child process: whoever was translating is gone."""
        self._translating = threading.Lock()
        self._slot = threading.local()

    def deliver(self, data: sdk.MetricsData) -> None:
        """Take a collection, if this thread has asked for it; of another one, only what the SDK gives but once."""
        if self._closed:
            return
        if getattr(self._slot, "open", False):
            self._slot.data = data
            return
        with self._translating:
            self._translator.keep_exemplars(data)

    def close(self) -> None:
        """Deliver nothing any more."""
        self._closed = True
        forget(self)
