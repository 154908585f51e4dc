"""From the SDK's data to families: which metric becomes what, under which name and labels.

No I/O, and no SDK call: data in, families and faults out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics import export as sdk

from otel_aioprom.errors import TranslationError
from otel_aioprom.faults import Fault
from otel_aioprom.labels import encodable, labels_text
from otel_aioprom.model import MetricFamily
from otel_aioprom.otel.attributes import (
    SCOPE_LABELS,
    attribute_text,
    join_labels,
    scope_pairs,
)
from otel_aioprom.otel.names import Kind, metric_name, unit_suffix
from otel_aioprom.otel.streams import (
    ExponentialStream,
    HistogramStream,
    Labels,
    NumberStream,
    Stream,
)
from otel_aioprom.patterns import Patterns
from otel_aioprom.series import CounterSeries, GaugeSeries, NumberSeries, UpDownSeries

TARGET_INFO = "target_info"

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Options:
    """How metrics are translated; the words are the specification's.

    Attributes:
        prefix: In front of every metric name, an underscore between (M19).
        scope_info_enabled: Put the instrumentation scope on every sample as labels (M48).
        target_info_enabled: Expose the resource as ``target_info`` (M49).
        resource_constant_labels: Resource attributes to copy onto every sample, or ``None`` (M52).
    """

    prefix: str = ""
    scope_info_enabled: bool = True
    target_info_enabled: bool = True
    resource_constant_labels: Patterns | None = None


class _Origin(NamedTuple):
    """Where a metric comes from.

    Attributes:
        constant: Original keys and texts of the resource attributes that go on every sample.
        scope: The same of the instrumentation scope.
    """

    constant: tuple[tuple[str, str], ...]
    scope: tuple[tuple[str, str], ...]


class Translator:
    """Translates the collections of one reader, one after the other.

    Args:
        options: How.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._streams: dict[Any, Stream] = {}
        self._resource: Mapping[str, object] | None = None
        self._layouts: dict[tuple[str, ...], tuple[str, ...]] = {}

    def translate(self, data: sdk.MetricsData | None) -> Iterator[MetricFamily | Fault]:
        """Translate one collection.

        The data are used up: points are let go piece by piece, for thousands freed at once stop all threads.

        Args:
            data: What the SDK delivered; ``None`` if there was nothing to deliver.

        Yields:
            A family for each metric (names may repeat: merging is the registry's), and a fault for each
            that has no Prometheus form.

        Spec:
            M3, M20, M25, M49.
        """
        used: dict[Any, Stream] = {}
        delivered = data.resource_metrics if data is not None else ()
        if delivered:
            self._resource = delivered[0].resource.attributes  # the SDK has one
        if self._resource is not None and self._options.target_info_enabled:
            yield self._target_info(self._resource)  # first, so that no metric can take its name
        for resource_metrics in delivered:
            constant = self._constant_pairs(resource_metrics.resource.attributes)
            for scope_metrics in resource_metrics.scope_metrics:
                yield from self._scope(scope_metrics, constant, used)
        self._streams = used  # a stream that was not delivered is forgotten with its series

    def _scope(
        self, scope_metrics: sdk.ScopeMetrics, constant: Pairs, used: dict[Any, Stream]
    ) -> Iterator[MetricFamily | Fault]:
        origin = _Origin(tuple(constant), tuple(scope_pairs(scope_metrics.scope)))
        for metric in scope_metrics.metrics:
            try:
                stream = self._stream(metric, origin, used)
                yield stream.family(stream.update(metric.data.data_points))
                yield from stream.faults
            except TranslationError as error:
                yield Fault("untranslatable", error.metric, error.reason)
            except Exception as error:  # noqa: BLE001 - one bad metric costs itself
                yield Fault("untranslatable", metric.name, f"left out: {error!r}")

    def _stream(self, metric: sdk.Metric, origin: _Origin, used: dict[Any, Stream]) -> Stream:
        """Find the stream of a metric, or make it; metrics alike in all are told apart by their order."""
        data = metric.data
        monotonic = getattr(data, "is_monotonic", None)
        same = (origin, metric.name, metric.unit, metric.description, type(data), monotonic)
        key = next(key for number in count() if (key := (same, number)) not in used)
        stream = self._streams.get(key) or self._make_stream(metric, origin)
        used[key] = stream
        return stream

    def _make_stream(self, metric: sdk.Metric, origin: _Origin) -> Stream:
        kind, stream_type, series_type = _classify(metric)
        ratio = isinstance(metric.data, sdk.Gauge)
        prefix = self._options.prefix
        name = metric_name(metric.name, metric.unit, kind=kind, ratio=ratio, prefix=prefix)
        words = unit_suffix(metric.unit, ratio=ratio)
        unit = words if words and name.removesuffix("_total").endswith(f"_{words}") else ""
        head = MetricFamily(name, kind, metric.description or "", unit, ())
        reserved = frozenset({"le"}) if kind == "histogram" else frozenset[str]()

        def labels(attributes: Mapping[str, object] | None) -> Labels:
            return self._labels(attributes or {}, origin, reserved)

        return stream_type(head, labels, series_type)

    def _labels(
        self, attributes: Mapping[str, object], origin: _Origin, reserved: frozenset[str]
    ) -> Labels:
        """Work out the labels of a point: attributes, resource attributes, scope (M40, M45, M52)."""
        pairs = [(key, attribute_text(value)) for key, value in attributes.items()]
        pairs += [pair for pair in origin.constant if pair[0] not in attributes]
        if not self._options.scope_info_enabled:
            return self._shared(join_labels(pairs, reserved=reserved))
        pairs += origin.scope
        return self._shared(join_labels(pairs, reserved=reserved, keep_empty=SCOPE_LABELS))

    def _shared(self, pairs: Sequence[tuple[str, str]]) -> Labels:
        names = tuple([name for name, _ in pairs])
        values = tuple([value if value.isascii() else encodable(value) for _, value in pairs])
        names = self._layouts.setdefault(names, names)
        return names, values, labels_text(zip(names, values))

    def _constant_pairs(self, resource: Mapping[str, object]) -> Pairs:
        patterns = self._options.resource_constant_labels
        if patterns is None:
            return []
        return [
            (key, attribute_text(value)) for key, value in resource.items() if patterns.matches(key)
        ]

    def _target_info(self, resource: Mapping[str, object]) -> MetricFamily:
        pairs = join_labels([(key, attribute_text(value)) for key, value in resource.items()])
        series = NumberSeries(*self._shared(pairs), 1)
        return MetricFamily(TARGET_INFO, "info", "Target metadata", "", [series])


def _classify(metric: sdk.Metric) -> tuple[Kind, type[Stream], type[NumberSeries]]:
    """Say what a metric becomes; its data decide, not its instrument (M25, M29, M37)."""
    data = metric.data
    temporality = getattr(data, "aggregation_temporality", sdk.AggregationTemporality.CUMULATIVE)
    if temporality != sdk.AggregationTemporality.CUMULATIVE:
        raise TranslationError(
            metric.name, f"its temporality is {temporality!r}; only cumulative data can be scraped"
        )
    if isinstance(data, sdk.Sum):
        if data.is_monotonic:
            return "counter", NumberStream, CounterSeries
        return "gauge", NumberStream, UpDownSeries
    if isinstance(data, sdk.Gauge):
        return "gauge", NumberStream, GaugeSeries
    if isinstance(data, sdk.Histogram):
        return "histogram", HistogramStream, NumberSeries
    if isinstance(data, sdk.ExponentialHistogram):
        return "histogram", ExponentialStream, NumberSeries
    raise TranslationError(metric.name, f"its data are of an unknown kind: {type(data).__name__}")
