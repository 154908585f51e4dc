"""Translate the SDK's exemplars to those of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Protocol

from otel_aioprom._core.exemplars import EXEMPLAR_LIMIT, exemplar_length
from otel_aioprom._core.labels import encodable
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.otel.attributes import attribute_pairs, join_labels

_NANOSECONDS = 1_000_000_000
_time_of = attrgetter("time_unix_nano")


class SupportsExemplar(Protocol):
    """An exemplar of the SDK."""

    @property
    def filtered_attributes(self) -> Mapping[str, object] | None:
        """Attributes that the view has removed from the point."""

    @property
    def value(self) -> float:
        """The measured value."""

    @property
    def time_unix_nano(self) -> int:
        """Timestamp in nanoseconds since the epoch."""

    @property
    def span_id(self) -> int | None:
        """Span id of the active span."""

    @property
    def trace_id(self) -> int | None:
        """Trace id of the active span."""


def translate(
    exemplar: SupportsExemplar,
    label: Callable[[str], str],
    on_error: Callable[[str, Exception], None],
) -> Exemplar:
    """Translate an exemplar.

    Args:
        exemplar: The SDK's exemplar.
        label: Returns the label name of an attribute, according to the translation strategy.
        on_error: Called with the key of a dropped attribute and the exception.

    Returns:
        The exemplar with the ids first, then the filtered attributes if all of them are within the length limit.

    Spec:
        M62, M63.
    """
    ids = _ids(exemplar)
    filtered = attribute_pairs(exemplar.filtered_attributes, on_error)
    others = [pair for pair in join_labels(filtered, to_label=label) if pair[0] not in ids]
    pairs = (*ids.items(), *((name, encodable(value)) for name, value in others))
    if exemplar_length(pairs) > EXEMPLAR_LIMIT:
        pairs = tuple(ids.items())
    timestamp = exemplar.time_unix_nano / _NANOSECONDS
    return Exemplar(pairs, coerce_number(exemplar.value), timestamp)


def _ids(exemplar: SupportsExemplar) -> dict[str, str]:
    ids = {}
    if exemplar.trace_id:
        ids["trace_id"] = f"{exemplar.trace_id:032x}"
    if exemplar.span_id:
        ids["span_id"] = f"{exemplar.span_id:016x}"
    return ids


def latest(exemplars: Iterable[Any]) -> Any:
    """Return the exemplar with the highest timestamp."""
    return max(exemplars, key=_time_of)


def is_newer(exemplar: Exemplar, known: Exemplar | None) -> bool:
    """Return whether an exemplar replaces another one."""
    return known is None or (exemplar.timestamp or 0) >= (known.timestamp or 0)
