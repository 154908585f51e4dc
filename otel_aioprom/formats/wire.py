"""Pieces of protobuf messages, as the wire has them.

What a family's series repeat in each response is made once. The messages are those of
``io.prometheus.client``, whose field numbers stand beside the tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import isinf
from struct import Struct

from otel_aioprom.model import Exemplar
from otel_aioprom.native import Buckets, NativeBuckets, deltas, spans

double = Struct("<d").pack
"""Eight bytes of a number."""

_ONE_BYTE = 0x80
_NANOSECONDS = 1_000_000_000
_WRAP = 1 << 64  # negative integers are written as their complement
_KNOWN = 1024
_SMALL = [bytes((number,)) for number in range(_ONE_BYTE)]


def varint(number: int) -> bytes:
    """Write an integer in groups of seven bits, the lowest first.

    Spec:
        E63.

    Examples:
        >>> varint(300).hex(" "), varint(-5).hex()
        ('ac 02', 'fbffffffffffffffff01')
    """
    if 0 <= number < _ONE_BYTE:
        return _SMALL[number]
    number %= _WRAP
    parts = bytearray()
    while number >= _ONE_BYTE:
        parts.append(number & 0x7F | _ONE_BYTE)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def zigzag(number: int) -> bytes:
    """Write an integer that may be negative, small ones of both signs in few bytes.

    Spec:
        E63.

    Examples:
        >>> [zigzag(number).hex(" ") for number in (0, -1, 1, -2, 150, -150)]
        ['00', '01', '02', '03', 'ac 02', 'ab 02']
    """
    return varint(2 * number if number >= 0 else -2 * number - 1)


def field(tag: bytes, content: bytes) -> bytes:
    """Write a field whose length goes before it: text, bytes or a message."""
    return tag + varint(len(content)) + content


def text_field(tag: bytes, text: str) -> bytes:
    """Write a text; what UTF-8 cannot carry becomes a question mark, for one bad byte costs the whole response."""
    return field(tag, text.encode("utf-8", "replace"))


def label_fields(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Write labels: ``label``, field 1 of a metric and of an exemplar."""
    return b"".join(
        [
            field(b"\x0a", text_field(b"\x0a", name) + text_field(b"\x12", value))
            for name, value in pairs
        ]
    )


@lru_cache(maxsize=_KNOWN)
def timestamp(seconds: float) -> bytes:
    """Write a moment, seconds and nanoseconds, as the content of a message."""
    whole, nanoseconds = divmod(round(seconds * _NANOSECONDS), _NANOSECONDS)
    fraction = b"\x10" + varint(nanoseconds) if nanoseconds else b""
    return (b"\x08" + varint(whole) if whole else b"") + fraction


def created_field(tag: bytes, created: float | None) -> bytes:
    """Write a start time; nothing if it is unknown."""
    return b"" if created is None else field(tag, timestamp(created))


def exemplar_message(exemplar: Exemplar, labels: Iterable[tuple[str, str]]) -> bytes:
    """Write an exemplar as the content of a message.

    Args:
        exemplar: The exemplar.
        labels: Its labels, under the names that they are to have.

    Spec:
        E64.
    """
    moment = b"" if exemplar.timestamp is None else field(b"\x1a", timestamp(exemplar.timestamp))
    return label_fields(labels) + b"\x11" + double(exemplar.value) + moment


def bucket_tails(bounds: Sequence[float]) -> list[bytes]:
    """Write the upper bounds of all buckets but the infinite one: field 2 of a bucket."""
    return [b"\x11" + double(bound) for bound in bounds if not isinf(bound) or bound < 0]


def bucket(count: int, tail: bytes) -> bytes:
    """Write a bucket, field 3 of a histogram.

    Args:
        count: Observations up to its bound.
        tail: The bound, and an exemplar if there is one.
    """
    return field(b"\x1a", b"\x08" + varint(count) + tail)


def native_fields(native: NativeBuckets) -> bytes:
    """Write the fields of a native histogram that the classic one has not, but for its exemplars.

    Spec:
        E64, E68, E69, E74.
    """
    parts = [b"\x28", zigzag(native.schema), b"\x31", double(native.zero_threshold)]
    parts += [b"\x38", varint(native.zero_count)]
    parts += _sign(native.negative, b"\x4a", b"\x50")
    parts += _sign(native.positive, b"\x62", b"\x68")
    if not native.zero_threshold and not native.observations:
        # Without a span, a reader takes such a histogram for a classic one.
        parts.append(b"\x62\x04\x08\x00\x10\x00")
    return b"".join(parts)


def _sign(buckets: Buckets, span_tag: bytes, delta_tag: bytes) -> list[bytes]:
    """Write the buckets of one sign: spans, then the first count and the differences."""
    runs = spans(buckets)
    parts = [
        field(span_tag, b"\x08" + zigzag(offset) + b"\x10" + varint(len(counts)))
        for offset, counts in runs
    ]
    return parts + [delta_tag + zigzag(delta) for delta in deltas(runs)]
