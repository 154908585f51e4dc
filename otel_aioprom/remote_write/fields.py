"""Protobuf fields that are the same in both versions of remote write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct

from otel_aioprom._core.native_histogram import Buckets, NativeBuckets, deltas, spans
from otel_aioprom.formats.protobuf_wire import double, field, varint, zigzag

STALE = b"\x02\x00\x00\x00\x00\x00\xf0\x7f"
"""The stale marker, an encoded value that ends a time series (E105)."""

SMALL = [varint(number) for number in range(1024)]
"""Small integers encoded as ``varint`` does, for hot paths."""

_GAUGE = b"\x70\x03"  # the reset hint
_NAN = double(float("nan"))
_CACHE_SIZE = 1024
_MILLISECONDS = 1000
_LIMIT = 1 << 63  # of timestamps, in milliseconds: the field is an int64


def milliseconds(seconds: float | None) -> int | None:
    """Convert a timestamp to milliseconds; ``None`` if it is unknown or out of range."""
    if seconds is None or not -_LIMIT < seconds * _MILLISECONDS < _LIMIT:  # true for NaN as well
        return None
    return round(seconds * _MILLISECONDS)


def timestamp_varint(timestamp: int) -> bytes:
    """Encode a timestamp between 1970 and 2109, in milliseconds, always in six bytes.

    Examples:
        >>> timestamp_varint(1700000000000).hex(" "), timestamp_varint(0).hex(" ")
        ('80 d0 95 ff bc 31', '80 80 80 80 80 00')
    """
    low = bytes((timestamp & 0x7F | 0x80, timestamp >> 7 & 0x7F | 0x80))
    return low + _high_bytes(timestamp >> 14)


@lru_cache(maxsize=_CACHE_SIZE)
def _high_bytes(high: int) -> bytes:
    """Encode the bits that timestamps within a quarter of a minute have in common."""
    return bytes(
        (high & 0x7F | 0x80, high >> 7 & 0x7F | 0x80, high >> 14 & 0x7F | 0x80, high >> 21)
    )


def doubles(values: Sequence[float]) -> Sequence[bytes]:
    """Encode values, eight bytes each.

    A value with the bits of the stale marker is sent as an ordinary NaN: it must not end the time series.

    Spec:
        E105.
    """
    pack, split = _columns(len(values))
    packed = pack(*values)
    encoded: Sequence[bytes] = split(packed)
    if STALE in packed:
        return [_NAN if value == STALE else value for value in encoded]
    return encoded


@lru_cache(maxsize=_CACHE_SIZE)
def _columns(count: int) -> tuple[Callable[..., bytes], Callable[[bytes], tuple[bytes, ...]]]:
    return Struct(f"<{count}d").pack, Struct("8s" * count).unpack


def native_content(
    count: int, total: float | None, native: NativeBuckets, *, gauge: bool = False
) -> bytes:
    """Encode a native histogram without its timestamps; it is the same in both versions.

    Args:
        count: Number of all observations.
        total: Their sum; the field is omitted if it is unknown.
        native: The buckets.
        gauge: It is a gauge histogram, whose counts may fall without a reset.

    Spec:
        E74, E96, E104.
    """
    parts = [b"\x08", varint(count)]
    parts += [] if total is None else [b"\x19", *doubles([total])]
    parts += [b"\x20", zigzag(native.schema), b"\x29", double(native.zero_threshold)]
    parts += [b"\x30", varint(native.zero_count)]
    parts += _sign(native.negative, b"\x42", b"\x4a")
    parts += _sign(native.positive, b"\x5a", b"\x62")
    return b"".join([*parts, _GAUGE] if gauge else parts)


def _sign(buckets: Buckets, span_tag: bytes, delta_tag: bytes) -> list[bytes]:
    """Encode the buckets of one sign: spans, then the first count and the deltas, in one field."""
    runs = spans(buckets)
    if not runs:
        return []
    parts = [
        field(span_tag, b"\x08" + zigzag(offset) + b"\x10" + varint(len(counts)))
        for offset, counts in runs
    ]
    return [*parts, field(delta_tag, b"".join(map(zigzag, deltas(runs))))]
