"""A long, hostile load on one service: ``python -m benchmarks.soak --minutes 10``.

Some 20,000 series of every kind and an OpenTelemetry reader; scrapes in every format, plain and compressed, each
body checked; clients that leave in the middle, stop reading, show wrong credentials or send nonsense; threads that
record all the while. At each reading the clients stand still, so that tasks, files and threads can be told exactly.
Exits with 1 if anything is left over, grows or is lost, or if one kind of client never got what it came for.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
import tracemalloc
import zlib
from collections import Counter as Tally
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import zstandard
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

STANDING = {Counter: 8_000, Gauge: 8_000, Histogram: 3_000, Summary: 1_000}
"""Series of each kind that are there from the beginning."""
RECORDERS = 4
PAUSE = 0.0005
"""Seconds between two recordings of a thread: the load is the clients', not this."""
RARELY = 100
"""Every so many recordings one goes into a summary, for the memory of its estimator grows with the stream."""
READINGS_A_MINUTE = 4
PATIENCE = 30.0
"""Seconds that a client may take, and the service for coming to rest."""
MOST_TRACED, MOST_RESIDENT = 0.05, 0.5
"""MiB a minute that memory may seem to grow by over the last half."""
SEND_TIMEOUT = 1.0
_MIB = 1 << 20
_RIGHT = {"Authorization": "Basic c29hazpzZWNyZXQ="}
_WRONG = {"Authorization": "Basic c29hazp3cm9uZw=="}
_GET = (
    f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: {_RIGHT['Authorization']}\r\n\r\n".encode()
)
_ODD = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: \xff;q=nan,,;\r\nExpect: \xff\r\n",
    b"GET /metrics?name[]=%ff&name[]=\x00 HTTP/1.1\r\nHost: x\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /metrics HTTP/9.9\r\nHost: x\r\nContent-Length: -1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
)
_EXPECTED_LOG = "it took nothing of its response"
_OUTCOMES = ("left", "cut off", "nonsense", "401", "404", "405", "name[]")
_CODINGS = ("identity", "gzip", "zstd")


class Reading(NamedTuple):
    """What is counted from time to time; memory in MiB."""

    minute: float
    tasks: int
    files: int
    sockets: int
    threads: int
    resident: float
    traced: float

    @classmethod
    def now(cls, minute: float) -> Reading:
        """Count; garbage goes first."""
        gc.collect()
        names = [_target(file) for file in Path("/proc/self/fd").iterdir()]
        names = [name for name in names if not name.startswith("/proc/")]  # the listing's own
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return cls(
            minute,
            len(asyncio.all_tasks()),
            len(names),
            sum(name.startswith("socket:") for name in names),
            threading.active_count(),
            pages * os.sysconf("SC_PAGE_SIZE") / _MIB,
            tracemalloc.get_traced_memory()[0] / _MIB,
        )

    def open(self) -> tuple[int, int, int, int]:
        """What must be closed again."""
        return self.tasks, self.files, self.sockets, self.threads


def _target(file: Path) -> str:
    try:
        return os.readlink(file)  # noqa: PTH115 - the text itself
    except OSError:
        return "/proc/"


class Load:
    """What runs, and what it has done.

    Attributes:
        done: Set when it is over.
        quiet: Cleared while the clients stand still.
        added: What each recording thread has added to its series.
        tally: What the clients got, by kind.
        wrong: What must not be.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.done = threading.Event()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.busy = 0
        self.added = [0] * RECORDERS
        self.rare = [0] * RECORDERS
        self.requests = 0
        self.tally: Tally[str] = Tally()
        self.wrong: Tally[str] = Tally()
        own = {"registry": self.registry}
        self.counter = Counter("soak_total", "Added by threads.", **own)
        self.shared = Counter("soak_shared_total", "Added by all.", **own)
        self.seconds = Histogram("soak_seconds", "Observed.", **own)
        self.sizes = Summary("soak_sizes", "Observed now and then.", **own)
        for kind, count in STANDING.items():
            name = f"standing_{kind.__name__.lower()}{'_total' if kind is Counter else ''}"
            standing: Any = kind(name, "There from the beginning.", **own)
            put = getattr(standing, {Counter: "add", Gauge: "set"}.get(kind, "observe"))
            for index, row in enumerate(label_rows(count)):
                put(dict(zip(("method", "path", "code"), row, strict=True)), 1 + index)

    def record(self, number: int) -> None:
        """Record until it is over, and keep count."""
        labels = {"thread": str(number)}
        while not self.done.is_set():
            self.counter.inc(labels)
            self.shared.inc()
            self.seconds.observe(labels, 0.01 * number)
            self.added[number] += 1
            if self.added[number] % RARELY == 0:
                self.sizes.observe(labels, number)
                self.rare[number] += 1
            time.sleep(PAUSE)


class Watch(logging.Handler):
    """Takes every record that is worth a warning for a fault, but for the one that belongs to the load."""

    def __init__(self, load: Load) -> None:
        super().__init__(logging.WARNING)
        self._load = load

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        if _EXPECTED_LOG not in (message := record.getMessage()):
            self._load.wrong[f"logged by {record.name}: {message[:200]}"] += 1


# --- clients ---------------------------------------------------------------------------


async def scrape(load: Load, service: Service) -> None:
    """Ask in any format and coding on one connection, and look at all of the body."""
    async with _session(_RIGHT) as session:
        for _ in range(3):
            name = random.choice(list(ACCEPT))  # noqa: S311 - no secret
            coding = random.choice(_CODINGS)  # noqa: S311
            headers = {"Accept": ACCEPT[name], "Accept-Encoding": coding}
            async with session.get(service.metrics_url, headers=headers) as response:
                body = _decoded(await response.read(), response.headers.get("Content-Encoding"))
                got = response.headers.get("Content-Encoding", "identity")
                whole = body.endswith(b"# EOF\n") == (name == "openmetrics")
                if response.status != 200 or got != coding or not whole:  # noqa: PLR2004
                    load.wrong[f"{name} in {coding}: {response.status}, {got}"] += 1
                if b"standing_summary" not in body or b"soak_total" not in body:
                    load.wrong[f"{name}: families are missing"] += 1
                load.tally[f"{name}, {coding}"] += 1


async def ask_by_name(load: Load, service: Service) -> None:
    """Ask for one histogram while it is recorded: each count is that of its last bucket (L3)."""
    async with _session(_RIGHT) as session:
        for _ in range(20):
            async with session.get(service.metrics_url + "?name[]=soak_seconds") as response:
                text = await response.text()
            lines = [line.rpartition(" ") for line in text.splitlines() if line[:1] != "#"]
            last = [value for head, _, value in lines if 'le="+Inf"' in head]
            counts = [value for head, _, value in lines if head.startswith("soak_seconds_count")]
            if last != counts or any(not head.startswith("soak_seconds") for head, _, _ in lines):
                load.wrong["a histogram's count is not its last bucket, or other names"] += 1
            load.tally["name[]"] += 1


async def refused(load: Load, service: Service) -> None:
    """Show wrong credentials, ask for what is not there, and in a way that is not served."""
    async with _session(_WRONG) as session:
        for path, expected in (("/metrics", 401), ("/", 401), ("/nowhere", 404)):
            async with session.get(service.base_url + path) as response:
                _expect(load, expected, response.status)
    async with (
        _session(_RIGHT) as session,
        session.post(service.metrics_url, data=b"x" * 100_000) as response,
    ):
        _expect(load, 405, response.status)


async def leave(load: Load, service: Service) -> None:
    """Go away in the middle of a response."""
    reader, writer = await _connect(service)
    writer.write(_GET)
    await reader.read(random.choice((1, 1000, 100_000)))  # noqa: S311
    writer.transport.abort()
    load.tally["left"] += 1


async def stop_reading(load: Load, service: Service) -> None:
    """Ask again and again, and read nothing, until the connection is cut."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.setblocking(False)
    loop = asyncio.get_running_loop()
    with opened:
        await loop.sock_connect(opened, ("127.0.0.1", _port(service)))
        await loop.sock_sendall(opened, _GET * 20)
        await asyncio.sleep(3 * SEND_TIMEOUT)
        try:
            while await loop.sock_recv(opened, _MIB):
                pass
        except ConnectionError:
            load.tally["cut off"] += 1
        else:
            load.wrong["a client that stopped reading was not cut off"] += 1


async def nonsense(load: Load, service: Service) -> None:
    """Send what is no request, or hardly one; then end the connection in one of three ways."""
    reader, writer = await _connect(service)
    writer.write(random.choice((*_ODD, random.randbytes(200))) + b"\r\n\r\n")  # noqa: S311
    with_answer = random.random() < 0.7  # noqa: S311, PLR2004
    answer = await reader.read(1000) if with_answer else b""
    if b" 500 " in answer[:20]:
        load.wrong["nonsense is answered with 500"] += 1
    if random.random() < 0.5:  # noqa: S311, PLR2004
        opened = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    load.tally["nonsense"] += 1


CLIENTS: tuple[Callable[[Load, Service], Awaitable[None]], ...] = (
    scrape,
    scrape,
    ask_by_name,
    refused,
    leave,
    stop_reading,
    nonsense,
)


def _session(headers: dict[str, str]) -> aiohttp.ClientSession:
    plain = {"Accept-Encoding": "identity", **headers}
    return aiohttp.ClientSession(headers=plain, auto_decompress=False)


def _decoded(body: bytes, coding: str | None) -> bytes:
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return zlib.decompress(body, 31) if coding == "gzip" else body


def _expect(load: Load, expected: int, got: int) -> None:
    load.tally[str(expected)] += 1
    if got != expected:
        load.wrong[f"{got} instead of {expected}"] += 1


def _port(service: Service) -> int:
    return int(service.base_url.rpartition(":")[2])


async def _connect(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", _port(service), limit=1 << 16)


async def client(
    load: Load, service: Service, act: Callable[[Load, Service], Awaitable[None]]
) -> None:
    """Act again and again; only who is rude may find the connection broken."""
    while not load.done.is_set():
        await load.quiet.wait()
        load.busy += 1
        try:
            await asyncio.wait_for(act(load, service), PATIENCE)
        except Exception as error:  # noqa: BLE001 - a client that ends would be no load
            rude = act in (leave, nonsense, stop_reading) and isinstance(error, OSError)
            (load.tally if rude else load.wrong)[f"{act.__name__}: {type(error).__name__}"] += 1
        finally:
            load.busy -= 1
        await asyncio.sleep(0.01)


# --- the run ---------------------------------------------------------------------------


async def run(minutes: float) -> int:
    """Run the load, print a table, and return the exit status."""
    tracemalloc.start(1)
    load = Load()
    logging.getLogger().addHandler(Watch(load))
    reader = PrometheusMetricReader(registry=load.registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    counting = provider.get_meter("soak").create_counter("otel.requests")
    timing = provider.get_meter("soak").create_histogram("otel.duration", unit="s")
    threads = [threading.Thread(target=load.record, args=(n,)) for n in range(RECORDERS)]
    before = Reading.now(0.0)
    service = Service(load.registry, send_timeout=SEND_TIMEOUT, auth=BasicAuth("soak", "secret"))
    print(
        "| minute | tasks | open files | of them sockets | threads | resident, MiB | traced, MiB |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    _row("before", before)
    readings: list[Reading] = []
    at_half = Path(tempfile.mkstemp(prefix="soak-")[1])
    began = time.monotonic()
    async with service.running(addr="127.0.0.1"):
        for thread in threads:
            thread.start()
        clients = [asyncio.create_task(client(load, service, act)) for act in CLIENTS]
        many = max(4, round(minutes * READINGS_A_MINUTE))
        for number in range(1, many + 1):
            end = began + 60 * minutes * number / many
            while time.monotonic() < end:
                counting.add(1, {"path": "/"})
                timing.record(0.1, {"path": "/"})
                load.requests += 1
                await asyncio.sleep(0.01)
            readings.append(await _at_rest(load, service, (time.monotonic() - began) / 60))
            if number == many // 2:
                _dump(at_half)
            if number % READINGS_A_MINUTE == 0 or number == many:
                _row(f"{readings[-1].minute:.1f}", readings[-1])
        load.done.set()
        await asyncio.gather(*clients)
        for thread in threads:
            thread.join()
        await _compare(load, service)
    provider.shutdown()
    await asyncio.get_running_loop().shutdown_default_executor()
    after = await _settled(before)
    _row("after", after)
    status = _verdict(load, before, after, readings)
    _grown(at_half)
    return status


def _dump(at_half: Path) -> None:
    """Write down what is allocated: to a file, for a snapshot in memory would be counted itself."""
    tracemalloc.take_snapshot().dump(str(at_half))


def _grown(at_half: Path) -> None:
    """Say where memory has grown most since then."""
    ours = tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__)
    now, then = (
        each.filter_traces([ours])
        for each in (tracemalloc.take_snapshot(), tracemalloc.Snapshot.load(str(at_half)))
    )
    at_half.unlink()
    print("\ngrown most since the middle of the run:")
    for line in now.compare_to(then, "lineno")[:5]:
        print(f"  {line}")


async def _at_rest(load: Load, service: Service, minute: float) -> Reading:
    """Let the clients stand still until the service has nothing to do, and count."""
    load.quiet.clear()
    end = time.monotonic() + PATIENCE
    while load.busy and time.monotonic() < end:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.01)
    reading = Reading.now(minute)
    # The clients and this task: the server has none at rest.
    while reading.tasks > len(CLIENTS) + 1 and time.monotonic() < end:
        await asyncio.sleep(0.1)
        reading = Reading.now(minute)
    load.quiet.set()
    return reading


async def _settled(before: Reading) -> Reading:
    """Count, when everything is as it was or has had its time."""
    end = time.monotonic() + PATIENCE
    after = Reading.now(0.0)
    while after.open() != before.open() and time.monotonic() < end:
        await asyncio.sleep(0.1)
        after = Reading.now(0.0)
    return after


async def _compare(load: Load, service: Service) -> None:
    """Nothing that a thread has added may be lost, in the collectors and in a scrape."""
    for number, (added, rare) in enumerate(zip(load.added, load.rare, strict=True)):
        labels = {"thread": str(number)}
        held = load.seconds.get(labels)
        shown = (load.counter.get(labels), held["count"], load.sizes.get(labels)["count"])
        if shown != (added, added, rare):
            load.wrong[f"thread {number} added {(added, added, rare)}, {shown} is shown"] += 1
        if abs(held["sum"] - added * 0.01 * number) > 1e-6 * max(added, 1):
            load.wrong[f"thread {number}: the histogram's sum is {held['sum']}"] += 1
    async with _session(_RIGHT) as session, session.get(service.metrics_url) as response:
        lines = (await response.text()).splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if line[:1] != "#")
    heads = {
        head.partition("{")[0]: float(value)
        for head, value in found.items()
        if "otel_d" not in head
    }
    for name, expected in (
        ("soak_shared_total", sum(load.added)),
        ("otel_requests_total", load.requests),
    ):
        if heads.get(name) != expected:
            load.wrong[f"{name}: {expected} were added, {heads.get(name)} is shown"] += 1
    for number, added in enumerate(load.added):
        text = f'thread="{number}"'
        buckets = float(found[f'soak_seconds_bucket{{{text},le="+Inf"}}'])
        if not float(found[f"soak_seconds_count{{{text}}}"]) == buckets == added:
            load.wrong[f"thread {number}: the scrape shows another count"] += 1


def _row(when: str, reading: Reading) -> None:
    _, *counts, resident, traced = reading
    cells = " | ".join(map(str, counts))
    print(f"| {when} | {cells} | {resident:.1f} | {traced:.2f} |", flush=True)


def _slope(readings: list[Reading], name: str) -> float:
    """MiB a minute over the last half."""
    half = readings[len(readings) // 2 :]
    minutes = [reading.minute for reading in half]
    return statistics.linear_regression(minutes, [getattr(one, name) for one in half]).slope


def _verdict(load: Load, before: Reading, after: Reading, readings: list[Reading]) -> int:
    found = [f"{count} times: {what}" for what, count in load.wrong.items()]
    if after.open() != before.open():
        found.append(
            f"tasks, files, sockets, threads: {before.open()} before, {after.open()} after"
        )
    half = readings[len(readings) // 2 :]
    if len({reading.open() for reading in half}) > 1:
        counts = [reading.open() for reading in half]
        found.append(f"tasks, files, sockets, threads at rest are not always the same: {counts}")
    slopes = {name: _slope(readings, name) for name in ("traced", "resident")}
    for name, most in (("traced", MOST_TRACED), ("resident", MOST_RESIDENT)):
        if slopes[name] > most:
            found.append(f"{name} memory grows by {slopes[name]:.3f} MiB a minute")
    needed = (*_OUTCOMES, *(f"{name}, {coding}" for name in ACCEPT for coding in _CODINGS))
    found += [f"no client got: {kind}" for kind in needed if not load.tally[kind]]
    print("\n| what the clients got | times |\n|---|---:|")
    for kind, count in sorted(load.tally.items()):
        print(f"| {kind} | {count:,} |")
    print(
        f"\nrecorded: {sum(load.added):,} updates of each of three collectors, {load.requests:,} by OpenTelemetry"
    )
    print(
        f"memory over the last half, MiB a minute: {slopes['traced']:+.3f} traced, {slopes['resident']:+.3f} resident"
    )
    print("\n".join(found) or "nothing is left over, nothing grows, no update is lost")
    return 1 if found else 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A long load.")
    parser.add_argument("--minutes", type=float, default=10.0)
    return asyncio.run(run(parser.parse_args().minutes))


if __name__ == "__main__":
    sys.exit(main())
