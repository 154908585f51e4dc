"""Lines are made of names and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic

from otel_aioprom._core.labels import escaped_pairs, label_value
from otel_aioprom.remote_write.message import L, Writer
from otel_aioprom.remote_write.samples import Part

_NAME = "__name__"
_PLANS = 1024

Prepared = Sequence[tuple[str, list[Any]]]
"""For each line of a series, the name of the one more label, and cells."""

_Pick = Callable[[Sequence[Any]], tuple[Any, ...]]


class LineMaker(Generic[L]):
    """Makes lines: which labels they have, and in which order, is worked out once for all that have the same names.

    Args:
        writer: Writes labels.
        external_labels: Labels that each series gets if it has none of that name.

    Raises:
        ValueError: An external label has no name, or the metric's.

    Spec:
        E98.
    """

    def __init__(self, writer: Writer[L], external_labels: Mapping[str, object]) -> None:
        if not all(external_labels) or _NAME in external_labels:
            raise ValueError(f"an external label needs a name other than {_NAME!r}")
        given = [(name, label_value(value)) for name, value in external_labels.items()]
        pairs = [pair for pair in escaped_pairs(sorted(given), writer.escaping) if pair[1]]
        self._writer = writer
        self._external = [name for name, _ in pairs]
        self._external_cells = writer.cells(self._external, [value for _, value in pairs])
        self._plans: dict[tuple[Sequence[str], str], _Pick] = {}

    def prepare(self, name: str, parts: Iterable[Part]) -> Prepared:
        """Write what lines have besides the labels of their series.

        Args:
            name: Of the family.
            parts: One for each line of a series.
        """
        prepared = []
        for suffix, label, value in parts:
            labels = {_NAME: name + suffix, label: value} if label else {_NAME: name + suffix}
            prepared.append((label, self._writer.cells(tuple(labels), tuple(labels.values()))))
        return prepared

    def make_one(self, one: Any, prepared: Prepared) -> L:
        """Make the line of a series that has but one; see ``make``."""
        names, values = one.names, one.values
        if "" in values:
            return self.make(one, prepared)[0]
        ((label, added),) = prepared
        plan = self._plans.get((names, label)) or self._plan(names, label)
        writer = self._writer
        return writer.line(plan([*writer.cells(names, values), *self._external_cells, *added]))

    def make(self, one: Any, prepared: Prepared) -> list[L]:
        """Make the lines of a series.

        Args:
            one: The series.
            prepared: What ``prepare`` gave for its family and samples.
        """
        names, values, line = one.names, one.values, self._writer.line
        if "" in values:
            kept = [pair for pair in one.pairs if pair[1]]
            names, values = tuple([name for name, _ in kept]), [value for _, value in kept]
        own = self._writer.cells(names, values) + self._external_cells
        return [line(self._plan(names, label)(own + added)) for label, added in prepared]

    def _plan(self, names: Sequence[str], label: str) -> _Pick:
        plan = self._plans.get((names, label))
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()  # names can come from strangers
            plan = self._plans[names, label] = self._make_plan(names, label)
        return plan

    def _make_plan(self, names: Sequence[str], label: str) -> _Pick:
        """Find the order of the cells; of two labels of one name, that of the sample itself wins, then the series'."""
        added = [_NAME, label] if label else [_NAME]
        every = [*names, *self._external, *added]
        places: dict[str, int] = {}
        for place in (*range(len(every) - len(added), len(every)), *range(len(every))):
            places.setdefault(every[place], place)
        places.pop("", None)
        cells = list(self._places(len(names), len(self._external), len(added)))
        order = [cell for _, place in sorted(places.items()) for cell in cells[place]]
        return itemgetter(*order) if len(order) > 1 else lambda found: (found[order[0]],)

    def _places(self, *sizes: int) -> Iterator[Sequence[int]]:
        """Yield where the cells of each label are, in groups of labels that were written at once."""
        first = 0
        for size in sizes:
            end = first + size * self._writer.cells_each
            yield from (range(first + place, end, size) for place in range(size))
            first = end
