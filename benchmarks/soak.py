"""A long, hostile load on one service: ``python -m benchmarks.soak --minutes 10``.

Scrapes in every format, plain and compressed; clients that leave in the middle, stop reading, show wrong
credentials or send nonsense; threads that record all the while. Every minute tasks, open files,
threads, memory are counted. Exits with 1 if anything is left over or an update is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from opentelemetry.sdk.metrics import MeterProvider

from benchmarks.data import label_rows
from benchmarks.subjects import ACCEPT
from otel_aioprom import (
    BasicAuth,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PrometheusMetricReader,
    Service,
    Summary,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SERIES = 5_000
RECORDERS = 4
PAUSE = 0.0005
"""Seconds between two recordings of a thread: the load is the clients', not this."""
ALLOWED_GROWTH = 1.05
"""Of memory, from the middle of the run to its end; before, what the allocator keeps is still settling."""
_USER = BasicAuth("soak", "secret")
_RIGHT = {"Authorization": "Basic c29hazpzZWNyZXQ="}
_WRONG = {"Authorization": "Basic c29hazp3cm9uZw=="}
_GET = (
    f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: {_RIGHT['Authorization']}\r\n\r\n".encode()
)


@dataclass
class Load:
    """What runs, and what it has done.

    Attributes:
        registry: What is served.
        done: Set when it is over.
        added: What each recording thread has added to its counter.
        counts: Answers by kind of client.
    """

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    done: threading.Event = field(default_factory=threading.Event)
    added: list[int] = field(default_factory=lambda: [0] * RECORDERS)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counter = Counter("soak_total", "Added by threads.", registry=self.registry)
        self.shared = Counter("soak_shared_total", "Added by all.", registry=self.registry)
        self.observed: list[Histogram | Summary] = [
            Histogram("soak_seconds", "Observed.", registry=self.registry),
            Histogram(
                "soak_native_seconds", "Observed.", native_bucket_factor=1.1, registry=self.registry
            ),
            Summary("soak_recent_seconds", "Observed.", max_age=60.0, registry=self.registry),
        ]
        level = Gauge("soak_level", "Set once.", registry=self.registry)
        for index, (method, path, code) in enumerate(label_rows(SERIES)):
            level.set({"method": method, "path": path, "code": code}, index)

    def record(self, number: int) -> None:
        """Record until it is over, and keep count."""
        labels = {"thread": str(number)}
        while not self.done.is_set():
            self.counter.inc(labels)
            self.shared.inc()
            seconds = random.expovariate(0.1)
            for metric in self.observed:
                metric.observe(labels, seconds)
            self.added[number] += 1
            time.sleep(PAUSE)

    def note(self, kind: str) -> None:
        """Count an answer."""
        self.counts[kind] = self.counts.get(kind, 0) + 1


@dataclass(frozen=True)
class Reading:
    """What is counted from time to time; memory in MiB."""

    tasks: int
    files: int
    threads: int
    memory: float

    @classmethod
    def now(cls) -> Reading:
        """Count."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        files = len(list(Path("/proc/self/fd").iterdir()))
        return cls(len(asyncio.all_tasks()), files, threading.active_count(), memory)


async def scrape(load: Load, service: Service) -> None:
    """Ask in any format, with or without compression, and read it all."""
    name = random.choice(list(ACCEPT))  # noqa: S311 - no secret
    headers = {"Accept": ACCEPT[name], "Accept-Encoding": random.choice(["gzip", "identity"])}  # noqa: S311
    query = random.choice(["", "?name[]=soak_total"])  # noqa: S311
    async with aiohttp.ClientSession(headers=_RIGHT) as session:
        for _ in range(3):
            async with session.get(service.metrics_url + query, headers=headers) as response:
                await response.read()
                load.note(f"{response.status}")


async def wrong(load: Load, service: Service) -> None:
    """Show wrong credentials, ask for what is not there."""
    async with aiohttp.ClientSession(headers=_WRONG) as session:
        for path in ("/metrics", "/nowhere"):
            async with session.get(service.base_url + path) as response:
                load.note(f"{response.status}")


async def leave(load: Load, service: Service) -> None:
    """Go away in the middle of a response."""
    reader, writer = await _connect(service)
    writer.write(_GET)
    await reader.read(random.choice([1, 1000, 100_000]))  # noqa: S311
    writer.transport.abort()
    load.note("left")


async def stop_reading(load: Load, service: Service) -> None:
    """Ask again and again, and read nothing, until the connection is cut."""
    reader, writer = await _connect(service)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(_GET * 20)
    await asyncio.sleep(2.0)
    load.note("stopped reading")
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    while await reader.read(1 << 20):
        pass
    writer.close()


async def nonsense(load: Load, service: Service) -> None:
    """Send what is no request."""
    reader, writer = await _connect(service)
    writer.write(random.randbytes(200) + b"\r\n\r\n")  # noqa: S311
    await reader.read(1000)
    writer.transport.abort()
    load.note("nonsense")


async def _connect(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(service.base_url.rpartition(":")[2])
    return await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)


CLIENTS: tuple[Callable[[Load, Service], Awaitable[None]], ...] = (
    scrape,
    scrape,
    wrong,
    leave,
    stop_reading,
    nonsense,
)


async def client(
    load: Load, service: Service, act: Callable[[Load, Service], Awaitable[None]]
) -> None:
    """Act again and again; whatever the connection does is expected."""
    while not load.done.is_set():
        with suppress(OSError, aiohttp.ClientError, asyncio.TimeoutError):
            await asyncio.wait_for(act(load, service), 30)
        await asyncio.sleep(0.01)


async def run(minutes: float) -> int:
    """Run the load, print a table, and return the exit status."""
    load = Load()
    reader = PrometheusMetricReader(registry=load.registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    requests = provider.get_meter("soak").create_counter("otel.requests")
    threads = [threading.Thread(target=load.record, args=(n,)) for n in range(RECORDERS)]
    before = Reading.now()
    service = Service(load.registry, send_timeout=1.0, auth=_USER)
    print(
        "| minute | tasks | open files | threads | memory, MiB | answers |\n|---:|---:|---:|---:|---:|---:|"
    )
    readings = []
    async with service.running(addr="127.0.0.1"):
        for thread in threads:
            thread.start()
        clients = [asyncio.create_task(client(load, service, act)) for act in CLIENTS]
        for minute in range(1, max(2, round(minutes)) + 1):
            end = time.monotonic() + 60 * minutes / max(2, round(minutes))
            while time.monotonic() < end:
                requests.add(1, {"path": "/"})
                await asyncio.sleep(0.01)
            readings.append(Reading.now())
            _row(minute, readings[-1], sum(load.counts.values()))
        load.done.set()
        await asyncio.gather(*clients)
    for thread in threads:
        thread.join()
    provider.shutdown()
    await asyncio.sleep(1.5)
    after = Reading.now()
    _row("after", after, sum(load.counts.values()))
    print(f"\nanswers: {load.counts}")
    problems = _problems(load, before, after, readings)
    print("\n".join(problems) or "nothing is left over, no update is lost")
    return 1 if problems else 0


def _row(when: object, reading: Reading, answers: int) -> None:
    print(
        f"| {when} | {reading.tasks} | {reading.files} | {reading.threads} | {reading.memory:.1f} | {answers:,} |",
        flush=True,
    )


def _problems(load: Load, before: Reading, after: Reading, readings: list[Reading]) -> list[str]:
    found = []
    if after.tasks > before.tasks:
        found.append(f"{after.tasks - before.tasks} tasks are left over")
    if after.files > before.files + 2:  # the loop's executor and the resolver keep some
        found.append(f"{after.files - before.files} files are left open")
    middle = readings[(len(readings) - 1) // 2]
    if readings[-1].memory > middle.memory * ALLOWED_GROWTH:
        found.append(f"memory grew from {middle.memory:.1f} to {readings[-1].memory:.1f} MiB")
    for number, added in enumerate(load.added):
        labels = {"thread": str(number)}
        shown = [load.counter.get(labels), *[each.get(labels)["count"] for each in load.observed]]
        if shown != [added] * len(shown):
            found.append(f"thread {number} added {added}, {shown} is shown")
    if load.shared.get() != sum(load.added):
        found.append(f"{sum(load.added)} were added together, {load.shared.get()} is shown")
    if "500" in load.counts:
        found.append("some answers were 500")
    return found


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A long load.")
    parser.add_argument("--minutes", type=float, default=10.0)
    return asyncio.run(run(parser.parse_args().minutes))


if __name__ == "__main__":
    sys.exit(main())
