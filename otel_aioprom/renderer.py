"""Registry and ``Accept`` headers in, bytes and headers out."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Literal, get_args

from otel_aioprom.negotiator import negotiate
from otel_aioprom.registry import CollectorRegistry

OnError = Literal["continue", "fail"]
"""What to do when something must be left out: serve the rest, or raise."""

DEFAULT_TIMEOUT = 5.0
"""Seconds that sources get to answer; half of what Prometheus waits for a whole scrape by default."""

_SLICE = 0.001
_PIECE = 65_536
_GZIP = zlib.MAX_WBITS | 16
_GZIP_LEVEL = 1


def check_on_error(on_error: str) -> OnError:
    """Return the option, or say what it may be.

    Raises:
        ValueError: It is neither ``"continue"`` nor ``"fail"``.
    """
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error must be 'continue' or 'fail', not {on_error!r}")
    return "fail" if on_error == "fail" else "continue"


def render(
    registry: CollectorRegistry,
    accepts_headers: Sequence[str] = (),
    *,
    on_error: OnError = "continue",
) -> tuple[bytes, dict[str, str]]:
    """Collect a registry in the calling thread and encode it whole.

    For scripts, threads and tests: it waits for every source. On an event loop use ``async_render``.

    Args:
        registry: What to expose.
        accepts_headers: Values of the request's ``Accept`` lines; none means text 0.0.4.
        on_error: ``"continue"`` leaves out what cannot be shown, ``"fail"`` raises instead.

    Returns:
        The body, and the headers that go with it.

    Raises:
        GatherError: Something had to be left out and ``on_error`` is ``"fail"``.

    Spec:
        N16.
    """
    fail = check_on_error(on_error) == "fail"
    formatter = negotiate(accepts_headers)(False)
    gathering = registry.gather()
    if fail:
        gathering.insist()
    return b"".join(formatter.encode(gathering.families)), formatter.get_headers()


async def async_render(
    registry: CollectorRegistry,
    accepts_headers: Sequence[str] = (),
    *,
    on_error: OnError = "continue",
    timeout: float = DEFAULT_TIMEOUT,
) -> tuple[bytes, dict[str, str]]:
    """Collect a registry and encode it without holding the event loop.

    Args:
        registry: What to expose.
        accepts_headers: Values of the request's ``Accept`` lines; none means text 0.0.4.
        on_error: ``"continue"`` leaves out what cannot be shown, ``"fail"`` raises instead.
        timeout: Seconds that sources get to answer; what is late is left out.

    Returns:
        The body, and the headers that go with it.

    Raises:
        GatherError: Something had to be left out and ``on_error`` is ``"fail"``.
    """
    headers, chunks = await async_encode(
        registry, accepts_headers, on_error=on_error, timeout=timeout
    )
    return b"".join([piece async for piece in in_pieces(chunks)]), headers


async def async_encode(
    registry: CollectorRegistry,
    accepts_headers: Sequence[str],
    *,
    on_error: OnError,
    timeout: float,
) -> tuple[dict[str, str], Iterator[bytes]]:
    """Collect a registry, and return the headers and the chunks still to be made; see ``async_render``."""
    fail = check_on_error(on_error) == "fail"
    formatter = negotiate(accepts_headers)(False)
    gathering = await registry.async_gather(timeout)
    if fail:
        gathering.insist()
    return formatter.get_headers(), formatter.encode(gathering.families)


def gzip_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a stream; level 1, for more costs more time than it saves on the wire."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()


async def in_pieces(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Make chunks in slices of about a millisecond, with the event loop's turn between two slices.

    Args:
        chunks: Made when asked for, each in a fraction of a millisecond.

    Yields:
        Pieces of 64 KiB, the last one shorter.
    """
    buffer = bytearray()
    deadline = perf_counter() + _SLICE
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= _PIECE:
            yield bytes(memoryview(buffer)[:_PIECE])
            del buffer[:_PIECE]
        if perf_counter() > deadline:
            await asyncio.sleep(0)
            deadline = perf_counter() + _SLICE
    if buffer:
        yield bytes(buffer)
