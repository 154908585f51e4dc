"""Collectors of user classes that override what a collection calls: user code, which may take long, raise, or hang."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from otel_aioprom._concurrency.user_code import (
    FAILURES,
    raise_if_exit,
    reject_coroutine,
    safe_repr,
)
from otel_aioprom._core.labels import Pairs, canonical_pairs, check_labels, labels_text, wire_pairs
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.info import Info
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries, check_bounds
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.collectors.stateset import StateSet
from otel_aioprom.registry.faults import Fault, FaultTally

_RESERVED = {"histogram": "le", "summary": "quantile"}
_PACKAGE = "otel_aioprom."
_CALLED = ("get_all", "family", "family_of", "_make", "count_to_build")


def overrides(collector: Collector[Any], *methods: str) -> bool:
    """Return whether a user's class overrides one of these methods."""
    return any(not _module_of(type(collector), name).startswith(_PACKAGE) for name in methods)


def _module_of(cls: type, method: str) -> str:
    return next(base.__module__ for base in cls.__mro__ if method in vars(base))


def is_custom(collector: Collector[Any]) -> bool:
    """Return whether user code must be called for the family of a collector."""
    return overrides(collector, *_CALLED)


class CustomCollector:
    """A source for one collector whose class overrides what a collection calls.

    Args:
        collector: Its ``get_all``, if overridden, returns pairs of a label dict and a value: a number, or what ``get``
            of its kind returns. Otherwise its ``family`` is called.

    Spec:
        N13.
    """

    def __init__(self, collector: Collector[Any]) -> None:
        self.name = collector.name
        self._collector = collector

    def collect(self) -> Iterator[MetricFamily | Fault]:
        """Call ``get_all`` if it is overridden, and drop an invalid item alone; else call ``family``."""
        if overrides(self._collector, "get_all"):
            yield from self._collect_values()
            return
        family = self._collector.family()
        if (
            getattr(family, "name", self.name) != self.name
        ):  # of what has no name the caller says what it is
            raise ValueError(f"its family is called {family.name!r}")
        yield family

    def _collect_values(self) -> Iterator[MetricFamily | Fault]:
        kind = self._collector.kind.name
        found: dict[Pairs, Series] = {}
        items: Any = self._collector.get_all()
        reject_coroutine(items, "get_all returned a coroutine: only sources can be awaited")
        tally = FaultTally(self.name)
        repeated = 0
        for item in items:
            part = "items"
            try:
                labels, value = item
                part = "labels"
                check_labels(labels, _RESERVED.get(kind))
                key = canonical_pairs(labels, self._collector.const_labels)
                pairs = wire_pairs(labels, self._collector.const_labels)
                part = "values"
                series = self._series(kind, pairs, value)
            except FAILURES as error:  # an invalid item is dropped alone
                raise_if_exit(error)
                tally.add(part, f"an item of get_all() is dropped: {safe_repr(error)}")
            else:
                repeated += found.setdefault(key, series) is not series
        yield from tally.faults()
        if repeated:
            message = "get_all() returned the same labels twice: the first item is kept"
            yield Fault("duplicate_series", self.name, message, number=repeated)
        yield self._collector.family_of(list(found.values()))

    def _series(self, kind: str, pairs: Pairs, value: Any) -> Series:
        names, values = tuple([name for name, _ in pairs]), tuple([text for _, text in pairs])
        text = labels_text(pairs)
        if not isinstance(self._collector, (Info, StateSet)):
            return _MAKERS.get(kind, _number)(names, values, text, value)
        series: Series = self._collector._make(names, values, text)
        self._collector._set_value(series, value)  # noqa: SLF001 - as its own methods do
        return series


def _number(names: tuple[str, ...], values: tuple[str, ...], text: str, value: Any) -> Series:
    return NumberSeries(names, values, text, coerce_number(value))


def _count(value: Any) -> int:
    count = coerce_number(value)
    if count != int(count):
        raise ValueError(f"a count must be a whole number, not {value!r}")
    return int(count)


def _histogram(names: tuple[str, ...], values: tuple[str, ...], text: str, value: Any) -> Series:
    total, count = coerce_number(value["sum"]), _count(value["count"])
    buckets = sorted(
        [(bound, _count(upto)) for bound, upto in value.items() if not isinstance(bound, str)]
    )
    series = HistogramSeries(names, values, text, check_bounds([bound for bound, _ in buckets]))
    cumulative = [0, *[upto for _, upto in buckets]]
    if len(buckets) < len(series.bounds):
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
    total = coerce_number(value["sum"]) if "sum" in value else None
    count = _count(value["count"]) if "count" in value else None
    if not value:
        raise ValueError("a summary needs quantiles, a count or a sum")
    if (count or 0) < 0 or not all(0 <= quantile <= 1 for quantile, _ in quantiles):
        raise ValueError("quantiles must lie between 0 and 1, and the count must not be negative")
    return SummaryPoint(names, values, text, count, total, sorted(quantiles))


_MAKERS: dict[str, Callable[[tuple[str, ...], tuple[str, ...], str, Any], Series]] = {
    "histogram": _histogram,
    "summary": _summary,
}
