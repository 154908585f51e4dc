"""Real remote write servers, and queries of what they have stored."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.otel.reader import PrometheusMetricReader
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
"""Writes some series again and again, each time with the next number, and prints which it has written."""


def receiving(
    name: str = "prometheus3",
    jobs: Sequence[ScrapeJob] = (),
    *,
    features: Sequence[str] = ("native-histograms",),
    settings: dict[str, Any] | None = None,
) -> PrometheusServer:
    """Return a Prometheus that accepts remote writes, with native histograms and exemplars."""
    return PrometheusServer(
        name,
        jobs,
        features=features,
        flags=["--web.enable-remote-write-receiver"],
        settings=settings,
        max_exemplars=1000,
    )


def writes(server: Scraper) -> str:
    """Return the URL of the write endpoint."""
    return f"{server.url}/api/v1/write"


def writer_to(server: Scraper, version: str, job: str = "", **options: Any) -> RemoteWriter:
    """Return a writer whose series have a job label."""
    labels = {"job": job, "instance": "i"} if job else {}
    return RemoteWriter(writes(server), version=version, external_labels=labels, **options)  # type: ignore[arg-type]


async def deliver(writer: RemoteWriter, registry: CollectorRegistry) -> None:
    """Write a collection, and wait until the queue is empty."""
    await writer.write(registry)
    assert await writer.flush(WAIT)


def natives(registry: CollectorRegistry, *, factor: float = 2.0) -> Histogram:
    """A native histogram with nothing in it."""
    return Histogram(
        "sizes", "Sizes.", buckets=None, native_bucket_factor=factor, registry=registry
    )


def shop() -> CollectorRegistry:
    """Native metrics of each kind with odd numbers and labels, and OpenTelemetry's."""
    registry = CollectorRegistry()
    orders = Counter("orders_total", "Orders.", registry=registry)
    orders.add({"kind": 'a"b\\c\nd', "of": "é", "empty": ""}, 2.0**60)
    level = Gauge("level", "Level.", registry=registry)
    for place, value in enumerate((-0.0, 1e-300, 1e300, float("inf"), float("nan"), 0.1)):
        level.set({"place": str(place), "A": "sorts first", "le": "1"}, value)
    bounds = [1e-7, 0.1, 1, 2.5, 1e6, 123456789, 1e21]
    seconds = Histogram("seconds", "Time.", buckets=bounds, registry=registry)
    both = Histogram("both", "Both.", buckets=[1, 2], native_bucket_factor=1.1, registry=registry)
    for value in (0.0, 0.5, 2, 7, 1e9):
        seconds.observe({"a": "b"}, value, exemplar={"trace_id": f"s{value}"})
        both.observe({}, value, exemplar={"trace_id": f"b{value}"})
    sizes = natives(registry)
    for value in (0, -3, -3, 1, 100, 1e12):
        sizes.observe({"a": "b"}, value)
    waited = Summary("waited", "Time.", registry=registry)
    waited.observe({"q": "x"}, 4)
    reader = PrometheusMetricReader(
        registry=registry,
        preferred_aggregation={sdk.Histogram: ExponentialBucketHistogramAggregation(max_scale=3)},
    )
    provider = sdk.MeterProvider(
        metric_readers=[reader], resource=Resource({"service.name": "s"}), shutdown_on_exit=False
    )
    meter = provider.get_meter("m", "1.0")
    meter.create_counter("hits").add(7, {"http.path": "/"})
    meter.create_up_down_counter("queue", "{jobs}").add(-7)
    for value in (0.0, 0.3, 2.0, 300.0):
        meter.create_histogram("weight", "kg").record(value)
    return registry


def numbers(server: PrometheusServer, selector: str) -> list[float]:
    """All values of a series, in the order of timestamps."""
    return [point.value for point in server.points(selector)]


def outcomes(writer: RemoteWriter) -> dict[str, float]:
    """The outcomes of samples that a writer has sent."""
    return {labels["outcome"]: value for labels, value in writer._outbox.metrics.samples.get_all()}


async def until(predicate: Callable[[], object]) -> None:
    """Yield to the event loop until a condition is true."""
    end = asyncio.get_running_loop().time() + WAIT
    while not predicate():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)


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
    """Return warnings and errors of the log, except those about the shutdown."""
    ends = ("lockfile from a previous execution", "Received an OS signal", "file already closed")
    return [line for line in server.warnings(since) if not any(end in line for end in ends)]


def kill(server: Scraper) -> None:
    """Kill a server; ``start`` restarts it with its data."""
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
    """Kill a program after a number of lines; return all numbers that it has printed."""
    assert program.stdout is not None
    told = [int(program.stdout.readline()) for _ in range(lines)]
    os.kill(program.pid, signal.SIGKILL)
    rest, _ = program.communicate(timeout=STOP_DEADLINE)
    return told + [int(line) for line in rest.split("\n")[:-1]]
