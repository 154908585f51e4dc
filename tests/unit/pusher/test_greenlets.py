"""Pushing under gevent, whose greenlets share one thread: each push runs its loop in a thread of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from gateway import Gateway
from oracles import family
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.pusher import BlockingPusher, job_metrics
from otel_aioprom.registry import CollectorRegistry
from pushed import families_in

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import asyncio, sys, time, urllib.request
import gevent
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import export as sdk
from otel_aioprom import BlockingPusher, CollectorRegistry, Gauge, PushMetricExporter, ThreadedService, job_metrics

url = sys.argv[1]

class Source:
    name = "awaited"
    async def collect(self):
        gauge = Gauge("awaited", "A.")
        gauge.set({}, 1)
        return [await asyncio.sleep(0.01, gauge)]

def registry_of(number):
    registry = CollectorRegistry()
    registry.add_source(Source())
    Gauge("g", "G.", registry=registry).set({}, number)
    return registry

def job(number):
    with job_metrics(f"job{number}", url, registry_of(number)):
        time.sleep(0.05)

def push(number):
    assert BlockingPusher(f"push{number}", url).replace(registry_of(number)).status == 200

def export(number):
    reader = sdk.InMemoryMetricReader()
    MeterProvider([reader]).get_meter("m").create_counter("c").add(1)
    data = reader.get_metrics_data()
    assert PushMetricExporter(f"export{number}", url).export(data).name == "SUCCESS"

def at_once(*functions):
    greenlets = [gevent.spawn(each, number) for each in functions for number in range(5)]
    gevent.joinall(greenlets, timeout=20, raise_error=True)
    print([each.successful() for each in greenlets].count(True), flush=True)

at_once(job, push, export)
with ThreadedService(registry_of(0)).running("127.0.0.1", 0) as service:
    at_once(job, push, export)
    print(urllib.request.urlopen(service.metrics_url, timeout=10).status)
"""


@pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed")
def test_greenlets_push_at_the_same_time() -> None:
    """Jobs, scripts and exporters, also beside a service whose loop is that of another greenlet."""
    with Gateway() as gateway:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, gateway.url],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    pushed = [each.path.rpartition("/")[2].rstrip("01234") for each in gateway.requests]

    assert [each.value("awaited") for each in gateway.requests].count(1) == 20
    assert (done.stdout.split(), done.stderr) == (["15", "15", "200"], "")
    assert {name: pushed.count(name) for name in pushed} == {"job": 20, "push": 10, "export": 10}


class FakeThreadPool:
    """The part of gevent's thread pool that is used."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size)

    def apply(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Call a function in a thread."""
        return self._pool.submit(function, *arguments).result()

    def kill(self) -> None:
        """End the thread."""
        self._pool.shutdown()


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that gevent has replaced threads."""
    monkey, threadpool = ModuleType("gevent.monkey"), ModuleType("gevent.threadpool")
    monkey.is_module_patched = lambda name: name == "threading"  # type: ignore[attr-defined]
    threadpool.ThreadPool = FakeThreadPool  # type: ignore[attr-defined]
    for module in (ModuleType("gevent"), monkey, threadpool):
        monkeypatch.setitem(sys.modules, module.__name__, module)


async def test_a_loop_in_the_same_thread_does_not_matter(patched: None) -> None:
    """It may be that of another greenlet; the push has a loop in a thread of its own."""
    threads: list[threading.Thread] = []

    class Source:
        name = "awaited"

        async def collect(self) -> list[MetricFamily]:
            threads.append(threading.current_thread())
            return [await asyncio.sleep(0, family("of_a_source"))]

    registry = CollectorRegistry()
    registry.add_source(Source())
    with Gateway() as gateway:
        assert BlockingPusher("j", gateway.url).add(registry).status == 200
        with job_metrics("j", gateway.url, registry):
            pass

    assert "of_a_source" in families_in(gateway.requests[0]) & families_in(gateway.last)
    assert threads
    assert threading.current_thread() not in threads
    assert gateway.last.value("job_success") == 1
