"""The content of a message of the protobuf format: the metrics of one family.

Lengths are known before the first byte is written. If they do not depend on values, only the constant parts are encoded
by then; otherwise all metrics are buffered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf
from struct import pack
from typing import Any

from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.formats import protobuf_wire
from otel_aioprom.formats.protobuf_message import MessageBuffer
from otel_aioprom.formats.protobuf_separate import SeparateMetrics
from otel_aioprom.formats.separate_samples import SUMMARIES, Separation
from otel_aioprom.formats.text_lines import in_batches


class FamilyContent:
    """The metrics of one family.

    Args:
        kind: The family's type.
        exemplar: Encodes an exemplar as a field with a tag.
        timestamp: The encoded field of the timestamp, or nothing.
        native_gauges: Whether to write gauge histograms with native buckets.

    Attributes:
        metrics: All but the others.
        classic: Histograms without native buckets, which need a message of their own: Prometheus reads all histograms
            of a message as it reads the first, and rejects the whole response, or drops native buckets, if they differ.
    """

    def __init__(
        self,
        kind: protobuf_wire.Kind,
        exemplar: Callable[[bytes, Exemplar | None], bytes],
        timestamp: bytes,
        native_gauges: bool,
    ) -> None:
        self._kind = kind
        self._exemplar = exemplar
        self._timestamp = timestamp
        self._fields: dict[int, protobuf_wire.ClassicFields] = {}
        self.metrics = MessageBuffer()
        self.classic = MessageBuffer()
        self._separate: SeparateMetrics | None = None
        self._native_gauges = native_gauges
        self._exemplars = False

    def measure(self, family: MetricFamily, separation: Separation | None) -> Iterator[object]:
        """Fill the messages batch by batch, and yield after each.

        Args:
            family: The family.
            separation: How to write all of it as several metrics, if it is.
        """
        if family.type == "histogram":
            yield from in_batches(family.series, self._take_histograms)
        elif separation is not None:
            separate = self._separate = SeparateMetrics(separation, self._timestamp)
            natives = family.type == "gaugehistogram" and self._native_gauges
            take = partial(self._take_gauge_histograms, separate) if natives else separate.add
            yield from in_batches(family.series, take)
        elif family.type == "summary":
            yield from in_batches(family.series, self._take_summaries)
        elif self._timestamp:
            yield from self._write_all(family.series, self._number)
        else:
            yield from in_batches(family.series, self._take_numbers, inf)

    def separate_messages(self) -> Iterator[tuple[str, str, MessageBuffer]]:
        """Yield the messages of what is written as several metrics: suffix of the name, type, metrics."""
        return iter(()) if self._separate is None else self._separate.messages()

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

    def _take_gauge_histograms(self, separate: SeparateMetrics, some: Sequence[Any]) -> bytes:
        """Write native buckets as such, and the others separately: those beside native ones if there are any."""
        metrics = []
        rest = []
        for one in some:
            counts, native = one.read()
            if native is not None:
                metrics.append(self._native_gauge(one, counts, native))
            if native is None or len(one.bounds) > 1:
                rest.append(one)
        chunk = b"".join(metrics)
        self.metrics.add(chunk)
        return chunk + separate.add(rest)

    def _take_summaries(self, some: Sequence[Any]) -> bytes:
        metrics = []
        rest = []
        for one in some:
            count, total = one.snapshot()
            if count is None or total is None:
                rest.append(one)
            else:
                metrics.append(self._summary(one, count, total))
        chunk = b"".join(metrics)
        self.metrics.add(chunk)
        if not rest:
            return chunk
        self._separate = self._separate or SeparateMetrics(SUMMARIES, self._timestamp)
        return chunk + self._separate.add(rest)

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
        one.wire = head = protobuf_wire.METRIC + protobuf_wire.varint(len(inner) + 8) + inner
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
            protobuf_wire.METRIC,
            labels + protobuf_wire.field(self._kind.tag, value) + self._timestamp,
        )

    def _number(self, one: Any) -> bytes:
        exemplar = self._exemplar(b"\x12", one.exemplar)
        created = protobuf_wire.timestamp_field(b"\x1a", one.created)
        value = b"\x09" + protobuf_wire.double(one.value)
        # Without exemplar as in cached heads, whichever other series are encoded at the same time.
        value = value + exemplar + created if exemplar else created + value
        return self._message(protobuf_wire.label_fields(one.pairs), value)

    def _summary(self, one: Any, count: int, total: float) -> bytes:
        quantiles = [
            b"\x1a\x12\x09"
            + protobuf_wire.double(quantile)
            + b"\x11"
            + protobuf_wire.double(estimate)
            for quantile, estimate in one.quantiles()
        ]
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
            parts += self._native_exemplars(native)
        return self._metric(one, b"".join(parts)), native is not None

    def _native_gauge(self, one: Any, counts: list[Any], native: NativeBuckets) -> bytes:
        """Encode the native buckets of a gauge histogram, which has no start time."""
        *held, total = counts
        parts = [protobuf_wire.ClassicFields(()).write(held, total)]
        parts.append(protobuf_wire.native_fields(native))
        one.mark_exposed(sum(held), one.created)
        return self._metric(one, b"".join([*parts, *self._native_exemplars(native)]))

    def _native_exemplars(self, native: NativeBuckets) -> list[bytes]:
        # Prometheus drops exemplars without a timestamp.
        timed = [each for each in native.exemplars if each.timestamp is not None]
        return [self._exemplar(b"\x82\x01", each) for each in timed]

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
