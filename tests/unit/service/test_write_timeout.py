"""The write timeout."""

from __future__ import annotations

import asyncio

import pytest

from oracles import DEADLINE
from otel_aioprom.errors import SlowReaderError
from otel_aioprom.service.write_timeout import WriteTimeout

SHORT = 0.05


async def forever() -> None:
    """Never return."""
    await asyncio.Event().wait()


async def test_a_wait_that_takes_too_long_raises() -> None:
    """The task is not cancelled."""
    with pytest.raises(SlowReaderError, match=r"0\.05 s"), WriteTimeout(SHORT) as write_timeout:
        await write_timeout.wait(forever())

    await asyncio.sleep(0)


async def test_each_wait_has_the_whole_timeout() -> None:
    """Many short waits may take longer together."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with WriteTimeout(2 * SHORT) as write_timeout:
        while loop.time() - began < 5 * SHORT:
            await write_timeout.wait(asyncio.sleep(SHORT / 5))

    assert loop.time() - began >= 5 * SHORT


async def test_time_between_waits_does_not_count() -> None:
    """Only the client's time counts."""
    with WriteTimeout(SHORT) as write_timeout:
        await write_timeout.wait(asyncio.sleep(0))
        await asyncio.sleep(3 * SHORT)
        await write_timeout.wait(asyncio.sleep(0))


async def test_none_sets_no_limit() -> None:
    """A wait may take any time."""
    with WriteTimeout(None) as write_timeout:
        await write_timeout.wait(asyncio.sleep(SHORT))


async def test_a_cancellation_from_outside_is_propagated() -> None:
    """As ``CancelledError``."""
    begun = asyncio.Event()

    async def send() -> None:
        with WriteTimeout(DEADLINE) as write_timeout:
            begun.set()
            await write_timeout.wait(forever())

    task = asyncio.create_task(send())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_error_of_the_wait_is_propagated() -> None:
    """And the timer is cancelled."""

    async def fail() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"), WriteTimeout(SHORT) as write_timeout:
        await write_timeout.wait(fail())
    await asyncio.sleep(2 * SHORT)
