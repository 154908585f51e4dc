"""A registry's families as bodies of requests: one, or several that together equal it."""

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
    """Write families into bodies, without holding the event loop.

    A family is never divided, for a server that replaces by name would keep its last part alone: one that is
    longer than the limit has a body of its own.

    Args:
        families: As the formatter has prepared them.
        formatter: The format.
        limit: Bytes of a body before compression; ``None`` for one body.
        coding: How to compress, if at all.

    Yields:
        Pieces of about 64 KiB; at least one body, which may be empty.
    """
    if limit is None:
        yield await _joined(formatter.encode(families), coding)
        return
    waiting: list[bytes] = []
    size = 0
    for family in families:
        pieces = [piece async for piece in in_pieces(formatter.encode([family]))]
        length = sum(map(len, pieces))
        if waiting and size + length > limit:
            yield await _joined(waiting, coding)
            waiting, size = [], 0
        waiting += pieces
        size += length
    yield await _joined(waiting, coding)


async def _joined(chunks: Iterable[bytes], coding: str | None) -> list[bytes]:
    body = compressed(chunks, coding) if coding else chunks
    return [piece async for piece in in_pieces(body)]
