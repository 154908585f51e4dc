"""Sample lines of the text formats, encoded in batches.

A writer is created once per family and response; it computes the constant parts of the lines in advance. Series are
encoded in batches that grow, and shrink if a batch takes many bytes or much time.
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

_MAX_BATCH = 1024
_CHUNK = 65_536  # characters
_BUDGET = 0.0005  # seconds
_KNOWN_NAMES = 4096
_BARE_SUFFIXES = {"_total": "counter", "_info": "info"}
_ESCAPED = frozenset('"\\')
_FIRST_MARK = 14  # a control character: never in a bound or value, and hardly ever in a name

Write = Callable[[Sequence[Any]], str]
"""Encodes some series of one family."""


def metadata_type(family: MetricFamily) -> str:
    """Return the type for the TYPE line: ``untyped`` if the name is only a suffix, which readers would strip.

    Spec:
        E30, M24.
    """
    return "untyped" if family.type == _BARE_SUFFIXES.get(family.name) else family.type


def metadata_unit(family: MetricFamily, base: str) -> str:
    """Return the unit for the UNIT line, or nothing: Prometheus rejects the whole response for a wrong one.

    Args:
        family: The family.
        base: Its name without the suffix of its samples.

    Spec:
        E29, E66.
    """
    unit = family.unit
    if not unit or family.type in UNITLESS or not base.endswith(f"_{unit}"):
        return ""
    # Prometheus compares the unit with the name in its escaped form.
    return unit if unit.isprintable() and not _ESCAPED.intersection(unit) else ""


def in_batches(
    every: Sequence[Any], write: Callable[[Sequence[Any]], Any], longest: float = _CHUNK
) -> Iterator[Any]:
    """Encode series in batches of about half a millisecond and 64 KB at most.

    Args:
        every: The series.
        write: Encodes some of them; its result has a length.
        longest: Approximate maximum of that length.

    Yields:
        The results of ``write``.
    """
    start, size = 0, 1
    while start < len(every):
        began = time.perf_counter()
        chunk = write(every[start : start + size])
        cost = max(len(chunk) / longest, (time.perf_counter() - began) / _BUDGET)
        yield chunk
        start += size
        size = max(1, min(_MAX_BATCH, 2 * size, int(size / cost)))


@lru_cache(maxsize=_KNOWN_NAMES)
def metadata_name(name: str) -> str:
    """Return a name as HELP and TYPE lines have it: UTF-8 names in quotes.

    Spec:
        E43.
    """
    return name if is_valid_metric_name(name) else quoted(name)


def sample_head(name: str, labels: str) -> str:
    """Return the part of a line before the value: name, labels and a blank.

    Args:
        name: The sample's name, with its suffix.
        labels: As ``inner_text`` writes them.

    Spec:
        E11, E43.
    """
    quoted_name = metadata_name(name)
    if quoted_name == name:
        return f"{name}{{{labels}}} " if labels else f"{name} "
    return f"{{{quoted_name},{labels}}} " if labels else f"{{{quoted_name}}} "


def inner_labels(series: Any) -> str:
    """Return the labels of a series without braces and the blank behind them."""
    text: str = series.text[1:-2]
    return text


def number_writer(name: str, end: str) -> Write:
    """Create the writer of a family with one number per series.

    Args:
        name: The samples' name.
        end: The part of a line behind the value, line feed included.
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
        # A finite sum means that all values are finite, without a check of each.
        format_value = repr if isfinite(sum(values)) else float_text
        # Filled by columns: creating a string for each line would take longer than the rest.
        parts = [between] * (3 * len(values))
        parts[0] = name
        parts[1::3] = [one.text for one in series]
        parts[2::3] = map(format_value, values)
        parts.append(end)
        return "".join(parts)

    return write


def histogram_writer(name: str, end: str, *, count_first: bool = False) -> Write:
    """Create the writer of a family of histograms: buckets, sum if there is one, count.

    Args:
        name: The family's name, without the suffixes of its samples.
        end: The part of a line behind the value, line feed included.
        count_first: Write the count before the sum.

    Spec:
        E23, E33.
    """
    # Series of a family share their bounds objects, so the template is looked up by identity, without hashing them.
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
            # One replacement of the placeholder inserts the labels into all lines.
            placeholder = mark if labels else ""
            heads = bucket_heads(name, one.bounds, placeholder)
            heads += [sample_head(f"{name}{suffix}", placeholder) for suffix in suffixes]
            # Names in quotes may have a percent sign.
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


def bucket_heads(name: str, bounds: Sequence[float], labels: str) -> list[str]:
    """Return the parts of lines before the values of a series' buckets."""
    before = f"{labels}," if labels else ""
    return [
        sample_head(f"{name}_bucket", f'{before}le="{canonical_float(bound)}"') for bound in bounds
    ]


def quantile_heads(name: str, quantiles: Sequence[float], labels: str) -> list[str]:
    """Return the parts of lines before the values of a series' quantiles."""
    before = f"{labels}," if labels else ""
    return [
        sample_head(name, f'{before}quantile="{canonical_float(quantile)}"')
        for quantile in quantiles
    ]


def value_text(value: float) -> float | str:
    """Return a finite value unchanged, to be formatted later; infinities and NaN as a string."""
    return value if value - value == 0 else float_text(value)


def end_of_line(timestamps: bool, unit: float) -> str:
    """Return the part of a line behind the value: optionally the time of encoding, and a line feed.

    Args:
        timestamps: Whether to write the time of encoding.
        unit: Units of the timestamp per second.
    """
    return f" {int(time.time() * unit)}\n" if timestamps else "\n"
