"""The spool's thread: neither a disk that hangs nor a folder with many files holds up anything else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from oracles import DEADLINE, until
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import SpoolError
from otel_aioprom.remote_write.sending import disk_thread, spool_folder
from otel_aioprom.remote_write.sending.spool_folder import SpoolFolder
from otel_aioprom.remote_write.writer import RemoteWriter
from otel_aioprom.renderer import async_render
from pushed import LONG, levels
from receiver import TAKEN_1, entry, spool_in, taken, url_of, values

AWAY = "http://127.0.0.1:9/api/v1/write"
SHORT = 0.1
HANGS_AND_ENDS = """
import asyncio, sys, time
from pathlib import Path
from otel_aioprom import CollectorRegistry, Gauge, RemoteWriter

Path.write_bytes = lambda path, content: time.sleep(3600)

async def main():
    registry = CollectorRegistry()
    Gauge("g", "Level.", registry=registry).set({}, 1)
    writer = RemoteWriter(sys.argv[1], spool=sys.argv[2], flush_timeout=0.1)
    async with writer.running(registry, exit_timeout=0.1):
        await asyncio.sleep(0.1)

asyncio.run(main())
print("ended")
"""


class HangingDisk:
    """A disk on which writing hangs until it is let go.

    Attributes:
        reached: Set when something is written.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self._go = threading.Event()
        write = Path.write_bytes

        def hang(path: Path, content: bytes) -> int:
            self.reached.set()
            assert self._go.wait(6 * DEADLINE)  # until the test ends
            return write(path, content)

        patch.setattr(Path, "write_bytes", hang)

    async def wait_reached(self) -> None:
        """Wait until something is written."""
        assert await asyncio.to_thread(self.reached.wait, DEADLINE)

    def let_go(self) -> None:
        """Go on."""
        self._go.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingDisk]:
    """A disk that hangs until the end of the test."""
    made = HangingDisk(monkeypatch)
    yield made
    made.let_go()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk is taken to hang after a short while."""
    monkeypatch.setattr(disk_thread, "TIMEOUT", SHORT)


# --- a disk that hangs -----------------------------------------------------------------------


async def test_writers_on_a_disk_that_hangs_do_not_touch_scrapes(
    tmp_path: Path, disk: HangingDisk
) -> None:
    """However many: none of them is in the pool that encodes large scrapes."""
    large = levels(1)
    for number in range(150):
        Gauge(f"g{number}", "Level.", registry=large).set({}, number)
    async with AsyncExitStack() as opened:
        for number in range(8):
            writer = RemoteWriter(AWAY, spool=tmp_path / str(number), flush_timeout=SHORT)
            await opened.enter_async_context(writer.running(levels(1), LONG, exit_timeout=SHORT))
        await disk.wait_reached()
        body, _ = await asyncio.wait_for(async_render(large), DEADLINE)
        disk.let_go()

    assert b"g149 149" in body


async def test_a_disk_that_hangs_is_an_error(
    tmp_path: Path, disk: HangingDisk, short: None
) -> None:
    """After a timeout; while it hangs, further calls fail at once. Then all goes on, in order."""
    async with spool_in(tmp_path) as spool:
        with pytest.raises(SpoolError, match="the disk does not respond for"):
            await spool.put(entry(1))
        loop = asyncio.get_running_loop()
        while True:  # it hangs for longer than the timeout
            began = loop.time()
            with pytest.raises(SpoolError):
                await spool.put(entry(2))
            if loop.time() - began < SHORT / 2:
                break
        disk.let_go()
        await until(lambda: len(spool) == 1)
        await spool.put(entry(3))
        found = await taken(spool)

    assert found == [1, 3]


async def test_samples_for_a_disk_that_hangs_are_counted_and_logged(
    tmp_path: Path, disk: HangingDisk, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    """As for one that is full."""
    registry = levels(1, 2)
    async with RemoteWriter(AWAY, spool=tmp_path, flush_timeout=SHORT) as writer:
        with pytest.raises(SpoolError):
            await writer.write(registry)
        disk.let_go()
    lost = {labels["outcome"]: value for labels, value in registry.pushes.samples.get_all()}

    assert lost == {"lost": 2}
    assert "the disk does not respond" in caplog.text


async def test_whoever_cancels_does_not_wait_for_the_disk(
    tmp_path: Path, disk: HangingDisk
) -> None:
    """The thread finishes what it has begun; what it has not begun is not written."""
    async with spool_in(tmp_path) as spool:
        first = asyncio.create_task(spool.put(entry(1)))
        await disk.wait_reached()
        second = asyncio.create_task(spool.put(entry(2)))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        done, _ = await asyncio.wait([first, second], timeout=DEADLINE)
        assert len(done) == 2
        disk.let_go()
        await spool.put(entry(3))

        assert await taken(spool) == [1, 3]


@pytest.mark.skipif(os.name != "posix", reason="there are no such locks")
async def test_a_folder_that_hangs_on_entry_is_free_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    """The block is not entered, and nobody keeps the lock when the disk goes on."""
    go, closed, close = threading.Event(), threading.Event(), SpoolFolder.close
    make = Path.mkdir

    def hang(path: Path, *arguments: Any, **options: Any) -> None:
        assert go.wait(DEADLINE)
        make(path, *arguments, **options)

    def tell(folder: SpoolFolder) -> None:
        close(folder)
        closed.set()

    monkeypatch.setattr(Path, "mkdir", hang)
    monkeypatch.setattr(SpoolFolder, "close", tell)
    with pytest.raises(SpoolError, match="the disk does not respond"):
        async with RemoteWriter(AWAY, spool=tmp_path / "spool"):
            pytest.fail("the block runs")
    go.set()
    assert await asyncio.to_thread(closed.wait, DEADLINE)
    SpoolFolder(tmp_path / "spool", 10).close()


def test_a_disk_that_hangs_does_not_keep_a_program_from_ending(tmp_path: Path) -> None:
    """Neither its loop nor its process."""
    words = [sys.executable, "-c", HANGS_AND_ENDS, AWAY, str(tmp_path / "spool")]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    assert result.stdout == "ended\n"
    assert result.returncode == 0
    assert "the disk of" in result.stderr
    assert "does not respond" in result.stderr


# --- entering --------------------------------------------------------------------------------


async def test_a_folder_is_read_outside_of_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold many files: entering does not wait for them on the loop."""
    folder = SpoolFolder(tmp_path, 1 << 20)
    for number in range(1, 21):
        folder.put(entry(number))
    folder.close()
    threads, scandir = set(), os.scandir

    def scan(path: Path) -> Any:
        threads.add(threading.get_ident())
        return scandir(path)

    monkeypatch.setattr(spool_folder, "scandir", scan)
    async with spool_in(tmp_path, 1 << 20) as spool:
        assert len(spool) == 20

    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def enter(writer: RemoteWriter, how: str, entered: list[str]) -> None:
    """Use a writer in one of the ways that there are; append the way if the block runs."""
    if how == "run":
        await writer.run(levels(1), LONG)
    async with writer if how == "block" else writer.running(levels(1), LONG):
        entered.append(how)


@pytest.mark.parametrize("how", ["block", "running", "run"])
async def test_an_unusable_folder_raises_on_entry(tmp_path: Path, how: str) -> None:
    """Whichever way it is entered: it does not run without a word, and raise at the end."""
    (tmp_path / "file").write_text("")
    entered: list[str] = []
    with Gateway(default=TAKEN_1) as gateway:
        writer = RemoteWriter(url_of(gateway), spool=tmp_path / "file")
        with pytest.raises(SpoolError, match="file"):
            await asyncio.wait_for(enter(writer, how, entered), DEADLINE)
        (tmp_path / "file").unlink()
        async with writer:
            await writer.write(levels(7))

    assert entered == []
    assert values(gateway, "a") == [7]


@pytest.mark.no_cover
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
async def test_a_forked_child_does_not_keep_the_folder(tmp_path: Path) -> None:
    """It outlives its parent's writer; the lock goes with that one."""
    ready, begun = os.pipe()
    async with spool_in(tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads run
            child = os.fork()
        if not child:
            os.write(begun, b"1")
            signal.pause()
            os._exit(0)
        await asyncio.to_thread(os.read, ready, 1)
        with pytest.raises(SpoolError, match="another process uses it"):
            SpoolFolder(tmp_path, 10)
    try:
        SpoolFolder(tmp_path, 10).close()
    finally:
        os.kill(child, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, child, 0)
        os.close(ready)
        os.close(begun)
