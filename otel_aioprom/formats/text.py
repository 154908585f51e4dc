"""The Prometheus text format, versions 0.0.4 and 1.0.0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from otel_aioprom._core.labels import help_text
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.separate_samples import (
    Sample,
    Separation,
    by_suffix,
    relayed_separation_of,
    separation_of,
)
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
    _separation_of = staticmethod(separation_of)

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {"Content-Type": TEXT_CONTENT_TYPE}

    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Encode families; skip those without series; see ``IFormatter.encode``."""
        end = end_of_line(self.timestamps, _MILLISECONDS)
        for family in families:
            if family.series:
                separation = self._separation_of(family)
                chunks = _separate(family, separation, end) if separation else _whole(family, end)
                yield from (chunk.encode("utf-8", "replace") for chunk in chunks)


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


class RelayedTextFormatter(TextFormatter):
    """Text 0.0.4 for those who write it anew: gateways, and the node exporter.

    Spec:
        E24, E84.
    """

    _separation_of = staticmethod(relayed_separation_of)


def _head(name: str, kind: str, doc: str) -> str:
    """Return HELP, unless it is empty, and TYPE (E20, E21)."""
    name = metadata_name(name)
    help_line = f"# HELP {name} {help_text(doc)}\n" if doc else ""
    return f"{help_line}# TYPE {name} {_TYPES.get(kind, kind)}\n"


def _whole(family: MetricFamily, end: str) -> Iterator[str]:
    yield _head(family.name, metadata_type(family), family.doc)
    write = _WRITERS.get(family.type, number_writer)(family.name, end)
    yield from in_batches(family.series, write)


def _separate(family: MetricFamily, separation: Separation, end: str) -> Iterator[str]:
    """Yield the lines of several metrics; all wait until each series has been read, once."""
    name = family.name

    def write(one: Any, sample: Sample) -> str:
        labels = inner_labels(one)
        if sample.label:
            before = f"{labels}," if labels else ""
            labels = f'{before}{sample.label}="{sample.bound}"'
        return f"{sample_head(name + sample.suffix, labels)}{value_text(sample.value)}{end}"

    chunks: dict[str, list[str]] = {suffix: [] for suffix in separation.suffixes}

    def write_all(series: Sequence[Any]) -> str:
        found = {k: "".join(lines) for k, lines in by_suffix(separation, series, write).items()}
        for suffix, chunk in found.items():
            chunks[suffix].append(chunk)
        return "".join(found.values())

    for _ in in_batches(family.series, write_all):
        yield ""
    for suffix, some in chunks.items():
        if any(some):
            yield _head(name + suffix, separation.type, family.doc)
            yield from some


def _summary_writer(name: str, end: str) -> Write:
    sum_name, count_name = f"{name}_sum", f"{name}_count"

    def write_one(one: Any) -> str:
        labels = inner_labels(one)
        quantiles = one.quantiles()
        heads = quantile_heads(name, [quantile for quantile, _ in quantiles], labels)
        values = [value_text(estimate) for _, estimate in quantiles]
        count, total = one.snapshot()
        if total is not None:
            heads.append(sample_head(sum_name, labels))
            values.append(value_text(total))
        if count is not None:
            heads.append(sample_head(count_name, labels))
            values.append(count)
        return "".join([f"{head}{value}{end}" for head, value in zip(heads, values)])

    return lambda series: "".join([write_one(one) for one in series])


_WRITERS: dict[str, Callable[[str, str], Write]] = {
    "histogram": histogram_writer,
    "summary": _summary_writer,
}
