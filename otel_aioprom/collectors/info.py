"""Info: key-value pairs, exposed as labels of a series of the value 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_aioprom._core.labels import check_labels, label_texts, wire_pairs
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.names import check_metric_name
from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.series.number import number_of
from otel_aioprom.collectors.series.owners import BoundSeries
from otel_aioprom.errors import InvalidLabelsError


class InfoSeries(BoundSeries):
    """The info labels of one label set; other info labels make another exposed series.

    Args:
        names: Label names, sorted.
        values: Their values.
        text: Both as exposition text.
    """

    __slots__ = ("_info", "names", "text", "values", "wire")

    def __init__(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.wire = None
        self._info: tuple[dict[str, str], Sequence[Series]] = ({}, ())

    @property
    def exposed(self) -> Sequence[Series]:
        """What is exposed: one series, with its labels and the info labels."""
        return self._info[1]

    def get(self) -> dict[str, str]:
        """Return the info labels."""
        return dict(self._info[0])

    def set(self, facts: Mapping[str, object]) -> None:
        """Replace the info labels.

        Raises:
            TypeError: ``facts`` is no mapping.
            InvalidLabelsError: A name is not allowed, or is that of a label of the series.
        """
        check_labels(facts, None)
        for name in facts:
            if name in self.names:
                raise InvalidLabelsError(facts, f"{name!r} is a label of the series already")
        info = label_texts(facts)
        self._info = info, [number_of((*self.pairs, *info.items()), 1)]


class Info(Collector[InfoSeries]):
    """Key-value pairs that hardly ever change, such as a version: the labels of a series of the value 1.

    Args:
        name: Metric name; ``_info`` is appended if it does not end so.
        doc: What the pairs describe, in a sentence.
        const_labels: Labels that every series has.
        registry: Registers the collector there on creation.
        max_series: See ``Collector``.
        expire_after: See ``Collector``.

    Examples:
        >>> build = Info("build", "What runs here.")
        >>> build.set({}, {"version": "1.2", "commit": "c0ffee"})
        >>> build.get()
        {'version': '1.2', 'commit': 'c0ffee'}
    """

    kind = MetricsTypes.gauge

    def __init__(
        self,
        name: str,
        doc: str,
        const_labels: Mapping[str, object] | None = None,
        *,
        registry: SupportsRegister | None = None,
        max_series: int | None = None,
        expire_after: float | None = None,
    ) -> None:
        name = check_metric_name(name)
        super().__init__(
            name if name.endswith("_info") else f"{name}_info",
            doc,
            const_labels,
            registry=registry,
            max_series=max_series,
            expire_after=expire_after,
        )

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> InfoSeries:
        return self._class_for(InfoSeries, names)(names, values, text)

    def set(self, labels: Labels | None, facts: Mapping[str, object]) -> None:
        """Replace the info labels of a label set.

        Args:
            labels: Names and values; ``{}`` where there is one set of info labels.
            facts: The info labels: names and values.

        Raises:
            TypeError: ``labels`` or ``facts`` is no mapping.
            InvalidLabelsError: A name is not allowed, or is in both ``labels`` and ``facts``.
        """
        child = self._find(labels)
        if child is None:
            pairs = wire_pairs(self._allowed(labels), self.const_labels)
            probe = InfoSeries(tuple([name for name, _ in pairs]), (), "")
            probe.set(facts)  # first: refused info labels create no series
            child = self._create(labels)
        child.set(facts)

    def set_value(self, labels: Labels | None, value: Any) -> None:
        """Replace the info labels of a label set; see ``set``."""
        self.set(labels, value)

    def family_of(self, series: Sequence[InfoSeries]) -> MetricFamily:
        """Return the metric family, without duplicates: ``{a}`` with the info label b equals ``{b}`` with the info label a."""
        exposed = {one.text: one for info in series for one in info.exposed}
        return MetricFamily(self.name, "info", self.doc, "", list(exposed.values()))

    def count_to_build(self) -> int:
        """Return how many series the family must be built from."""
        return len(self._store.series)
