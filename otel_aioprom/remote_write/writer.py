"""The remote writer: collects registries, keeps what waits, and sends it in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from time import perf_counter, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from yarl import URL

from otel_aioprom._concurrency.periodic import Watch, check_times, ending_with_block, repeat
from otel_aioprom._transport.delivery import Delivery, shown
from otel_aioprom.errors import SpoolError
from otel_aioprom.registry.self_metrics import PushMetrics
from otel_aioprom.remote_write.encoder import SeriesTable
from otel_aioprom.remote_write.queue import Backlog, Entry, MemoryBacklog
from otel_aioprom.remote_write.sender import Sender, check_headers, compress
from otel_aioprom.remote_write.spool import Spool
from otel_aioprom.renderer import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from otel_aioprom._transport.delivery import DeliveryOptions
    from otel_aioprom.registry.registry import CollectorRegistry
    from otel_aioprom.remote_write.message import Message

_logger = logging.getLogger(__name__)

_SLICE = 0.001
_FIRST_PATIENCE = 5.0  # seconds in which a server says which version it knows, before it gets 1.0
_AFTER_TROUBLE = 1.0  # seconds before sending goes on after an error that nobody has thought of
_MEBIBYTE = 1 << 20


class WriteRunOptions(TypedDict, total=False):
    """The options of ``RemoteWriter.run``."""

    exit_timeout: float
    on_sigterm: bool


class RemoteWriter:
    """Writes registries to a server that speaks Prometheus remote write. Needs the extra ``remote-write``.

    Used with ``async with``: inside, a task sends what waits, one message at a time and in order, so that no sample
    overtakes an older one. What cannot be sent waits, and when too much waits, the oldest is dropped and counted.

    Args:
        url: The server's address for writes, such as ``http://localhost:9090/api/v1/write``.
        version: ``"1.0"``, which all servers know, or ``"2.0"``, with start times, and one metadata for each series. A
            server that does not know 2.0 gets 1.0.
        external_labels: Labels for each series that has none of that name, such as ``job`` and ``instance``.
        max_samples: Samples of a message.
        native_histograms: Whether histograms are sent as native ones where they are such.
        queue_bytes: Bytes that may wait, compressed.
        spool: Folder in which what waits is kept, so that it survives a restart; in memory if not given.
        attempts: How often a message is tried that gets a server into trouble, before it is dropped. A server that
            cannot be reached, or says that it has no time, is waited for.
        gather_timeout: Seconds that the registry's sources get to answer; what is late is left out.
        flush_timeout: Seconds that what waits gets to arrive when the block ends.
        **options: As for ``delivery.Delivery``, but for ``retry`` and ``raise_for_status``.

    Raises:
        ValueError: An option has no such value.
        TypeError: An option is of another kind.
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
        target = _target(url)
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
            raise TypeError(
                "a remote writer tries again by itself: leave out retry and raise_for_status"
            )
        check_headers(options.get("headers") or {})
        compress(b"")  # says at once if the extra is missing
        self._external = _checked_labels({} if external_labels is None else external_labels)
        self._max_samples = max_samples
        self._native = native_histograms
        self._gather_timeout = gather_timeout
        self._table = self._make_table("1.0")  # before anything is opened: it checks labels
        self._delivery = Delivery(**options)
        self._delivery.check_target(target)
        self._destination = shown(target)
        self._watch = Watch(f"writes to {self._destination}")
        self._sender = Sender(target, self._delivery, version, attempts, self._watch)
        self._folder = None if spool is None else _checked_folder(spool)
        self._queue_bytes = queue_bytes
        self._spool: Spool | None = None
        self._backlog: Backlog = MemoryBacklog(queue_bytes)
        self._metrics = PushMetrics()
        self._version = self._sender.version
        self._flush_timeout = flush_timeout
        self._last_moment = 0
        self._writing = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    def _make_table(self, version: str) -> SeriesTable:
        return SeriesTable(
            "2.0" if version == "2.0" else "1.0",
            self._external,
            max_samples=self._max_samples,
            native_histograms=self._native,
        )

    async def __aenter__(self) -> Self:
        if self._sending is not None:
            raise RuntimeError("the remote writer is in use already")
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.flush(self._flush_timeout)
        finally:
            await self._close()

    async def _open(self) -> None:
        """Make what belongs to one event loop, and one use of the folder."""
        if self._folder is not None:
            # At once: a run that is cancelled while it begins has a way out to take.
            self._spool = Spool(self._folder, self._queue_bytes)
            self._backlog = self._spool
        else:
            self._backlog = MemoryBacklog(self._queue_bytes)
        self._writing, self._arrived, self._idle = asyncio.Lock(), asyncio.Event(), asyncio.Event()
        await self._delivery.open()
        self._sending = asyncio.create_task(self._send_all())

    async def _close(self) -> None:
        """Stop sending; what waits in memory is lost, and that is said."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending])
        await self._delivery.close()
        if self._spool is not None:
            self._spool.close()
        elif len(self._backlog):
            _logger.error(
                "%d messages for %s are lost: the program ends before they arrive",
                len(self._backlog),
                self._destination,
            )

    async def write(self, registry: CollectorRegistry) -> None:
        """Collect a registry, and put it behind what waits; every sample gets the same time.

        Args:
            registry: What to write. Series that it has no longer are marked as ended, so one writer writes one registry.

        Raises:
            RuntimeError: The writer is not in use: ``async with`` is missing.
            SpoolError: Nothing can be kept in the folder; what was collected is lost.
        """
        self._check_use()
        async with self._writing:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._sender.agree(), _FIRST_PATIENCE)
            if self._sender.version != self._version:
                await self._change_version(self._sender.version)
            self._metrics = registry.pushes
            gathering = await registry.async_gather(self._gather_timeout)
            await self._keep(self._table.messages(gathering.families, self._moment()))
            registry.report(self._table.faults)

    async def _change_version(self, version: str) -> None:
        """Begin with new series; the old ones end, for they may have had other names."""
        if version == "2.0":  # a server that knows it no longer would refuse this
            await self._keep(self._table.end(self._moment()))
        self._version = version
        self._table = self._make_table(version)

    async def end(self) -> None:
        """Mark all series as ended, as a program does that goes away for good; raises as ``write``."""
        self._check_use()
        async with self._writing:
            await self._keep(self._table.end(self._moment()))

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until nothing waits any more.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether everything has left.

        Raises:
            RuntimeError: The writer is not in use.
        """
        self._check_use()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout)
        return self._idle.is_set()

    async def run(
        self,
        registry: CollectorRegistry,
        interval: float = 15.0,
        *,
        exit_timeout: float = 5.0,
        on_sigterm: bool = True,
    ) -> None:
        """Write at once and every ``interval`` seconds, until the task is cancelled, and once more then.

        The last samples are followed by markers that all series have ended. Nothing that fails ends this.

        Args:
            registry: What to write.
            interval: Seconds from one collection to the next.
            exit_timeout: Seconds that the way out may take.
            on_sigterm: Take the way out on ``SIGTERM`` too, if the application does not handle that signal.

        Raises:
            ValueError: An option has no such value.
        """

        async def act() -> None:
            try:
                await self.write(registry)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one may succeed
                self._watch.failed(error)

        async def last() -> None:
            await act()
            await self.end()
            await self.flush()

        async with self._opened():
            await repeat(act, last, interval, exit_timeout=exit_timeout, on_sigterm=on_sigterm)

    @asynccontextmanager
    async def running(
        self,
        registry: CollectorRegistry,
        interval: float = 15.0,
        **options: Unpack[WriteRunOptions],
    ) -> AsyncIterator[Self]:
        """Run while the block runs; arguments and errors as for ``run``."""
        check_times(interval, options.get("exit_timeout", 1.0))
        async with ending_with_block(self.run(registry, interval, **options)):
            yield self

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Send while a run lasts, which has waited for what is left when it ends."""
        if self._sending is not None:
            yield
            return
        await self._open()
        try:
            yield
        finally:
            await self._close()

    def _check_use(self) -> None:
        if self._sending is None:
            raise RuntimeError("a remote writer works inside 'async with'")

    def _moment(self) -> int:
        """Return the time of a collection in milliseconds: later than the last one, whatever the clock says (E100)."""
        self._last_moment = max(int(time() * 1000), self._last_moment + 1)
        return self._last_moment

    async def _keep(self, messages: Iterator[Message | None]) -> None:
        """Put messages into the backlog as they are made, in slices."""
        deadline = perf_counter() + _SLICE
        for message in messages:
            if message is not None:
                count = message.samples + message.histograms
                entry = Entry(self._version, count, compress(message.body))
                try:
                    dropped = await self._backlog.put(entry)
                except SpoolError:
                    self._count("lost", count)
                    raise
                self._count("dropped", dropped)
                self._idle.clear()
                self._arrived.set()
            if perf_counter() > deadline:
                await asyncio.sleep(0)
                deadline = perf_counter() + _SLICE

    async def _send_all(self) -> None:
        while True:
            try:
                await self._send_next()
            except Exception as error:  # noqa: BLE001 - whatever it is, what waits must not wait for ever
                self._watch.failed(error)
                await asyncio.sleep(_AFTER_TROUBLE)

    async def _send_next(self) -> None:
        """Send the first message that waits, or wait for one."""
        entry = await self._backlog.first()
        if entry is None:
            if not len(self._backlog):  # nothing has come while it was looked for
                self._idle.set()
                await self._arrived.wait()
            self._arrived.clear()
            return
        began = perf_counter()
        outcome = await self._sender.send(entry)
        await self._backlog.done()
        size, seconds = len(entry.body), perf_counter() - began
        self._metrics.count(self._destination, outcome.code, size, seconds)
        self._count("sent", outcome.sent)
        self._count("refused", outcome.lost)
        if outcome.sent:
            self._metrics.last.set({"destination": self._destination}, time())

    def _count(self, outcome: str, samples: int) -> None:
        self._metrics.waiting.set({"destination": self._destination}, self._backlog.size)
        if samples:
            labels = {"destination": self._destination, "outcome": outcome}
            self._metrics.samples.add(labels, samples)


def _check_positive(**options: Any) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} must be a number, not {value!r}")
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
    if not isinstance(options["max_samples"], int):
        raise TypeError(f"max_samples must be an int, not {options['max_samples']!r}")


def _target(url: Any) -> URL:
    wrong = f"url must be an address such as 'http://localhost:9090/api/v1/write', not {url!r}"
    if not isinstance(url, str):
        raise TypeError(wrong)
    try:
        target = URL(url)
        known = target.scheme in {"http", "https"} and target.host and target.port
    except ValueError as error:
        raise ValueError(f"{wrong}: {error}") from error
    if not known:
        raise ValueError(wrong)
    return target


def _checked_labels(labels: Any) -> dict[str, str]:
    if not isinstance(labels, Mapping) or not all(isinstance(name, str) for name in labels):
        raise TypeError(f"external_labels must be a dict of names and values, not {labels!r}")
    return dict(labels)


def _checked_folder(spool: Any) -> str:
    path = os.fspath(spool) if isinstance(spool, (str, os.PathLike)) else ""
    if not path or "\0" in path:
        raise ValueError(f"spool must be a folder, not {spool!r}")
    return path
