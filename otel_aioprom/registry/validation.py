"""Validation of families from user code: what is invalid is dropped alone and breaks no response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_aioprom._concurrency.user_code import FAILURES, raise_if_exit, safe_repr, safe_str
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom._core.names import is_valid_label_name, is_valid_metric_name
from otel_aioprom.collectors import (
    Collector,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StateSet,
    Summary,
)
from otel_aioprom.registry.faults import Fault, FaultTally
from otel_aioprom.registry.series_checks import KINDS, check_labels, is_valid_str, with_valid_start

OWN_KINDS = frozenset({Collector, Counter, Enum, Gauge, Histogram, Info, StateSet, Summary})
"""Classes of collectors whose families are valid; those of subclasses must be checked."""

_PACKAGE = "otel_aioprom."


def well_formed(family: Any, faults: list[Fault], seen: set[int] | None = None) -> MetricFamily:
    """Return a family that every format can write.

    What is invalid costs only itself: an exemplar, a start time, the native buckets beside the classic ones, a help
    text, a unit, or a series.

    Args:
        family: What a source has returned. The ``text`` of its series is written anew from their labels, and their
            ``wire`` is cleared, because it may have been written for another type.
        faults: Gets one fault for each kind of thing that is dropped.
        seen: Ids of the series of other families in the same response; those of this one are added. Series that are
            shared with another family are copied.

    Returns:
        The family with its valid series, and with ``utf8`` set if formats must quote or escape one of its names.

    Raises:
        TypeError: It is not a family, its name or type is not a valid string, or its series are no sequence.
        ValueError: It has no name, or its type is unknown.
    """
    if not isinstance(family, MetricFamily):
        raise TypeError(f"a source must return families or collectors, not {safe_repr(family)}")
    name, kind = family.name, family.type
    _check_head(name, kind)
    if not isinstance(family.series, Sequence):
        raise TypeError(f"{name}: its series must be a list, not {type(family.series).__name__}")
    tally = FaultTally(name)
    doc, unit = _words("help text", family.doc, tally), _words("unit", family.unit, tally)
    every = _valid_series(name, kind, tuple(family.series), tally)
    faults += tally.faults()
    if seen is not None:
        every = _unshared(every, seen)
    labels = set().union(*{series.names for series in every})
    classic = is_valid_metric_name(name) and all(map(is_valid_label_name, labels))
    return MetricFamily(name, kind, doc, unit, every, family.utf8 is True or not classic)


def _check_head(name: Any, kind: Any) -> None:
    for part, text in (("name", name), ("type", kind)):
        if not is_valid_str(text):
            raise TypeError(
                f"{safe_repr(name)}: the {part} of a metric must be a valid str, not {safe_repr(text)}"
            )
    if not name:
        raise ValueError("a metric needs a name")
    if kind not in KINDS:
        raise ValueError(f"{name}: its type must be one of {sorted(KINDS)}, not {kind!r}")


def _words(part: str, text: Any, tally: FaultTally) -> str:
    """Return a help text or unit; an empty one if it is invalid."""
    if is_valid_str(text):
        return str(text)
    message = f"the {part} is dropped: it must be a valid str, not {safe_repr(text)}"
    tally.add(part, message, lost=False)
    return ""


def _valid_series(
    name: str, kind: str, every: Sequence[Any], tally: FaultTally
) -> Sequence[Series]:
    """Return the valid series, those with an invalid part without it."""
    cls, check = KINDS[kind]
    valid: list[Series] = []
    before: tuple[str, ...] = ()
    text = ""

    def drop(part: str, reason: str) -> None:
        tally.add(part, f"the {part} of {name}{text.rstrip()} is dropped: {reason}")

    for series in every:
        part = "class"
        try:
            # Classes that `expiring_class` and `with_lock` create have the module of their base class.
            if not isinstance(series, cls) or not type(series).__module__.startswith(_PACKAGE):
                raise TypeError(
                    f"series of a {kind} must be {cls.__name__}, not {type(series).__name__}"
                )
            part = "labels"
            one: Any = series
            names, values = one.names, one.values
            check_labels(kind, names, values, before)
            before, text = names, labels_text(zip(names, values))
            one.text, one.wire = text, None
            part = "value"
            one = check(name, one, drop)
            valid.append(one if one.created is None else with_valid_start(one, drop))
        except FAILURES as error:  # of a user's objects
            raise_if_exit(error)
            which = f"{name}{text.rstrip()}" if part == "value" else f"a series of {name}"
            tally.add(f"series, {part}", f"{which} is dropped: {safe_str(error)}")
    return tuple(valid)


def _unshared(every: Sequence[Series], seen: set[int]) -> Sequence[Series]:
    """Copy series that another family has too: what a format keeps in ``wire`` is written for one type."""
    ids = {id(series) for series in every}
    shared = ids & seen
    seen |= ids
    if not shared:
        return every
    return [
        series.renamed(series.names, series.values, series.text) if id(series) in shared else series
        for series in every
    ]
