"""Encode the labels of series into label sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic

from otel_aioprom._core.labels import escaped_pairs, label_value
from otel_aioprom.remote_write.message import L, Writer
from otel_aioprom.remote_write.samples import SampleSuffix

_NAME = "__name__"
_MAX_PLANS = 1024

EncodedSuffixes = Sequence[tuple[str, list[Any]]]
"""For each sample of a series, the name of its additional label, and the parts of that and of the metric name."""

_Plan = Callable[[Sequence[Any]], tuple[Any, ...]]


class SeriesLabelsEncoder(Generic[L]):
    """Encode label sets; the order of the labels is computed once for all series with the same label names.

    Args:
        writer: Encodes labels.
        external_labels: Labels for each series that has no label of that name.

    Raises:
        ValueError: The name of an external label is empty or ``__name__``.

    Spec:
        E98.
    """

    def __init__(self, writer: Writer[L], external_labels: Mapping[str, object]) -> None:
        if not all(external_labels) or _NAME in external_labels:
            raise ValueError(f"an external label needs a name other than {_NAME!r}")
        labels = [(name, label_value(value)) for name, value in external_labels.items()]
        pairs = [pair for pair in escaped_pairs(sorted(labels), writer.escaping) if pair[1]]
        self._writer = writer
        self._external = [name for name, _ in pairs]
        self._external_parts = writer.label_parts(self._external, [value for _, value in pairs])
        self._plans: dict[tuple[Sequence[str], str], _Plan] = {}

    def encode_suffixes(self, name: str, suffixes: Iterable[SampleSuffix]) -> EncodedSuffixes:
        """Encode the metric names and additional labels of samples.

        Args:
            name: Name of the family.
            suffixes: One for each sample of a series.
        """
        encoded = []
        for suffix, label, value in suffixes:
            labels = {_NAME: name + suffix, label: value} if label else {_NAME: name + suffix}
            encoded.append((label, self._writer.label_parts(tuple(labels), tuple(labels.values()))))
        return encoded

    def encode_one(self, one: Any, suffixes: EncodedSuffixes) -> L:
        """Encode the label set of a series with a single sample; see ``encode``."""
        names, values = one.names, one.values
        if "" in values:
            return self.encode(one, suffixes)[0]
        ((label, added),) = suffixes
        plan = self._plans.get((names, label)) or self._plan(names, label)
        writer = self._writer
        own = writer.label_parts(names, values)
        return writer.label_set(plan([*own, *self._external_parts, *added]))

    def encode(self, one: Any, suffixes: EncodedSuffixes) -> list[L]:
        """Encode the label sets of a series.

        Args:
            one: The series.
            suffixes: As ``encode_suffixes`` returns them for its family and samples.
        """
        names, values, label_set = one.names, one.values, self._writer.label_set
        if "" in values:
            kept = [pair for pair in one.pairs if pair[1]]
            names, values = tuple([name for name, _ in kept]), [value for _, value in kept]
        own = self._writer.label_parts(names, values) + self._external_parts
        return [label_set(self._plan(names, label)(own + added)) for label, added in suffixes]

    def _plan(self, names: Sequence[str], label: str) -> _Plan:
        plan = self._plans.get((names, label))
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()  # names can come from clients
            plan = self._plans[names, label] = self._make_plan(names, label)
        return plan

    def _make_plan(self, names: Sequence[str], label: str) -> _Plan:
        """Compute the order of the label parts; of two labels of one name, the sample's own wins, then the series'."""
        added = [_NAME, label] if label else [_NAME]
        every = [*names, *self._external, *added]
        places: dict[str, int] = {}
        for place in (*range(len(every) - len(added), len(every)), *range(len(every))):
            places.setdefault(every[place], place)
        places.pop("", None)
        parts = list(self._indices(len(names), len(self._external), len(added)))
        order = [index for _, place in sorted(places.items()) for index in parts[place]]
        return itemgetter(*order) if len(order) > 1 else lambda found: (found[order[0]],)

    def _indices(self, *sizes: int) -> Iterator[Sequence[int]]:
        """Yield the indices of the parts of each label, in groups of labels that were encoded at once."""
        first = 0
        for size in sizes:
            end = first + size * self._writer.parts_per_label
            yield from (range(first + place, end, size) for place in range(size))
            first = end
