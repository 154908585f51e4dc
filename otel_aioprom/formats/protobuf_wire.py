"""Pieces of protobuf messages, as the wire has them.

What a family's series repeat in each response is made once. The messages are those of
``io.prometheus.client``, whose field numbers stand beside the tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from math import inf
from struct import Struct

from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import Buckets, NativeBuckets, deltas, spans

double = Struct("<d").pack
"""Eight bytes of a number."""

_ONE_BYTE = 0x80
_TWO_BYTES = 0x4000
_MICROSECONDS = 1_000_000
_LATEST = 1 << 63  # what the message can hold, in seconds
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


def moment_field(tag: bytes, seconds: float | None) -> bytes:
    """Write a moment as a message of seconds and nanoseconds.

    Args:
        tag: Of the field.
        seconds: Since the epoch; nothing is written if it is unknown, or no time that the message can hold.
    """
    if seconds is None or not -_LATEST < seconds < _LATEST:  # nor is NaN
        return b""
    return field(tag, _moment(seconds))


@lru_cache(maxsize=_KNOWN)
def _moment(seconds: float) -> bytes:
    # A float says no more of a time in this century than its microseconds.
    whole, microseconds = divmod(round(seconds * _MICROSECONDS), _MICROSECONDS)
    fraction = b"\x10" + varint(1000 * microseconds) if microseconds else b""
    return (b"\x08" + varint(whole) if whole else b"") + fraction


def exemplar_message(exemplar: Exemplar, labels: Iterable[tuple[str, str]]) -> bytes:
    """Write an exemplar as the content of a message.

    Args:
        exemplar: The exemplar.
        labels: Its labels, under the names that they are to have.

    Spec:
        E64.
    """
    moment = moment_field(b"\x1a", exemplar.timestamp)
    return label_fields(labels) + b"\x11" + double(exemplar.value) + moment


class ClassicFields:
    """Writes count, sum and buckets of histograms that have the same bounds.

    What stands between the numbers depends on nothing but how many bytes each number takes, so it is made once
    for each such row of lengths.

    Args:
        bounds: Upper bounds; the infinite one is written only where it has an exemplar.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._tails = [b"\x11" + double(bound) for bound in bounds if bound != inf]
        self._templates: dict[bytes, bytes] = {}

    def write(self, counts: Sequence[int], total: float | None) -> bytes:
        """Write the fields of one histogram.

        Args:
            counts: Observations of each bucket alone.
            total: Their sum; it is left out if it is unknown.
        """
        upto = list(map(varint, accumulate(counts)))
        lengths = bytes(map(len, upto))
        template = self._templates.get(lengths)
        if template is None:
            template = self._templates[lengths] = self._template(lengths)
        added = b"" if total is None else b"\x11" + double(total)
        return template % (upto[-1], added, *upto[: len(self._tails)])

    def _template(self, lengths: bytes) -> bytes:
        buckets = [
            # No bucket is as long as 37 bytes, which would be a percent sign.
            b"\x1a%c\x08%%b%b" % (1 + length + len(tail), tail.replace(b"%", b"%%"))
            for length, tail in zip(lengths, self._tails)
        ]
        return b"\x08%b%b" + b"".join(buckets)

    def write_with_exemplars(
        self, counts: Sequence[int], total: float | None, exemplars: Sequence[bytes]
    ) -> bytes:
        """Write the fields of one histogram, an exemplar in each bucket that has one.

        Args:
            counts: Observations of each bucket alone.
            total: Their sum; it is left out if it is unknown.
            exemplars: The field of each bucket's exemplar, or nothing.
        """
        added = b"" if total is None else b"\x11" + double(total)
        tails = [*self._tails, b"\x11" + double(inf)] if exemplars[-1] else self._tails
        buckets = [
            field(b"\x1a", b"\x08" + varint(count) + tail + exemplar)
            for count, tail, exemplar in zip(accumulate(counts), tails, exemplars)
        ]
        return b"".join([b"\x08", varint(sum(counts)), added, *buckets])


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
