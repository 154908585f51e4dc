"""Registry and ``Accept`` headers in, bytes and headers out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Literal, get_args

from otel_aioprom._concurrency.thread_pool import MANY_FAMILIES, MANY_SERIES, in_worker
from otel_aioprom._core.escaping import ESCAPING_SCHEMES, Escaping
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats import IFormatter
from otel_aioprom.negotiator import negotiate
from otel_aioprom.registry.registry import CollectorRegistry, Gathering

OnError = Literal["continue", "fail"]
"""What to do when something must be left out: serve the rest, or raise."""

DEFAULT_TIMEOUT = 5.0
"""Seconds that sources get to answer; half of what Prometheus waits for a whole scrape by default."""

_SLICE = 0.001
_PIECE = 49_152  # most chunks are longer and leave as they are

Select = Callable[[MetricFamily], bool]
"""Tells whether a family is to be shown."""


def check_on_error(on_error: str) -> OnError:
    """Return the option, or say what it may be.

    Raises:
        ValueError: It is neither ``"continue"`` nor ``"fail"``.
    """
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error must be 'continue' or 'fail', not {on_error!r}")
    return "fail" if on_error == "fail" else "continue"


def check_escaping(escaping: str) -> Escaping:
    """Return the option, or say what it may be.

    Raises:
        ValueError: It is none of the schemes.
    """
    for scheme in ESCAPING_SCHEMES:
        if scheme == escaping:
            return scheme
    raise ValueError(f"protobuf_escaping must be one of {ESCAPING_SCHEMES}, not {escaping!r}")


def render(
    registry: CollectorRegistry,
    accepts_headers: Sequence[str] = (),
    *,
    on_error: OnError = "continue",
    created_samples: bool = False,
    protobuf_escaping: Escaping = "underscores",
) -> tuple[bytes, dict[str, str]]:
    """Collect a registry in the calling thread and encode it whole.

    For scripts, threads and tests: it waits for every source. On an event loop use ``async_render``.

    Args:
        registry: What to expose.
        accepts_headers: Values of the request's ``Accept`` lines; none means text 0.0.4.
        on_error: ``"continue"`` leaves out what cannot be shown, ``"fail"`` raises instead.
        created_samples: Write start times as samples in OpenMetrics.
        protobuf_escaping: What becomes of names that are not classic in protobuf.

    Returns:
        The body, and the headers that go with it.

    Raises:
        GatherError: Something had to be left out and ``on_error`` is ``"fail"``.
        ValueError: An option has no such value.
        TypeError: ``accepts_headers`` is one text.

    Spec:
        N16.
    """
    check_on_error(on_error)
    formatter = make_formatter(accepts_headers, created_samples, protobuf_escaping)
    chunks = encode(registry, registry.gather(), formatter, on_error)
    return b"".join(chunks), formatter.get_headers()


async def async_render(
    registry: CollectorRegistry,
    accepts_headers: Sequence[str] = (),
    *,
    on_error: OnError = "continue",
    timeout: float = DEFAULT_TIMEOUT,
    created_samples: bool = False,
    protobuf_escaping: Escaping = "underscores",
) -> tuple[bytes, dict[str, str]]:
    """Collect a registry and encode it without holding the event loop.

    Args:
        registry: What to expose.
        accepts_headers: Values of the request's ``Accept`` lines; none means text 0.0.4.
        on_error: ``"continue"`` leaves out what cannot be shown, ``"fail"`` raises instead.
        timeout: Seconds that sources get to answer; what is late is left out.
        created_samples: Write start times as samples in OpenMetrics.
        protobuf_escaping: What becomes of names that are not classic in protobuf.

    Returns:
        The body, and the headers that go with it.

    Raises:
        GatherError: Something had to be left out and ``on_error`` is ``"fail"``.
        ValueError: An option has no such value.
        TypeError: ``accepts_headers`` is one text.
    """
    check_on_error(on_error)
    formatter = make_formatter(accepts_headers, created_samples, protobuf_escaping)
    chunks = await async_encode(registry, await registry.async_gather(timeout), formatter, on_error)
    return b"".join([piece async for piece in in_pieces(chunks)]), formatter.get_headers()


def make_formatter(
    accepts_headers: Sequence[str], created_samples: bool, protobuf_escaping: Escaping
) -> IFormatter:
    """Make the formatter of a response; options and errors as for ``render``."""
    if isinstance(accepts_headers, str):
        raise TypeError(f"Accept headers come in a list, as in [{accepts_headers!r}]")
    chosen = negotiate(accepts_headers, protobuf_escaping=check_escaping(protobuf_escaping))
    return chosen(False, created_samples=created_samples)


def encode(
    registry: CollectorRegistry,
    gathering: Gathering,
    formatter: IFormatter,
    on_error: OnError,
    select: Select | None = None,
) -> Iterator[bytes]:
    """Start to write a collection.

    Args:
        registry: Where it comes from, which is told what the format cannot carry.
        gathering: The collection.
        formatter: The format.
        on_error: As for ``render``.
        select: Tells which families are wanted; all if not given.

    Returns:
        Chunks that are made when they are asked for.

    Raises:
        GatherError: Something had to be left out and ``on_error`` is ``"fail"``.
    """
    wanted = gathering.families if select is None else list(filter(select, gathering.families))
    families, faults = formatter.prepare(wanted)
    registry.report(faults)
    if on_error == "fail":
        Gathering(families, [*gathering.faults, *faults]).insist()
    return formatter.encode(families)


async def async_encode(
    registry: CollectorRegistry,
    gathering: Gathering,
    formatter: IFormatter,
    on_error: OnError,
    select: Select | None = None,
) -> Iterator[bytes]:
    """Start to write a collection as ``encode`` does, without holding the event loop for names that must be escaped, or for many families."""
    if not _is_much(gathering, formatter):
        return encode(registry, gathering, formatter, on_error, select)
    return await in_worker(encode, registry, gathering, formatter, on_error, select)


def _is_much(gathering: Gathering, formatter: IFormatter) -> bool:
    if len(gathering.families) > MANY_FAMILIES:
        return True
    if formatter.escaping == "allow-utf-8":
        return False
    return sum([len(each.series) for each in gathering.families if each.utf8]) > MANY_SERIES


async def in_pieces(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Make chunks in slices of about a millisecond, with the event loop's turn between two slices.

    Args:
        chunks: Made when asked for, each in a fraction of a millisecond.

    Yields:
        Pieces of about 64 KiB, the last one shorter.
    """
    deadline = perf_counter() + _SLICE
    for piece in _pieces(chunks):
        if piece:
            yield piece
        if perf_counter() > deadline:
            await asyncio.sleep(0)
            deadline = perf_counter() + _SLICE


def in_pieces_blocking(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Make chunks without a pause, for threads.

    Args:
        chunks: Made when asked for.

    Yields:
        Pieces of about 64 KiB, the last one shorter.
    """
    return filter(None, _pieces(chunks))


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks until they are worth a write; nothing for a chunk that has to wait for others."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size < _PIECE:
            yield b""
        else:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
