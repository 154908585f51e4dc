"""The Prometheus text format, versions 0.0.4 and 1.0.0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otel_aioprom._core.labels import help_text
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.text_lines import (
    Write,
    end_of_line,
    histogram_writer,
    in_steps,
    inner_labels,
    number_writer,
    quantile_heads,
    sample_head,
    shown_name,
    shown_type,
    value_text,
)

_TYPES = {"info": "gauge", "stateset": "gauge"}
_MILLISECONDS = 1000


class TextFormatter(IFormatter):
    """Text 0.0.4, which every server reads. Names that are not classic are escaped.

    Spec:
        E5, E8 to E24.
    """

    protocol = "PrometheusText0.0.4"

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Write families, those without series left out; see ``IFormatter.encode``."""
        end = end_of_line(self.timestamps, _MILLISECONDS)
        for family in families:
            if family.series:
                yield _head(family).encode()
                write = _WRITERS.get(family.type, number_writer)(family.name, end)
                yield from (
                    chunk.encode("utf-8", "replace") for chunk in in_steps(family.series, write)
                )


class Text100Formatter(TextFormatter):
    """Text 1.0.0: the same lines, and names that are not classic may stand in quotes.

    Spec:
        E25, E43.
    """

    protocol = "PrometheusText1.0.0"

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {
            "Content-Type": f"text/plain; version=1.0.0; charset=utf-8; escaping={self.escaping}"
        }


def _head(family: MetricFamily) -> str:
    """HELP and TYPE; HELP is left out where there is nothing to say (E20, E21)."""
    name = shown_name(family.name)
    help_line = f"# HELP {name} {help_text(family.doc)}\n" if family.doc else ""
    kind = shown_type(family)
    return f"{help_line}# TYPE {name} {_TYPES.get(kind, kind)}\n"


def _summary_writer(name: str, end: str) -> Write:
    def write_one(one: Any) -> str:
        labels = inner_labels(one)
        found = one.quantiles()
        heads = quantile_heads(name, [quantile for quantile, _ in found], labels)
        heads += [sample_head(f"{name}{suffix}", labels) for suffix in ("_sum", "_count")]
        count, total = one.snapshot()
        values = [*[value_text(estimate) for _, estimate in found], value_text(total), count]
        return "".join([f"{head}{value}{end}" for head, value in zip(heads, values)])

    return lambda series: "".join([write_one(one) for one in series])


_WRITERS: dict[str, Callable[[str, str], Write]] = {
    "histogram": histogram_writer,
    "summary": _summary_writer,
}
