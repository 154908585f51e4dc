"""The soak: ``python -m benchmarks.soak --seconds 3600``. Needs the servers of ``make servers``.

One process has all kinds of metrics, three recording threads, an endpoint, a pusher and two remote writers. Hostile clients
are another process; a real Prometheus and a real Pushgateway are killed, ended or frozen now and then. Prints a table;
the status is 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack

import aiohttp

from benchmarks.soak.clients import CREDENTIALS, PASSWORD, USER
from benchmarks.soak.loop import Holds, watched_loop
from benchmarks.soak.metrics import Metrics
from benchmarks.soak.readings import Reading
from benchmarks.soak.servers import SERVERS, Server
from benchmarks.soak.verdict import Soak, report
from benchmarks.soak.writing import LossLog, Writing
from otel_aioprom import BasicAuth, Pusher, Service

INTERVAL = 5.0
"""Seconds between two pushes, and two writes."""
SMALL_QUEUE = 1 << 18
"""Bytes of the writer in memory: an outage fills it."""
_DEADLINE = 120.0
_SETTLE = 1.5  # seconds in which cut connections end


async def run(soak: Soak, seconds: float) -> None:
    """Run the load, and print a row now and then."""
    registry = soak.metrics.registry
    soak.readings.append(Reading.now())
    service = Service(registry, send_timeout=1.0, auth=BasicAuth(USER, PASSWORD))
    pusher = Pusher("soak", soak.gateway.url, format="protobuf")
    over = asyncio.Event()
    print("| s | tasks | open files | threads | memory, MiB | longest hold, ms |")
    print("|---:|---:|---:|---:|---:|---:|")
    async with service.running(addr="127.0.0.1"), AsyncExitStack() as stack:
        clients = _clients(service.base_url)
        threads = soak.metrics.start()
        for writing in soak.writings:
            await stack.enter_async_context(writing.running(INTERVAL))
        await stack.enter_async_context(pusher.running(registry, INTERVAL))
        chaos = [asyncio.create_task(each.come_and_go(over)) for each in (soak.store, soak.gateway)]
        await _watch(soak, seconds)
        over.set()
        await asyncio.gather(*chaos)
        soak.answers = await asyncio.to_thread(_ended, clients)
        soak.metrics.stop()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await pusher.replace(registry)
        soak.pages["gateway"] = await asyncio.to_thread(soak.gateway.get, "/metrics")
        soak.pages["endpoint"] = await _page(service.metrics_url)
    soak.metrics.provider.shutdown()
    await asyncio.sleep(_SETTLE)
    _row("after", soak)


async def _watch(soak: Soak, seconds: float) -> None:
    periods = max(4, round(seconds / 60))
    began = time.monotonic()
    for period in range(1, periods + 1):
        elapsed = seconds / periods * period
        await asyncio.sleep(began + elapsed - time.monotonic())
        _row(f"{elapsed:.0f}", soak)


def _row(when: str, soak: Soak) -> None:
    soak.readings.append(reading := Reading.now())
    counts = f"{reading.tasks} | {reading.files} | {reading.threads} | {reading.memory:.1f}"
    print(f"| {when} | {counts} | {soak.holds.longest * 1e3:.1f} |", flush=True)


def _clients(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - this package
        [sys.executable, "-m", "benchmarks.soak.clients", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ended(clients: subprocess.Popen[str]) -> dict[str, int]:
    """Let the clients end, and return their answers by kind."""
    printed, _ = clients.communicate(timeout=_DEADLINE)
    counts: dict[str, int] = json.loads(printed)
    return counts


async def _page(url: str) -> bytes:
    async with aiohttp.ClientSession(headers=CREDENTIALS) as session, session.get(url) as response:
        return await response.read()


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A long load.")
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    if not SERVERS.exists():
        parser.error("there are no servers: run `make servers` first")
    log, holds, metrics = LossLog(), Holds(), Metrics()
    metrics.registry.gather()
    gc.collect()
    gc.freeze()  # the end of the start-up: no run of the collector looks at what is there again
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("otel_aioprom").addHandler(log)
    loop = watched_loop(holds)
    asyncio.set_event_loop(loop)
    with Server("prometheus") as store, Server("pushgateway") as gateway:
        with tempfile.TemporaryDirectory() as spool:
            writings = [
                Writing("spool", store.url, metrics.registry, spool=spool, version="2.0"),
                Writing("memory", store.url, metrics.registry, queue_bytes=SMALL_QUEUE),
            ]
            soak = Soak(metrics, writings, store, gateway, holds, log)
            loop.run_until_complete(run(soak, seconds))
        loop.close()
        return report(soak)


if __name__ == "__main__":
    sys.exit(main())
