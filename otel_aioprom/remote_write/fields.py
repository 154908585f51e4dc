"""Pieces of messages that are the same in both versions of remote write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct

from otel_aioprom._core.native_histogram import Buckets, NativeBuckets, deltas, spans
from otel_aioprom.formats.protobuf_wire import double, field, varint, zigzag

STALE = b"\x02\x00\x00\x00\x00\x00\xf0\x7f"
"""Eight bytes that say, in the place of a value, that a series has ended (E105)."""

SMALL = [varint(number) for number in range(1024)]
"""Integers as ``varint`` writes them, for where a call would count."""

_NAN = double(float("nan"))
_SIZES = 1024
_MILLISECONDS = 1000
_LATEST = 1 << 63  # what a message can hold, in milliseconds


def milliseconds(seconds: float | None) -> int | None:
    """Return a moment in milliseconds, ``None`` if it is unknown, or no time that a message can hold."""
    if seconds is None or not -_LATEST < seconds * _MILLISECONDS < _LATEST:  # nor is NaN
        return None
    return round(seconds * _MILLISECONDS)


def moment_varint(moment: int) -> bytes:
    """Write a moment between 1970 and 2109, in milliseconds, always in six bytes.

    Examples:
        >>> moment_varint(1700000000000).hex(" "), moment_varint(0).hex(" ")
        ('80 d0 95 ff bc 31', '80 80 80 80 80 00')
    """
    return bytes((moment & 0x7F | 0x80, moment >> 7 & 0x7F | 0x80)) + _quarter_minute(moment >> 14)


@lru_cache(maxsize=_SIZES)
def _quarter_minute(high: int) -> bytes:
    """Write what moments near each other have in common."""
    return bytes(
        (high & 0x7F | 0x80, high >> 7 & 0x7F | 0x80, high >> 14 & 0x7F | 0x80, high >> 21)
    )


def doubles(values: Sequence[float]) -> Sequence[bytes]:
    """Write values, eight bytes each.

    A value that has the bits of the stale marker is a NaN like any other: only who ends a series may
    say so.

    Spec:
        E105.
    """
    pack, split = _columns(len(values))
    packed = pack(*values)
    pieces: Sequence[bytes] = split(packed)
    if STALE in packed:
        return [_NAN if piece == STALE else piece for piece in pieces]
    return pieces


@lru_cache(maxsize=_SIZES)
def _columns(count: int) -> tuple[Callable[..., bytes], Callable[[bytes], tuple[bytes, ...]]]:
    return Struct(f"<{count}d").pack, Struct("8s" * count).unpack


def native_content(count: int, total: float | None, native: NativeBuckets) -> bytes:
    """Write a histogram without its times: the message is the same in both versions.

    Args:
        count: All observations.
        total: Their sum; it is left out if it is unknown.
        native: Where they lie.

    Spec:
        E74, E96, E104.
    """
    parts = [b"\x08", varint(count)]
    parts += [] if total is None else [b"\x19", *doubles([total])]
    parts += [b"\x20", zigzag(native.schema), b"\x29", double(native.zero_threshold)]
    parts += [b"\x30", varint(native.zero_count)]
    parts += _sign(native.negative, b"\x42", b"\x4a")
    parts += _sign(native.positive, b"\x5a", b"\x62")
    return b"".join(parts)


def _sign(buckets: Buckets, span_tag: bytes, delta_tag: bytes) -> list[bytes]:
    """Write the buckets of one sign: spans, then the first count and the differences, in one field."""
    runs = spans(buckets)
    if not runs:
        return []
    parts = [
        field(span_tag, b"\x08" + zigzag(offset) + b"\x10" + varint(len(counts)))
        for offset, counts in runs
    ]
    return [*parts, field(delta_tag, b"".join(map(zigzag, deltas(runs))))]
