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
    in_batches,
    inner_labels,
    metadata_name,
    metadata_type,
    number_writer,
    quantile_heads,
    sample_head,
    value_text,
)

TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TEXT_ACCEPTS = set(TEXT_CONTENT_TYPE.split("; "))
"""The items of the content type, as ``parse_accepts`` returns them; under the name of aioprometheus."""

_TYPES = {"info": "gauge", "stateset": "gauge"}
_MILLISECONDS = 1000


class TextFormatter(IFormatter):
    """Text 0.0.4, which every server reads. Names outside the classic character set are escaped.

    Spec:
        E5, E8 to E24.
    """

    protocol = "PrometheusText0.0.4"

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {"Content-Type": TEXT_CONTENT_TYPE}

    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Encode families; skip those without series; see ``IFormatter.encode``."""
        end = end_of_line(self.timestamps, _MILLISECONDS)
        for family in families:
            if family.series:
                yield _head(family).encode()
                write = _WRITERS.get(family.type, number_writer)(family.name, end)
                yield from (
                    chunk.encode("utf-8", "replace") for chunk in in_batches(family.series, write)
                )


class Text100Formatter(TextFormatter):
    """Text 1.0.0: the same lines, with UTF-8 names in quotes if the escaping scheme allows them.

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
    """Return HELP, unless it is empty, and TYPE (E20, E21)."""
    name = metadata_name(family.name)
    help_line = f"# HELP {name} {help_text(family.doc)}\n" if family.doc else ""
    kind = metadata_type(family)
    return f"{help_line}# TYPE {name} {_TYPES.get(kind, kind)}\n"


def _summary_writer(name: str, end: str) -> Write:
    def write_one(one: Any) -> str:
        labels = inner_labels(one)
        quantiles = one.quantiles()
        heads = quantile_heads(name, [quantile for quantile, _ in quantiles], labels)
        heads += [sample_head(f"{name}{suffix}", labels) for suffix in ("_sum", "_count")]
        count, total = one.snapshot()
        values = [*[value_text(estimate) for _, estimate in quantiles], value_text(total), count]
        return "".join([f"{head}{value}{end}" for head, value in zip(heads, values)])

    return lambda series: "".join([write_one(one) for one in series])


_WRITERS: dict[str, Callable[[str, str], Write]] = {
    "histogram": histogram_writer,
    "summary": _summary_writer,
}
