"""Translate the SDK's data to metric families. No I/O and no SDK calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics import export as sdk

from otel_aioprom._core.labels import encodable, labels_text
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom._core.names import is_valid_label_name, is_valid_metric_name
from otel_aioprom._core.patterns import Patterns
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.errors import TranslationError
from otel_aioprom.otel.attributes import (
    SCOPE_LABELS,
    attribute_pairs,
    join_labels,
    scope_pairs,
)
from otel_aioprom.otel.exemplars import translate as translate_exemplar
from otel_aioprom.otel.exponential import ExponentialStream
from otel_aioprom.otel.names import (
    UNDERSCORE_ESCAPING_WITH_SUFFIXES,
    Kind,
    TranslationStrategy,
    metric_name,
    unit_suffix,
)
from otel_aioprom.otel.streams import (
    CounterStream,
    HistogramStream,
    Labels,
    NumberStream,
    Stream,
    UpDownStream,
)
from otel_aioprom.otel.summaries import SummaryStream
from otel_aioprom.registry.faults import Fault

TARGET_INFO = "target_info"

_NEVER = frozenset({"__name__"})
"""Reserved label names of all families (M43)."""
_RESERVED = {"histogram": _NEVER | {"le"}, "summary": _NEVER | {"quantile"}}

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Options:
    """Validated translation options, under the names of the specification.

    Attributes:
        prefix: Prefix of all metric names, followed by an underscore (M19).
        scope_info_enabled: Add the instrumentation scope to all samples, as labels (M48).
        target_info_enabled: Expose the resource as ``target_info`` (M49).
        resource_constant_labels: Called with a key, returns whether to add the resource attribute to all samples;
            ``None`` for none (M52).
        strategy: Translation strategy of names (M8).
        summaries: Histograms to expose as summaries: patterns of names with quantiles.
        classic_buckets: Classic bounds of exponential histograms, the infinite one the last; ``None`` for that one
            alone (M37).
    """

    prefix: str = ""
    scope_info_enabled: bool = True
    target_info_enabled: bool = True
    resource_constant_labels: Callable[[str], bool] | None = None
    strategy: TranslationStrategy = UNDERSCORE_ESCAPING_WITH_SUFFIXES
    summaries: Sequence[tuple[Patterns, tuple[float, ...]]] = ()
    classic_buckets: tuple[float, ...] | None = None


class _Origin(NamedTuple):
    """Resource and scope of a metric.

    Attributes:
        constant: Original keys and values of the resource attributes that are added to all samples.
        scope: The same for the instrumentation scope.
    """

    constant: tuple[tuple[str, str], ...]
    scope: tuple[tuple[str, str], ...]


class Translator:
    """Translate the collections of one reader, one after the other.

    Args:
        options: The translation options.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._streams: dict[Any, Stream] = {}
        self._resource: Mapping[str, object] | None = None
        self._layouts: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._faults: list[Fault] = []

    def translate(self, data: sdk.MetricsData | None) -> Iterator[MetricFamily | Fault]:
        """Translate one collection.

        The data are consumed: points are freed in batches, because freeing thousands at once stops all threads.

        Args:
            data: The data that the SDK has delivered; ``None`` for none.

        Yields:
            A family for each metric, with names that may repeat, because the registry merges them; a fault for each
            metric that cannot be translated.

        Spec:
            M3, M20, M25, M49.
        """
        self._faults = []
        used: dict[Any, Stream] = {}
        delivered = data.resource_metrics if data is not None else ()
        before = self._resource
        if delivered:
            self._resource = delivered[0].resource.attributes  # the SDK has only one
        if self._resource is not None and self._options.target_info_enabled:
            # First, so that no metric can replace it.
            yield self._target_info(self._resource, is_new=self._resource is not before)
        for resource_metrics in delivered:
            constant = self._constant_pairs(resource_metrics.resource.attributes)
            for scope_metrics in resource_metrics.scope_metrics:
                yield from self._scope(scope_metrics, constant, used)
        yield from self._faults
        self._streams = used  # streams that were not delivered are dropped

    def keep_exemplars(self, data: sdk.MetricsData) -> None:
        """Keep the exemplars of a collection that is not exposed: the SDK returns each only once.

        Args:
            data: The data that the SDK has delivered.

        Spec:
            M64.
        """
        used: dict[Any, Stream] = {}
        for resource_metrics in data.resource_metrics:
            constant = self._constant_pairs(resource_metrics.resource.attributes)
            for scope_metrics in resource_metrics.scope_metrics:
                origin = self._origin(scope_metrics, constant)
                for metric in scope_metrics.metrics:
                    with suppress(Exception):  # the next collection reports it
                        self._stream(metric, origin, used).keep_all_exemplars(
                            metric.data.data_points
                        )
        self._streams |= used

    def _scope(
        self, scope_metrics: sdk.ScopeMetrics, constant: Pairs, used: dict[Any, Stream]
    ) -> Iterator[MetricFamily | Fault]:
        origin = self._origin(scope_metrics, constant)
        for metric in scope_metrics.metrics:
            try:
                stream = self._stream(metric, origin, used)
                yield stream.family(stream.update(metric.data.data_points))
                yield from stream.faults
            except TranslationError as error:
                yield Fault("untranslatable", error.metric, error.reason)
            except Exception as error:  # noqa: BLE001 - a failure costs only this metric
                yield Fault("untranslatable", metric.name, f"dropped: {error!r}")

    def _origin(self, scope_metrics: sdk.ScopeMetrics, constant: Pairs) -> _Origin:
        return _Origin(tuple(constant), tuple(scope_pairs(scope_metrics.scope, self._on_error)))

    def _on_error(self, key: str, error: Exception) -> None:
        self._faults.append(Fault("untranslatable", f"the attribute {key}", f"dropped: {error!r}"))

    def _on_collision(self, name: str, key: str) -> None:
        message = (
            f"several attributes become this label, {key!r} is one: their values are joined by ';', "
            "rename one of them"
        )
        self._faults.append(Fault("label_conflict", f"the label {name}", message, lost=False))

    def _stream(self, metric: sdk.Metric, origin: _Origin, used: dict[Any, Stream]) -> Stream:
        """Return the stream of a metric; create it if it does not exist."""
        key = self._key(metric, origin, used)
        stream = self._streams.get(key) or self._create_stream(metric, origin)
        used[key] = stream
        return stream

    @staticmethod
    def _key(metric: sdk.Metric, origin: _Origin, used: Mapping[Any, Stream]) -> Any:
        """Return the identity of a metric; identical metrics are distinguished by their order."""
        data = metric.data
        monotonic = getattr(data, "is_monotonic", None)
        same = (origin, metric.name, metric.unit, metric.description, type(data), monotonic)
        return next(key for number in count() if (key := (same, number)) not in used)

    def _create_stream(self, metric: sdk.Metric, origin: _Origin) -> Stream:
        kind, stream_type = _classify(metric)
        quantiles = self._quantiles(metric.name) if kind == "histogram" else None
        if quantiles is not None:
            kind, stream_type = "summary", SummaryStream
        reserved = _RESERVED.get(kind, _NEVER)

        def labels(attributes: Mapping[str, object] | None) -> Labels:
            return self._labels(attributes or {}, origin, reserved)

        def exemplar(original: Any) -> Exemplar:
            return translate_exemplar(original, self._options.strategy.label, self._on_error)

        stream = stream_type(self._head(metric, kind), labels, exemplar)
        if isinstance(stream, SummaryStream):
            stream.quantiles = quantiles or ()
        if isinstance(stream, ExponentialStream) and self._options.classic_buckets:
            stream.bounds = self._options.classic_buckets
        return stream

    def _head(self, metric: sdk.Metric, kind: Kind) -> MetricFamily:
        """Create the family without series: name, description, and the unit if the name ends with it."""
        strategy = self._options.strategy
        ratio = isinstance(metric.data, sdk.Gauge)
        prefix = self._options.prefix
        name = metric_name(
            metric.name, metric.unit, kind=kind, ratio=ratio, prefix=prefix, strategy=strategy
        )
        name = encodable(name)
        words = unit_suffix(metric.unit, ratio=ratio, escape_unit=strategy.escape_unit)
        unit = words if words and name.removesuffix("_total").endswith(f"_{words}") else ""
        utf8 = not is_valid_metric_name(name)
        return MetricFamily(name, kind, metric.description or "", unit, (), utf8)

    def _quantiles(self, name: str) -> tuple[float, ...] | None:
        found = [quantiles for names, quantiles in self._options.summaries if names.matches(name)]
        return found[0] if found else None

    def _labels(
        self, attributes: Mapping[str, object], origin: _Origin, reserved: frozenset[str]
    ) -> Labels:
        """Compute the labels of a point: attributes, resource attributes, scope (M40, M45, M52)."""
        to_label = self._options.strategy.label
        pairs = attribute_pairs(attributes, self._on_error)
        pairs += [pair for pair in origin.constant if pair[0] not in attributes]
        with_scope = self._options.scope_info_enabled
        if with_scope:
            pairs += origin.scope
        return self._interned(
            join_labels(
                pairs,
                reserved=reserved,
                keep_empty=SCOPE_LABELS if with_scope else frozenset(),
                to_label=to_label,
                on_collision=self._on_collision,
            )
        )

    def _interned(self, pairs: Sequence[tuple[str, str]]) -> Labels:
        names = tuple([name for name, _ in pairs])
        values = tuple([encodable(value) for _, value in pairs])
        names = self._layouts.setdefault(names, names)
        return names, values, labels_text(zip(names, values))

    def _constant_pairs(self, resource: Mapping[str, object]) -> Pairs:
        selected = self._options.resource_constant_labels
        if selected is None:
            return []
        wanted = {key: value for key, value in resource.items() if selected(key)}
        return attribute_pairs(wanted, self._on_error)

    def _target_info(self, resource: Mapping[str, object], *, is_new: bool) -> MetricFamily:
        pairs = join_labels(
            attribute_pairs(resource, self._on_error),
            reserved=_NEVER,
            to_label=self._options.strategy.label,
            on_collision=self._on_collision if is_new else None,
        )
        series = NumberSeries(*self._interned(pairs), 1)
        utf8 = not all(map(is_valid_label_name, series.names))
        return MetricFamily(TARGET_INFO, "info", "Target metadata", "", [series], utf8)


def _classify(metric: sdk.Metric) -> tuple[Kind, type[Stream]]:
    """Return type and stream of a metric, by its data, not its instrument (M25, M29, M37)."""
    data = metric.data
    temporality = getattr(data, "aggregation_temporality", sdk.AggregationTemporality.CUMULATIVE)
    if temporality != sdk.AggregationTemporality.CUMULATIVE:
        raise TranslationError(
            metric.name, f"its temporality is {temporality!r}; only cumulative data can be exposed"
        )
    if isinstance(data, sdk.Sum):
        return ("counter", CounterStream) if data.is_monotonic else ("gauge", UpDownStream)
    if isinstance(data, sdk.Gauge):
        return "gauge", NumberStream
    if isinstance(data, sdk.Histogram):
        return "histogram", HistogramStream
    if isinstance(data, sdk.ExponentialHistogram):
        return "histogram", ExponentialStream
    raise TranslationError(metric.name, f"its data have an unknown type: {type(data).__name__}")
