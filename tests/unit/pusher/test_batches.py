"""Bodies of pushes: one, or several that hold whole families."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from format_families import histogram
from oracles import family, number
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats import BinaryFormatter, IFormatter, TextFormatter
from otel_aioprom.pusher.batches import bodies

FORMATTERS = pytest.mark.parametrize("formatter", [TextFormatter(), BinaryFormatter()])


def some(count: int) -> list[MetricFamily]:
    """Families of 20 bytes and more in the text format."""
    return [family(f"name_{place}", number(place)) for place in range(count)]


async def made(
    families: list[MetricFamily],
    formatter: IFormatter,
    limit: int | None = None,
    coding: str | None = None,
) -> list[bytes]:
    """All bodies, each joined."""
    return [b"".join(pieces) async for pieces in bodies(families, formatter, limit, coding)]


@FORMATTERS
async def test_without_a_limit_there_is_one_body(formatter: IFormatter) -> None:
    """Which is what the format makes of all families."""
    assert await made(some(9), formatter) == [b"".join(formatter.encode(some(9)))]


@FORMATTERS
async def test_bodies_are_as_full_as_the_limit_allows(formatter: IFormatter) -> None:
    """A family begins a new one where it does not fit any more, and not before."""
    sizes = [len(b"".join(formatter.encode([each]))) for each in some(9)]
    assert len(set(sizes)) == 1
    size = sizes[0]

    assert [len(each) // size for each in await made(some(9), formatter, 4 * size)] == [4, 4, 1]
    assert [len(each) // size for each in await made(some(8), formatter, 4 * size + 1)] == [4, 4]
    assert [len(each) // size for each in await made(some(4), formatter, 4 * size - 1)] == [3, 1]
    assert [len(each) // size for each in await made(some(9), formatter, 9 * size)] == [9]


@FORMATTERS
async def test_a_family_is_never_divided(formatter: IFormatter) -> None:
    """One that is longer than the limit has a body of its own, wherever it stands."""
    long = family("long", *[number(place, {"a": str(place)}) for place in range(100)])
    small = some(3)
    alone = [b"".join(formatter.encode([each])) for each in (*small, long)]

    assert await made([long, *small], formatter, 100) == [alone[3], b"".join(alone[:3])]
    assert await made([small[0], long, *small[1:]], formatter, 100) == [
        alone[0], alone[3], b"".join(alone[1:3]),
    ]  # fmt: skip
    assert await made([*small, long], formatter, 1) == alone


@FORMATTERS
@pytest.mark.parametrize("limit", [None, 1, 1000])
async def test_nothing_at_all_is_one_empty_body(formatter: IFormatter, limit: int | None) -> None:
    """It has no pieces, so that a request has no body; compressed, it is a stream that holds nothing."""
    assert [pieces async for pieces in bodies([], formatter, limit)] == [[]]
    (compressed,) = await made([], formatter, limit, "gzip")
    assert gzip.decompress(compressed) == b""


@FORMATTERS
async def test_each_body_is_compressed_on_its_own(formatter: IFormatter) -> None:
    """The limit counts what there was before."""
    plain = await made(some(30), formatter, 100)
    compressed = await made(some(30), formatter, 100, "gzip")

    assert len(plain) > 5
    assert [gzip.decompress(each) for each in compressed] == plain
    assert [gzip.decompress(each) for each in await made(some(30), formatter, None, "gzip")] == [
        b"".join(plain)
    ]


@pytest.mark.parametrize("limit", [None, 10_000_000])
async def test_a_body_comes_in_chunks(limit: int | None) -> None:
    """Of about 64 KiB, with a yield to the event loop in between."""
    series = [histogram([1] * 20, 1.0, tuple(range(19)), labels={"a": str(n)}) for n in range(500)]
    families = [family(f"h_{place}", *series, kind="histogram") for place in range(4)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    (pieces,) = [pieces async for pieces in bodies(families, TextFormatter(), limit)]
    task.cancel()

    assert b"".join(pieces) == b"".join(TextFormatter().encode(families))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 200_000
    assert turns > 10
