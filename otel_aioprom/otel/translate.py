"""From the SDK's data to families: which metric becomes what, under which name and labels.

No I/O, and no SDK call: data in, families and faults out.
"""

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
"""Label names that no attribute can have, in any family (M43)."""
_RESERVED = {"histogram": _NEVER | {"le"}, "summary": _NEVER | {"quantile"}}

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Options:
    """How metrics are translated; the words are the specification's.

    Attributes:
        prefix: In front of every metric name, an underscore between (M19).
        scope_info_enabled: Put the instrumentation scope on every sample as labels (M48).
        target_info_enabled: Expose the resource as ``target_info`` (M49).
        resource_constant_labels: Tells by its key which resource attribute to copy onto every sample, or
            ``None`` for none (M52).
        strategy: What becomes of names (M8).
        summaries: Histograms to expose as summaries: patterns of names, and the quantiles.
        classic_buckets: Bounds for exponential histograms in formats without native ones, the infinite one the
            last, or ``None`` for that one alone (M37).
    """

    prefix: str = ""
    scope_info_enabled: bool = True
    target_info_enabled: bool = True
    resource_constant_labels: Callable[[str], bool] | None = None
    strategy: TranslationStrategy = UNDERSCORE_ESCAPING_WITH_SUFFIXES
    summaries: Sequence[tuple[Patterns, tuple[float, ...]]] = ()
    classic_buckets: tuple[float, ...] | None = None


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
        self._faults: list[Fault] = []

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
        self._faults = []
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
        yield from self._faults
        self._streams = used  # a stream that was not delivered is forgotten with its series

    def keep_exemplars(self, data: sdk.MetricsData) -> None:
        """Keep the exemplars of a collection that is not shown: the SDK gives each but once.

        Args:
            data: What the SDK delivered to somebody else.

        Spec:
            M64.
        """
        used: dict[Any, Stream] = {}
        for resource_metrics in data.resource_metrics:
            constant = self._constant_pairs(resource_metrics.resource.attributes)
            for scope_metrics in resource_metrics.scope_metrics:
                origin = self._origin(scope_metrics, constant)
                for metric in scope_metrics.metrics:
                    with suppress(Exception):  # the next collection says what is wrong with it
                        self._stream(metric, origin, used).keep_all(metric.data.data_points)
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
            except Exception as error:  # noqa: BLE001 - one bad metric costs itself
                yield Fault("untranslatable", metric.name, f"left out: {error!r}")

    def _origin(self, scope_metrics: sdk.ScopeMetrics, constant: Pairs) -> _Origin:
        return _Origin(tuple(constant), tuple(scope_pairs(scope_metrics.scope, self._leave_out)))

    def _leave_out(self, key: str, error: Exception) -> None:
        self._faults.append(Fault("untranslatable", f"the attribute {key}", f"left out: {error!r}"))

    def _stream(self, metric: sdk.Metric, origin: _Origin, used: dict[Any, Stream]) -> Stream:
        """Find the stream of a metric, or make it."""
        key = self._key(metric, origin, used)
        stream = self._streams.get(key) or self._make_stream(metric, origin)
        used[key] = stream
        return stream

    @staticmethod
    def _key(metric: sdk.Metric, origin: _Origin, used: Mapping[Any, Stream]) -> Any:
        """Say what tells metrics apart; those alike in all are told apart by their order."""
        data = metric.data
        monotonic = getattr(data, "is_monotonic", None)
        same = (origin, metric.name, metric.unit, metric.description, type(data), monotonic)
        return next(key for number in count() if (key := (same, number)) not in used)

    def _make_stream(self, metric: sdk.Metric, origin: _Origin) -> Stream:
        kind, stream_type = _classify(metric)
        quantiles = self._quantiles(metric.name) if kind == "histogram" else None
        if quantiles is not None:
            kind, stream_type = "summary", SummaryStream
        reserved = _RESERVED.get(kind, _NEVER)

        def labels(attributes: Mapping[str, object] | None) -> Labels:
            return self._labels(attributes or {}, origin, reserved)

        def exemplar(given: Any) -> Exemplar:
            return translate_exemplar(given, self._options.strategy.label, self._leave_out)

        stream = stream_type(self._head(metric, kind), labels, exemplar)
        if isinstance(stream, SummaryStream):
            stream.quantiles = quantiles or ()
        if isinstance(stream, ExponentialStream) and self._options.classic_buckets:
            stream.bounds = self._options.classic_buckets
        return stream

    def _head(self, metric: sdk.Metric, kind: Kind) -> MetricFamily:
        """Make the family without series: name, unit where the name ends with it, description."""
        strategy = self._options.strategy
        ratio = isinstance(metric.data, sdk.Gauge)
        prefix = self._options.prefix
        name = metric_name(
            metric.name, metric.unit, kind=kind, ratio=ratio, prefix=prefix, strategy=strategy
        )
        name = encodable(name)
        words = unit_suffix(metric.unit, ratio=ratio, spell=strategy.spell_unit)
        unit = words if words and name.removesuffix("_total").endswith(f"_{words}") else ""
        utf8 = not is_valid_metric_name(name)
        return MetricFamily(name, kind, metric.description or "", unit, (), utf8)

    def _quantiles(self, name: str) -> tuple[float, ...] | None:
        found = [quantiles for names, quantiles in self._options.summaries if names.matches(name)]
        return found[0] if found else None

    def _labels(
        self, attributes: Mapping[str, object], origin: _Origin, reserved: frozenset[str]
    ) -> Labels:
        """Work out the labels of a point: attributes, resource attributes, scope (M40, M45, M52)."""
        spell = self._options.strategy.label
        pairs = attribute_pairs(attributes, self._leave_out)
        pairs += [pair for pair in origin.constant if pair[0] not in attributes]
        if not self._options.scope_info_enabled:
            return self._shared(join_labels(pairs, reserved=reserved, spell=spell))
        pairs += origin.scope
        return self._shared(
            join_labels(pairs, reserved=reserved, keep_empty=SCOPE_LABELS, spell=spell)
        )

    def _shared(self, pairs: Sequence[tuple[str, str]]) -> Labels:
        names = tuple([name for name, _ in pairs])
        values = tuple([encodable(value) for _, value in pairs])
        names = self._layouts.setdefault(names, names)
        return names, values, labels_text(zip(names, values))

    def _constant_pairs(self, resource: Mapping[str, object]) -> Pairs:
        selected = self._options.resource_constant_labels
        if selected is None:
            return []
        wanted = {key: value for key, value in resource.items() if selected(key)}
        return attribute_pairs(wanted, self._leave_out)

    def _target_info(self, resource: Mapping[str, object]) -> MetricFamily:
        texts = attribute_pairs(resource, self._leave_out)
        pairs = join_labels(texts, reserved=_NEVER, spell=self._options.strategy.label)
        series = NumberSeries(*self._shared(pairs), 1)
        utf8 = not all(map(is_valid_label_name, series.names))
        return MetricFamily(TARGET_INFO, "info", "Target metadata", "", [series], utf8)


def _classify(metric: sdk.Metric) -> tuple[Kind, type[Stream]]:
    """Say what a metric becomes; its data decide, not its instrument (M25, M29, M37)."""
    data = metric.data
    temporality = getattr(data, "aggregation_temporality", sdk.AggregationTemporality.CUMULATIVE)
    if temporality != sdk.AggregationTemporality.CUMULATIVE:
        raise TranslationError(
            metric.name, f"its temporality is {temporality!r}; only cumulative data can be scraped"
        )
    if isinstance(data, sdk.Sum):
        return ("counter", CounterStream) if data.is_monotonic else ("gauge", UpDownStream)
    if isinstance(data, sdk.Gauge):
        return "gauge", NumberStream
    if isinstance(data, sdk.Histogram):
        return "histogram", HistogramStream
    if isinstance(data, sdk.ExponentialHistogram):
        return "histogram", ExponentialStream
    raise TranslationError(metric.name, f"its data are of an unknown kind: {type(data).__name__}")
