"""Merging: the rules for names, types and series that collide.

Pure functions: families in, families and faults out. The caller keeps what is needed from one collection to the next:
who was first to use a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom.collectors.series.classic_histogram import AssembledHistogram, HistogramSeries
from otel_aioprom.collectors.series.number import CounterSeries, NumberSeries, UpDownSeries
from otel_aioprom.registry.faults import Fault

_SUMS = (CounterSeries, UpDownSeries)
_EMPTY = '=""'  # occurs nowhere but after the name of a label with an empty value

Owners = dict[str, MetricFamily]
"""Name → the family that was first to use it, without its series, with the first help text and unit that are not empty."""


def merge_families(
    families: Iterable[MetricFamily], owners: Owners
) -> tuple[list[MetricFamily], list[Fault]]:
    """Merge families of the same name into one with one type, one help and one unit.

    Args:
        families: In order of precedence: the first family of a name decides; an empty help text or unit decides
            nothing, so that of a later family is taken.
        owners: Who used a name first, in earlier collections too. New names are added.

    Returns:
        One family for each name, in the order of first appearance, and the faults.

    Spec:
        M54 to M58, M51.
    """
    groups: dict[str, list[MetricFamily]] = {}
    faults: list[Fault] = []
    for family in families:
        owner = owners.setdefault(family.name, replace(family, series=()))
        if family.type != owner.type:
            message = f"a {family.type} of this name is dropped: the name belongs to a {owner.type}"
            faults.append(Fault("type_conflict", family.name, message))
            continue
        if owner.doc and family.doc and family.doc != owner.doc:
            message = f"two help texts: {owner.doc!r} is kept, {family.doc!r} is not"
            faults.append(Fault("help_conflict", family.name, message, lost=False))
        if (family.doc and not owner.doc) or (family.unit and not owner.unit):
            doc, unit = owner.doc or family.doc, owner.unit or family.unit
            owners[family.name] = replace(owner, doc=doc, unit=unit)
        groups.setdefault(family.name, []).append(family)
    return [_merge_group(members, owners[name], faults) for name, members in groups.items()], faults


def _merge_group(
    members: list[MetricFamily], owner: MetricFamily, faults: list[Fault]
) -> MetricFamily:
    if len(members) == 1:
        family = members[0]
        same = family.doc == owner.doc and family.unit == owner.unit
        return family if same else replace(owner, series=family.series, utf8=family.utf8)
    utf8 = any(family.utf8 for family in members)
    if owner.type == "info":
        return replace(owner, series=_first_info(members, faults), utf8=utf8)
    every = [series for family in members for series in family.series]
    return replace(owner, series=merge_series(owner.name, every, faults), utf8=utf8)


def _first_info(members: list[MetricFamily], faults: list[Fault]) -> Sequence[Series]:
    first = members[0].series
    texts = [[series.text for series in family.series] for family in members]
    if any(text != texts[0] for text in texts):
        message = "two resources in one registry: the first is kept"
        faults.append(Fault("resource_conflict", members[0].name, message))
    return first


def distinct(family: MetricFamily, faults: list[Fault]) -> MetricFamily:
    """Return the family with series of the same labels merged; see ``merge_series``."""
    series = merge_series(family.name, family.series, faults)
    return family if series is family.series else replace(family, series=series)


def merge_series(name: str, every: Sequence[Series], faults: list[Fault]) -> Sequence[Series]:
    """Merge series with the same labels; see ``merge_pair``.

    Args:
        name: The family's name, for the fault.
        every: All series of the family, in order.
        faults: Gets one fault if there were such series.

    Returns:
        ``every`` itself if all labels are different.

    Spec:
        E15, M58.
    """
    found: dict[str, Series] = {}
    lost = False
    for series in every:
        text = series.text
        key = (
            text if _EMPTY not in text else labels_text([pair for pair in series.pairs if pair[1]])
        )
        first = found.setdefault(key, series)
        if first is not series:
            found[key] = merged = merge_pair(first, series)
            lost = lost or merged is first
    if len(found) == len(every):
        return every
    message = (
        "several points have the same labels and cannot be added up: the first is exposed"
        if lost
        else "several points have the same labels and are exposed as one series"
    )
    faults.append(Fault("duplicate_series", name, message, lost=lost))
    return list(found.values())


def merge_pair(first: Series, second: Series) -> Series:
    """Return one series for two with the same labels; neither is changed.

    Counters, up-down counters, and histograms with the same bounds are added up. The second of two gauges is kept,
    and the first of all others.
    """
    if isinstance(first, _SUMS) and isinstance(second, _SUMS):
        return _merge_sums(first, second)
    if isinstance(first, HistogramSeries) and isinstance(second, HistogramSeries):
        return _merge_histograms(first, second)
    return second if isinstance(second, NumberSeries) else first


def _merge_sums(first: NumberSeries, second: NumberSeries) -> NumberSeries:
    merged = type(first)(first.names, first.values, first.text, first.value + second.value)
    if isinstance(merged, CounterSeries):
        merged.created = _earlier(first.created, second.created)
        merged.exemplar = _later(first.exemplar, second.exemplar)
    return merged


def _merge_histograms(first: HistogramSeries, second: HistogramSeries) -> HistogramSeries:
    if first.bounds != second.bounds:
        return first
    begun, other_begun = first.created, second.created  # read before counts that may be reset
    (*counts, total), native = first.read()
    (*other_counts, other_total), other_native = second.read()
    created = _earlier(begun, other_begun)
    parts = [(first, sum(counts), begun), (second, sum(other_counts), other_begun)]
    merged = AssembledHistogram(first.names, first.values, first.text, first.bounds, created, parts)
    sums = [a + b for a, b in zip(counts, other_counts)]
    both = None if native is None or other_native is None else native.plus(other_native)
    merged.load(sums, None if total is None or other_total is None else total + other_total, both)
    if first.exemplars is not None or second.exemplars is not None:
        none = (None,) * len(sums)
        pairs = zip(first.exemplars or none, second.exemplars or none)
        merged.exemplars = [_later(one, another) for one, another in pairs]
    return merged


def _earlier(first: float | None, second: float | None) -> float | None:
    """Return the start time of both together; unknown if one of them is."""
    return None if first is None or second is None else min(first, second)


def _later(first: Exemplar | None, second: Exemplar | None) -> Exemplar | None:
    if first is None or second is None:
        return first or second
    return max(first, second, key=lambda each: each.timestamp or 0)


def without_collisions(
    families: Iterable[MetricFamily],
    taken: Mapping[str, str],
    names_of: Callable[[MetricFamily], Iterable[str]] = MetricFamily.taken_names,
) -> tuple[list[MetricFamily], list[Fault]]:
    """Drop families whose names collide with those of others.

    Args:
        families: In order of precedence.
        taken: Names that no family may use, each with its owner.
        names_of: Returns the names that a family uses.

    Returns:
        The other families, and a fault for each that is dropped.

    Spec:
        M54, M59.
    """
    samples = dict(taken)
    admitted: list[MetricFamily] = []
    faults: list[Fault] = []
    for family in families:
        names = names_of(family)
        collision = next((name for name in names if name in samples), None)
        if collision is None:
            samples.update(dict.fromkeys(names, family.name))
            admitted.append(family)
        else:
            message = f"dropped: the sample name {collision!r} belongs to {samples[collision]!r}"
            faults.append(Fault("name_conflict", family.name, message))
    return admitted, faults
