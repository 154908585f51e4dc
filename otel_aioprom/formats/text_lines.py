"""What the text formats have in common: lines of samples, made many at a time.

A writer is made once for a family and a response; what is the same in all its lines is worked out
then. Series of a family are written in steps that grow, and shrink where a step is long in bytes
or in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, count
from math import isfinite
from typing import Any

from otel_aioprom._core.labels import quoted
from otel_aioprom._core.model import UNITLESS, MetricFamily
from otel_aioprom._core.names import is_valid_metric_name
from otel_aioprom._core.numbers import canonical_float, float_text

_FIRST_STEP = 1
_LAST_STEP = 1024
_CHUNK = 65_536  # characters
_BUDGET = 0.0005  # seconds
_KNOWN_NAMES = 4096
_NOTHING_BUT_SUFFIX = {"_total": "counter", "_info": "info"}
_ESCAPED = frozenset('"\\')
_FIRST_MARK = 14  # a control character, which stands in no bound or value, and hardly in a name

Write = Callable[[Sequence[Any]], str]
"""Writes some series of one family."""


def shown_type(family: MetricFamily) -> str:
    """Return the type of a family, or ``untyped`` if its name is all suffix: readers that take it off have none left.

    Spec:
        E30, M24.
    """
    return "untyped" if family.type == _NOTHING_BUT_SUFFIX.get(family.name) else family.type


def shown_unit(family: MetricFamily, base: str) -> str:
    """Return the unit that may stand in a response, or nothing: a server refuses all of it for a wrong one.

    Args:
        family: The family.
        base: Its name without the suffix of its samples.

    Spec:
        E29, E66.
    """
    unit = family.unit
    if not unit or family.type in UNITLESS or not base.endswith(f"_{unit}"):
        return ""
    # Prometheus compares with the name as it is written, escapes and all.
    return unit if unit.isprintable() and not _ESCAPED.intersection(unit) else ""


def in_steps(
    every: Sequence[Any], write: Callable[[Sequence[Any]], Any], longest: float = _CHUNK
) -> Iterator[Any]:
    """Write series in steps of at most half a millisecond and some 64 KB.

    Args:
        every: The series.
        write: Writes some of them; what it returns has a length.
        longest: That length, about.

    Yields:
        What ``write`` returns.
    """
    start, step = 0, _FIRST_STEP
    while start < len(every):
        began = time.perf_counter()
        chunk = write(every[start : start + step])
        share = max(len(chunk) / longest, (time.perf_counter() - began) / _BUDGET)
        yield chunk
        start += step
        step = max(1, min(_LAST_STEP, 2 * step, int(step / share)))


@lru_cache(maxsize=_KNOWN_NAMES)
def shown_name(name: str) -> str:
    """Write a name as it stands in HELP and TYPE lines.

    Spec:
        E43.
    """
    return name if is_valid_metric_name(name) else quoted(name)


def sample_head(name: str, labels: str) -> str:
    """Write all that stands before a sample's value.

    Args:
        name: The sample's name, with its suffix.
        labels: As ``inner_text`` writes them.

    Spec:
        E11, E43.
    """
    shown = shown_name(name)
    if shown == name:
        return f"{name}{{{labels}}} " if labels else f"{name} "
    return f"{{{shown},{labels}}} " if labels else f"{{{shown}}} "


def inner_labels(series: Any) -> str:
    """Return the labels of a series without braces and blank."""
    text: str = series.text[1:-2]
    return text


def number_writer(name: str, end: str) -> Write:
    """Make the writer of families whose series are one number each.

    Args:
        name: The samples' name.
        end: What stands behind a value, line feed included.
    """
    if not is_valid_metric_name(name):
        return lambda series: "".join(
            [
                f"{sample_head(name, inner_labels(one))}{value_text(one.value)}{end}"
                for one in series
            ]
        )
    between = end + name

    def write(series: Sequence[Any]) -> str:
        values = [one.value for one in series]
        # One sum tells whether all values are finite; only if not, each has to be looked at.
        spell = repr if isfinite(sum(values)) else float_text
        # Filled a column at a time: a string for each line costs more than the rest.
        parts = [between] * (3 * len(values))
        parts[0] = name
        parts[1::3] = [one.text for one in series]
        parts[2::3] = map(spell, values)
        parts.append(end)
        return "".join(parts)

    return write


def histogram_writer(name: str, end: str, *, count_first: bool = False) -> Write:
    """Make the writer of families of histograms: buckets, sum where there is one, count.

    Args:
        name: The family's name, without the suffixes of its samples.
        end: What stands behind a value, line feed included.
        count_first: Write the count in front of the sum.

    Spec:
        E23, E33.
    """
    # Series of a family share their bounds objects, so that the template is found without hashing them.
    templates: dict[tuple[int, bool, bool], str] = {}
    mark = next(char for char in map(chr, count(_FIRST_MARK)) if char not in name)

    def write_one(one: Any) -> str:
        counts = one.snapshot()
        total = counts.pop()
        labels = inner_labels(one)
        key = (id(one.bounds), not labels, total is None)
        template = templates.get(key)
        if template is None:
            suffixes = ["_count"] if total is None else ["_sum", "_count"]
            suffixes.sort(reverse=not count_first)
            heads = _histogram_heads(name, one.bounds, mark if labels else "", suffixes)
            # Names in quotes may hold a percent sign.
            template = templates[key] = "".join(
                [f"{head.replace('%', '%%')}%s{end}" for head in heads]
            )
        values = tuple(accumulate(counts))
        observed = values[-1]
        if total is None:
            values = (*values, observed)
        elif count_first:
            values = (*values, observed, value_text(total))
        else:
            values = (*values, value_text(total), observed)
        return (template % values).replace(mark, labels)

    return lambda series: "".join([write_one(one) for one in series])


def _histogram_heads(
    name: str, bounds: Sequence[float], labels: str, suffixes: Sequence[str]
) -> list[str]:
    """What stands before each value of a series; a mark where its labels go: one pass for each."""
    others = [sample_head(f"{name}{suffix}", labels) for suffix in suffixes]
    return bucket_heads(name, bounds, labels) + others


def bucket_heads(name: str, bounds: Sequence[float], labels: str) -> list[str]:
    """Write what stands before the value of each bucket of a series."""
    before = f"{labels}," if labels else ""
    return [
        sample_head(f"{name}_bucket", f'{before}le="{canonical_float(bound)}"') for bound in bounds
    ]


def quantile_heads(name: str, quantiles: Sequence[float], labels: str) -> list[str]:
    """Write what stands before the value of each quantile of a series."""
    before = f"{labels}," if labels else ""
    return [
        sample_head(name, f'{before}quantile="{canonical_float(quantile)}"')
        for quantile in quantiles
    ]


def value_text(value: float) -> float | str:
    """Leave a finite value to the formatting, spell the others."""
    return value if value - value == 0 else float_text(value)


def end_of_line(timestamps: bool, unit: float) -> str:
    """Return what stands behind a value: the time of encoding where it is asked for, and a line feed.

    Args:
        timestamps: Whether it is asked for.
        unit: Units of the timestamp in a second.
    """
    return f" {int(time.time() * unit)}\n" if timestamps else "\n"
