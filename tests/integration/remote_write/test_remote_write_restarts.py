"""Servers and programs that end in the middle of remote writes, gracefully or not, and begin anew."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.writer import RemoteWriter
from processes import STOP_DEADLINE
from prometheus import PrometheusServer
from remote_write_servers import (
    WAIT,
    complaints,
    kill,
    kill_after,
    numbers,
    outcomes,
    run_program,
    until,
    writer_to,
    writes,
)

pytestmark = pytest.mark.integration
VERSIONS = ("1.0", "2.0")


class Stream:
    """Writes 200 series in four messages, each time with the next number, until it is terminated."""

    def __init__(self, writer: RemoteWriter) -> None:
        self.last = 0
        self.ended = False
        self.registry = CollectorRegistry()
        self._writer = writer
        self._value = Gauge("value", "A value.", registry=self.registry)

    async def run(self) -> None:
        """Write on."""
        while not self.ended:
            for place in range(200):
                self._value.set({"n": str(place)}, self.last)
            await self._writer.write(self.registry)
            self.last += 1
            await asyncio.sleep(0.005)

    async def more(self, count: int) -> None:
        """Wait until so many more are written."""
        goal = self.last + count
        await until(lambda: self.last >= goal)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", [PrometheusServer.halt, kill], ids=["stopped", "killed"])
async def test_a_server_that_ends_while_it_is_written_to(
    server: PrometheusServer, end: Callable[[PrometheusServer], None], version: str
) -> None:
    """Whatever was in flight, no value is missing when it is back, and none is there twice."""
    complained: list[str] = []
    await asyncio.to_thread(server.start)
    async with writer_to(server, version, max_samples=50) as writer:
        stream = Stream(writer)
        running = asyncio.create_task(stream.run())
        for _ in range(2):
            await stream.more(10)
            await asyncio.to_thread(end, server)
            complained += complaints(server)
            await stream.more(10)
            await asyncio.to_thread(server.start)
        await stream.more(10)
        stream.ended = True
        await running
        assert await writer.flush(WAIT)

    for place in (0, 60, 110, 160, 199):
        assert numbers(server, f'value{{n="{place}"}}') == list(range(stream.last))
    told = outcomes(writer)
    assert told == {"sent": told["sent"]}
    assert told["sent"] >= 200 * stream.last
    assert complained + complaints(server) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_program_that_is_killed_leaves_what_it_has_written(
    server: PrometheusServer, tmp_path: Path, version: str
) -> None:
    """The next one delivers it before its own; what the server has got already, it gets again without harm."""
    spool = tmp_path / "spool"
    await asyncio.to_thread(server.start)
    told: list[int] = []
    for start in (0, 1000, 2000):
        with run_program(server, version, spool, 200, range(start, start + 900)) as program:
            told += await asyncio.to_thread(kill_after, program, 25)
        if start == 1000:  # the third one finds nobody
            await asyncio.to_thread(server.halt)
    complained = complaints(server)
    await asyncio.to_thread(server.start)
    with run_program(server, version, spool, 200, range(3000, 3003)) as program:
        rest, _ = await asyncio.to_thread(program.communicate, timeout=30)
    found = {place: numbers(server, f'value{{n="{place}"}}') for place in (0, 60, 110, 160, 199)}

    assert program.returncode == 0
    assert rest.split() == ["3000", "3001", "3002"]
    for values in found.values():
        assert values == sorted(values)
        assert len(set(values)) == len(values)
        assert set(values) >= {*told, 3000, 3001, 3002}
        # Only the write in progress at each kill is unaccounted for.
        assert len(values) <= len(told) + 3 + 3
    assert [path.name for path in spool.iterdir()] == ["lock"]
    assert complained + complaints(server) == []


LEAVING = """
import asyncio, sys
from otel_aioprom import CollectorRegistry, Gauge, RemoteWriter

async def main():
    registry = CollectorRegistry()
    gauge = Gauge("value", "A value.", registry=registry)
    gauge.set({}, 1)
    writer = RemoteWriter(sys.argv[1])
    async with writer.running(registry, interval=3600):
        while not registry.pushes.samples.get_all():
            await asyncio.sleep(0.01)
        gauge.set({}, 2)
        print("written", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_terminated_program_writes_its_last_values(server: PrometheusServer) -> None:
    """Then its series end."""
    server.start()
    words = [sys.executable, "-W", "error", "-c", LEAVING, writes(server)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        line = program.stdout.readline()
        program.send_signal(signal.SIGTERM)
        program.wait(STOP_DEADLINE)

    assert line == "written\n"
    assert program.returncode == -signal.SIGTERM
    assert numbers(server, "value") == [1, 2]
    assert server.value("value") is None
    assert complaints(server) == []
