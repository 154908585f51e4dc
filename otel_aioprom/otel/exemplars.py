"""Exemplars: from the SDK's to those of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from otel_aioprom._core.labels import EXEMPLAR_LIMIT, encodable, exemplar_length
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.numbers import coerce_number
from otel_aioprom.otel.attributes import attribute_pairs, join_labels

_NANOSECONDS = 1_000_000_000


class SupportsExemplar(Protocol):
    """What is asked of the SDK's exemplar."""

    @property
    def filtered_attributes(self) -> Mapping[str, object] | None:
        """What the view has taken off the point."""

    @property
    def value(self) -> float:
        """What was measured."""

    @property
    def time_unix_nano(self) -> int:
        """When."""

    @property
    def span_id(self) -> int | None:
        """Of the active span."""

    @property
    def trace_id(self) -> int | None:
        """Of the active span."""


def translate(
    exemplar: SupportsExemplar,
    label: Callable[[str], str],
    leave_out: Callable[[str, Exception], None],
) -> Exemplar:
    """Translate an exemplar.

    Args:
        exemplar: The SDK's.
        label: Names the label of an attribute, as the strategy wants it.
        leave_out: Is told of an attribute that cannot be written.

    Returns:
        One with the ids first, then the filtered attributes if there is room for all of them.

    Spec:
        M62, M63.
    """
    ids = _ids(exemplar)
    filtered = attribute_pairs(exemplar.filtered_attributes, leave_out)
    others = [pair for pair in join_labels(filtered, spell=label) if pair[0] not in ids]
    pairs = (*ids.items(), *((name, encodable(value)) for name, value in others))
    if exemplar_length(pairs) > EXEMPLAR_LIMIT:
        pairs = tuple(ids.items())
    moment = exemplar.time_unix_nano / _NANOSECONDS
    return Exemplar(pairs, coerce_number(exemplar.value), moment)


def _ids(exemplar: SupportsExemplar) -> dict[str, str]:
    found = {}
    if exemplar.trace_id:
        found["trace_id"] = f"{exemplar.trace_id:032x}"
    if exemplar.span_id:
        found["span_id"] = f"{exemplar.span_id:016x}"
    return found


def latest(exemplars: Iterable[Any]) -> Any:
    """Return the one that was measured last."""
    return max(exemplars, key=_time_of)


def is_newer(exemplar: Exemplar, known: Exemplar | None) -> bool:
    """Tell whether an exemplar takes the place of another one."""
    return known is None or (exemplar.timestamp or 0) >= (known.timestamp or 0)


def _time_of(exemplar: SupportsExemplar) -> int:
    return exemplar.time_unix_nano
