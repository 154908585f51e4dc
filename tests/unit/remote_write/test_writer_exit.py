"""Shutdown of a remote writer: timeouts, and abandoned writes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from oracles import DEADLINE, until
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import SpoolError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.sending.queue import QueuedMessage
from otel_aioprom.remote_write.sending.spool import Spool
from otel_aioprom.remote_write.sending.spool_folder import SpoolFolder
from otel_aioprom.remote_write.writer import RemoteWriter

AWAY = "http://127.0.0.1:9/api/v1/write"
ALLOWED = 0.2


def levels() -> CollectorRegistry:
    """A registry with one sample."""
    registry = CollectorRegistry()
    Gauge("level", "Level.", registry=registry).set({}, 1)
    return registry


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_the_shutdown_takes_as_long_as_allowed(
    tmp_path: Path, version: Any, spooled: bool
) -> None:
    """For an unreachable server, with the timeout for one that responds."""
    writer = RemoteWriter(AWAY, version=version, spool=tmp_path if spooled else None)
    loop = asyncio.get_running_loop()
    async with writer.running(levels(), interval=3600, exit_timeout=ALLOWED):
        await asyncio.sleep(0)
        began = loop.time()
    took = loop.time() - began

    assert took < 10 * ALLOWED


@pytest.mark.parametrize("steps", range(8))
async def test_a_shutdown_that_is_cancelled_frees_the_folder(tmp_path: Path, steps: int) -> None:
    """At whichever step it is cancelled: another writer can use the folder, and no task goes on."""
    before = asyncio.all_tasks()
    writer = RemoteWriter(AWAY, spool=tmp_path)
    await writer.__aenter__()
    assert await writer.flush(DEADLINE)
    closing = asyncio.ensure_future(writer.__aexit__())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing], timeout=DEADLINE)
    if not steps:  # it has not begun
        await writer.__aexit__()

    def is_free() -> bool:
        try:
            SpoolFolder(tmp_path, 1).close()
        except SpoolError:  # the thread has not closed it yet
            return False
        return True

    await until(is_free)
    assert asyncio.all_tasks() == before


async def test_an_abandoned_put_affects_no_other_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes it cannot be stopped: the next one waits for it, and both are whole."""
    reached, opened, write = threading.Event(), threading.Event(), Path.write_bytes
    written = []

    def write_slowly(path: Path, content: bytes) -> int:
        written.append(content)
        reached.set()
        assert opened.wait(DEADLINE)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_slowly)
    spool = await Spool.open(tmp_path, 1 << 20)
    first = asyncio.create_task(spool.put(QueuedMessage("1.0", 1, b"first")))
    assert await asyncio.to_thread(reached.wait, DEADLINE)
    first.cancel()
    second = asyncio.create_task(spool.put(QueuedMessage("1.0", 1, b"second")))
    await asyncio.wait([second], timeout=0.3)
    together = list(written)
    opened.set()
    await asyncio.wait([first, second], timeout=DEADLINE)
    found = []
    while (entry := await spool.first()) is not None:
        found.append(entry.body)
        await spool.done()
    left = (len(spool), spool.size)
    assert await spool.close()

    assert together == [b"first"]
    assert second.exception() is None
    assert found in ([b"first", b"second"], [b"second"])
    assert left == (0, 0)
