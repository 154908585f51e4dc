"""The Prometheus text format 0.0.4."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from math import isfinite
from typing import Any

from otel_aioprom.formats.base import IFormatter
from otel_aioprom.labels import help_text
from otel_aioprom.model import MetricFamily
from otel_aioprom.numbers import canonical_float, float_text

_FIRST_STEP = 4
_LAST_STEP = 1024
_CHUNK = 32_768  # characters
_BUDGET = 0.0005  # seconds
_LABELS = "\0"  # stands in no name, bound or value
_TYPES = {"info": "gauge"}

Write = Callable[[Sequence[Any]], str]
"""Writes some series of one family."""


class TextFormatter(IFormatter):
    """Text 0.0.4, which every server reads.

    Spec:
        E5, E8 to E24.
    """

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Write families, those without series left out; see ``IFormatter.encode``."""
        end = f" {int(time.time() * 1000)}\n" if self.timestamps else "\n"
        for family in families:
            if family.series:
                yield _head(family).encode()
                yield from _samples(family, end)


def _head(family: MetricFamily) -> str:
    """HELP and TYPE; HELP is left out where there is nothing to say (E20, E21)."""
    help_line = f"# HELP {family.name} {help_text(family.doc)}\n" if family.doc else ""
    return f"{help_line}# TYPE {family.name} {_TYPES.get(family.type, family.type)}\n"


def _samples(family: MetricFamily, end: str) -> Iterator[bytes]:
    """Write series in steps that grow, and shrink where a step is long in bytes or in time."""
    write = _WRITERS.get(family.type, _number_writer)(family.name, end)
    series, start, step = family.series, 0, _FIRST_STEP
    while start < len(series):
        began = time.perf_counter()
        chunk = write(series[start : start + step]).encode()
        share = max(len(chunk) / _CHUNK, (time.perf_counter() - began) / _BUDGET)
        yield chunk
        start += step
        step = max(1, min(_LAST_STEP, 2 * step, int(step / share)))


def _number_writer(name: str, end: str) -> Write:
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


def _histogram_writer(name: str, end: str) -> Write:
    # Series of a family share their bounds objects, so that the template is found without hashing them.
    templates: dict[tuple[int, bool, bool], str] = {}

    def write_one(one: Any) -> str:
        counts = one.snapshot()
        total = counts.pop()
        labels = one.text[1:-2]
        key = (id(one.bounds), not labels, total is None)
        template = templates.get(key)
        if template is None:
            template = templates[key] = _histogram_template(name, one.bounds, end, key)
        values = tuple(accumulate(counts))
        if total is not None:
            values = (*values, _value(total))
        return (template % (*values, values[len(counts) - 1])).replace(_LABELS, labels)

    return lambda series: "".join([write_one(one) for one in series])


def _histogram_template(
    name: str, bounds: Sequence[float], end: str, key: tuple[int, bool, bool]
) -> str:
    """Lines of one series with places for values, and a mark where its labels go: one pass for each."""
    _, bare, no_sum = key
    before, around = ("", " ") if bare else (f"{_LABELS},", f"{{{_LABELS}}} ")
    buckets = [
        f'{name}_bucket{{{before}le="{canonical_float(bound)}"}} %s{end}' for bound in bounds
    ]
    total = "" if no_sum else f"{name}_sum{around}%s{end}"
    return f"{''.join(buckets)}{total}{name}_count{around}%s{end}"


def _summary_writer(name: str, end: str) -> Write:
    def write_one(one: Any) -> str:
        inner = one.text[1:-2]
        before = f"{inner}," if inner else ""
        quantiles = [
            f'{name}{{{before}quantile="{canonical_float(quantile)}"}} {_value(estimate)}{end}'
            for quantile, estimate in one.quantiles()
        ]
        count, total = one.snapshot()
        both = f"{name}_sum{one.text}{_value(total)}{end}{name}_count{one.text}{count}{end}"
        return f"{''.join(quantiles)}{both}"

    return lambda series: "".join([write_one(one) for one in series])


def _value(value: float) -> float | str:
    """Leave a finite value to the formatting, spell the others."""
    return value if value - value == 0 else float_text(value)


_WRITERS: dict[str, Callable[[str, str], Write]] = {
    "histogram": _histogram_writer,
    "summary": _summary_writer,
}
