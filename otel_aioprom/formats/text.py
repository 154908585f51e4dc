"""The Prometheus text format 0.0.4."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from otel_aioprom.formats.base import IFormatter
from otel_aioprom.labels import help_text
from otel_aioprom.model import MetricFamily
from otel_aioprom.numbers import canonical_float

_FIRST_STEP = 16
_LAST_STEP = 1024
_CHUNK = 32_768  # characters aimed at, some 0.1 ms of work
_TYPES = {"info": "gauge"}

Write = Callable[[str, Sequence[Any], str], str]


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
    """Write series in steps that grow and shrink with the length of what they give."""
    write = _WRITERS.get(family.type, _write_numbers)
    series, start, step = family.series, 0, _FIRST_STEP
    while start < len(series):
        text = write(family.name, series[start : start + step], end)
        yield _spell(text, end).encode()
        start += step
        step = max(1, min(_LAST_STEP, 2 * step, step * _CHUNK // len(text)))


def _spell(text: str, end: str) -> str:
    """Give values that are not finite the spelling of the format.

    A line break stands only at the end of a line, so that what is in front of one is a value.
    """
    if f"n{end}" in text or f"f{end}" in text:
        for python, prometheus in ((" nan", " NaN"), (" inf", " +Inf"), (" -inf", " -Inf")):
            text = text.replace(python + end, prometheus + end)
    return text


def _write_numbers(name: str, series: Sequence[Any], end: str) -> str:
    # A join writes the name in front of each line without making it part of a new string each time.
    lines = [f"{one.text}{one.value}" for one in series]
    return f"{name}{(end + name).join(lines)}{end}"


def _write_histograms(name: str, series: Sequence[Any], end: str) -> str:
    templates: dict[Any, str] = {}
    return "".join([_write_histogram(name, one, end, templates) for one in series])


def _write_histogram(name: str, one: Any, end: str, templates: dict[Any, str]) -> str:
    counts = one.snapshot()
    total = counts.pop()
    key = (
        id(one.bounds),
        total is None,
    )  # bounds are shared by a family's series, hashing them is not free
    template = templates.get(key)
    if template is None:
        template = templates[key] = _histogram_template(
            name, one.bounds, end, has_sum=total is not None
        )
    inner = one.text[1:-2]
    arguments: list[Any] = [f"{inner}," if inner else ""] * (2 * len(counts))
    arguments[1::2] = accumulate(counts)
    count = arguments[-1]
    arguments += (one.text, count) if total is None else (one.text, total, one.text, count)
    return template % tuple(arguments)


def _histogram_template(name: str, bounds: Sequence[float], end: str, *, has_sum: bool) -> str:
    """Lines of one series with places for label text and count of each bucket, then sum and count."""
    buckets = [f'{name}_bucket{{%sle="{canonical_float(bound)}"}} %d{end}' for bound in bounds]
    total = f"{name}_sum%s%s{end}" if has_sum else ""
    return f"{''.join(buckets)}{total}{name}_count%s%s{end}"


def _write_summaries(name: str, series: Sequence[Any], end: str) -> str:
    return "".join([_write_summary(name, one, end) for one in series])


def _write_summary(name: str, one: Any, end: str) -> str:
    inner = one.text[1:-2]
    before = f"{inner}," if inner else ""
    quantiles = [
        f'{name}{{{before}quantile="{canonical_float(quantile)}"}} {estimate}{end}'
        for quantile, estimate in one.quantiles()
    ]
    return f"{''.join(quantiles)}{name}_sum{one.text}{one.total}{end}{name}_count{one.text}{one.count}{end}"


_WRITERS: dict[str, Write] = {"histogram": _write_histograms, "summary": _write_summaries}
