"""Names and types of families in OpenMetrics 1.0, which gives the samples of some types a suffix.

A metric has the name that other formats write, whatever happens. Where the suffix, or the name without it, would be
another metric's, or where the name has no suffix, the type is ``unknown``: it neither adds nor strips one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.merge import without_collisions

SUFFIXES = {"counter": "_total", "info": "_info"}
"""Types whose names end in a suffix, which the TYPE line is without."""

_SAMPLES = {
    "counter": ("_total", "_created"),
    "info": ("_info",),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "summary": ("_sum", "_count", "_created"),
}


def openmetrics_type(family: MetricFamily) -> str:
    """Return the type for the TYPE line: ``untyped`` for a counter or info whose name lacks the suffix or is only that.

    Spec:
        E30, M24.
    """
    name, suffix = family.name, SUFFIXES.get(family.type, "")
    return family.type if name.endswith(suffix) and name != suffix else "untyped"


def base_name(family: MetricFamily) -> str:
    """Return a family's name without the suffix of its samples.

    Spec:
        E30, M24.
    """
    return family.name.removesuffix(SUFFIXES.get(openmetrics_type(family), ""))


def openmetrics_names(family: MetricFamily) -> list[str]:
    """Return the names that a family uses: its base, then those that its samples may have.

    Spec:
        E30, M59.
    """
    suffixes = _SAMPLES.get(openmetrics_type(family))
    if suffixes is None:
        return [family.name]
    base = base_name(family)
    return [base, *[base + suffix for suffix in suffixes]]


def with_own_names(
    families: Sequence[MetricFamily], *, created: bool
) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
    """Return families of which each is written under its own name, and no sample under that of another one.

    Args:
        families: In order of precedence; no two have a name or a sample name of the text format in common.
        created: Start times are written as samples.

    Returns:
        The families, some as ``untyped`` ones with the same live series, and a fault for each that has no form beside
        the others: its name is that of a start time.

    Spec:
        E30, M24, M54, M59.
    """
    owners = {family.name: family.name for family in families}
    for family in families:
        if family.type in _SAMPLES and family.type not in SUFFIXES:
            for name in openmetrics_names(family):
                owners.setdefault(name, family.name)
    typed = [
        _with_own_name(family, owners) if family.type in SUFFIXES else family for family in families
    ]
    return without_collisions(typed, {}, openmetrics_names) if created else (typed, ())


def _with_own_name(family: MetricFamily, owners: dict[str, str]) -> MetricFamily:
    """Return a counter or info as ``untyped`` unless the names that it uses are no other family's; note them as its."""
    name = family.name
    if openmetrics_type(family) == family.type:
        names = openmetrics_names(family)
        if all(owners.get(each, name) == name for each in names):
            owners.update(dict.fromkeys(names, name))
            return family
    return replace(family, type="untyped", unit="")
