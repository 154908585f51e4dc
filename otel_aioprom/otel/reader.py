"""OpenTelemetry metric reader that is a source of a registry."""

from __future__ import annotations

import inspect
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from time import monotonic
from typing import Any

from opentelemetry.sdk.metrics import export as sdk

from otel_aioprom._concurrency.fork_safety import ForkGate
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.otel.async_callbacks import failures, prepare_all, remove_reader
from otel_aioprom.otel.async_observer import reading
from otel_aioprom.otel.descriptions import Descriptions
from otel_aioprom.otel.options import make_options
from otel_aioprom.otel.translate import Translator
from otel_aioprom.registry.faults import NO_PROVIDER, Fault
from otel_aioprom.registry.registry import REGISTRY, CollectorRegistry, check_registry
from otel_aioprom.registry.sources import Preparation

_GRACE = 1.0  # seconds in which a provider may take a new reader before it counts as a fault

# The SDK holds a lock meanwhile, which a child process would never see released.
_collecting = ForkGate()


class PrometheusMetricReader(sdk.MetricReader):
    """Expose OpenTelemetry metrics through a registry.

    The reader does not serve anything; use a ``Service`` with the same registry. Each collection of the registry
    collects the SDK, in the registry's thread; the temporality is cumulative.

    Args:
        disable_target_info: The opposite of ``target_info_enabled``, for compatibility with the official exporter.
        prefix: Prefix of all metric names except ``target_info``, followed by an underscore.
        scope_info_enabled: Add name, version, schema URL and attributes of the instrumentation scope to all samples,
            as ``otel_scope_…`` labels.
        registry: Registry that collects the reader; the default registry if not given.
        target_info_enabled: Expose the resource attributes as labels of ``target_info``.
        resource_constant_labels: Resource attributes to add to all samples: a mapping with lists of glob patterns
            under ``included`` and ``excluded``, which are matched with the original keys.
        resource_attribute_filter: The same as a function, for compatibility with the official exporter: called with a
            key, returns whether to add the attribute.
        translation_strategy: Translation of names: ``"UnderscoreEscapingWithSuffixes"``,
            ``"UnderscoreEscapingWithoutSuffixes"``, ``"NoUTF8EscapingWithSuffixes"`` or ``"NoTranslation"``.
        summaries: Histogram instruments to expose as summaries: glob patterns of names (``*`` and ``?``) → quantiles,
            estimated since the start of the stream. The first matching pattern counts.
        classic_buckets: Upper bounds of classic buckets for exponential histograms, ascending, for formats without
            native histograms; if not given, only the infinite bound.
        preferred_aggregation: Instrument class → aggregation, for this reader.
        cardinality_limits: Instrument class → maximum number of attribute sets of a stream, for this reader.

    Raises:
        TypeError: An option has the wrong type, or the installed SDK does not support it.
        ValueError: An option has an invalid value, or two options contradict each other.

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
        check_registry(registry)
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
            **_cardinality_limits(cardinality_limits),
            **_component_type(),
        )
        self._source = _ReaderSource(self, Translator(options))
        self._registry = registry
        registry.add_source(self._source)

    def _receive_metrics(
        self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        self._source.receive(metrics_data)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Remove the reader from its registry; a second call does nothing.

        Args:
            timeout_millis: Ignored, because nothing blocks.
            **kwargs: Arguments of newer SDKs; ignored.

        Spec:
            M4.
        """
        self._source.close()
        self._registry.remove_source(self._source)


def _component_type() -> dict[str, Any]:
    """Return the component type as an argument of newer SDKs; its name is not public yet."""
    if "otel_component_type" not in inspect.signature(sdk.MetricReader.__init__).parameters:
        return {}
    try:
        module: Any = import_module("opentelemetry.semconv._incubating.attributes.otel_attributes")
        kind = module.OtelComponentTypeValues.PROMETHEUS_HTTP_TEXT_METRIC_EXPORTER
    except (ImportError, AttributeError):
        return {}
    return {"otel_component_type": kind}


def _cardinality_limits(limits: Mapping[type, int] | None) -> dict[str, Any]:
    """Return the limits as an argument of the SDK, which supports them since 2026."""
    if limits is None:
        return {}
    if "cardinality_limits" not in inspect.signature(sdk.MetricReader.__init__).parameters:
        raise TypeError("cardinality_limits need a newer opentelemetry-sdk than the installed one")
    return {"cardinality_limits": dict(limits)}


class _ReaderSource:
    """Registry source of a reader.

    The SDK delivers a collection in the thread that requested it. Each thread has its own slot, which is open while it
    collects for the registry; data that a flush delivers in another thread are not exposed.

    Args:
        reader: The reader to collect.
        translator: Translates the delivered data.
    """

    name = "OpenTelemetry"
    well_formed = True

    def __init__(self, reader: sdk.MetricReader, translator: Translator) -> None:
        self._reader = reader
        self._translator = translator
        self._slot = threading.local()
        self._translating = threading.Lock()
        self._descriptions = Descriptions()
        self._closed = False
        self._created = monotonic()

    def collect(self) -> Iterable[MetricFamily | Fault]:
        """Collect the SDK and translate what it delivers; see ``SupportsCollect``."""
        if self._closed:
            return []
        # Without a provider the SDK would log a warning at each scrape; there is no public attribute for it.
        if getattr(self._reader, "_collect", self) is None:
            return [self._unused()]
        self._slot.data = None
        self._slot.open = True
        try:
            # No timeout: after one, the SDK would count data twice (P7). The callers have their own timeouts.
            with _collecting.held(), reading(self):
                self._reader.collect(timeout_millis=math.inf)
        finally:
            self._slot.open = False
        data, self._slot.data = self._slot.data, None
        with self._translating:
            families = self._descriptions.unify(self._translator.translate(data))
            return [*families, *failures(self)]

    def _unused(self) -> Fault:
        """Return a fault because no provider has the reader; it may still be on its way in the first second."""
        early = monotonic() - self._created < _GRACE
        message = (
            f"no MeterProvider of process {os.getpid()} has the reader, so its metrics are not exposed: pass it as "
            "MeterProvider(metric_readers=[...]); if OTEL_METRICS_EXPORTER names it, the set-up of the SDK has failed, "
            "and the log says why"
        )
        return Fault(NO_PROVIDER, self.name, message, lost=not early, quiet=early)

    def before_collection(self) -> Preparation:
        """Call the coroutine functions of observable instruments; see ``SupportsCollect``."""
        return prepare_all(self)

    def after_fork(self) -> None:
        """Reset the lock in a child process: the thread that held it does not exist there."""
        self._translating = threading.Lock()
        self._slot = threading.local()

    def receive(self, data: sdk.MetricsData) -> None:
        """Store a collection that this thread has requested; of any other, keep only the exemplars."""
        if self._closed:
            return
        if getattr(self._slot, "open", False):
            self._slot.data = data
            return
        with self._translating:
            self._translator.keep_exemplars(data)

    def close(self) -> None:
        """Stop collecting."""
        self._closed = True
        remove_reader(self)
