"""Messages of remote write 1.0: ``prometheus.WriteRequest``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats.protobuf_wire import double, field, label_fields, text_field, varint
from otel_aioprom.remote_write.message import Spot, Spots, Writer, type_number, unit_of

_TIME_SERIES = b"\x0a"
_LABEL_HEADS = 4096
_MORE = 0x80


class Writer1(Writer[bytes]):
    """Puts messages of version 1.0 together.

    A line is what goes before a sample's value: the length of the series and its labels, so that nothing
    but values is left to write. It holds as long as timestamps take the same number of bytes.

    Metadata of a family stand in the message that has the first of its series, in each collection.

    Spec:
        E96, E98.
    """

    escaping = "underscores"
    starts = False
    cells_each = 1
    is_patient = True

    def cells(self, names: Sequence[str], values: Sequence[str]) -> list[bytes]:
        """Write labels as fields of a series."""
        texts = [value.encode("utf-8", "replace") for value in values]
        return [_label_head(name, len(text)) + text for name, text in zip(names, texts)]

    def line(self, cells: tuple[bytes, ...]) -> bytes:
        """Write all that goes before the value of a sample."""
        return self._head(b"".join(cells), 0)

    def _head(self, labels: bytes, more: int) -> bytes:
        """Write what goes before a value.

        Args:
            labels: The fields of all labels.
            more: Bytes that follow in the series, after the sample.
        """
        sample = 9 + len(self._stamp)  # the tag of the value, the value and the timestamp
        length = len(labels) + 2 + sample + more
        return b"%b%b%b\x12%c\x09" % (_TIME_SERIES, varint(length), labels, sample)

    def family(self, family: MetricFamily | None) -> None:
        """Write the metadata of a family."""
        if family is not None:
            kind, unit = type_number(family), unit_of(family)
            content = b"\x08" + varint(kind) if kind else b""
            content += text_field(b"\x12", family.name)
            content += text_field(b"\x22", family.doc) if family.doc else b""
            content += text_field(b"\x2a", unit) if unit else b""
            self._parts.append(field(b"\x1a", content))

    def floats(
        self,
        lines: Sequence[bytes],
        values: Sequence[bytes],
        starts: Sequence[float | None] | None,
        spots: Spots,
    ) -> None:
        """Add samples; see ``Writer.floats``. Start times have no field here."""
        count = len(lines)
        parts = [self._stamp] * (3 * count)
        parts[::3] = lines
        parts[1::3] = values
        for place, some in spots.items():
            added = self._spots(some)
            parts[3 * place] = self._head(_labels(lines[place]), len(added))
            parts[3 * place + 2] += added
        self._parts.append(b"".join(parts))
        self._samples += count

    def histogram(
        self, line: bytes, content: bytes, start: float | None, spots: Sequence[Spot]
    ) -> None:
        """Add a native histogram; see ``Writer.histogram``."""
        message = field(b"\x22", content + b"\x78" + self._stamp[1:])
        series = _labels(line) + self._spots(spots) + message
        self._parts.append(field(_TIME_SERIES, series))
        self._histograms += 1

    def _spots(self, spots: Sequence[Spot]) -> bytes:
        self._exemplars += len(spots)
        return b"".join([field(b"\x1a", _exemplar(spot)) for spot in spots])


def _exemplar(spot: Spot) -> bytes:
    return label_fields(spot.pairs) + b"\x11" + double(spot.value) + b"\x18" + varint(spot.moment)


@lru_cache(maxsize=_LABEL_HEADS)
def _label_head(name: str, size: int) -> bytes:
    """Write all of a label's field but the value, whose length alone matters."""
    inner = text_field(b"\x0a", name) + b"\x12" + varint(size)
    return b"\x0a" + varint(len(inner) + size) + inner


def _labels(line: bytes) -> bytes:
    """Return the fields of the labels of a line: what stands between two lengths."""
    start = 1
    while line[start] >= _MORE:
        start += 1
    return line[start + 1 : -3]
