"""Native collectors that stand for families of sources, so that a registry can look them up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries

_ANY_NAME = "any"
_EXPOSED_AS = {"info": "gauge", "stateset": "gauge", "gaugehistogram": "histogram"}


class _Entry(NamedTuple):
    collector: Collector[Any]
    series: Sequence[Series]


class SourceCollectors:
    """Native collectors, filled with the families of sources after each collection.

    They are for look-up alone: responses are made of the families.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def update(self, families: Iterable[MetricFamily], *, keep_others: bool) -> None:
        """Fill the collectors from a collection.

        Args:
            families: Those with series. Collectors of other names are removed.
            keep_others: Remove none, because some sources have not returned.
        """
        entries = dict(self._entries) if keep_others else {}
        for family in families:
            entries[family.name] = self._entry_of(family)
        self._entries = entries

    def remove(self, names: Iterable[str]) -> None:
        """Remove the collectors of these names, if there are any."""
        removed = set(names)
        self._entries = {
            name: entry for name, entry in self._entries.items() if name not in removed
        }

    def _entry_of(self, family: MetricFamily) -> _Entry:
        known = self._entries.get(family.name)
        if known is None or known.collector.kind.name != _EXPOSED_AS.get(family.type, family.type):
            known = _Entry(_make_collector(family), ())
        known.collector.doc = family.doc  # which may have come later
        if known.series is not family.series:
            known.collector.fill(family.series)
            known = _Entry(known.collector, family.series)
        return known

    def get(self, name: str) -> Collector[Any] | None:
        """Return the collector of this name, if the last collection had one."""
        entry = self._entries.get(name)
        return None if entry is None else entry.collector

    def get_all(self) -> list[Collector[Any]]:
        """Return all collectors of the last collection."""
        return [entry.collector for entry in self._entries.values()]


def _make_collector(family: MetricFamily) -> Collector[Any]:
    """Create a collector of the family's kind; its name may be one that is invalid for other native collectors."""
    collector = _make_kind(replace(family, name=_ANY_NAME))
    collector.name = family.name
    return collector


def _make_kind(family: MetricFamily) -> Collector[Any]:
    kind = _EXPOSED_AS.get(family.type, family.type)
    if kind == "histogram":
        first = family.series[0]
        bounds = first.bounds if isinstance(first, HistogramSeries) else (1.0,)
        return Histogram(family.name, family.doc, buckets=bounds)
    kinds: dict[str, type[Collector[Any]]] = {
        "counter": Counter,
        "gauge": Gauge,
        "summary": Summary,
    }
    return kinds.get(kind, Collector)(family.name, family.doc)
