"""Kind: work of an event loop that has a time slice of its own, so that many at once hold the loop as long as all slices together.

Scrapes, pushers and remote writers share one slice in an iteration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.remote_write.writer import RemoteWriter

NOBODY = "http://127.0.0.1:1"
MANY = 5
STEPS = 4


class Work:
    """Uses up a time slice each time, and notes in which iteration of the event loop."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self._iteration = 0
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._iteration += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def do(self) -> None:
        """Work for more than a slice."""
        self.at.append(self._iteration)
        end = perf_counter() + 0.0011
        while perf_counter() < end:
            pass

    def stop(self) -> None:
        """Stop counting iterations."""
        self._handle.cancel()


@pytest.fixture
async def work() -> Any:
    """Count during the test."""
    counted = Work()
    yield counted
    counted.stop()


def writer() -> RemoteWriter:
    """A writer whose messages reach nobody."""
    return RemoteWriter(NOBODY, flush_timeout=0.001)


async def test_writers_that_encode_share_the_slices(work: Work) -> None:
    """A step of each in one iteration would hold the loop five times as long."""

    def steps() -> Iterator[None]:
        for _ in range(STEPS):
            work.do()
            yield None

    puts = [writer()._outbox.put("1.0", steps(), 1) for _ in range(MANY)]
    await asyncio.wait_for(asyncio.gather(*puts), DEADLINE)

    assert len(work.at) == len(set(work.at)) == MANY * STEPS
