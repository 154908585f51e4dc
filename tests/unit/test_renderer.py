"""Rendering, blocking and on an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from typing_extensions import Self

from oracles import FakeSource, all_kinds, family, number
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import GatherError
from otel_aioprom.formats import TextFormatter
from otel_aioprom.negotiator import media_ranges, negotiate, parse_accepts
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import (
    async_render,
    check_on_error,
    in_pieces,
    in_pieces_blocking,
    render,
)

PIECE = 65_536
LEAST = 49_152
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


class Ticker:
    """A task that counts the iterations of the event loop."""

    def __init__(self) -> None:
        self.iterations = 0
        self._task: asyncio.Task[None] | None = None

    async def _tick(self) -> None:
        while True:
            self.iterations += 1
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()


def slow_chunks(count: int, seconds: float) -> Iterator[bytes]:
    """Chunks that take some time each."""
    for _ in range(count):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        yield b"x"


async def pieces_of(chunks: Any) -> list[bytes]:
    """All pieces."""
    return [piece async for piece in in_pieces(chunks)]


async def test_render_and_async_render_agree() -> None:
    """In body and headers."""
    registry = all_kinds({"a": 1})
    registry.add_source(FakeSource(family("x", number(2))))

    assert render(registry) == await async_render(registry)
    assert render(registry, ["text/plain"]) == await async_render(registry, ["text/plain"])


async def test_an_empty_registry_is_an_empty_body() -> None:
    """With headers."""
    body, headers = await async_render(CollectorRegistry())

    assert (body, headers) == (b"", {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def test_on_error_drops_or_raises() -> None:
    """Faults that lose nothing never raise."""
    registry = CollectorRegistry()
    Gauge("g", "", registry=registry).set({}, 1)
    odd = FakeSource(family("x", doc="One."), family("x", number(1, {"a": "1"}), doc="Two."))
    registry.add_source(odd)
    assert b"g 1\n" in render(registry, on_error="fail")[0]
    registry.add_source(FakeSource(ValueError("no"), name="bad"))

    assert b"g 1\n" in render(registry)[0]
    assert b"g 1\n" in (await async_render(registry))[0]
    with pytest.raises(GatherError, match="bad: collecting raised") as caught:
        render(registry, on_error="fail")
    assert len(caught.value.faults) == 1
    with pytest.raises(GatherError, match="bad: collecting raised"):
        await async_render(registry, on_error="fail")


@pytest.mark.parametrize("value", ["", "Fail", None, True])
async def test_invalid_on_error_raises(value: Any) -> None:
    """Before the collection."""
    with pytest.raises(ValueError, match="on_error must be 'continue' or 'fail'"):
        check_on_error(value)
    with pytest.raises(ValueError, match="on_error"):
        render(CollectorRegistry(), on_error=value)
    with pytest.raises(ValueError, match="on_error"):
        await async_render(CollectorRegistry(), on_error=value)

    assert (check_on_error("continue"), check_on_error("fail")) == ("continue", "fail")


@pytest.mark.parametrize("value", ["", "utf8", None])
async def test_invalid_protobuf_escaping_raises(value: Any) -> None:
    """Before the collection."""
    with pytest.raises(ValueError, match="protobuf_escaping must be one of"):
        render(CollectorRegistry(), protobuf_escaping=value)
    with pytest.raises(ValueError, match="protobuf_escaping must be one of"):
        await async_render(CollectorRegistry(), protobuf_escaping=value)


async def test_options_are_passed_to_the_formatter() -> None:
    """Start times in OpenMetrics, UTF-8 names in protobuf."""
    registry = all_kinds()
    wide = replace(family("a.b"), utf8=True)
    registry.add_source(FakeSource(wide))
    body, _ = render(registry, [OPENMETRICS], created_samples=True)
    assert (await async_render(registry, [OPENMETRICS], created_samples=True))[0] == body
    assert b"c_created " in body
    assert b"_created" not in render(registry, [OPENMETRICS])[0]

    body, headers = render(registry, [PROTOBUF], protobuf_escaping="allow-utf-8")
    assert (await async_render(registry, [PROTOBUF], protobuf_escaping="allow-utf-8"))[0] == body
    assert headers["Content-Type"].endswith("escaping=allow-utf-8")
    assert b"a.b" in body
    assert b"a_b" in render(registry, [PROTOBUF])[0]


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [PIECE - 1],
        [PIECE],
        [PIECE + 1],
        [PIECE // 2] * 4,
        [3 * PIECE + 7],
        [1000] * 200,
        [PIECE, 0, 1],
    ],
)
async def test_chunks_are_joined_to_pieces(sizes: list[int]) -> None:
    """All but the last have about 64 KiB, chunks stay in order and whole, and no piece is empty."""
    chunks = [bytes([index % 251]) * size for index, size in enumerate(sizes)]
    pieces = await pieces_of(chunks)

    assert b"".join(pieces) == b"".join(chunks)
    assert all(len(piece) >= LEAST for piece in pieces[:-1])
    assert all(0 < len(piece) < LEAST + max(sizes) for piece in pieces)
    assert list(in_pieces_blocking(chunks)) == pieces
    assert all(type(piece) is bytes for piece in pieces)


async def test_encoding_yields_to_the_event_loop() -> None:
    """After each of twenty chunks of two milliseconds."""
    async with Ticker() as ticker:
        before = ticker.iterations
        await pieces_of(slow_chunks(20, 0.002))

        assert ticker.iterations - before >= 20


async def test_fast_chunks_are_encoded_without_a_yield() -> None:
    """It depends on the time, not on the number of chunks."""
    async with Ticker() as ticker:
        before = ticker.iterations
        await pieces_of([b"x"] * 200)

        assert ticker.iterations - before < 100


async def test_a_large_response_does_not_block_the_event_loop() -> None:
    """Encoding takes some milliseconds, with several yields."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "", registry=registry)
    for index in range(40_000):
        gauge.set({"n": index, "pad": "x" * 40}, 0.1 * index)
    async with Ticker() as ticker:
        before = ticker.iterations
        body, _ = await async_render(registry)

        assert len(body) > 1_000_000
        assert ticker.iterations - before >= 3


async def test_pieces_are_encoded_lazily() -> None:
    """The first piece is available before later chunks are encoded."""
    encoded: list[int] = []

    def chunks() -> Iterator[bytes]:
        for index in range(3):
            encoded.append(index)
            yield b"x" * PIECE

    stream = in_pieces(chunks())
    first = await stream.__anext__()
    await stream.aclose()

    assert len(first) == PIECE
    assert encoded == [0]


async def test_a_string_instead_of_accept_headers_raises() -> None:
    """Otherwise each of its characters would be a header."""
    wanted = "application/openmetrics-text; version=1.0.0"
    with pytest.raises(TypeError, match=r"in a list, as in \['application/openmetrics-text"):
        render(CollectorRegistry(), wanted)
    with pytest.raises(TypeError, match="in a list"):
        await async_render(CollectorRegistry(), wanted)


async def test_n16_no_header_may_be_none() -> None:
    """Whoever negotiates takes ``None`` for no header: text 0.0.4."""
    registry = all_kinds({"a": 1})

    assert render(registry, None) == render(registry, [])
    assert await async_render(registry, None) == render(registry, [])
    assert negotiate(None) is TextFormatter
    assert (parse_accepts(None), media_ranges(None)) == (set(), [])
