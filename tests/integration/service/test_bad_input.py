"""Bad input, failing sources and load, over real HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterable

import aiohttp
import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider

from oracles import DEADLINE, FakeSource, HeldSource, family, until
from otel_aioprom import CollectorRegistry, Counter, PrometheusMetricReader, Service, render
from servers import parse_with_prometheus_client


async def fetch(url: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and body of a GET request."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, response.headers["Content-Type"], await response.text()


ACCEPTS = [
    "",
    "garbage",
    ";;,,",
    "text/plain;version=abc",
    'text/plain;version="',
    "application/openmetrics-text;version=abc",
    'application/openmetrics-text; version="1.0.1"',
    "text/plain;q=nonsense",
    "*/*;q=-1",
    "text/html,application/xhtml+xml,*/*;q=0.8",
    "\u00fcmlaut/plain",
    ",".join(["text/plain;q=0.1"] * 300),
]


@pytest.mark.parametrize("accept", ACCEPTS)
async def test_e52_no_accept_header_breaks_a_scrape(accept: str) -> None:
    """The response is text 0.0.4 for every header."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    async with Service(registry).running(addr="127.0.0.1") as service:
        status, kind, body = await fetch(service.metrics_url, Accept=accept)

    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "x_total 1" in body


async def test_unusual_label_values_are_exposed() -> None:
    """Quotes, backslashes, line breaks, lone surrogates and a megabyte of text."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "What.", registry=registry)
    values = ['"', "\\", "\n", "\r\t\0", "\ud800", "é😀", "v" * 1_000_000]
    for value in values:
        counter.inc({"v": value})
    async with Service(registry).running(addr="127.0.0.1") as service:
        status, _, body = await fetch(service.metrics_url)

    found = {sample.labels["v"] for sample in parse_with_prometheus_client(body)[0].samples}
    assert status == 200
    assert found == {*values[:4], "\ufffd", *values[5:]}


async def test_an_empty_registry_is_served() -> None:
    """With an empty body, to a server that scrapes."""
    async with Service().running(addr="127.0.0.1") as service:
        status, _, body = await fetch(service.metrics_url, Accept="text/plain;version=0.0.4")

    assert (status, body) == (200, "")


async def test_l5_a_callback_that_raises_is_dropped() -> None:
    """Other instruments and native metrics are served; with ``on_error="fail"``, it is a 500."""
    registry = CollectorRegistry()
    Counter("native_total", "What.", registry=registry).inc()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
    meter = provider.get_meter("m")

    def bad(_: CallbackOptions) -> Iterable[Observation]:
        raise ValueError("bad callback")

    def nonsense(_: CallbackOptions) -> Iterable[Observation]:
        return [None]  # type: ignore[list-item]

    meter.create_observable_gauge("bad", [bad])
    meter.create_observable_gauge("nonsense", [nonsense])
    meter.create_counter("good").add(1)
    async with Service(registry).running(addr="127.0.0.1") as service:
        status, _, body = await fetch(service.metrics_url)

    assert status == 200
    assert "native_total 1" in body
    assert "good_total" in body


async def test_l5_a_source_that_raises_is_a_500_with_on_error_fail() -> None:
    """The body names it."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(ValueError("broken"), name="bad"))
    async with Service(registry, on_error="fail").running(addr="127.0.0.1") as service:
        status, _, body = await fetch(service.metrics_url)

    assert status == 500
    assert "broken" in body


async def test_l5_a_callback_that_hangs_is_late() -> None:
    """Native metrics are served in time, the failure is counted, and later responses have the source again."""
    registry = CollectorRegistry()
    Counter("native_total", "What.", registry=registry).inc()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
    meter = provider.get_meter("m")
    let_go = threading.Event()

    def hang(_: CallbackOptions) -> Iterable[Observation]:
        assert let_go.wait(DEADLINE)
        return [Observation(1)]

    meter.create_counter("good").add(1)
    meter.create_observable_gauge("slow", [hang])
    async with Service(registry, timeout=0.2).running(addr="127.0.0.1") as service:
        late = (await fetch(service.metrics_url))[2]
        threads = threading.active_count()
        again = (await fetch(service.metrics_url))[2]
        same = threading.active_count()
        let_go.set()
        back = ""
        while "slow" not in back:  # until the next collection in time
            back = (await fetch(service.metrics_url))[2]

    assert "native_total 1" in late
    assert "good_total" not in late
    assert 'otel_aioprom_dropped_total{cause="late"} 1' in late
    assert 'otel_aioprom_dropped_total{cause="late"} 2' in again
    assert same == threads
    assert "good_total" in back


async def test_m2_concurrent_scrapes_share_collections() -> None:
    """Fifty requests take two collections, and each response is complete."""
    registry = CollectorRegistry()
    source = HeldSource(family("x"))
    registry.add_source(source)
    async with Service(registry, self_metrics=False).running(addr="127.0.0.1") as service:
        first = asyncio.create_task(fetch(service.metrics_url))
        await source.wait_begun()
        others = [asyncio.create_task(fetch(service.metrics_url)) for _ in range(49)]
        await until(lambda: service._in_flight == 50)
        source.go.release(2)
        bodies = {body for _, _, body in await asyncio.gather(first, *others)}

    assert len(bodies) == 1
    assert source.runs == 2


async def test_m2_a_scrape_has_what_was_recorded_before_it() -> None:
    """Even while an earlier collection is in flight."""
    registry = CollectorRegistry()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
    meter = provider.get_meter("m")
    begun, let_go = threading.Event(), threading.Event()

    def hold(_: CallbackOptions) -> Iterable[Observation]:
        begun.set()
        assert let_go.wait(DEADLINE)
        return [Observation(1)]

    counter = meter.create_counter("c")
    counter.add(1)
    meter.create_observable_gauge("g", [hold])
    async with Service(registry).running(addr="127.0.0.1") as service:
        first = asyncio.create_task(fetch(service.metrics_url))
        assert await asyncio.to_thread(begun.wait, DEADLINE)
        counter.add(1)
        second = asyncio.create_task(fetch(service.metrics_url))
        await until(lambda: service._in_flight == 2)
        let_go.set()
        await first
        body = (await second)[2]

    assert next(line for line in body.splitlines() if line.startswith("c_total")).endswith(" 2")


SCRAPE = """
import sys, urllib.request
sys.stdout.write(str(len(urllib.request.urlopen(sys.argv[1]).read())))
"""


async def test_l4_the_event_loop_is_not_blocked() -> None:
    """While 100,000 series are sent, another task keeps running."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "What.", registry=registry)
    for number in range(100_000):
        counter.inc({"path": f"/items/{number}", "method": "GET"})
    # The CPU time of the thread: other processes do not count.
    began = time.thread_time()
    size = len(render(registry)[0])
    in_one_go = time.thread_time() - began
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            gaps.append(time.thread_time() - before)

    async with Service(registry).running(addr="127.0.0.1") as service:
        ticker = asyncio.create_task(tick())
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SCRAPE, service.metrics_url, stdout=subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(client.communicate(), DEADLINE)
        ticker.cancel()

    assert int(out) == size
    assert max(gaps) < in_one_go / 2
    assert len(gaps) > 10
