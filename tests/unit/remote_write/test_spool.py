"""The spool in bad times: files that are not what they should be, disks that refuse, folders that others use."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway import Answer, Gateway
from oracles import DEADLINE, until
from otel_aioprom.errors import SpoolError
from otel_aioprom.remote_write.sending import spool_folder
from otel_aioprom.remote_write.sending.spool import Spool
from otel_aioprom.remote_write.sending.spool_folder import SpoolFolder
from otel_aioprom.remote_write.writer import RemoteWriter
from otel_aioprom.renderer import render
from pushed import levels
from receiver import TAKEN_1, entry, spool_in, taken, url_of, values

HOLDER = """
import sys
from otel_aioprom.remote_write.sending.spool_folder import SpoolFolder
spool = SpoolFolder(sys.argv[1], 1000)
print("held", flush=True)
sys.stdin.read()
"""
posix = pytest.mark.skipif(os.name != "posix", reason="there are no such locks")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is there, and empty."""
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest_asyncio.fixture
async def spool(folder: Path) -> AsyncIterator[Spool]:
    """A spool in the folder."""
    async with spool_in(folder) as spool:
        yield spool


def file_of(folder: Path, number: int, version: str = "1.0") -> Path:
    """The file of a message."""
    return folder / f"{number:016d}-{version}-1.snappy"


def names_in(folder: Path) -> list[str]:
    """What lies in the folder."""
    return sorted(each.name for each in folder.iterdir())


def take_away(folder: Path) -> None:
    """Remove a folder in which nothing waits."""
    (folder / "lock").unlink()
    folder.rmdir()


def refusing(number: int) -> Any:
    """A method of paths that fails with an error of the system."""

    def method(path: Path, *arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return method


# --- files that are not what they should be --------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\xff\x06\x00\x00sNaPpY", bytes(100), b"torn"])
async def test_a_file_that_is_damaged_costs_itself(folder: Path, content: bytes) -> None:
    """A server refuses it; what comes behind is sent."""
    file_of(folder, 1).write_bytes(content)
    with Gateway(Answer(400, "snappy: corrupt input"), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), spool=folder) as writer:
            await writer.write(levels(7))
            assert await writer.flush(DEADLINE)

    assert gateway.requests[0].body == content
    gateway.requests.pop(0)
    assert values(gateway, "a") == [7]
    assert names_in(folder) == ["lock"]


async def test_files_of_unknown_versions_are_ignored(folder: Path) -> None:
    """A later release may have left it."""
    file_of(folder, 1, "3.0").write_bytes(b"later")
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), spool=folder, flush_timeout=0.1) as writer:
            await writer.write(levels(7))
            assert await writer.flush(3)

    assert values(gateway, "a") == [7]


async def test_a_folder_named_like_a_message_is_passed_over(folder: Path) -> None:
    """Its size does not count any more."""
    file_of(folder, 1).mkdir()
    async with spool_in(folder, 1000) as spool:
        await spool.put(entry(2))

        assert await taken(spool) == [2]
        assert (len(spool), spool.size) == (0, 0)


def test_what_others_have_begun_is_not_removed(folder: Path) -> None:
    """Only its own unfinished messages are: a download bears that suffix too."""
    (folder / "film.part").write_text("half")
    SpoolFolder(folder, 1000).close()

    assert (folder / "film.part").exists()


# --- disks that refuse -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_a_temporary_read_error_loses_nothing(
    folder: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The files still exist: too many open files are a temporary error."""
    for count in (1, 2, 3):
        await spool.put(entry(count))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refusing(number))
        with suppress(OSError):
            assert await spool.first() is None
    found = await taken(spool)

    assert found == [1, 2, 3]
    assert names_in(folder) == ["lock"]


async def test_what_has_arrived_is_counted_even_if_it_cannot_be_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has it; it is sent once by this run."""
    registry = levels(7)
    monkeypatch.setattr(Path, "unlink", refusing(errno.EACCES))
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), spool=folder) as writer:
            await writer.write(registry)
            await gateway.arrived(1)
            await until(lambda: not len(writer._outbox.queue))
            await writer.flush(0.1)
        text = render(registry)[0].decode()

    assert values(gateway, "a") == [7]
    assert 'outcome="sent"} 1\n' in text


async def test_a_message_that_is_kept_is_not_refused_for_one_that_cannot_be_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files cannot be deleted; the new message is added all the same, and the dropped samples are counted."""
    async with spool_in(folder, 10) as spool:
        await spool.put(entry(1))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refusing(errno.EACCES))
            assert await spool.put(entry(2)) == 1

        assert await taken(spool) == [2]


async def test_a_deleted_folder_is_a_spool_error(folder: Path) -> None:
    """Whatever replaces it, and also for the next message."""
    async with spool_in(folder, 1000) as spool:
        take_away(folder)
        for _ in range(2):
            with pytest.raises(SpoolError, match="No such file"):
                await spool.put(entry(1))
        (folder.parent / "spool").write_text("a file")
        with pytest.raises(SpoolError, match="Not a directory"):
            await spool.put(entry(1))
        assert (len(spool), spool.size) == (0, 0)
        assert await spool.first() is None


async def test_a_message_that_was_not_kept_leaves_no_gap(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step fails; the order is that of what was kept."""
    for number, step in enumerate(("write_bytes", "replace"), 1):
        with monkeypatch.context() as patch:
            patch.setattr(Path, step, refusing(errno.ENOSPC))
            with pytest.raises(SpoolError, match="No space left"):
                await spool.put(entry(9))
        await spool.put(entry(number))

    assert await taken(spool) == [1, 2]


# --- folders that others use -----------------------------------------------------------------


@posix
def test_another_process_is_kept_out_until_it_ends(folder: Path) -> None:
    """Also by one that is killed."""
    words = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SpoolError, match="another process uses it"):
            SpoolFolder(folder, 1000)
        holder.kill()
        holder.wait(DEADLINE)
    SpoolFolder(folder, 1000).close()


@posix
async def test_each_block_of_a_writer_has_its_folder_for_itself(folder: Path) -> None:
    """The second as the first: two processes would overwrite each other's messages."""
    with Gateway(default=TAKEN_1) as gateway:
        writer = RemoteWriter(url_of(gateway), spool=folder)
        for value in (1, 2):
            async with writer:
                await writer.write(levels(value))
                with pytest.raises(SpoolError, match="another process uses it"):
                    SpoolFolder(folder, 1000).close()

    assert values(gateway, "a") == [1, 2]


@posix
def test_a_folder_that_is_refused_is_free_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays open behind an error."""
    with monkeypatch.context() as patch:
        patch.setattr(spool_folder, "scandir", refusing(errno.EIO))
        with pytest.raises(SpoolError, match="Input/output error"):
            SpoolFolder(folder, 1000)
    gc.collect()
    SpoolFolder(folder, 1000).close()


@posix
def test_a_writer_that_is_never_used_leaves_nothing_open(folder: Path) -> None:
    """It may have been made to check the options, or another one failed."""
    RemoteWriter("http://127.0.0.1:9/", spool=folder)
    gc.collect()

    SpoolFolder(folder, 1000).close()
