"""Metrics of the protobuf format that are written as several metrics of one value each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from otel_aioprom.formats import protobuf_wire
from otel_aioprom.formats.protobuf_message import MessageBuffer
from otel_aioprom.formats.separate_samples import Sample, Separation, by_suffix


class SeparateMetrics:
    """The messages of one family.

    Args:
        separation: How its type is written.
        timestamp: The encoded field of the timestamp, or nothing.
    """

    def __init__(self, separation: Separation, timestamp: bytes) -> None:
        self._separation = separation
        self._timestamp = timestamp
        self._tag = protobuf_wire.KINDS[separation.type].tag
        self._messages = {suffix: MessageBuffer() for suffix in separation.suffixes}

    def add(self, some: Sequence[Any]) -> bytes:
        """Encode some series.

        Returns:
            Bytes of the same length as their metrics.
        """
        joined = {
            suffix: b"".join(metrics)
            for suffix, metrics in by_suffix(self._separation, some, self._metric).items()
        }
        for suffix, chunk in joined.items():
            self._messages[suffix].add(chunk)
        return b"".join(joined.values())

    def _metric(self, one: Any, sample: Sample) -> bytes:
        pairs = [*one.pairs, (sample.label, sample.bound)] if sample.label else one.pairs
        value = protobuf_wire.field(self._tag, b"\x09" + protobuf_wire.double(sample.value))
        return protobuf_wire.field(
            protobuf_wire.METRIC, protobuf_wire.label_fields(pairs) + value + self._timestamp
        )

    def messages(self) -> Iterator[tuple[str, str, MessageBuffer]]:
        """Yield each message that has metrics: what follows the family's name in its name, its type, and the metrics."""
        for suffix, metrics in self._messages.items():
            if metrics:
                yield suffix, self._separation.type, metrics
