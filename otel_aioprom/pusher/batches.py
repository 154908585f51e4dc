"""Encode metric families into request bodies: one, or several batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from otel_aioprom._core.model import MetricFamily
from otel_aioprom._transport.compression import compressed
from otel_aioprom.formats import IFormatter
from otel_aioprom.renderer import in_pieces


async def bodies(
    families: Sequence[MetricFamily],
    formatter: IFormatter,
    limit: int | None,
    coding: str | None = None,
) -> AsyncIterator[list[bytes]]:
    """Encode families into request bodies, without blocking the event loop.

    A family is never split, because a server that replaces by name would keep only its last part: one that is
    larger than the limit has a body of its own.

    Args:
        families: As the formatter has prepared them.
        formatter: The exposition format.
        limit: Maximum bytes of a body before compression; ``None`` for one body.
        coding: Content coding, or ``None`` for no compression.

    Yields:
        Bodies, each as chunks of about 64 KiB; at least one body, which may be empty.
    """
    if limit is None:
        yield await _joined(formatter.encode(families), coding)
        return
    batch: list[bytes] = []
    size = 0
    for family in families:
        chunks = [chunk async for chunk in in_pieces(formatter.encode([family]))]
        length = sum(map(len, chunks))
        if batch and size + length > limit:
            yield await _joined(batch, coding)
            batch, size = [], 0
        batch += chunks
        size += length
    yield await _joined(batch, coding)


async def _joined(chunks: Iterable[bytes], coding: str | None) -> list[bytes]:
    body = compressed(chunks, coding) if coding else chunks
    return [chunk async for chunk in in_pieces(body)]
