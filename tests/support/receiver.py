"""Remote write messages that the fake gateway has received, and senders to test alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cramjam
import pytest
from aiohttp import web
from yarl import URL

from gateway import Answer, Gateway, Push
from oracles import DEADLINE
from otel_aioprom._transport.delivery import Delivery
from otel_aioprom.remote_write.sending.failure_log import FailureLog
from otel_aioprom.remote_write.sending.outcome import Outcome
from otel_aioprom.remote_write.sending.protocol import compress
from otel_aioprom.remote_write.sending.queue import MessageQueue, QueuedMessage
from otel_aioprom.remote_write.sending.sender import Sender
from otel_aioprom.remote_write.sending.spool import Spool
from write_model import Point, read_points

WRITTEN = {"X-Prometheus-Remote-Write-Samples-Written": "999999"}
TAKEN_1 = Answer(204)
TAKEN_2 = Answer(204, headers=WRITTEN)
REAL_SLEEP = asyncio.sleep
VERSIONS = {"0.1.0": "1.0", "2.0.0": "2.0"}


def url_of(gateway: Gateway) -> str:
    """URL of the write endpoint."""
    return f"{gateway.url}/api/v1/write"


def version_of(push: Push) -> str:
    """The version in the headers of a message."""
    return VERSIONS[push.headers["X-Prometheus-Remote-Write-Version"]]


def points_of(push: Push) -> list[Point]:
    """The series of a message; of an empty one, none."""
    body = bytes(cramjam.snappy.decompress_raw(push.body))
    return read_points(version_of(push), body) if body else []


def value_of(push: Push, name: str) -> Any:
    """The value of the one series of a name, or ``None``."""
    found = [point.value for point in points_of(push) if ("__name__", name) in point.labels]
    assert len(found) <= 1
    return found[0] if found else None


def values(gateway: Gateway, name: str) -> list[float]:
    """All values of a series in the order of arrival, without stale markers."""
    every = [point for push in gateway.requests for point in points_of(push)]
    return [
        point.value
        for point in every
        if ("__name__", name) in point.labels and point.value is not None and not point.is_stale
    ]


class Judge(Gateway):
    """A server whose answer depends on what it gets.

    Args:
        judge: Returns the answer to a request.
    """

    def __init__(self, judge: Callable[[Push], Answer]) -> None:
        super().__init__()
        self._judge = judge

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._record(request, whole=True)
        answer = self._judge(self.requests[-1])
        return web.Response(status=answer.status, text=answer.text, headers=answer.headers)


# --- senders alone ---------------------------------------------------------------------


def message(number: int = 1, version: str = "1.0") -> QueuedMessage:
    """A distinguishable message of three samples."""
    return QueuedMessage(version, 3, compress(bytes([number])))


def entry(number: int, size: int = 10) -> QueuedMessage:
    """A distinguishable message, of ``number`` samples."""
    return QueuedMessage("1.0", number, bytes([number]) * size)


@asynccontextmanager
async def spool_in(folder: Path, limit: int = 1000) -> AsyncIterator[Spool]:
    """A spool, which is closed at the end."""
    spool = await Spool.open(folder, limit)
    try:
        yield spool
    finally:
        assert await spool.close()


async def taken(queue: MessageQueue) -> list[int]:
    """Remove all messages; return their numbers of samples in order."""
    found = []
    while (first := await queue.first()) is not None:
        found.append(first.samples)
        await queue.done()
    return found


@asynccontextmanager
async def sending_to(
    url: str, preferred: str = "1.0", attempts: int = 10, **options: Any
) -> AsyncIterator[Sender]:
    """A sender with a session."""
    delivery = Delivery(**options)
    async with delivery.opened():
        yield Sender(URL(url), delivery, preferred, attempts, FailureLog("writes"))


async def outcome_of(
    gateway: Gateway, entry: QueuedMessage | None = None, preferred: str = "1.0", **options: Any
) -> Outcome:
    """The outcome of one message."""
    async with sending_to(url_of(gateway), preferred, **options) as sender:
        return await asyncio.wait_for(sender.send(entry or message()), DEADLINE)


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list of the waits between attempts, which grows; the waits themselves take no time."""
    found: list[float] = []

    async def sleep(seconds: float, *rest: Any) -> None:
        found.append(seconds)
        await REAL_SLEEP(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found
