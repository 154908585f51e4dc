"""Messages of remote write 1.0: ``prometheus.WriteRequest``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.protobuf_wire import double, field, label_fields, string_field, varint
from otel_aioprom.remote_write.message import (
    EncodedExemplar,
    Exemplars,
    ExemplarsByIndex,
    Writer,
    type_and_unit,
)

_TIME_SERIES = b"\x0a"
_MAX_LABEL_HEADS = 4096
_CONTINUATION_BIT = 0x80


class Writer1(Writer[bytes]):
    """Write messages of version 1.0.

    A label set is encoded as all bytes before the value of a sample: the length of the time series and its labels.
    It is valid as long as timestamps have the same number of bytes.

    The metadata of a family are in the message with the first of its time series, in each collection.

    Spec:
        E96, E98.
    """

    escaping = "underscores"
    starts = False
    parts_per_label = 1
    defers_exemplars = True

    def label_parts(self, names: Sequence[str], values: Sequence[str]) -> list[bytes]:
        """Encode labels as fields of a time series."""
        encoded = [value.encode("utf-8", "replace") for value in values]
        return [_label_head(name, len(value)) + value for name, value in zip(names, encoded)]

    def label_set(self, parts: tuple[bytes, ...]) -> bytes:
        """Encode all bytes before the value of a sample."""
        return self._head(b"".join(parts), 0)

    def _head(self, labels: bytes, more: int) -> bytes:
        """Encode all bytes before a value.

        Args:
            labels: The fields of all labels.
            more: Number of bytes of the time series after the sample.
        """
        sample = 9 + len(self._timestamp_field)  # the tag of the value, the value and the timestamp
        length = len(labels) + 2 + sample + more
        return b"%b%b%b\x12%c\x09" % (_TIME_SERIES, varint(length), labels, sample)

    def family(self, family: MetricFamily | None) -> None:
        """Write the metadata of a family."""
        if family is not None:
            kind, unit = type_and_unit(family)
            content = b"\x08" + varint(kind) if kind else b""
            content += string_field(b"\x12", family.name)
            content += string_field(b"\x22", family.doc) if family.doc else b""
            content += string_field(b"\x2a", unit) if unit else b""
            self._parts.append(field(b"\x1a", content))

    def floats(
        self,
        label_sets: Sequence[bytes],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None,
        exemplars: ExemplarsByIndex,
    ) -> None:
        """Add samples; see ``Writer.floats``. There is no field for start timestamps."""
        count = len(label_sets)
        parts = [self._timestamp_field] * (3 * count)
        parts[::3] = label_sets
        parts[1::3] = values
        for index, some in exemplars.items():
            added = self._exemplar_fields(some)
            parts[3 * index] = self._head(_labels(label_sets[index]), len(added))
            parts[3 * index + 2] += added
        self._parts.append(b"".join(parts))
        self._samples += count

    def histogram(
        self, label_set: bytes, content: bytes, start: float | None, exemplars: Exemplars
    ) -> None:
        """Add a native histogram; see ``Writer.histogram``."""
        message = field(b"\x22", content + b"\x78" + self._timestamp_field[1:])
        series = _labels(label_set) + self._exemplar_fields(exemplars) + message
        self._parts.append(field(_TIME_SERIES, series))
        self._histograms += 1

    def _exemplar_fields(self, exemplars: Exemplars) -> bytes:
        self._exemplars += len(exemplars)
        return b"".join([field(b"\x1a", _exemplar(one)) for one in exemplars])


def _exemplar(one: EncodedExemplar) -> bytes:
    return label_fields(one.labels) + b"\x11" + double(one.value) + b"\x18" + varint(one.timestamp)


@lru_cache(maxsize=_MAX_LABEL_HEADS)
def _label_head(name: str, size: int) -> bytes:
    """Encode all bytes of a label field before the value, of which only the size matters."""
    inner = string_field(b"\x0a", name) + b"\x12" + varint(size)
    return b"\x0a" + varint(len(inner) + size) + inner


def _labels(label_set: bytes) -> bytes:
    """Return the label fields of a label set: the bytes between two lengths."""
    start = 1
    while label_set[start] >= _CONTINUATION_BIT:
        start += 1
    return label_set[start + 1 : -3]
