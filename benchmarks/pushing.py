"""Topic pushing: 100,000 counters to a gateway, and by remote write, over a loopback socket.

The other end is a process of its own (`benchmarks.sink`) that reads and throws away. Everybody
pushes from one event loop, those who block from a thread of it, as users do; read are the time of a push and the
longest time for which the loop did not come round to its 1 ms ticker. The exporter of remote write gets what
the SDK has collected, for that is what it does; ours collects its registry.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aioprometheus.pusher
import prometheus_client
from opentelemetry.exporter.prometheus_remote_write import PrometheusRemoteWriteMetricsExporter
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult

import otel_aioprom
from benchmarks.data import SCOPE, amounts, label_rows
from benchmarks.measure import AIOPROMETHEUS, OURS, PROMETHEUS, Case, Contender, Goal, interleave
from benchmarks.serving import Ticker
from benchmarks.sink import HOST
from benchmarks.subjects import COUNTERS, LIMITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

TOPIC = "pushing"
SERIES = 100_000
QUICK_SERIES = 5_000
STALL_GOAL_MS = 10.0
REMOTE_WRITE_EXPORTER = "opentelemetry-exporter-prometheus-remote-write"
_MILLI = 1e3
_WARM_UP = 0.005  # seconds after which the ticker is under way
_PATIENCE = 120.0

Push = Callable[[], Awaitable[object]] if TYPE_CHECKING else Any


class Reading(NamedTuple):
    """What one contender showed in one round, in milliseconds.

    Attributes:
        time: Of a push.
        stall: Longest delay of the ticker.
    """

    time: float
    stall: float


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Push with every contender.

    Args:
        rounds: Readings of each contender.
        quick: A twentieth of the series.

    Returns:
        Four cases: time and stall of a push, and of remote write.
    """
    series = QUICK_SERIES if quick else SERIES
    with _sink() as address, asyncio_runner() as run, ExitStack() as stack:
        pushes = interleave(_contenders(run, _pushers(series, address)), rounds)
        writers = _writers(series, f"{address}/write", partial(_enter, run, stack))
        writes = interleave(_contenders(run, writers), rounds)
    words = f"{series:,} counters"
    return [
        *_cases(f"{words} pushed", pushes),
        *_cases(f"{words} by remote write", writes),
    ]


def _cases(words: str, readings: dict[str, list[Reading]]) -> list[Case]:
    times = {name: [each.time for each in values] for name, values in readings.items()}
    stalls = {name: [each.stall for each in values] for name, values in readings.items()}
    return [
        Case(TOPIC, words, "ms", times),
        Case(TOPIC, f"{words}, longest loop stall", "ms", stalls, [Goal(STALL_GOAL_MS)]),
    ]


@contextmanager
def _sink() -> Iterator[str]:
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield f"http://{HOST}:{int(process.stdout.readline())}"
    finally:
        process.communicate()


def _enter(
    run: Callable[[Awaitable[Any]], Any], stack: ExitStack, writer: otel_aioprom.RemoteWriter
) -> None:
    run(writer.__aenter__())
    stack.callback(lambda: run(writer.__aexit__(None, None, None)))


@contextmanager
def asyncio_runner() -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Keep an event loop, for the pushers keep connections."""
    loop = asyncio.new_event_loop()
    try:
        yield loop.run_until_complete
    finally:
        loop.close()


def _contenders(
    run: Callable[[Awaitable[Any]], Any], pushes: dict[str, Push]
) -> list[Contender[Reading]]:
    return [
        Contender(name, lambda push=push: run(_timed(push)))  # type: ignore[misc]
        for name, push in pushes.items()
    ]


async def _timed(push: Push) -> Reading:
    gc.collect()
    ticker = Ticker()
    ticker.start()
    await asyncio.sleep(_WARM_UP)
    start = time.perf_counter()
    await push()
    spent = time.perf_counter() - start
    return Reading(spent * _MILLI, ticker.stop() * _MILLI)


def _filled(name: str, series: int) -> Any:
    subject = COUNTERS[name]()
    for row, amount in zip(label_rows(series), amounts(series), strict=True):
        subject.record(row, int(amount))
    return subject.registry


def _pushers(series: int, address: str) -> dict[str, Push]:
    ours, theirs, others = (_filled(name, series) for name in (OURS, PROMETHEUS, AIOPROMETHEUS))
    plain = otel_aioprom.Pusher("bench", address, raise_for_status=True)
    packed = otel_aioprom.Pusher("bench", address, compression="gzip", raise_for_status=True)
    predecessor = aioprometheus.pusher.Pusher("bench", address)

    def blocking() -> None:
        prometheus_client.push_to_gateway(address, "bench", theirs, timeout=_PATIENCE)

    return {
        OURS: lambda: plain.replace(ours),
        f"{OURS} gzip": lambda: packed.replace(ours),
        PROMETHEUS: lambda: asyncio.to_thread(blocking),
        AIOPROMETHEUS: lambda: predecessor.replace(others),
    }


def _writers(
    series: int, address: str, enter: Callable[[otel_aioprom.RemoteWriter], None]
) -> dict[str, Push]:
    registry = _filled(OURS, series)
    pushes: dict[str, Push] = {}
    for version, name in (("1.0", OURS), ("2.0", f"{OURS} 2.0")):
        writer = otel_aioprom.RemoteWriter(address, version=version)  # type: ignore[arg-type]
        enter(writer)
        pushes[name] = lambda writer=writer: _written(writer, registry)
    exporter = PrometheusRemoteWriteMetricsExporter(address, timeout=int(_PATIENCE))
    data = _collected(series)

    def blocking() -> None:
        assert exporter.export(data) is MetricExportResult.SUCCESS

    pushes[REMOTE_WRITE_EXPORTER] = lambda: asyncio.to_thread(blocking)
    return pushes


async def _written(writer: otel_aioprom.RemoteWriter, registry: Any) -> None:
    await writer.write(registry)
    assert await writer.flush(_PATIENCE)


def _collected(series: int) -> Any:
    reader = InMemoryMetricReader(cardinality_limits=LIMITS)  # type: ignore[call-arg]
    provider = sdk.MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    counter = provider.get_meter(*SCOPE).create_counter("bench.requests")
    for row, amount in zip(label_rows(series), amounts(series), strict=True):
        counter.add(int(amount), {"method": row[0], "path": row[1], "code": row[2]})
    return reader.get_metrics_data()
