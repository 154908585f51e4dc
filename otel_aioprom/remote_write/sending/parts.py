"""Encoded messages taken apart: divided, or rewritten without native histograms. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from otel_aioprom.formats.protobuf_wire import double, field, varint
from otel_aioprom.remote_write.sending.protocol import compress, decompress
from otel_aioprom.remote_write.sending.queue import QueuedMessage

_NAME = b"__name__"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_CONTINUATION_BIT = 0x80
# Tags of the fields: of a message, of a time series, and of a native histogram.
_TIME_SERIES = {"1.0": b"\x0a", "2.0": b"\x2a"}
_HISTOGRAM = {"1.0": 0x22, "2.0": 0x1A}
_SYMBOL, _LABELS, _SAMPLE, _METADATA = 0x22, 0x0A, b"\x12", 0x2A
_COUNT, _SUM, _RESET_HINT, _TIMESTAMP, _START = 0x08, 0x19, 0x70, 0x78, 0x88
_GAUGE = 3  # as a reset hint

_Labels = dict[bytes, bytes]


class _Field(NamedTuple):
    """A field: its tag, its value (a number if it is a varint), and all its bytes."""

    tag: int
    value: Any
    encoded: bytes


class Rewritten(NamedTuple):
    """A message without native histograms.

    Attributes:
        message: The message.
        replaced: Number of native histograms that it had.
    """

    message: QueuedMessage
    replaced: int


def divide(message: QueuedMessage) -> list[QueuedMessage]:
    """Divide a message into two with half of the time series each.

    Args:
        message: A message of either version, as this library writes it: with one sample for each time series.

    Returns:
        Two messages; none if there are not two time series.

    Raises:
        ValueError: It is damaged.
    """
    rest, series = _take_apart(message)
    middle = len(series) // 2
    if not middle:
        return []
    return [_join(message, rest, half) for half in (series[:middle], series[middle:])]


def without_native(message: QueuedMessage) -> Rewritten | None:
    """Replace each native histogram by its count and its sum, as a classic histogram with the infinite bucket.

    Args:
        message: As for ``divide``.

    Returns:
        The rewritten message; ``None`` if it has no native histogram.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return _without_native(message)
    except (LookupError, TypeError) as error:  # something is missing in it, or is of another type
        raise ValueError(f"a message is damaged: {error!r}") from error


def _without_native(message: QueuedMessage) -> Rewritten | None:
    rest, series = _take_apart(message)
    histogram = _HISTOGRAM[message.version]
    every = [list(_fields(each.value)) for each in series]
    is_native = [any(part.tag == histogram for part in fields) for fields in every]
    if not any(is_native):
        return None
    codec = _Codec1() if message.version == "1.0" else _Codec2(rest)
    known = {_labels_of(fields) for fields, native in zip(every, is_native) if not native}
    kept: list[_Field] = []
    for one, fields, native in zip(series, every, is_native):
        kept += _replace(fields, histogram, codec, known) if native else [one]
    return Rewritten(_join(message, [*rest, *codec.added], kept), sum(is_native))


def _take_apart(message: QueuedMessage) -> tuple[list[_Field], list[_Field]]:
    """Return all fields but the time series, which are metadata or symbols, and the time series."""
    (tag,) = _TIME_SERIES[message.version]
    every = list(_fields(decompress(message.body)))
    return [each for each in every if each.tag != tag], [each for each in every if each.tag == tag]


def _join(
    message: QueuedMessage, rest: Iterable[_Field], series: Iterable[_Field]
) -> QueuedMessage:
    series = list(series)
    body = b"".join([each.encoded for each in (*rest, *series)])
    return message._replace(samples=len(series), body=compress(body))


def _replace(
    fields: list[_Field], histogram: int, codec: _Codec1 | _Codec2, known: set[bytes]
) -> Iterator[_Field]:
    """Yield the samples that replace a native histogram; not those that the message has already."""
    labels = codec.labels(fields)
    metadata = [each.encoded for each in fields if each.tag == _METADATA and codec.tag == b"\x2a"]
    native = {}
    for each in fields:
        if each.tag == histogram:
            native = {part.tag: part.value for part in _fields(each.value)}
    time = b"\x10" + varint(native[_TIMESTAMP])
    time += b"\x18" + varint(native[_START]) if _START in native else b""
    count, total = double(native[_COUNT]), native.get(_SUM)
    between = b"_g" if native.get(_RESET_HINT) == _GAUGE else b"_"
    samples: list[tuple[bytes, _Labels, bytes]] = [(b"_bucket", {b"le": b"+Inf"}, count)]
    samples += [] if total is None else [(between + b"sum", {}, total)]
    for suffix, more, value in (*samples, (between + b"count", {}, count)):
        own = {**labels, _NAME: labels[_NAME] + suffix, **more}
        encoded = codec.encode(own)
        if encoded not in known:
            known.add(encoded)
            sample = field(_SAMPLE, b"\x09" + value + time)
            content = b"".join([encoded, sample, *metadata])
            yield _Field(0, content, field(codec.tag, content))


class _Codec1:
    """Labels of version 1.0: a message each."""

    tag = _TIME_SERIES["1.0"]
    added: tuple[_Field, ...] = ()

    def labels(self, fields: Iterable[_Field]) -> _Labels:
        """Return the labels of a time series."""
        pairs = [_fields(each.value) for each in fields if each.tag == _LABELS]
        return dict([tuple([part.value for part in pair]) for pair in pairs])

    def encode(self, labels: _Labels) -> bytes:
        """Encode labels as fields of a time series."""
        pairs = sorted(labels.items())
        encoded = [field(b"\x0a", name) + field(b"\x12", value) for name, value in pairs]
        return b"".join([field(b"\x0a", each) for each in encoded])


class _Codec2:
    """Labels of version 2.0: references to symbols.

    Args:
        rest: The symbols of the message.

    Attributes:
        added: Symbols that the message needs besides.
    """

    tag = _TIME_SERIES["2.0"]

    def __init__(self, rest: Iterable[_Field]) -> None:
        self.added: list[_Field] = []
        self._symbols = [each.value for each in rest if each.tag == _SYMBOL]
        self._references = {symbol: index for index, symbol in enumerate(self._symbols)}

    def labels(self, fields: Iterable[_Field]) -> _Labels:
        """Return the labels of a time series."""
        texts = [self._symbols[index] for index in _varints(_labels_of(fields, content=True))]
        return dict(zip(texts[::2], texts[1::2]))

    def encode(self, labels: _Labels) -> bytes:
        """Encode labels as a field of a time series."""
        texts = [text for pair in sorted(labels.items()) for text in pair]
        return field(b"\x0a", b"".join([varint(self._reference(text)) for text in texts]))

    def _reference(self, text: bytes) -> int:
        if text not in self._references:
            self._references[text] = len(self._symbols)
            self._symbols.append(text)
            self.added.append(_Field(_SYMBOL, text, field(b"\x22", text)))
        return self._references[text]


def _labels_of(fields: Iterable[_Field], *, content: bool = False) -> bytes:
    """Return the labels of a time series as they are encoded: as fields, or only what is in them."""
    own = [each for each in fields if each.tag == _LABELS]
    return b"".join([each.value if content else each.encoded for each in own])


def _fields(data: bytes) -> Iterator[_Field]:
    """Yield the fields of a message; of tags with more than one byte, the first."""
    at, end = 0, len(data)
    while at < end:
        begin, tag = at, data[at]
        _, at = _varint(data, at)
        kind = tag & 7
        value: Any
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            width = 8 if kind == _FIXED64 else 4
            value, at = data[at : at + width], at + width
        elif kind == _BYTES:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"a message is damaged: there is no wire type {kind}")
        if at > end:
            raise ValueError("a message is damaged: it ends within a field")
        yield _Field(tag, value, data[begin:at])


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        number, at = _varint(data, at)
        yield number


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, and the index behind it."""
    number = shift = 0
    for place in range(at, len(data)):
        byte = data[place]
        number |= (byte & ~_CONTINUATION_BIT) << shift
        if byte < _CONTINUATION_BIT:
            return number, place + 1
        shift += 7
    raise ValueError("a message is damaged: it ends within a number")
