"""The delimited protobuf format, which carries native histograms.

A family is one message, and its length goes before it. Where all metrics of a family have a length
that does not depend on their values, only lengths are added up before the first byte leaves; else
the family is written whole, and kept until it has left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from struct import Struct, pack
from typing import Any, NamedTuple

from otel_aioprom._core.labels import exemplar_pairs
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom.formats import protobuf_wire
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.text_lines import in_steps, shown_unit

_METRIC = b"\x22"
_AT_ONCE = 1024
_SPLIT = Struct("8s" * _AT_ONCE)


class _Kind(NamedTuple):
    """How a type is written: its number, and the tag of its field in a metric."""

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
        return {
            "Content-Type": "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
            f"encoding=delimited; escaping={self.escaping}"
        }

    def encode(self, families: Iterable[MetricFamily]) -> Iterator[bytes]:
        """Write families, those without series left out; see ``IFormatter.encode``."""
        moment = b"\x30" + protobuf_wire.varint(int(time.time() * 1000)) if self.timestamps else b""
        for family in families:
            if family.series:
                yield from self._family(family, moment)

    def _family(self, family: MetricFamily, moment: bytes) -> Iterator[bytes]:
        kind = _KINDS[family.type]
        head, unit = _head(family, kind), _unit(family)
        content = _Content(kind, self._exemplar, moment)
        length = len(head) + len(unit)
        # Lengths first, a step at a time, then bytes.
        for size in content.measure(family):
            length += size
            yield b""
        yield protobuf_wire.varint(length) + head
        yield from content.chunks()
        if unit:
            yield unit

    def _exemplar(self, tag: bytes, exemplar: Exemplar | None) -> bytes:
        if exemplar is None:
            return b""
        labels = exemplar_pairs(exemplar.labels, self.escaping)
        return protobuf_wire.field(tag, protobuf_wire.exemplar_message(exemplar, labels))


def _head(family: MetricFamily, kind: _Kind) -> bytes:
    name = protobuf_wire.text_field(b"\x0a", family.name)
    doc = protobuf_wire.text_field(b"\x12", family.doc) if family.doc else b""
    return name + doc + b"\x18" + protobuf_wire.varint(kind.number)


def _unit(family: MetricFamily) -> bytes:
    """The unit where the name ends with it; a server refuses the whole response for any other (E66)."""
    stem = family.name.removesuffix("_total") if family.type == "counter" else family.name
    unit = shown_unit(family, stem)
    return protobuf_wire.text_field(b"\x2a", unit) if unit else b""


class _Content:
    """The metrics of one family.

    Args:
        kind: The family's type.
        exemplar: Writes an exemplar as a field with a given tag.
        moment: The field of the timestamp, or nothing.
    """

    def __init__(
        self, kind: _Kind, exemplar: Callable[[bytes, Exemplar | None], bytes], moment: bytes
    ) -> None:
        self._kind = kind
        self._exemplar = exemplar
        self._moment = moment
        self._fields: dict[int, protobuf_wire.ClassicFields] = {}
        self._parts: list[tuple[Sequence[bytes], bytes]] = []
        self._exemplars = False

    def measure(self, family: MetricFamily) -> Iterator[int]:
        """Find out how long the metrics are, a step at a time."""
        write = {"histogram": self._histogram, "summary": self._summary}.get(family.type)
        if write is not None:
            yield from self._write_all(family.series, write)
        elif self._moment:
            yield from self._write_all(family.series, self._number)
        else:
            yield from self._measure_numbers(family.series)

    def _write_all(self, every: Sequence[Series], write: Callable[[Any], bytes]) -> Iterator[int]:
        for chunk in in_steps(every, lambda some: b"".join([write(one) for one in some])):
            self._parts.append(([chunk], b""))
            yield len(chunk)

    def _measure_numbers(self, every: Sequence[Any]) -> Iterator[int]:
        """Take the values, and what stands before each of them; a value is eight bytes.

        Series with exemplars are written whole, as the exemplars may change.
        """
        for joined in in_steps(every, self._take_numbers, inf):
            yield len(joined)

    def _take_numbers(self, some: Sequence[Any]) -> bytes:
        self._exemplars = False
        heads = [one.wire or self._number_head(one) for one in some]
        if self._exemplars:
            heads, values = [self._number(one) for one in some], b""
        else:
            values = pack(f"<{len(heads)}d", *[one.value for one in some])
        self._parts.append((heads, values))
        # Joining them is the quickest way to add up their lengths.
        return b"".join([*heads, values])

    def _number_head(self, one: Any) -> bytes:
        """Write all of a metric but its value, and keep it: the start time goes before the value."""
        if one.exemplar is not None:
            self._exemplars = True
            return b""
        created = one.created
        value = protobuf_wire.moment_field(b"\x1a", created) + b"\x09"
        inner = (
            protobuf_wire.label_fields(one.pairs)
            + self._kind.tag
            + protobuf_wire.varint(len(value) + 8)
            + value
        )
        one.wire = head = _METRIC + protobuf_wire.varint(len(inner) + 8) + inner
        if one.created != created or one.exemplar is not None:
            one.wire = None  # it has changed meanwhile, and the next response must not show this
        return head

    def chunks(self) -> Iterator[bytes]:
        """Write what was measured."""
        for place, (heads, values) in enumerate(self._parts):
            self._parts[place] = ((), b"")  # what has left is not kept
            if values:
                parts = [b""] * (2 * len(heads))
                parts[::2] = heads
                parts[1::2] = _pieces_of_eight(values)
                yield b"".join(parts)
            else:
                yield b"".join(heads)

    def _metric(self, one: Any, value: bytes) -> bytes:
        labels = one.wire
        if labels is None:
            labels = one.wire = protobuf_wire.label_fields(one.pairs)
        return self._message(labels, value)

    def _message(self, labels: bytes, value: bytes) -> bytes:
        return protobuf_wire.field(
            _METRIC, labels + protobuf_wire.field(self._kind.tag, value) + self._moment
        )

    def _number(self, one: Any) -> bytes:
        exemplar = self._exemplar(b"\x12", one.exemplar)
        created = protobuf_wire.moment_field(b"\x1a", one.created)
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
        both = b"\x08" + protobuf_wire.varint(count) + b"\x11" + protobuf_wire.double(total)
        created = protobuf_wire.moment_field(b"\x22", one.created)
        return self._metric(one, b"".join([both, *quantiles, created]))

    def _histogram(self, one: Any) -> bytes:
        # Before the counts, which another thread may set back to zero right after they are read.
        created, exemplars = one.created, one.exemplars
        (*counts, total), native = one.read()
        # Where there are native buckets, the infinite one alone says nothing more.
        exemplars = None if native is not None and len(counts) == 1 else exemplars
        parts = [self._classic(one.bounds, counts, total, exemplars)]
        parts += [] if native is None else [protobuf_wire.native_fields(native)]
        parts.append(protobuf_wire.moment_field(b"\x7a", created))
        if native is not None:
            one.showed(sum(counts), created)
            # A server drops those that have no timestamp.
            timed = [each for each in native.exemplars if each.timestamp is not None]
            parts += [self._exemplar(b"\x82\x01", each) for each in timed]
        return self._metric(one, b"".join(parts))

    def _classic(
        self,
        bounds: Sequence[float],
        counts: Sequence[int],
        total: float | None,
        exemplars: Sequence[Exemplar | None] | None,
    ) -> bytes:
        # Series of a family share their bounds objects, so that these are found without hashing them.
        fields = self._fields.get(id(bounds))
        if fields is None:
            fields = self._fields[id(bounds)] = protobuf_wire.ClassicFields(bounds)
        if exemplars is None:
            return fields.write(counts, total)
        written = [self._exemplar(b"\x1a", each) for each in exemplars]
        return fields.write_with_exemplars(counts, total, written)


def _pieces_of_eight(values: bytes) -> Sequence[bytes]:
    if len(values) == _SPLIT.size:
        return _SPLIT.unpack(values)
    return [values[start : start + 8] for start in range(0, len(values), 8)]
