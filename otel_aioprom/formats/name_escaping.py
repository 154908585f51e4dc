"""Escaping of families: final names, and what must be merged because of them.

Only families with names that are not classic are looked at. Their series are escaped as they are
written, a step at a time, unless two label names of the family become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import overload

from otel_aioprom._core.escaping import Escaping, escape_metric_name
from otel_aioprom._core.labels import escaped_name, escaped_pairs, labels_text
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.names import is_valid_metric_name
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.merge import merge_families, merge_series, without_clashes


def respell(
    families: Sequence[MetricFamily], scheme: Escaping
) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
    """Escape all names, and merge families whose names become one.

    Args:
        families: In order of precedence.
        scheme: How to escape.

    Returns:
        Families with classic names, unless the scheme leaves names alone, in order of precedence; and what
        was wrong.

    Spec:
        E45, E49, M22, M54 to M58.
    """
    if scheme == "allow-utf-8" or not any(family.utf8 for family in families):
        return families, ()
    faults: list[Fault] = []
    # Who has a name by right keeps it against those that only escaping brings there.
    ranked = sorted(families, key=lambda each: each.utf8 and not is_valid_metric_name(each.name))
    escaped = [_respelled(family, scheme, faults) if family.utf8 else family for family in ranked]
    merged, conflicts = merge_families(escaped, {})
    admitted, clashes = without_clashes(merged, {})
    return admitted, [*faults, *conflicts, *clashes]


def _respelled(family: MetricFamily, scheme: Escaping, faults: list[Fault]) -> MetricFamily:
    name = escape_metric_name(family.name, scheme)
    every: Sequence[Series] = Escaped(family.series, scheme)
    if _labels_meet(family.series, scheme):
        every = merge_series(name, list(every), faults)
    return replace(family, name=name, series=every)


def _labels_meet(every: Sequence[Series], scheme: Escaping) -> bool:
    """Tell whether two label names of a family become one: then label sets may become equal too."""
    names = set().union(*set(map(attrgetter("names"), every)))
    return len({escaped_name(name, scheme) for name in names}) < len(names)


class Escaped(Sequence[Series]):
    """Series under escaped label names, made when they are asked for.

    Args:
        every: The series as they are.
        scheme: How to escape.
    """

    def __init__(self, every: Sequence[Series], scheme: Escaping) -> None:
        self._every = every
        self._scheme = scheme

    def __len__(self) -> int:
        return len(self._every)

    @overload
    def __getitem__(self, place: int) -> Series: ...
    @overload
    def __getitem__(self, place: slice) -> list[Series]: ...
    def __getitem__(self, place: int | slice) -> Series | list[Series]:
        if isinstance(place, slice):
            return [self._escaped(series) for series in self._every[place]]
        return self._escaped(self._every[place])

    def _escaped(self, series: Series) -> Series:
        pairs = tuple(sorted(escaped_pairs(series.pairs, self._scheme)))
        names = tuple([name for name, _ in pairs])
        return series.renamed(names, tuple([value for _, value in pairs]), labels_text(pairs))
