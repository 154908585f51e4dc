"""Escaping of metric and label names, and merging of families whose escaped names are equal.

Only families with names outside the classic character set are escaped. Their series are escaped lazily, while they
are encoded, unless two label names of the family collide.
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
from otel_aioprom.registry.merge import merge_families, merge_series, without_collisions


def escape_names(
    families: Sequence[MetricFamily], scheme: Escaping
) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
    """Escape all names, and merge families whose names become equal.

    Args:
        families: In order of precedence.
        scheme: The escaping scheme; ``"allow-utf-8"`` changes nothing.

    Returns:
        Families with classic names, in order of precedence, and the faults.

    Spec:
        E45, E49, M22, M54 to M58.
    """
    if scheme == "allow-utf-8" or not any(family.utf8 for family in families):
        return families, ()
    faults: list[Fault] = []
    # A family with a classic name precedes those that get the same name by escaping.
    ranked = sorted(families, key=lambda each: each.utf8 and not is_valid_metric_name(each.name))
    escaped = [
        _escaped_family(family, scheme, faults) if family.utf8 else family for family in ranked
    ]
    merged, conflicts = merge_families(escaped, {})
    admitted, collisions = without_collisions(merged, {})
    return admitted, [*faults, *conflicts, *collisions]


def _escaped_family(family: MetricFamily, scheme: Escaping, faults: list[Fault]) -> MetricFamily:
    name = escape_metric_name(family.name, scheme)
    series: Sequence[Series] = EscapedSeries(family.series, scheme)
    if _labels_collide(family.series, scheme):
        series = merge_series(name, list(series), faults)
    return replace(family, name=name, series=series)


def _labels_collide(every: Sequence[Series], scheme: Escaping) -> bool:
    """Return whether two label names of a family become equal: then label sets may become equal too."""
    names = set().union(*set(map(attrgetter("names"), every)))
    return len({escaped_name(name, scheme) for name in names}) < len(names)


class EscapedSeries(Sequence[Series]):
    """Series with escaped label names, created on access.

    Args:
        every: The original series.
        scheme: The escaping scheme.

    Attributes:
        originals: The original series.
    """

    def __init__(self, every: Sequence[Series], scheme: Escaping) -> None:
        self.originals = every
        self._scheme = scheme

    def __len__(self) -> int:
        return len(self.originals)

    @overload
    def __getitem__(self, index: int) -> Series: ...
    @overload
    def __getitem__(self, index: slice) -> list[Series]: ...
    def __getitem__(self, index: int | slice) -> Series | list[Series]:
        if isinstance(index, slice):
            return [self._escaped(series) for series in self.originals[index]]
        return self._escaped(self.originals[index])

    def _escaped(self, series: Series) -> Series:
        pairs = tuple(sorted(escaped_pairs(series.pairs, self._scheme)))
        names = tuple([name for name, _ in pairs])
        return series.renamed(names, tuple([value for _, value in pairs]), labels_text(pairs))
