"""The delimited protobuf format, the only one with native histograms.

A family is one message with its length in front. A histogram of which only some series have native buckets is two, and
what readers would misread is several metrics; see ``separate_samples``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from otel_aioprom._core.exemplars import exemplar_pairs
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom.formats import protobuf_wire
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.protobuf_content import FamilyContent
from otel_aioprom.formats.protobuf_message import MessageBuffer
from otel_aioprom.formats.separate_samples import separation_of
from otel_aioprom.formats.text_lines import metadata_unit

BINARY_CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)


class BinaryFormatter(IFormatter):
    """Delimited messages of ``io.prometheus.client.MetricFamily``.

    Spec:
        E63 to E70.
    """

    protocol = "PrometheusProto"
    _separation_of = staticmethod(separation_of)
    _native_gauges = True

    def get_headers(self) -> dict[str, str]:
        """Return the ``Content-Type`` of this format."""
        return {"Content-Type": f"{BINARY_CONTENT_TYPE}; escaping={self.escaping}"}

    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Encode families; skip those without series; see ``IFormatter.encode``."""
        milliseconds = int(time.time() * 1000)
        timestamp = b"\x30" + protobuf_wire.varint(milliseconds) if self.timestamps else b""
        for family in families:
            if family.series:
                yield from self._family(family, timestamp)

    def _family(self, family: MetricFamily, timestamp: bytes) -> Iterator[bytes]:
        separation = self._separation_of(family)
        content = FamilyContent(
            protobuf_wire.KINDS[family.type], self._exemplar, timestamp, self._native_gauges
        )
        # Lengths first, batch by batch, then bytes.
        for _ in content.measure(family, separation):
            yield b""
        for metrics in filter(None, (content.metrics, content.classic)):
            yield from _message(family, metrics)
        for suffix, kind, metrics in content.separate_messages():
            yield from _message(replace(family, name=family.name + suffix, type=kind), metrics)

    def _exemplar(self, tag: bytes, exemplar: Exemplar | None) -> bytes:
        if exemplar is None:
            return b""
        labels = exemplar_pairs(exemplar.labels, self.escaping)
        return protobuf_wire.field(tag, protobuf_wire.exemplar_message(exemplar, labels))


def _message(family: MetricFamily, metrics: MessageBuffer) -> Iterator[bytes]:
    """Yield a message: the family's head, and the metrics in place of its series."""
    head, unit = _head(family, protobuf_wire.KINDS[family.type]), _unit(family)
    yield protobuf_wire.varint(len(head) + metrics.length + len(unit)) + head
    yield from metrics.chunks()
    if unit:
        yield unit


def _head(family: MetricFamily, kind: protobuf_wire.Kind) -> bytes:
    name = protobuf_wire.string_field(b"\x0a", family.name)
    doc = protobuf_wire.string_field(b"\x12", family.doc) if family.doc else b""
    return name + doc + b"\x18" + protobuf_wire.varint(kind.number)


def _unit(family: MetricFamily) -> bytes:
    """Return the unit if the name ends with it: Prometheus rejects the whole response otherwise (E66)."""
    base = family.name.removesuffix("_total") if family.type == "counter" else family.name
    unit = metadata_unit(family, base)
    return protobuf_wire.string_field(b"\x2a", unit) if unit else b""
