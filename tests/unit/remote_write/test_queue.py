"""Messages that wait, in memory and on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from otel_aioprom.errors import SpoolError
from otel_aioprom.remote_write.sending.queue import MemoryQueue, MessageQueue
from otel_aioprom.remote_write.sending.spool import Spool
from receiver import entry, spool_in, taken

Make = Callable[[int], Awaitable[MessageQueue]]


@pytest_asyncio.fixture(params=["memory", "disk"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a backlog with room for so many bytes."""
    async with AsyncExitStack() as opened:

        async def make(limit: int) -> MessageQueue:
            if request.param == "memory":
                return MemoryQueue(limit)
            return await opened.enter_async_context(spool_in(tmp_path / "spool", limit))

        yield make


async def test_messages_come_out_as_they_went_in(make: Make) -> None:
    """In order, whole, and until they are done."""
    backlog = await make(1000)
    assert await backlog.first() is None
    assert (len(backlog), backlog.size) == (0, 0)
    for number in (3, 1, 2):
        assert await backlog.put(entry(number)) == 0

    assert await backlog.first() == entry(3)
    assert await backlog.first() == entry(3)
    assert (len(backlog), backlog.size) == (3, 30)
    await backlog.done()
    assert await taken(backlog) == [1, 2]
    assert (len(backlog), backlog.size) == (0, 0)
    await backlog.done()
    assert len(backlog) == 0


async def test_the_oldest_go_where_there_is_no_room(make: Make) -> None:
    """And the number of their samples is returned."""
    backlog = await make(30)
    assert [await backlog.put(entry(number)) for number in (1, 2, 3, 4, 5)] == [0, 0, 0, 1, 2]

    assert backlog.size == 30
    assert await taken(backlog) == [3, 4, 5]


async def test_what_is_being_sent_is_not_dropped(make: Make) -> None:
    """It may have arrived already; the next oldest is dropped instead."""
    backlog = await make(20)
    await backlog.put(entry(1))
    await backlog.first()
    assert [await backlog.put(entry(number)) for number in (2, 3, 4)] == [0, 2, 3]

    assert await taken(backlog) == [1, 4]


async def test_a_message_that_is_larger_than_all_room_is_dropped(make: Make) -> None:
    """With what waited before; the next one has room."""
    backlog = await make(20)
    await backlog.put(entry(1))

    assert await backlog.put(entry(2, 21)) == 3
    assert await backlog.put(entry(4)) == 0
    assert await taken(backlog) == [4]


# --- on disk ---------------------------------------------------------------------------------


async def opened(folder: Path, limit: int = 1000) -> Spool:
    """A spool."""
    return await Spool.open(folder / "spool", limit)


async def test_a_later_process_continues_with_the_stored_messages(tmp_path: Path) -> None:
    """With what was in flight, too; new messages come behind the old ones."""
    first = await opened(tmp_path)
    for number in (1, 2, 3):
        await first.put(entry(number))
    await first.first()
    await first.done()
    await first.first()
    await first.close()
    second = await opened(tmp_path)
    await second.put(entry(4))

    assert (len(second), second.size) == (3, 30)
    assert await taken(second) == [2, 3, 4]
    await second.close()


async def test_order_survives_many_restarts(tmp_path: Path) -> None:
    """Also where everything was sent in between."""
    for number in range(1, 13):
        spool = await opened(tmp_path)
        await spool.put(entry(number))
        await spool.close()
    spool = await opened(tmp_path)
    assert await taken(spool) == list(range(1, 13))
    await spool.put(entry(1))
    await spool.close()


async def test_a_smaller_limit_counts_from_the_next_message_on(tmp_path: Path) -> None:
    """What exceeds the limit then is dropped and counted."""
    spool = await opened(tmp_path)
    for number in (1, 2, 3):
        await spool.put(entry(number))
    await spool.close()
    spool = await opened(tmp_path, 20)

    assert await spool.put(entry(4)) == 3
    assert await taken(spool) == [3, 4]
    await spool.close()


async def test_only_whole_messages_are_found(tmp_path: Path) -> None:
    """What a kill has left of one is removed; other files are nobody's business."""
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "0000000000000001-1.0-5.part").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    spool = await opened(tmp_path)

    assert await spool.first() is None
    assert sorted(each.name for each in folder.iterdir()) == ["lock", "notes.txt"]
    await spool.close()


async def test_a_file_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    """Somebody has tidied up; the others are sent."""
    spool = await opened(tmp_path)
    for number in (1, 2, 3):
        await spool.put(entry(number))
    for place in (0, 2):
        sorted((tmp_path / "spool").glob("*.snappy"))[0 if place == 0 else 1].unlink()

    assert await taken(spool) == [2]
    assert (len(spool), spool.size) == (0, 0)
    await spool.close()


@pytest.mark.skipif(os.name != "posix", reason="there are no such locks")
async def test_one_process_uses_a_folder(tmp_path: Path) -> None:
    """Another one raises, until the first has closed it."""
    spool = await opened(tmp_path)
    with pytest.raises(SpoolError, match="another process uses it"):
        await opened(tmp_path)
    await spool.close()
    await (await opened(tmp_path)).close()


async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """A file has its name, or that of a parent."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "spool"):
        with pytest.raises(SpoolError, match="file") as caught:
            await Spool.open(path, 10)
        assert caught.value.__cause__ is not None


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not count")
async def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """A message that cannot be kept is an error; what is there stays."""
    spool = await opened(tmp_path)
    await spool.put(entry(1))
    (tmp_path / "spool").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(SpoolError):
        await spool.put(entry(2))
    (tmp_path / "spool").chmod(stat.S_IRWXU)
    assert await taken(spool) == [1]
    await spool.close()


async def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises with the message of the system; no partial file stays, and the next message may succeed."""
    spool = await opened(tmp_path)
    write = Path.write_bytes

    def full(path: Path, body: bytes) -> int:
        write(path, body[:2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(SpoolError, match="No space left on device"):
            await spool.put(entry(1))
    await spool.put(entry(2))

    assert await taken(spool) == [2]
    assert [each.name for each in (tmp_path / "spool").iterdir()] == ["lock"]
    await spool.close()
