"""OpenMetrics text, versions 1.0.0 and 0.0.1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf, isfinite
from operator import attrgetter
from typing import Any

from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.exemplars import exemplar_pairs
from otel_aioprom._core.labels import encodable, help_text, inner_text
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom._core.numbers import float_text
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.openmetrics_names import (
    SUFFIXES,
    base_name,
    openmetrics_type,
    with_own_names,
)
from otel_aioprom.formats.text_lines import (
    Write,
    bucket_heads,
    end_of_line,
    histogram_writer,
    in_batches,
    inner_labels,
    metadata_name,
    metadata_unit,
    number_writer,
    quantile_heads,
    sample_head,
)
from otel_aioprom.registry.faults import Fault

_TYPES = {"untyped": "unknown"}
_FIRST = "target_info"
_SECONDS = 1


class OpenMetricsFormatter(IFormatter):
    """OpenMetrics 1.0.0: the text format with exemplars, units and, optionally, start times.

    Samples that it forbids (counters that are negative or NaN, sums of values below zero) are dropped; the other
    formats have them. A counter whose name does not end in ``_total``, or that would take the name of another metric,
    keeps its name and is of the type ``unknown``, without exemplars, start time and unit.

    Spec:
        E27 to E42, M24, M59, M66.
    """

    protocol = "OpenMetricsText1.0.0"

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {
            "Content-Type": f"application/openmetrics-text; version=1.0.0; charset=utf-8; escaping={self.escaping}"
        }

    def prepare(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Sort ``target_info`` first; see ``IFormatter.prepare``."""
        ordered, faults = super().prepare(families)
        return sorted(ordered, key=lambda family: family.name != _FIRST), faults

    def _admit(
        self, families: Sequence[MetricFamily]
    ) -> tuple[Sequence[MetricFamily], Sequence[Fault]]:
        """Keep every name, at the cost of a type if need be; see ``with_own_names``."""
        return with_own_names(families, created=self.created_samples)

    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Encode families; skip those without series; see ``IFormatter.encode``."""
        writers = _Writers(
            self.escaping, self.created_samples, end_of_line(self.timestamps, _SECONDS)
        )
        for family in families:
            if family.series:
                base = base_name(family)
                yield _head(family, base).encode()
                write = writers.of(family, base)
                yield from (
                    chunk.encode("utf-8", "replace") for chunk in in_batches(family.series, write)
                )
        yield b"# EOF\n"


class OpenMetrics001Formatter(OpenMetricsFormatter):
    """OpenMetrics 0.0.1, which Prometheus requested before 1.0.0: the same body.

    Spec:
        E40.
    """

    protocol = "OpenMetricsText0.0.1"

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {"Content-Type": "application/openmetrics-text; version=0.0.1; charset=utf-8"}


def _head(family: MetricFamily, base: str) -> str:
    """Return TYPE, and UNIT and HELP unless they are empty (E28, E29)."""
    name, kind = metadata_name(base), openmetrics_type(family)
    lines = [f"# TYPE {name} {_TYPES.get(kind, kind)}\n"]
    if unit := metadata_unit(family, base):
        lines.append(f"# UNIT {name} {unit}\n")
    if family.doc:
        lines.append(f"# HELP {name} {help_text(family.doc, quotes=True)}\n")
    return "".join(lines)


class _Writers:
    """Creates the writers of one response.

    Args:
        escaping: Escaping scheme of label names in exemplars.
        created: Whether to write start times.
        end: The part of a line behind the value, line feed included.
    """

    def __init__(self, escaping: Escaping, created: bool, end: str) -> None:
        self._escaping = escaping
        self._created = created
        self._end = end
        self._stamp = end[:-1]

    def of(self, family: MetricFamily, base: str) -> Write:
        """Return the writer of a family."""
        kind = openmetrics_type(family)
        create: Callable[[str], Write] | None = {
            "counter": self._counters,
            "histogram": self._histograms,
            "gaugehistogram": self._gauge_histograms,
            "summary": self._summaries,
        }.get(kind)
        if create:
            return create(base)
        return number_writer(f"{base}{SUFFIXES.get(kind, '')}", self._end)

    def _counters(self, base: str) -> Write:
        total = f"{base}_total"
        plain = number_writer(total, self._end)

        def write_one(one: Any) -> str:
            value, labels = one.value, inner_labels(one)
            if not value >= 0:  # nor is NaN
                return ""
            head = sample_head(total, labels)
            sample = f"{head}{float_text(value)}{self._stamp}{self._exemplar(one.exemplar)}\n"
            return sample + self._start_time(base, labels, one.created)

        def write(series: Sequence[Any]) -> str:
            values = [one.value for one in series]
            simple = isfinite(sum(values)) and min(values) >= 0 and not self._created
            if simple and not any(map(_exemplar_of, series)):
                return plain(series)
            return "".join([write_one(one) for one in series])

        return write

    def _histograms(self, base: str) -> Write:
        plain = histogram_writer(base, self._end, count_first=True)

        def write_one(one: Any) -> str:
            # Read before the counts, which may be reset meanwhile.
            created, exemplars = one.created, one.exemplars or (None,) * len(one.bounds)
            *counts, total = one.snapshot()
            labels = inner_labels(one)
            lines = self._buckets(base, one.bounds, labels, counts, exemplars)
            if one.bounds[0] >= 0 and total is not None and total >= 0:
                lines += self._count_and_sum(base, labels, total, sum(counts))
            return "".join(lines) + self._start_time(base, labels, created)

        def is_plain(one: Any) -> bool:
            total = one.total
            simple = one.exemplars is None and one.bounds[0] >= 0 and not self._created
            return simple and total is not None and total >= 0

        def write(series: Sequence[Any]) -> str:
            return "".join([plain((one,)) if is_plain(one) else write_one(one) for one in series])

        return write

    def _gauge_histograms(self, base: str) -> Write:
        def write_one(one: Any) -> str:
            exemplars = one.exemplars or (None,) * len(one.bounds)
            *counts, total = one.snapshot()
            labels = inner_labels(one)
            lines = self._buckets(base, one.bounds, labels, counts, exemplars)
            # A sum below zero needs a bound below zero.
            if total is not None and total >= (-inf if one.bounds[0] < 0 else 0):
                lines += self._count_and_sum(base, labels, total, sum(counts), "_g")
            return "".join(lines)

        return lambda series: "".join([write_one(one) for one in series])

    def _buckets(
        self,
        base: str,
        bounds: Sequence[float],
        labels: str,
        counts: Sequence[int],
        exemplars: Sequence[Exemplar | None],
    ) -> list[str]:
        heads = bucket_heads(base, bounds, labels)
        return [
            f"{head}{count}{self._stamp}{self._exemplar(exemplar)}\n"
            for head, count, exemplar in zip(heads, accumulate(counts), exemplars)
        ]

    def _summaries(self, base: str) -> Write:
        def write_one(one: Any) -> str:
            labels = inner_labels(one)
            quantiles = [(quantile, value) for quantile, value in one.quantiles() if not value < 0]
            heads = quantile_heads(base, [quantile for quantile, _ in quantiles], labels)
            lines = [
                f"{head}{float_text(value)}{self._end}"
                for head, (_, value) in zip(heads, quantiles)
            ]
            count, total = one.snapshot()
            if total is None or total >= 0:
                lines += self._count_and_sum(base, labels, total, count)
            return "".join(lines) + self._start_time(base, labels, one.created)

        return lambda series: "".join([write_one(one) for one in series])

    def _count_and_sum(
        self, base: str, labels: str, total: float | None, count: int | None, between: str = "_"
    ) -> list[str]:
        lines = []
        if count is not None:
            lines.append(f"{sample_head(f'{base}{between}count', labels)}{count}{self._end}")
        if total is not None:
            value = float_text(total)
            lines.append(f"{sample_head(f'{base}{between}sum', labels)}{value}{self._end}")
        return lines

    def _start_time(self, base: str, labels: str, created: float | None) -> str:
        if not self._created or created is None or not isfinite(created):
            return ""
        return f"{sample_head(f'{base}_created', labels)}{float_text(created)}\n"

    def _exemplar(self, exemplar: Exemplar | None) -> str:
        """Return an exemplar, to write behind its sample's value (E37)."""
        if exemplar is None:
            return ""
        pairs = exemplar_pairs(exemplar.labels, self._escaping)
        at = exemplar.timestamp
        timestamp = f" {float_text(at)}" if at is not None and isfinite(at) else ""
        return f" # {{{encodable(inner_text(pairs))}}} {float_text(exemplar.value)}{timestamp}"


_exemplar_of = attrgetter("exemplar")
