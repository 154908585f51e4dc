"""Rendering: collect a registry, and encode it in the format that the ``Accept`` headers negotiate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from typing import Literal, get_args

from otel_aioprom._concurrency.greenlets import running_loop
from otel_aioprom._concurrency.thread_pool import MANY_FAMILIES, MANY_SERIES, own_threads
from otel_aioprom._concurrency.time_slices import time_slices
from otel_aioprom._core.escaping import ESCAPING_SCHEMES, Escaping
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats import IFormatter
from otel_aioprom.negotiator import negotiate
from otel_aioprom.registry.gathering import Gathering
from otel_aioprom.registry.registry import CollectorRegistry, check_registry

OnError = Literal["continue", "fail"]
"""What to do if something cannot be exposed: drop it, or raise."""

DEFAULT_TIMEOUT = 5.0
"""Seconds that sources may take; half of Prometheus' default scrape timeout."""

_PIECE = 49_152  # bytes; most chunks are longer and are written alone

Select = Callable[[MetricFamily], bool]
"""Returns whether to expose a family."""


def check_on_error(on_error: str) -> OnError:
    """Return the option, or raise if it is invalid.

    Raises:
        ValueError: It is neither ``"continue"`` nor ``"fail"``.
    """
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error must be 'continue' or 'fail', not {on_error!r}")
    return "fail" if on_error == "fail" else "continue"


def check_escaping(escaping: str) -> Escaping:
    """Return the option, or raise if it is invalid.

    Raises:
        ValueError: It is none of the escaping schemes.
    """
    for scheme in ESCAPING_SCHEMES:
        if scheme == escaping:
            return scheme
    raise ValueError(f"protobuf_escaping must be one of {ESCAPING_SCHEMES}, not {escaping!r}")


def render(
    registry: CollectorRegistry,
    accepts_headers: Sequence[str] | None = (),
    *,
    on_error: OnError = "continue",
    created_samples: bool = False,
    protobuf_escaping: Escaping = "underscores",
) -> tuple[bytes, dict[str, str]]:
    """Collect a registry in the calling thread and encode it.

    For scripts, threads and tests: it waits for every source. On an event loop, use ``async_render``.

    Args:
        registry: What to expose.
        accepts_headers: Values of the request's ``Accept`` headers; none, or ``None``, means text 0.0.4.
        on_error: ``"continue"`` drops what cannot be exposed; ``"fail"`` raises instead.
        created_samples: Write start times as ``_created`` samples in OpenMetrics.
        protobuf_escaping: Escaping scheme of names outside the classic character set in protobuf.

    Returns:
        The body and its headers.

    Raises:
        GatherError: Something cannot be exposed and ``on_error`` is ``"fail"``.
        ValueError: An option has an invalid value.
        TypeError: ``registry`` is no registry, or ``accepts_headers`` is one string.

    Spec:
        N16.
    """
    check_registry(registry)
    check_on_error(on_error)
    formatter = make_formatter(accepts_headers, created_samples, protobuf_escaping)
    chunks = encode(registry, registry.gather(), formatter, on_error)
    return b"".join(chunks), formatter.get_headers()


async def async_render(
    registry: CollectorRegistry,
    accepts_headers: Sequence[str] | None = (),
    *,
    on_error: OnError = "continue",
    timeout: float = DEFAULT_TIMEOUT,
    created_samples: bool = False,
    protobuf_escaping: Escaping = "underscores",
) -> tuple[bytes, dict[str, str]]:
    """Collect a registry and encode it without blocking the event loop.

    Like ``render``, with the same arguments, result and errors, and with a ``timeout``: the seconds that sources may
    take. Later ones are dropped from the response.

    Raises:
        OverloadError: The library's own threads did not come to it in time.
        RuntimeError: asyncio does not run here.
    """
    if running_loop() is None:
        raise RuntimeError("async_render needs asyncio; elsewhere, call render in a thread")
    check_registry(registry)
    check_on_error(on_error)
    formatter = make_formatter(accepts_headers, created_samples, protobuf_escaping)
    gathering = await registry.async_gather(timeout)
    chunks = await async_encode(registry, gathering, formatter, on_error, timeout=timeout)
    return b"".join([piece async for piece in in_pieces(chunks)]), formatter.get_headers()


def make_formatter(
    accepts_headers: Sequence[str] | None, created_samples: bool, protobuf_escaping: Escaping
) -> IFormatter:
    """Create the formatter of a response; options and errors as for ``render``."""
    if isinstance(accepts_headers, str):
        raise TypeError(f"Accept headers come in a list, as in [{accepts_headers!r}]")
    negotiated = negotiate(accepts_headers, protobuf_escaping=check_escaping(protobuf_escaping))
    return negotiated(False, created_samples=created_samples)


def encode(
    registry: CollectorRegistry,
    gathering: Gathering,
    formatter: IFormatter,
    on_error: OnError,
    select: Select | None = None,
) -> Iterator[bytes]:
    """Encode a collection lazily.

    Args:
        registry: The collected registry; what the format cannot represent is reported to it.
        gathering: The collection.
        formatter: The format.
        on_error: As for ``render``.
        select: Selects families; ``None`` selects all.

    Returns:
        Chunks, each encoded when it is read.

    Raises:
        GatherError: Something cannot be exposed and ``on_error`` is ``"fail"``.
    """
    selected = gathering.families if select is None else list(filter(select, gathering.families))
    families, faults = formatter.prepare(selected)
    registry.report(faults)
    if on_error == "fail":
        Gathering(families, [*gathering.faults, *faults]).raise_if_lost()
    return formatter.encode(families)


async def async_encode(
    registry: CollectorRegistry,
    gathering: Gathering,
    formatter: IFormatter,
    on_error: OnError,
    select: Select | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
) -> Iterator[bytes]:
    """Encode a collection like ``encode``; prepare many families, or many names to escape, in a thread.

    Raises:
        GatherError: As for ``encode``.
        OverloadError: The thread has not done so within ``timeout`` seconds.
    """
    if not is_large(gathering, formatter):
        await time_slices().begin()
        return encode(registry, gathering, formatter, on_error, select)
    return await own_threads.call_within(
        timeout, encode, registry, gathering, formatter, on_error, select
    )


def is_large(gathering: Gathering, formatter: IFormatter) -> bool:
    """Return whether to prepare a collection in a thread, because it would block the event loop for long."""
    if len(gathering.families) > MANY_FAMILIES:
        return True
    if formatter.escaping == "allow-utf-8":
        return False
    return sum([len(each.series) for each in gathering.families if each.utf8]) > MANY_SERIES


async def in_pieces(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Join chunks to pieces; all that do so on an event loop yield to it about every millisecond.

    Args:
        chunks: Encoded lazily, each in a fraction of a millisecond.

    Yields:
        Pieces of about 64 KiB, the last one shorter.
    """
    slices = time_slices()
    await slices.begin()
    for piece in _pieces(chunks):
        if piece:
            yield piece
        if slices.over():
            await slices.begin()


def in_pieces_blocking(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks to the same pieces as ``in_pieces``, in a thread."""
    return filter(None, _pieces(chunks))


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks to pieces; yield empty bytes for each chunk that is buffered."""
    buffer: list[bytes] = []
    size = 0
    for chunk in chunks:
        buffer.append(chunk)
        size += len(chunk)
        if size < _PIECE:
            yield b""
        else:
            yield b"".join(buffer)
            buffer, size = [], 0
    yield b"".join(buffer)
