"""Info: facts, as a series of the value one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_aioprom._core.labels import check_labels, label_texts, wire_pairs
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.names import check_metric_name
from otel_aioprom.collectors.base import Collector, Labels, MetricsTypes, SupportsRegister
from otel_aioprom.collectors.series.number import number_of
from otel_aioprom.errors import InvalidLabelsError


class FactsSeries(Series):
    """The facts about one label set; what is exposed of them never changes, other facts make another series.

    Args:
        names: Label names, sorted.
        values: Their values.
        text: Both as exposition text.
    """

    __slots__ = ("_said", "names", "text", "values", "wire")

    def __init__(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> None:
        self.names = names
        self.values = values
        self.text = text
        self.wire = None
        self._said: tuple[dict[str, str], Sequence[Series]] = ({}, ())

    @property
    def shown(self) -> Sequence[Series]:
        """What is exposed: one series, with labels and facts."""
        return self._said[1]

    def get(self) -> dict[str, str]:
        """Return the facts."""
        return dict(self._said[0])

    def set(self, facts: Mapping[str, object]) -> None:
        """Replace the facts.

        Raises:
            TypeError: They are no mapping.
            InvalidLabelsError: A name is not allowed, or a label of the series has it.
        """
        check_labels(facts, None)
        for name in facts:
            if name in self.names:
                raise InvalidLabelsError(facts, f"{name!r} is a label of the series already")
        said = label_texts(facts)
        self._said = said, [number_of((*self.pairs, *said.items()), 1)]


class Info(Collector[FactsSeries]):
    """Facts that hardly ever change, such as a version: a series of the value 1, with the facts as labels.

    Args:
        name: Metric name; ``_info`` is added to it when it does not end so.
        doc: What the facts are about, in a sentence.
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

    def _make(self, names: tuple[str, ...], values: tuple[str, ...], text: str) -> FactsSeries:
        made: FactsSeries = self._class_for(FactsSeries)(names, values, text)
        return made

    def set(self, labels: Labels | None, facts: Mapping[str, object]) -> None:
        """Replace the facts about a label set.

        Args:
            labels: Names and values; ``{}`` where there is one set of facts.
            facts: Names and values.

        Raises:
            TypeError: ``labels`` or ``facts`` is no mapping.
            InvalidLabelsError: A name is not allowed, or is among the labels and the facts.
        """
        child = self._find(labels)
        if child is None:
            given = [*wire_pairs(self._allowed(labels), self.const_labels)]
            probe = FactsSeries(tuple([name for name, _ in given]), (), "")
            probe.set(facts)  # what is refused leaves no series behind
            child = self._create(labels)
        child.set(facts)

    def set_value(self, labels: Labels | None, value: Any) -> None:
        """Replace the facts about a label set; see ``set``."""
        self.set(labels, value)

    def family_of(self, series: Sequence[FactsSeries]) -> MetricFamily:
        """Return the metric family, each series of facts once: labels and facts of two may say the same together."""
        shown = {one.text: one for facts in series for one in facts.shown}
        return MetricFamily(self.name, "info", self.doc, "", list(shown.values()))

    def count_made(self) -> int:
        """Return how many series must be looked at to make the family."""
        return len(self._store.series)
