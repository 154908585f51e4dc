"""Servers and programs that end in the middle of remote writes, gracefully or not, and begin anew."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oracles import FakeSource, family, number
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.writer import RemoteWriter
from processes import STOP_DEADLINE, wait_until
from prometheus import PrometheusServer
from remote_write_servers import (
    WAIT,
    complaints,
    deliver,
    kill,
    kill_after,
    receiving,
    run_program,
    writer_to,
    writes,
)
from victoria import VictoriaMetricsServer

pytestmark = pytest.mark.integration
VERSIONS = ("1.0", "2.0")


@pytest.fixture
def server() -> Iterator[PrometheusServer]:
    """A Prometheus that is not running yet."""
    made = receiving()
    yield made
    made.stop()


def numbers(server: PrometheusServer, selector: str) -> list[float]:
    """All values of a series, in the order of time."""
    return [point.value for point in server.points(selector)]


def outcomes(registry: CollectorRegistry, writer: RemoteWriter) -> dict[str, float]:
    """What became of samples."""
    found = {}
    for outcome in ("sent", "refused", "dropped", "lost"):
        try:
            value = registry.pushes.samples.get(
                {"destination": writer._destination, "outcome": outcome}
            )
        except KeyError:
            continue
        found[outcome] = value
    return found


async def until(predicate: Callable[[], object]) -> None:
    """Let the loop go on until something is true."""
    end = asyncio.get_running_loop().time() + WAIT
    while not predicate():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)


class Stream:
    """Writes 200 series in four messages, each time with the next number, until it is told to end."""

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
    told = outcomes(stream.registry, writer)
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
        # All that nobody was told of is what was being written at each kill.
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


def test_a_program_that_is_told_to_end_writes_its_last_values(server: PrometheusServer) -> None:
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


async def test_a_server_that_comes_late_gets_version_2(server: PrometheusServer) -> None:
    """What was written before it was there is there too."""
    registry = CollectorRegistry()
    value = Gauge("value", "A value.", registry=registry)
    async with writer_to(server, "2.0") as writer:
        for place in range(3):
            value.set({}, place)
            await writer.write(registry)
        await asyncio.to_thread(server.start)
        assert await writer.flush(WAIT)
        value.set({}, 3)
        await deliver(writer, registry)
        version = writer._sender.version

    assert version == "2.0"
    assert numbers(server, "value") == [0, 1, 2, 3]
    assert complaints(server) == []


async def test_series_end_whichever_version_they_were_written_in(
    server: PrometheusServer,
) -> None:
    """Those that had other names before the server was there, and those that are gone since then."""
    registry = CollectorRegistry()
    odd = replace(family("my.m", number(7, {"a.b": "c"})), utf8=True)
    registry.add_source(FakeSource(odd))
    value = Gauge("value", "A value.", registry=registry)
    for place in ("stays", "goes"):
        value.set({"n": place}, 1)
    async with writer_to(server, "2.0") as writer:
        await writer.write(registry)
        await asyncio.to_thread(server.start)
        assert await writer.flush(WAIT)
        value.remove({"n": "goes"})
        await deliver(writer, registry)

    assert server.value('{"my.m", "a.b"="c"}') == 7
    assert server.value('value{n="stays"}') == 1
    assert server.value('value{n="goes"}') is None
    assert server.value('my_m{a_b="c"}') is None


async def test_a_server_that_is_replaced_by_an_older_one(server: PrometheusServer) -> None:
    """What waited in version 2.0 is counted as refused; all that is written from then on arrives."""
    registry = CollectorRegistry()
    value = Counter("value_total", "A value.", registry=registry)
    value.inc()
    older = receiving("prometheus2")
    older.port = server.port
    await asyncio.to_thread(server.start)
    async with writer_to(server, "2.0") as writer:
        await deliver(writer, registry)
        await asyncio.to_thread(server.halt)
        value.inc()
        await writer.write(registry)
        await asyncio.to_thread(older.start)
        try:
            assert await writer.flush(WAIT)
            value.inc()
            await deliver(writer, registry)
            found, complained = numbers(older, "value_total"), complaints(older)
        finally:
            older.stop()

    assert found == [3]
    assert complained == []
    told = outcomes(registry, writer)
    assert told["refused"] >= 1
    assert "dropped" not in told


@pytest.mark.parametrize("version", VERSIONS)
async def test_victoria_metrics_comes_late_and_is_restarted(version: str) -> None:
    """Every value of a series is there."""
    victoria = VictoriaMetricsServer([])
    registry = CollectorRegistry()
    value = Gauge("value", "A value.", registry=registry)
    try:
        async with writer_to(victoria, version) as writer:
            for place in range(6):
                if place == 2:
                    await asyncio.to_thread(victoria.start)
                    assert await writer.flush(WAIT)
                if place == 4:
                    await asyncio.to_thread(victoria.halt)
                value.set({}, place)
                await writer.write(registry)
            await asyncio.to_thread(victoria.start)
            assert await writer.flush(WAIT)
        wait_until(lambda: victoria.value("count_over_time(value[1h])") == 6)
        found = victoria.value("sum_over_time(value[1h])")
        complained = victoria.warnings()
    finally:
        victoria.stop()

    assert found == sum(range(6))
    assert complained == []
