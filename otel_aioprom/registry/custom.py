"""Collectors of users' own classes: what their ``get_all`` returns is exposed as their kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from otel_aioprom._concurrency.foreign_code import refuse_coroutine
from otel_aioprom._core.labels import Pairs, canonical_pairs, check_labels, labels_text, wire_pairs
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.info import Info
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries, check_bounds
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.collectors.stateset import StateSet
from otel_aioprom.registry.faults import Fault

_RESERVED = {"histogram": "le", "summary": "quantile"}


def is_custom(collector: Collector[Any]) -> bool:
    """Tell whether a collector's class has its own ``get_all``, so that its code must be asked."""
    return type(collector).get_all is not Collector.get_all


class CustomCollector:
    """A source that asks one collector for its values.

    Args:
        collector: One whose ``get_all`` returns pairs of label dict and value: numbers, or the dicts
            that ``get`` of other kinds gives.

    Spec:
        N13.
    """

    def __init__(self, collector: Collector[Any]) -> None:
        self.name = collector.name
        self._collector = collector

    def collect(self) -> Iterator[MetricFamily | Fault]:
        """Ask for all values; one that makes no sense is left out alone."""
        kind = self._collector.kind.name
        found: dict[Pairs, Series] = {}
        items: Any = self._collector.get_all()
        refuse_coroutine(
            items, "get_all gave a coroutine: a source may be awaited, a collector not"
        )
        for item in items:
            try:
                key, series = self._series(kind, *item)
            except Exception as error:  # noqa: BLE001 - one bad item costs itself
                message = f"an item of get_all() is left out: {error!r}"
                yield Fault("untranslatable", self.name, message)
            else:
                if found.setdefault(key, series) is not series:
                    message = "get_all() has the same labels twice; the first item is kept"
                    yield Fault("duplicate_series", self.name, message)
        yield self._collector.family_of(list(found.values()))

    def _series(self, kind: str, labels: Mapping[str, object], value: Any) -> tuple[Pairs, Series]:
        check_labels(labels, _RESERVED.get(kind))
        pairs = wire_pairs(labels, self._collector.const_labels)
        names, values = tuple([name for name, _ in pairs]), tuple([text for _, text in pairs])
        make = (
            self._stated
            if isinstance(self._collector, (Info, StateSet))
            else _MAKERS.get(kind, _number)
        )
        key = canonical_pairs(labels, self._collector.const_labels)
        return key, make(names, values, labels_text(pairs), value)

    def _stated(
        self, names: tuple[str, ...], values: tuple[str, ...], text: str, value: Any
    ) -> Series:
        series: Series = self._collector._make(names, values, text)
        self._collector._set_value(series, value)  # noqa: SLF001
        return series


def _number(names: tuple[str, ...], values: tuple[str, ...], text: str, value: Any) -> Series:
    return NumberSeries(names, values, text, coerce_number(value))


def _count(value: Any) -> int:
    count = coerce_number(value)
    if count != int(count):
        raise ValueError(f"a count is a whole number, and {value!r} is none")
    return int(count)


def _histogram(names: tuple[str, ...], values: tuple[str, ...], text: str, value: Any) -> Series:
    total, count = coerce_number(value["sum"]), _count(value["count"])
    upto = sorted(
        [(bound, _count(upto)) for bound, upto in value.items() if not isinstance(bound, str)]
    )
    series = HistogramSeries(names, values, text, check_bounds([bound for bound, _ in upto]))
    cumulative = [0, *[upto for _, upto in upto]]
    if len(upto) < len(series.bounds):
        cumulative.append(count)
    counts = [after - before for before, after in pairwise(cumulative)]
    if min(counts) < 0 or cumulative[-1] != count:
        raise ValueError("bucket counts must not fall, and the last one must equal the count")
    series.load(counts, total)
    return series


def _summary(names: tuple[str, ...], values: tuple[str, ...], text: str, value: Any) -> Series:
    quantiles = [
        (float(key), coerce_number(item)) for key, item in value.items() if not isinstance(key, str)
    ]
    total, count = coerce_number(value["sum"]), _count(value["count"])
    if count < 0 or not all(0 <= quantile <= 1 for quantile, _ in quantiles):
        raise ValueError("quantiles must lie between 0 and 1, and the count must not be negative")
    return SummaryPoint(names, values, text, count, total, sorted(quantiles))


_MAKERS: dict[str, Callable[[tuple[str, ...], tuple[str, ...], str, Any], Series]] = {
    "histogram": _histogram,
    "summary": _summary,
}
