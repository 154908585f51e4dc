"""The stored values of a collector as a mapping, under the attribute name of aioprometheus: ``collector.values``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

from otel_aioprom.collectors.series.label_index import MetricDict

Labels = Mapping[str, object]


class SupportsValues(Protocol):
    """The methods of a collector that a view of its values calls."""

    def get_value(self, labels: Labels | None = None) -> Any:
        """Return what is stored for a label set."""

    def set_value(self, labels: Labels | None, value: Any) -> None:
        """Replace what is stored for a label set."""

    def remove(self, labels: Labels | None) -> None:
        """Remove a series."""

    def clear(self) -> None:
        """Remove all series."""


class Values(MutableMapping[Labels, Any]):
    """A live view of a collector's values: label set → what ``get_value`` returns.

    What is changed here is changed in the collector. Iteration yields label sets without the constant labels.

    Args:
        collector: The collector.
        label_sets: Returns the label index of its current series.

    Raises:
        TypeError: On use: a key is no mapping, or a value has the wrong type.
        KeyError: On use: there is no such series.
    """

    __slots__ = ("_collector", "_label_sets")

    def __init__(
        self, collector: SupportsValues, label_sets: Callable[[], MetricDict[Any]]
    ) -> None:
        self._collector = collector
        self._label_sets = label_sets

    def __getitem__(self, labels: Labels | None) -> Any:
        return self._collector.get_value(labels)

    def __setitem__(self, labels: Labels | None, value: Any) -> None:
        self._collector.set_value(labels, value)

    def __delitem__(self, labels: Labels | None) -> None:
        self._collector.remove(labels)

    def __contains__(self, labels: object) -> bool:
        return labels in self._label_sets()

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(self._label_sets())

    def __len__(self) -> int:
        return len(self._label_sets())

    def clear(self) -> None:
        """Remove all series."""
        self._collector.clear()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Values, MetricDict)):
            # The keys of other mappings are no label sets: only when empty they can be equal.
            return not self and not other if isinstance(other, Mapping) else NotImplemented
        return _plain(self) == _plain(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Values({_plain(self)})"


def _plain(values: Mapping[Labels, Any]) -> dict[Any, Any]:
    return {tuple(sorted(labels.items())): value for labels, value in values.items()}
