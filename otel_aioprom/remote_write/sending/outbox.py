"""Outbox: the queue of messages, the task that sends them in order, and what is counted and logged of both."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter, time

from otel_aioprom._concurrency.time_slices import time_slices
from otel_aioprom.errors import SpoolError
from otel_aioprom.registry.self_metrics import PushMetrics
from otel_aioprom.remote_write.message import Message
from otel_aioprom.remote_write.sending.failure_log import FailureLog
from otel_aioprom.remote_write.sending.outcome import Outcome
from otel_aioprom.remote_write.sending.protocol import compress
from otel_aioprom.remote_write.sending.queue import MemoryQueue, MessageQueue, QueuedMessage
from otel_aioprom.remote_write.sending.sender import Sender
from otel_aioprom.remote_write.sending.spool import Spool

_logger = logging.getLogger(__name__)

_ERROR_PAUSE = 1.0  # seconds after an unexpected error


class Outbox:
    """Keep messages, and send them one by one and in order while it is open.

    Args:
        sender: Sends them.
        destination: Where to, for the log and the metrics.
        failure_log: Logs when sending fails.
        queue_bytes: Maximum size of the queue, in bytes.
        spool: Folder for the queue; in memory if not given.

    Attributes:
        metrics: Where to count.
        stored_until: The newest timestamp of which the server has stored samples.
        rejected: The last timestamp that the server has rejected as out of bounds.
    """

    def __init__(
        self,
        sender: Sender,
        destination: str,
        failure_log: FailureLog,
        queue_bytes: int,
        spool: str | os.PathLike[str] | None,
    ) -> None:
        self._sender = sender
        self._destination = destination
        self._failure_log = failure_log
        self._spool_log = FailureLog(f"spooled messages for {destination}")
        self._drop_log = FailureLog(f"queued messages for {destination}")
        self._queue_bytes = queue_bytes
        self._spool_path = spool
        self._spool: Spool | None = None
        self._task: asyncio.Task[None] | None = None
        self.queue: MessageQueue = MemoryQueue(queue_bytes)
        self.metrics = PushMetrics()
        self.stored_until = self.rejected = 0

    @property
    def is_open(self) -> bool:
        """Whether messages are sent."""
        return self._task is not None

    async def open(self) -> None:
        """Open the queue, and start sending.

        Raises:
            SpoolError: The folder cannot be used, or another process uses it.
        """
        if self._spool_path is not None:
            self.queue = self._spool = await Spool.open(self._spool_path, self._queue_bytes)
        else:
            self.queue = MemoryQueue(self._queue_bytes)
        self._not_empty, self._idle = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._send_all())

    async def close(self, timeout: float) -> None:
        """Stop sending; a queue in memory is lost, which is logged.

        Args:
            timeout: Seconds to wait for a disk that hangs.
        """
        task, self._task = self._task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        finally:
            await self._close_queue(timeout)

    async def _close_queue(self, timeout: float) -> None:
        for log in (self._failure_log, self._spool_log, self._drop_log):
            log.close()
        if self._spool is not None:
            if not await self._spool.close(timeout):
                _logger.error("the disk of %r does not respond: it stays locked", self._spool_path)
        elif len(self.queue):
            lost = len(self.queue)
            _logger.error("%d messages for %s are lost on exit", lost, self._destination)

    async def flush(self, timeout: float | None) -> bool:
        """Wait until the queue is empty; see ``RemoteWriter.flush``."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout)
        return self._idle.is_set()

    async def put(self, version: str, messages: Iterator[Message | None], timestamp: int) -> None:
        """Queue messages as they are encoded, in the time slices that all work on the event loop shares.

        Args:
            version: Version of the protocol.
            messages: The messages; ``None`` between batches.
            timestamp: Timestamp of their samples.

        Raises:
            SpoolError: A message cannot be written. It is lost; the others are queued all the same.
        """
        failure: SpoolError | None = None
        slices = time_slices()
        await slices.begin()
        for message in messages:
            if message is not None:
                count = message.samples + message.histograms
                queued = QueuedMessage(version, count, compress(message.body), timestamp)
                try:
                    await self._put(queued)
                except SpoolError as error:
                    self._count("lost", count)
                    self._spool_log.failed(error, count)
                    failure = failure or error
            if slices.over():
                await slices.begin()
        if failure is not None:
            raise failure

    async def _put(self, queued: QueuedMessage) -> None:
        dropped = await self.queue.put(queued)
        self._count("dropped", dropped)
        if dropped:
            reason = f"the queue is full (queue_bytes={self._queue_bytes}): the oldest samples are dropped"
            self._drop_log.failed(reason, dropped)
        self._spool_log.worked()
        self._idle.clear()
        self._not_empty.set()

    async def _send_all(self) -> None:
        while True:
            try:
                await self._send_next()
            except SpoolError as error:
                self._spool_log.failed(error)
                await asyncio.sleep(_ERROR_PAUSE)
            except Exception as error:  # noqa: BLE001 - whatever it is, sending must go on
                self._failure_log.failed(error)
                await asyncio.sleep(_ERROR_PAUSE)

    async def _send_next(self) -> None:
        """Send the first message of the queue, or wait for one."""
        queued = await self.queue.first()
        if queued is None:
            if not len(self.queue):  # no message was added meanwhile
                self._idle.set()
                self._drop_log.worked()
                await self._not_empty.wait()
            self._not_empty.clear()
            return
        began = perf_counter()
        outcome = await self._sender.send(queued)
        self._count_outcome(queued, outcome, perf_counter() - began)
        await self.queue.done()
        self._count_waiting()

    def _count_outcome(self, queued: QueuedMessage, outcome: Outcome, seconds: float) -> None:
        self.metrics.count(self._destination, outcome.code, len(queued.body), seconds)
        self._count("sent", outcome.sent)
        self._count("refused", outcome.lost)
        if outcome.sent:
            self.metrics.last.set({"destination": self._destination}, time())
            self.stored_until = max(self.stored_until, queued.timestamp)
        elif outcome.out_of_bounds:
            self.rejected = queued.timestamp

    def _count(self, outcome: str, samples: int) -> None:
        self._count_waiting()
        if samples:
            labels = {"destination": self._destination, "outcome": outcome}
            self.metrics.samples.add(labels, samples)

    def _count_waiting(self) -> None:
        self.metrics.waiting.set({"destination": self._destination}, self.queue.size)
