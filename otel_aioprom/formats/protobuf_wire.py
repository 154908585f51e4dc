"""Protobuf wire encoding of the messages of ``io.prometheus.client``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from math import inf
from struct import Struct
from typing import NamedTuple

from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import Buckets, NativeBuckets, deltas, spans

double = Struct("<d").pack
"""Eight bytes of a number."""

METRIC = b"\x22"
"""Tag of a metric in its family."""

_ONE_BYTE = 0x80
_TWO_BYTES = 0x4000
_MICROSECONDS = 1_000_000
_MAX_SECONDS = 1 << 63  # of the field's type, int64
_WRAP = 1 << 64  # negative integers are encoded in two's complement
_CACHED = 1024
_SMALL = [bytes((number,)) for number in range(_ONE_BYTE)]


class Kind(NamedTuple):
    """A metric type: its number, and the tag of its field in a metric."""

    number: int
    tag: bytes


KINDS = {
    "counter": Kind(0, b"\x1a"),
    "gauge": Kind(1, b"\x12"),
    "info": Kind(1, b"\x12"),
    "stateset": Kind(1, b"\x12"),
    "summary": Kind(2, b"\x22"),
    "untyped": Kind(3, b"\x2a"),
    "histogram": Kind(4, b"\x3a"),
    "gaugehistogram": Kind(5, b"\x3a"),
}
"""By the type of a family."""


def varint(number: int) -> bytes:
    """Encode an integer as a varint.

    Spec:
        E63.

    Examples:
        >>> varint(300).hex(" "), varint(-5).hex()
        ('ac 02', 'fbffffffffffffffff01')
    """
    if 0 <= number < _TWO_BYTES:
        return _SMALL[number] if number < _ONE_BYTE else bytes((number & 0x7F | 0x80, number >> 7))
    number %= _WRAP
    parts = bytearray()
    while number >= _ONE_BYTE:
        parts.append(number & 0x7F | _ONE_BYTE)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def zigzag(number: int) -> bytes:
    """Encode a signed integer as a zigzag varint.

    Spec:
        E63.

    Examples:
        >>> [zigzag(number).hex(" ") for number in (0, -1, 1, -2, 150, -150)]
        ['00', '01', '02', '03', 'ac 02', 'ab 02']
    """
    return varint(2 * number if number >= 0 else -2 * number - 1)


def field(tag: bytes, content: bytes) -> bytes:
    """Encode a length-delimited field: a string, bytes or a message."""
    return tag + varint(len(content)) + content


def string_field(tag: bytes, text: str) -> bytes:
    """Encode a string; lone surrogates become question marks, as invalid UTF-8 would spoil the whole response."""
    return field(tag, text.encode("utf-8", "replace"))


def label_fields(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Encode labels: ``label``, field 1 of a metric and of an exemplar."""
    return b"".join(
        [
            field(b"\x0a", string_field(b"\x0a", name) + string_field(b"\x12", value))
            for name, value in pairs
        ]
    )


def timestamp_field(tag: bytes, seconds: float | None) -> bytes:
    """Encode a field of the type ``google.protobuf.Timestamp``.

    Args:
        tag: Tag of the field.
        seconds: Seconds since the epoch; nothing is encoded for ``None`` and for values outside the type's range.
    """
    if seconds is None or not -_MAX_SECONDS < seconds < _MAX_SECONDS:  # nor is NaN
        return b""
    return field(tag, _timestamp(seconds))


@lru_cache(maxsize=_CACHED)
def _timestamp(seconds: float) -> bytes:
    # A float has a resolution of microseconds for times in this century.
    whole, microseconds = divmod(round(seconds * _MICROSECONDS), _MICROSECONDS)
    fraction = b"\x10" + varint(1000 * microseconds) if microseconds else b""
    return (b"\x08" + varint(whole) if whole else b"") + fraction


def exemplar_message(exemplar: Exemplar, labels: Iterable[tuple[str, str]]) -> bytes:
    """Encode an exemplar, without tag and length.

    Args:
        exemplar: The exemplar.
        labels: Its labels with escaped names.

    Spec:
        E64.
    """
    timestamp = timestamp_field(b"\x1a", exemplar.timestamp)
    return label_fields(labels) + b"\x11" + double(exemplar.value) + timestamp


class ClassicFields:
    """Encodes count, sum and buckets of histograms with the same bounds.

    The bytes between the numbers depend only on the lengths of the encoded numbers; they are cached as a template for
    each sequence of lengths.

    Args:
        bounds: Upper bounds; the infinite bucket is encoded only if it has an exemplar.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._tails = [b"\x11" + double(bound) for bound in bounds if bound != inf]
        self._templates: dict[bytes, bytes] = {}

    def write(self, counts: Sequence[int], total: float | None) -> bytes:
        """Encode one histogram.

        Args:
            counts: Counts of the buckets, not cumulative.
            total: The sum; ``None`` is not encoded.
        """
        cumulative = list(map(varint, accumulate(counts)))
        lengths = bytes(map(len, cumulative))
        template = self._templates.get(lengths)
        if template is None:
            template = self._templates[lengths] = self._template(lengths)
        sum_field = b"" if total is None else b"\x11" + double(total)
        return template % (cumulative[-1], sum_field, *cumulative[: len(self._tails)])

    def _template(self, lengths: bytes) -> bytes:
        buckets = [
            # The length is never 37, which is the percent sign: a bucket takes less than 30 bytes.
            b"\x1a%c\x08%%b%b" % (1 + length + len(tail), tail.replace(b"%", b"%%"))
            for length, tail in zip(lengths, self._tails)
        ]
        return b"\x08%b%b" + b"".join(buckets)

    def write_with_exemplars(
        self, counts: Sequence[int], total: float | None, exemplars: Sequence[bytes]
    ) -> bytes:
        """Encode one histogram with exemplars.

        Args:
            counts: Counts of the buckets, not cumulative.
            total: The sum; ``None`` is not encoded.
            exemplars: For each bucket the encoded field of its exemplar, or nothing.
        """
        sum_field = b"" if total is None else b"\x11" + double(total)
        tails = [*self._tails, b"\x11" + double(inf)] if exemplars[-1] else self._tails
        buckets = [
            field(b"\x1a", b"\x08" + varint(count) + tail + exemplar)
            for count, tail, exemplar in zip(accumulate(counts), tails, exemplars)
        ]
        return b"".join([b"\x08", varint(sum(counts)), sum_field, *buckets])


def native_fields(native: NativeBuckets) -> bytes:
    """Encode the fields that only native histograms have, without exemplars.

    Spec:
        E64, E68, E69, E74.
    """
    parts = [b"\x28", zigzag(native.schema), b"\x31", double(native.zero_threshold)]
    parts += [b"\x38", varint(native.zero_count)]
    parts += _sign(native.negative, b"\x4a", b"\x50")
    parts += _sign(native.positive, b"\x62", b"\x68")
    if not native.zero_threshold and not native.observations:
        # Without a span, readers take such a histogram for a classic one.
        parts.append(b"\x62\x04\x08\x00\x10\x00")
    return b"".join(parts)


def _sign(buckets: Buckets, span_tag: bytes, delta_tag: bytes) -> list[bytes]:
    """Encode the buckets of one sign: spans, then deltas of the counts."""
    found = spans(buckets)
    parts = [
        field(span_tag, b"\x08" + zigzag(offset) + b"\x10" + varint(len(counts)))
        for offset, counts in found
    ]
    return parts + [delta_tag + zigzag(delta) for delta in deltas(found)]
