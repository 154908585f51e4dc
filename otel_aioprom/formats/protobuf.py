"""The delimited protobuf format, the only one with native histograms.

A family is one message with its length in front; a histogram of which only some series have native buckets is two. If
the lengths of a family's metrics do not depend on their values, only the constant parts are encoded before the first
byte is written; otherwise the whole family is buffered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from struct import pack
from typing import Any, NamedTuple

from otel_aioprom._core.exemplars import exemplar_pairs
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom.formats import protobuf_wire
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.protobuf_message import MessageBuffer
from otel_aioprom.formats.text_lines import in_batches, metadata_unit

BINARY_CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

_METRIC = b"\x22"


class _Kind(NamedTuple):
    """A metric type: its number, and the tag of its field in a metric."""

    number: int
    tag: bytes


_KINDS = {
    "counter": _Kind(0, b"\x1a"),
    "gauge": _Kind(1, b"\x12"),
    "info": _Kind(1, b"\x12"),
    "stateset": _Kind(1, b"\x12"),
    "summary": _Kind(2, b"\x22"),
    "untyped": _Kind(3, b"\x2a"),
    "histogram": _Kind(4, b"\x3a"),
}


class BinaryFormatter(IFormatter):
    """Delimited messages of ``io.prometheus.client.MetricFamily``.

    Spec:
        E63 to E70.
    """

    protocol = "PrometheusProto"

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
        kind = _KINDS[family.type]
        head, unit = _head(family, kind), _unit(family)
        content = _Content(kind, self._exemplar, timestamp)
        # Lengths first, batch by batch, then bytes.
        for _ in content.measure(family):
            yield b""
        for message in filter(None, (content.metrics, content.classic)):
            yield protobuf_wire.varint(len(head) + message.length + len(unit)) + head
            yield from message.chunks()
            if unit:
                yield unit

    def _exemplar(self, tag: bytes, exemplar: Exemplar | None) -> bytes:
        if exemplar is None:
            return b""
        labels = exemplar_pairs(exemplar.labels, self.escaping)
        return protobuf_wire.field(tag, protobuf_wire.exemplar_message(exemplar, labels))


def _head(family: MetricFamily, kind: _Kind) -> bytes:
    name = protobuf_wire.string_field(b"\x0a", family.name)
    doc = protobuf_wire.string_field(b"\x12", family.doc) if family.doc else b""
    return name + doc + b"\x18" + protobuf_wire.varint(kind.number)


def _unit(family: MetricFamily) -> bytes:
    """Return the unit if the name ends with it: Prometheus rejects the whole response otherwise (E66)."""
    base = family.name.removesuffix("_total") if family.type == "counter" else family.name
    unit = metadata_unit(family, base)
    return protobuf_wire.string_field(b"\x2a", unit) if unit else b""


class _Content:
    """The metrics of one family.

    Args:
        kind: The family's type.
        exemplar: Encodes an exemplar as a field with a tag.
        timestamp: The encoded field of the timestamp, or nothing.

    Attributes:
        metrics: All but those in ``classic``.
        classic: Histograms without native buckets, which need a message of their own: Prometheus reads all histograms
            of a message as it reads the first, and rejects the whole response, or drops native buckets, if they differ.
    """

    def __init__(
        self, kind: _Kind, exemplar: Callable[[bytes, Exemplar | None], bytes], timestamp: bytes
    ) -> None:
        self._kind = kind
        self._exemplar = exemplar
        self._timestamp = timestamp
        self._fields: dict[int, protobuf_wire.ClassicFields] = {}
        self.metrics = MessageBuffer()
        self.classic = MessageBuffer()
        self._exemplars = False

    def measure(self, family: MetricFamily) -> Iterator[object]:
        """Fill the messages batch by batch, and yield after each."""
        if family.type == "histogram":
            yield from in_batches(family.series, self._take_histograms)
        elif family.type == "summary":
            yield from self._write_all(family.series, self._summary)
        elif self._timestamp:
            yield from self._write_all(family.series, self._number)
        else:
            yield from in_batches(family.series, self._take_numbers, inf)

    def _write_all(self, every: Sequence[Series], write: Callable[[Any], bytes]) -> Iterator[bytes]:
        for chunk in in_batches(every, lambda some: b"".join([write(one) for one in some])):
            self.metrics.add(chunk)
            yield chunk

    def _take_histograms(self, some: Sequence[Any]) -> bytes:
        native: list[bytes] = []
        classic: list[bytes] = []
        for one in some:
            metric, is_native = self._histogram(one)
            (native if is_native else classic).append(metric)
        chunk, other = b"".join(native), b"".join(classic)
        self.metrics.add(chunk)
        self.classic.add(other)
        return chunk + other

    def _take_numbers(self, some: Sequence[Any]) -> bytes:
        """Read values, of eight bytes each, and the constant parts before them.

        Series with exemplars are encoded completely, as exemplars may change.
        """
        self._exemplars = False
        heads = [one.wire or self._number_head(one) for one in some]
        if self._exemplars:
            heads, values = [self._number(one) for one in some], b""
        else:
            values = pack(f"<{len(heads)}d", *[one.value for one in some])
        return self.metrics.add_numbers(heads, values)

    def _number_head(self, one: Any) -> bytes:
        """Encode a metric up to its value, start time included, and cache the bytes in the series."""
        if one.exemplar is not None:
            self._exemplars = True
            return b""
        created = one.created
        value = protobuf_wire.timestamp_field(b"\x1a", created) + b"\x09"
        inner = (
            protobuf_wire.label_fields(one.pairs)
            + self._kind.tag
            + protobuf_wire.varint(len(value) + 8)
            + value
        )
        one.wire = head = _METRIC + protobuf_wire.varint(len(inner) + 8) + inner
        if one.created != created or one.exemplar is not None:
            one.wire = None  # changed meanwhile: not for the next response
        return head

    def _metric(self, one: Any, value: bytes) -> bytes:
        labels = one.wire
        if labels is None:
            labels = one.wire = protobuf_wire.label_fields(one.pairs)
        return self._message(labels, value)

    def _message(self, labels: bytes, value: bytes) -> bytes:
        return protobuf_wire.field(
            _METRIC, labels + protobuf_wire.field(self._kind.tag, value) + self._timestamp
        )

    def _number(self, one: Any) -> bytes:
        exemplar = self._exemplar(b"\x12", one.exemplar)
        created = protobuf_wire.timestamp_field(b"\x1a", one.created)
        value = b"\x09" + protobuf_wire.double(one.value) + exemplar + created
        return self._message(protobuf_wire.label_fields(one.pairs), value)

    def _summary(self, one: Any) -> bytes:
        quantiles = [
            b"\x1a\x12\x09"
            + protobuf_wire.double(quantile)
            + b"\x11"
            + protobuf_wire.double(estimate)
            for quantile, estimate in one.quantiles()
        ]
        count, total = one.snapshot()
        count_and_sum = (
            b"\x08" + protobuf_wire.varint(count) + b"\x11" + protobuf_wire.double(total)
        )
        created = protobuf_wire.timestamp_field(b"\x22", one.created)
        return self._metric(one, b"".join([count_and_sum, *quantiles, created]))

    def _histogram(self, one: Any) -> tuple[bytes, bool]:
        """Encode a histogram; return also whether it has native buckets."""
        # Read before the counts, which another thread may reset.
        created, exemplars = one.created, one.exemplars
        (*counts, total), native = one.read()
        # Beside native buckets, the infinite bucket alone is redundant.
        exemplars = None if native is not None and len(counts) == 1 else exemplars
        parts = [self._classic(one.bounds, counts, total, exemplars)]
        parts += [] if native is None else [protobuf_wire.native_fields(native)]
        parts.append(protobuf_wire.timestamp_field(b"\x7a", created))
        if native is not None:
            one.mark_exposed(sum(counts), created)
            # Prometheus drops exemplars without a timestamp.
            timed = [each for each in native.exemplars if each.timestamp is not None]
            parts += [self._exemplar(b"\x82\x01", each) for each in timed]
        return self._metric(one, b"".join(parts)), native is not None

    def _classic(
        self,
        bounds: Sequence[float],
        counts: Sequence[int],
        total: float | None,
        exemplars: Sequence[Exemplar | None] | None,
    ) -> bytes:
        # Series of a family share their bounds objects, so the fields are looked up by identity, without hashing them.
        fields = self._fields.get(id(bounds))
        if fields is None:
            fields = self._fields[id(bounds)] = protobuf_wire.ClassicFields(bounds)
        if exemplars is None:
            return fields.write(counts, total)
        written = [self._exemplar(b"\x1a", each) for each in exemplars]
        return fields.write_with_exemplars(counts, total, written)
