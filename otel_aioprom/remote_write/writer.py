"""Remote writer: collects a registry, queues its messages, and sends them in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from otel_aioprom._concurrency.periodic import (
    check_intervals,
    run_periodically,
    running_in_background,
)
from otel_aioprom._concurrency.thread_pool import own_threads
from otel_aioprom._transport.delivery import Delivery, redacted
from otel_aioprom.errors import SpoolError
from otel_aioprom.registry.registry import CollectorRegistry, check_registry
from otel_aioprom.remote_write.encoder import PreparedFamilies, Version, WriteEncoder
from otel_aioprom.remote_write.sending.failure_log import FailureLog
from otel_aioprom.remote_write.sending.outbox import Outbox
from otel_aioprom.remote_write.sending.protocol import check_headers, check_url, compress
from otel_aioprom.remote_write.sending.sender import Sender
from otel_aioprom.remote_write.sending.spool import check_folder
from otel_aioprom.renderer import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from otel_aioprom._core.model import MetricFamily
    from otel_aioprom._transport.delivery import DeliveryOptions
    from otel_aioprom.remote_write.message import Message

_logger = logging.getLogger(__name__)

_NEGOTIATION_TIMEOUT = 5.0  # seconds, after which a server gets 1.0
_MEBIBYTE = 1 << 20


class WriteRunOptions(TypedDict, total=False):
    """The options of ``RemoteWriter.run``."""

    exit_timeout: float
    on_sigterm: bool


class RemoteWriter:
    """Send a registry to a server by Prometheus remote write. Needs the extra ``remote-write``.

    Use it with ``async with``: inside, a task sends the queued messages one by one and in order, so that samples stay
    in order. Messages that cannot be sent stay in the queue; when it is full, the oldest are dropped and counted. What a
    server refuses costs only itself: native histograms that it does not take, single samples, a time ahead of its clock.

    Args:
        url: URL of the server's write endpoint, such as ``http://localhost:9090/api/v1/write``.
        version: ``"1.0"``, which all servers support, or ``"2.0"``, with start timestamps and metadata for each
            series. A server that does not support 2.0 gets 1.0.
        external_labels: Labels for each series that has no label of that name, such as ``job`` and ``instance``.
        max_samples: Maximum number of samples and native histograms in a message.
        native_histograms: Whether to send native histograms; otherwise their classic buckets, as for a server that
            does not take native ones.
        queue_bytes: Maximum size of the queue, in bytes after compression.
        spool: Folder for the queue, so that it survives a restart; the queue is in memory if not given.
        attempts: Maximum number of attempts for a message that causes server errors, before it is dropped. While the
            server is unreachable or overloaded, messages are retried without limit.
        gather_timeout: Timeout of the registry's sources, in seconds; sources that are late are skipped.
        flush_timeout: Timeout for sending the queue when the block ends, in seconds.
        **options: As for ``delivery.Delivery``, except ``retry`` and ``raise_for_status``.

    Raises:
        ValueError: An option has an invalid value.
        TypeError: An option has the wrong type.
        SpoolError: On entry: the folder cannot be used, or another process uses it.
        MissingExtraError: The extra is not installed.

    Spec:
        E94 to E108.

    Examples:
        >>> async def serve(registry: CollectorRegistry) -> None:
        ...     writer = RemoteWriter("http://localhost:9090/api/v1/write", external_labels={"job": "shop"})
        ...     async with writer.running(registry, interval=15):
        ...         await asyncio.sleep(3600)
    """

    def __init__(
        self,
        url: str,
        *,
        version: Literal["1.0", "2.0"] = "1.0",
        external_labels: Mapping[str, str] | None = None,
        max_samples: int = 2000,
        native_histograms: bool = True,
        queue_bytes: int = 64 * _MEBIBYTE,
        spool: str | os.PathLike[str] | None = None,
        attempts: int = 10,
        gather_timeout: float = DEFAULT_TIMEOUT,
        flush_timeout: float = 5.0,
        **options: Unpack[DeliveryOptions],
    ) -> None:
        target = check_url(url)
        if version not in ("1.0", "2.0"):
            raise ValueError(f"version must be '1.0' or '2.0', not {version!r}")
        _check_positive(
            max_samples=max_samples,
            queue_bytes=queue_bytes,
            attempts=attempts,
            gather_timeout=gather_timeout,
            flush_timeout=flush_timeout,
        )
        if "retry" in options or "raise_for_status" in options:
            raise TypeError("RemoteWriter retries by itself: remove retry and raise_for_status")
        check_headers(options.get("headers") or {})
        compress(b"")  # raises if the extra is not installed
        self._create_encoder = partial(
            WriteEncoder,
            external_labels=_check_labels({} if external_labels is None else external_labels),
            max_samples=max_samples,
            native_histograms=native_histograms,
        )
        self._gather_timeout = gather_timeout
        self._encoder = self._create_encoder("1.0")  # early, because it checks labels
        self._delivery = Delivery(**options)
        self._delivery.check_target(target)
        self._destination = redacted(target)
        failure_log = FailureLog(f"writes to {self._destination}")
        self._collection_log = FailureLog(f"collections for {self._destination}")
        self._sender = Sender(target, self._delivery, version, attempts, failure_log)
        folder = None if spool is None else check_folder(spool)
        self._outbox = Outbox(self._sender, self._destination, failure_log, queue_bytes, folder)
        self._version = self._sender.version
        self._flush_timeout = flush_timeout
        self._last_timestamp = 0
        self._write_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        if self._outbox.is_open:
            raise RuntimeError("the remote writer is already open")
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.flush(self._flush_timeout)
        finally:
            await self._close()

    async def _open(self) -> None:
        self._write_lock = asyncio.Lock()  # of the current event loop
        await self._delivery.open()
        try:
            await self._outbox.open()
        except BaseException:
            await self._delivery.close()
            raise

    async def _close(self) -> None:
        try:
            await self._outbox.close(self._flush_timeout)
        finally:
            await self._delivery.close()

    async def write(self, registry: CollectorRegistry) -> None:
        """Collect a registry, and queue its samples, all with the same timestamp.

        Args:
            registry: Registry to write. Series that have disappeared get a stale marker, so that a writer must always
                write the same registry.

        Raises:
            TypeError: ``registry`` is no registry.
            RuntimeError: The writer is not open: ``async with`` is missing.
            SpoolError: The folder cannot be written; the samples are lost.
        """
        check_registry(registry)
        self._check_open()
        async with self._write_lock:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._sender.negotiate(), _NEGOTIATION_TIMEOUT)
            if self._sender.version != self._version:
                await self._change_version(self._sender.version)
            self._outbox.metrics = registry.pushes
            gathering = await registry.async_gather(self._gather_timeout)
            families = await self._prepared(gathering.families)
            timestamp = self._next_timestamp()
            await self._put(self._encoder.encode(families, timestamp), timestamp)
            registry.report(self._encoder.faults)

    async def _prepared(self, families: Sequence[MetricFamily]) -> PreparedFamilies:
        """Prepare families for the server; many of them, or many names to escape, in a thread."""
        self._encoder.native_histograms &= self._sender.takes_native
        if self._encoder.is_large(families):
            return await own_threads.call(self._encoder.prepare, families)
        return self._encoder.prepare(families)

    async def _change_version(self, version: Version) -> None:
        """Start with new time series; the old ones end, because their names may differ."""
        if version == "2.0" and self._sender.takes_1_0:  # else the server would reject it
            await self._end()
        self._version = version
        self._encoder = self._create_encoder(version)

    async def _end(self) -> None:
        timestamp = self._next_timestamp()
        await self._put(self._encoder.end(timestamp), timestamp)

    async def _put(self, messages: Iterator[Message | None], timestamp: int) -> None:
        await self._outbox.put(self._version, messages, timestamp)

    async def end(self) -> None:
        """Queue stale markers for all series, as at the end of a program; errors as for ``write``."""
        self._check_open()
        async with self._write_lock:
            await self._end()

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until the queue is empty.

        Args:
            timeout: Timeout in seconds; ``None`` for none.

        Returns:
            Whether the queue is empty.

        Raises:
            RuntimeError: The writer is not open.
        """
        self._check_open()
        return await self._outbox.flush(timeout)

    async def run(
        self,
        registry: CollectorRegistry,
        interval: float = 15.0,
        *,
        exit_timeout: float = 5.0,
        on_sigterm: bool = True,
    ) -> None:
        """Write now, then every ``interval`` seconds until the task is cancelled, and once more on exit.

        After the last samples, all series get a stale marker. Failures do not end the task.

        Args:
            registry: Registry to write.
            interval: Seconds from one collection to the next.
            exit_timeout: Timeout of the shutdown, in seconds.
            on_sigterm: Also shut down on ``SIGTERM``, if the application does not handle that signal.

        Raises:
            TypeError: ``registry`` is no registry.
            ValueError: An option has an invalid value.
            SpoolError: The folder cannot be used, or another process uses it.
        """
        check_registry(registry)

        async def act() -> None:
            try:
                await self.write(registry)
            except SpoolError:  # logged by the outbox
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, the next write may succeed
                self._collection_log.failed(error)
            else:
                self._collection_log.worked()

        async def last() -> None:
            await act()
            with suppress(SpoolError):  # logged by the outbox
                await self.end()
            await self.flush()

        async with self._opened():
            await run_periodically(
                act, last, interval, exit_timeout=exit_timeout, on_sigterm=on_sigterm
            )

    @asynccontextmanager
    async def running(
        self,
        registry: CollectorRegistry,
        interval: float = 15.0,
        **options: Unpack[WriteRunOptions],
    ) -> AsyncIterator[Self]:
        """Run in the background for the block; arguments and errors as for ``run``."""
        check_registry(registry)
        check_intervals(interval, options.get("exit_timeout", 1.0))
        # It opens here, so that a folder that cannot be used raises before the block.
        async with self._opened(), running_in_background(self.run(registry, interval, **options)):
            yield self

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Send during the block, without a flush at its end; a writer that is open stays open."""
        if self._outbox.is_open:
            yield
            return
        await self._open()
        try:
            yield
        finally:
            await self._close()

    def _check_open(self) -> None:
        if not self._outbox.is_open:
            raise RuntimeError("use a remote writer inside 'async with'")

    def _next_timestamp(self) -> int:
        """Return the timestamp of a collection in milliseconds, always later than the last one (E100).

        Except if that was rejected because the clock was ahead: the server would reject all others until then.
        """
        now = int(time() * 1000)
        if now < self._last_timestamp == self._outbox.rejected:
            _logger.warning(
                "%s has rejected samples whose timestamps are %.0f s ahead of the clock now; new ones follow the clock",
                self._destination,
                (self._last_timestamp - now) / 1000,
            )
            self._last_timestamp = self._outbox.stored_until
        self._last_timestamp = max(now, self._last_timestamp + 1)
        return self._last_timestamp


def _check_positive(**options: Any) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} must be a number, not {value!r}")
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
    if not isinstance(options["max_samples"], int):
        raise TypeError(f"max_samples must be an int, not {options['max_samples']!r}")


def _check_labels(labels: Any) -> dict[str, str]:
    if not isinstance(labels, Mapping) or not all(isinstance(name, str) for name in labels):
        raise TypeError(f"external_labels must be a dict of names and values, not {labels!r}")
    return dict(labels)
