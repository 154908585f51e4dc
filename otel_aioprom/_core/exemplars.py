"""The label sets of exemplars: their limit of 128 characters, and their escaping."""

from __future__ import annotations

from collections.abc import Iterable

from otel_aioprom._core.escaping import Escaping, escape_label_name
from otel_aioprom._core.labels import Pairs, escaped_pairs

EXEMPLAR_LIMIT = 128
"""Limit of the code points of an exemplar's labels, names and values together."""

_IDS = frozenset({"trace_id", "span_id"})


def exemplar_pairs(pairs: Iterable[tuple[str, str]], scheme: Escaping) -> Pairs:
    """Escape the label names of an exemplar.

    Args:
        pairs: Names and values. ``trace_id`` and ``span_id`` override labels that collide with them; they alone are
            kept if the escaped labels exceed ``EXEMPLAR_LIMIT``.
        scheme: The escaping scheme.

    Spec:
        E38, E45, M62, M63.
    """
    pairs = list(pairs)
    ids = tuple([pair for pair in pairs if pair[0] in _IDS])
    taken = {name for name, _ in ids}
    others = [p for p in pairs if p[0] and escape_label_name(p[0], scheme) not in taken]
    every = (*ids, *escaped_pairs(others, scheme))
    return every if exemplar_length(every) <= EXEMPLAR_LIMIT else ids


def exemplar_length(pairs: Iterable[tuple[str, str]]) -> int:
    """Return the code points of all names and values together (E38)."""
    return sum([len(name) + len(value) for name, value in pairs])
