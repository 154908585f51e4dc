"""One server process of topic http: ``python -m benchmarks.serving NAME SERIES VALUES``.

Serves counters with one library on a loopback port, and on a second port takes orders:
``start`` begins a 1 ms ticker in the very loop that serves, ``stop`` ends it and answers
with the longest time, in seconds, by which a tick came late. It ends with the connection
that gave the orders. Each contender has a process of its
own, so that no heap holds another's objects, and its garbage collector runs as it comes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

import prometheus_client
from aiohttp import web
from aioprometheus.service import Service as AioprometheusService

import otel_aioprom
from benchmarks.data import amounts, label_rows
from benchmarks.measure import AIOPROMETHEUS, OURS, PROMETHEUS
from benchmarks.subjects import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
PERIOD = 0.001


class Ticker:
    """Counts how late a task's wake-ups come."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._longest = 0.0
        self._slept = 0.0

    def start(self) -> float:
        """Begin a new count in the running loop; gives 0."""
        self._longest = 0.0
        self._slept = perf_counter()
        self._task = asyncio.get_running_loop().create_task(self._tick())
        return 0.0

    def stop(self) -> float:
        """End the count; gives the longest delay in seconds, a running one included."""
        self._note()
        if self._task is not None:
            self._task.cancel()
        return self._longest

    async def _tick(self) -> None:
        while True:
            self._slept = perf_counter()
            await asyncio.sleep(PERIOD)
            self._note()

    def _note(self) -> None:
        self._longest = max(self._longest, perf_counter() - self._slept - PERIOD)


async def _serve_ours(registry: Any) -> str:
    service = otel_aioprom.Service(registry)
    await service.start(addr=HOST)
    return str(service.metrics_url)


async def _serve_aioprometheus(registry: Any) -> str:
    service = AioprometheusService(registry)
    await service.start(addr=HOST)
    return str(service.metrics_url)


async def _serve_prometheus(registry: Any) -> str:
    async def handle(_request: web.Request) -> web.Response:
        body = prometheus_client.generate_latest(registry)
        return web.Response(
            body=body, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/metrics", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    return f"http://{HOST}:{runner.addresses[0][1]}/metrics"


_SERVERS: dict[str, Callable[[Any], Awaitable[str]]] = {
    OURS: _serve_ours,
    AIOPROMETHEUS: _serve_aioprometheus,
    PROMETHEUS: _serve_prometheus,
}


async def _obey(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: asyncio.Event
) -> None:
    """Take orders, one a line; the client's end, however it came, ends the server."""
    ticker = Ticker()
    try:
        while order := (await reader.readline()).strip():
            answer = ticker.start() if order == b"start" else ticker.stop()
            writer.write(b"%.9f\n" % answer)
            await writer.drain()
    finally:
        writer.close()
        ended.set()


async def main(name: str, series: int, values: str) -> None:
    """Serve until the control connection is closed.

    Args:
        name: The contender.
        series: How many counters.
        values: ``whole`` numbers, or ``mixed``: a quarter with 17 digits.
    """
    subject = COUNTERS[name]()
    for row, amount in zip(label_rows(series), amounts(series), strict=True):
        subject.record(row, amount if values == "mixed" else int(amount))
    gc.collect()
    metrics_url = await _SERVERS[name](subject.registry)
    ended = asyncio.Event()
    orders = await asyncio.start_server(lambda r, w: _obey(r, w, ended), HOST, 0)
    control = orders.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"url": metrics_url, "control": control}) + "\n")
    sys.stdout.flush()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
