"""Real servers that take remote writes, and what they have stored."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.writer import RemoteWriter
from processes import STOP_DEADLINE, fetch
from prometheus import PrometheusServer
from scraper import ScrapeJob, Scraper

WAIT = 20.0
OWN = ("otel_aioprom_", "scrape_")
ADDED = {"__name__", "job", "instance"}

Key = tuple[str, tuple[tuple[str, str], ...]]

PROGRAM = """
import asyncio, sys
from otel_aioprom import CollectorRegistry, Gauge, RemoteWriter

async def main():
    url, version, spool, series, first, last = sys.argv[1:]
    registry = CollectorRegistry()
    gauge = Gauge("value", "Values.", registry=registry)
    async with RemoteWriter(url, version=version, spool=spool, max_samples=50) as writer:
        for value in range(int(first), int(last)):
            for n in range(int(series)):
                gauge.set({"n": str(n)}, value)
            await writer.write(registry)
            print(value, flush=True)
        await writer.flush(30)

asyncio.run(main())
"""
"""Writes some series again and again, each time with the next number, and tells which it has written."""


def receiving(
    name: str = "prometheus3",
    jobs: Sequence[ScrapeJob] = (),
    *,
    features: Sequence[str] = ("native-histograms",),
    settings: dict[str, Any] | None = None,
) -> PrometheusServer:
    """Make a Prometheus that takes writes, with native histograms and exemplars."""
    return PrometheusServer(
        name,
        jobs,
        features=features,
        flags=["--web.enable-remote-write-receiver"],
        settings=settings,
        max_exemplars=1000,
    )


def writes(server: Scraper) -> str:
    """Return the address for writes."""
    return f"{server.url}/api/v1/write"


def writer_to(server: Scraper, version: str, job: str = "", **options: Any) -> RemoteWriter:
    """Make a writer whose series have a job."""
    labels = {"job": job, "instance": "i"} if job else {}
    return RemoteWriter(writes(server), version=version, external_labels=labels, **options)  # type: ignore[arg-type]


async def deliver(writer: RemoteWriter, registry: CollectorRegistry) -> None:
    """Write a collection, and wait until nothing waits."""
    await writer.write(registry)
    assert await writer.flush(WAIT)


def stored(server: Scraper, job: str) -> dict[Key, str]:
    """Return series → value of all that a job has now; a native histogram as the API shows it."""
    body, _ = fetch(f"{server.url}/api/v1/query?query=%7Bjob%3D%22{job}%22%7D")
    found = {}
    for item in json.loads(body)["data"]["result"]:
        labels = item["metric"]
        name = labels["__name__"]
        if name != "up" and not name.startswith(OWN):
            rest = tuple(sorted((k, v) for k, v in labels.items() if k not in ADDED))
            found[name, rest] = as_text(item)
    return found


def as_text(item: dict[str, Any]) -> str:
    """Return a value so that NaN equals NaN."""
    if "histogram" in item:
        return json.dumps(item["histogram"][1], sort_keys=True)
    value = float(item["value"][1])
    return "NaN" if math.isnan(value) else repr(value)


def complaints(server: PrometheusServer, since: int = 0) -> list[str]:
    """Return what the log complains of, but for how the server itself was ended."""
    ends = ("lockfile from a previous execution", "Received an OS signal")
    return [line for line in server.warnings(since) if not any(end in line for end in ends)]


def kill(server: Scraper) -> None:
    """End a server without a word; ``start`` brings it back with what it has kept."""
    process, server._process = server._process, None
    assert process is not None
    process.kill()
    process.wait(STOP_DEADLINE)


def run_program(
    server: Scraper, version: str, spool: Path, series: int, numbers: range
) -> subprocess.Popen[str]:
    """Start ``PROGRAM``."""
    words = [writes(server), version, spool, series, numbers.start, numbers.stop]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after(program: subprocess.Popen[str], lines: int) -> list[int]:
    """Kill a program that has told so many numbers; return all that it has told."""
    assert program.stdout is not None
    told = [int(program.stdout.readline()) for _ in range(lines)]
    os.kill(program.pid, signal.SIGKILL)
    rest, _ = program.communicate(timeout=STOP_DEADLINE)
    return told + [int(line) for line in rest.split("\n")[:-1]]
