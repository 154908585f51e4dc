"""Collectors that stand for families from elsewhere, so that a registry can be asked for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries

_ANY_NAME = "mirrored"
_SHOWN_AS = {"info": "gauge", "stateset": "gauge"}


class _Image(NamedTuple):
    collector: Collector[Any]
    series: Sequence[Series]


class Mirror:
    """Native collectors filled by collections from elsewhere.

    They are for looking values up; a scrape goes past them.
    """

    def __init__(self) -> None:
        self._images: dict[str, _Image] = {}

    def update(self, families: Iterable[MetricFamily], *, keep_others: bool) -> None:
        """Show what a collection has brought.

        Args:
            families: Those with series; a name that is not among them is forgotten.
            keep_others: Forget no name, for part of the sources did not answer.
        """
        images = dict(self._images) if keep_others else {}
        for family in families:
            images[family.name] = self._image(family)
        self._images = images

    def forget(self, names: Iterable[str]) -> None:
        """Show nothing of these names any more."""
        gone = set(names)
        self._images = {name: image for name, image in self._images.items() if name not in gone}

    def _image(self, family: MetricFamily) -> _Image:
        known = self._images.get(family.name)
        if known is None or known.collector.kind.name != _SHOWN_AS.get(family.type, family.type):
            known = _Image(_make_collector(family), ())
        if known.series is not family.series:
            known.collector.fill(family.series)
            known = _Image(known.collector, family.series)
        return known

    def get(self, name: str) -> Collector[Any] | None:
        """Return the collector of this name, if the last collection had one."""
        image = self._images.get(name)
        return None if image is None else image.collector

    def get_all(self) -> list[Collector[Any]]:
        """Return all collectors of the last collection."""
        return [image.collector for image in self._images.values()]


def _make_collector(family: MetricFamily) -> Collector[Any]:
    """Make a collector of the family's kind; its name may be one that hand-made ones cannot have."""
    made = _make_kind(replace(family, name=_ANY_NAME))
    made.name = family.name
    return made


def _make_kind(family: MetricFamily) -> Collector[Any]:
    if family.type == "histogram":
        first = family.series[0]
        bounds = first.bounds if isinstance(first, HistogramSeries) else (1.0,)
        return Histogram(family.name, family.doc, buckets=bounds)
    kinds: dict[str, type[Collector[Any]]] = {
        "counter": Counter,
        "gauge": Gauge,
        "summary": Summary,
    }
    kind = _SHOWN_AS.get(family.type, family.type)
    return kinds.get(kind, Collector)(family.name, family.doc)
