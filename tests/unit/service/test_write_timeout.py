"""Waiting for a client, but not for ever."""

from __future__ import annotations

import asyncio

import pytest

from oracles import DEADLINE
from otel_aioprom.errors import SlowReaderError
from otel_aioprom.service.write_timeout import Patience

SHORT = 0.05


async def forever() -> None:
    """Wait for what never comes."""
    await asyncio.Event().wait()


async def test_a_wait_that_takes_too_long_ends_the_block() -> None:
    """With an error of its own; the task is not cancelled by it."""
    with pytest.raises(SlowReaderError, match=r"0\.05 s"), Patience(SHORT) as patience:
        await patience.wait(forever())

    await asyncio.sleep(0)


async def test_each_wait_has_the_whole_time() -> None:
    """Many short ones may take longer together."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with Patience(2 * SHORT) as patience:
        while loop.time() - began < 5 * SHORT:
            await patience.wait(asyncio.sleep(SHORT / 5))

    assert loop.time() - began >= 5 * SHORT


async def test_time_between_waits_does_not_count() -> None:
    """Only the client's time does."""
    with Patience(SHORT) as patience:
        await patience.wait(asyncio.sleep(0))
        await asyncio.sleep(3 * SHORT)
        await patience.wait(asyncio.sleep(0))


async def test_without_a_limit_nothing_is_timed() -> None:
    """A wait takes what it takes."""
    with Patience(None) as patience:
        await patience.wait(asyncio.sleep(SHORT))


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Whoever ends the task gets what they expect."""
    begun = asyncio.Event()

    async def send() -> None:
        with Patience(DEADLINE) as patience:
            begun.set()
            await patience.wait(forever())

    task = asyncio.create_task(send())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_error_of_the_wait_stays_one() -> None:
    """And its timer is gone."""

    async def fail() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"), Patience(SHORT) as patience:
        await patience.wait(fail())
    await asyncio.sleep(2 * SHORT)
