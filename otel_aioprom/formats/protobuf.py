"""The delimited protobuf format, which carries native histograms.

A family is one message, and its length goes before it. Where all metrics of a family have a length
that does not depend on their values, only lengths are added up before the first byte leaves; else
the family is written whole, and kept until it has left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from otel_aioprom.formats import wire
from otel_aioprom.formats.base import IFormatter
from otel_aioprom.formats.lines import in_steps
from otel_aioprom.labels import Pairs, escaped_pairs
from otel_aioprom.model import Exemplar, MetricFamily, Series

_METRIC = b"\x22"
_AT_ONCE = 1024


class _Kind(NamedTuple):
    """How a type is written: its number, and the tag of its field in a metric."""

    number: int
    tag: bytes


_KINDS = {
    "counter": _Kind(0, b"\x1a"),
    "gauge": _Kind(1, b"\x12"),
    "info": _Kind(1, b"\x12"),
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
        moment = b"\x30" + wire.varint(int(time.time() * 1000)) if self.timestamps else b""
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
        yield wire.varint(length) + head
        yield from content.chunks()
        if unit:
            yield unit

    def _exemplar(self, tag: bytes, exemplar: Exemplar | None) -> bytes:
        if exemplar is None:
            return b""
        labels: Pairs = escaped_pairs(exemplar.labels, self.escaping)
        return wire.field(tag, wire.exemplar_message(exemplar, labels))


def _head(family: MetricFamily, kind: _Kind) -> bytes:
    name = wire.text_field(b"\x0a", family.name)
    doc = wire.text_field(b"\x12", family.doc) if family.doc else b""
    return name + doc + b"\x18" + wire.varint(kind.number)


def _unit(family: MetricFamily) -> bytes:
    """The unit where the name ends with it; a server refuses the whole response for any other (E66)."""
    stem = family.name.removesuffix("_total") if family.type == "counter" else family.name
    fits = family.unit and family.type != "info" and stem.endswith(f"_{family.unit}")
    return wire.text_field(b"\x2a", family.unit) if fits else b""


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
        self._tails: dict[int, list[bytes]] = {}
        self._written: list[bytes] = []
        self._heads: list[bytes] = []
        self._series: Sequence[Any] = ()

    def measure(self, family: MetricFamily) -> Iterator[int]:
        """Find out how long the metrics are, a step at a time."""
        write = {"histogram": self._histogram, "summary": self._summary}.get(family.type)
        if write is None and (self._moment or (yield from _have_exemplars(family.series))):
            write = self._number
        if write is None:
            yield from self._measure_numbers(family.series)
        else:
            yield from self._write_all(family.series, write)

    def _write_all(self, every: Sequence[Series], write: Callable[[Any], bytes]) -> Iterator[int]:
        for chunk in in_steps(every, lambda some: b"".join([write(one) for one in some])):
            self._written.append(chunk)
            yield len(chunk)

    def _measure_numbers(self, every: Sequence[Series]) -> Iterator[int]:
        """Take what stands before each value from the series, or make it; a value is eight bytes."""
        self._series = every
        for start in range(0, len(every), _AT_ONCE):
            some = every[start : start + _AT_ONCE]
            heads = [one.wire or _number_head(one, self._kind) for one in some]
            self._heads += heads
            yield sum(map(len, heads)) + 8 * len(heads)

    def chunks(self) -> Iterator[bytes]:
        """Write what was measured."""
        for number, chunk in enumerate(self._written):
            self._written[number] = b""  # what has left is not kept
            yield chunk
        for start in range(0, len(self._heads), _AT_ONCE):
            heads = self._heads[start : start + _AT_ONCE]
            parts = [b""] * (2 * len(heads))
            parts[::2] = heads
            parts[1::2] = map(
                wire.double, [one.value for one in self._series[start : start + _AT_ONCE]]
            )
            yield b"".join(parts)

    def _metric(self, one: Any, value: bytes) -> bytes:
        labels = wire.label_fields(one.pairs)
        return wire.field(_METRIC, labels + wire.field(self._kind.tag, value) + self._moment)

    def _number(self, one: Any) -> bytes:
        exemplar = self._exemplar(b"\x12", one.exemplar)
        created = wire.created_field(b"\x1a", one.created)
        return self._metric(one, b"\x09" + wire.double(one.value) + exemplar + created)

    def _summary(self, one: Any) -> bytes:
        quantiles = [
            b"\x1a\x12\x09" + wire.double(quantile) + b"\x11" + wire.double(estimate)
            for quantile, estimate in one.quantiles()
        ]
        count, total = one.snapshot()
        both = b"\x08" + wire.varint(count) + b"\x11" + wire.double(total)
        created = wire.created_field(b"\x22", one.created)
        return self._metric(one, b"".join([both, *quantiles, created]))

    def _histogram(self, one: Any) -> bytes:
        (*counts, total), native = one.read()
        parts = [b"\x08", wire.varint(sum(counts))]
        parts += [] if total is None else [b"\x11", wire.double(total)]
        parts += self._buckets(one, counts)
        parts += [] if native is None else [wire.native_fields(native)]
        parts.append(wire.created_field(b"\x7a", one.created))
        if native is not None:
            # A server drops those that have no timestamp.
            timed = [each for each in native.exemplars if each.timestamp is not None]
            parts += [self._exemplar(b"\x82\x01", each) for each in timed]
        return self._metric(one, b"".join(parts))

    def _buckets(self, one: Any, counts: Sequence[int]) -> Iterator[bytes]:
        # Series of a family share their bounds objects, so that these are found without hashing them.
        tails = self._tails.get(id(one.bounds))
        if tails is None:
            tails = self._tails[id(one.bounds)] = wire.bucket_tails(one.bounds)
        upto = accumulate(counts)
        if one.exemplars is None:
            return map(wire.bucket, upto, tails)
        return self._with_exemplars(one, upto, tails)

    def _with_exemplars(
        self, one: Any, upto: Iterator[int], tails: Sequence[bytes]
    ) -> Iterator[bytes]:
        """Write buckets with exemplars; the infinite one is written only if it has one."""
        exemplars = [self._exemplar(b"\x1a", each) for each in one.exemplars]
        infinite = b"\x11" + wire.double(float("inf"))
        every = [*tails, infinite] if exemplars[-1] else tails
        return (
            wire.bucket(count, tail + exemplar)
            for count, tail, exemplar in zip(upto, every, exemplars)
        )


def _number_head(one: Any, kind: _Kind) -> bytes:
    """Write all of a metric but its value, and keep it: the start time goes before the value."""
    value = wire.created_field(b"\x1a", one.created) + b"\x09"
    labels = wire.label_fields(one.pairs)
    length = len(value) + 8
    inner = labels + kind.tag + wire.varint(length) + value
    head = _METRIC + wire.varint(len(inner) + 8) + inner
    one.wire = head
    return head


def _have_exemplars(every: Sequence[Series]) -> Generator[int, None, bool]:
    """Look for an exemplar, a step at a time."""
    for start in range(0, len(every), _AT_ONCE):
        found = [one.exemplar for one in every[start : start + _AT_ONCE]]
        if found.count(None) < len(found):
            return True
        yield 0
    return False
