"""A service in a program of gevent, whose threads are greenlets."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed")

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import asyncio, time, urllib.request
import gevent
from otel_aioprom import CollectorRegistry, Gauge, ThreadedService

class Source:
    name = "awaited"
    async def collect(self):
        gauge = Gauge("awaited", "A.")
        gauge.set({}, 1)
        return [await asyncio.sleep(0.005, gauge)]

registry = CollectorRegistry()
registry.add_source(Source())
gauge = Gauge("g", "G.", registry=registry)
gauge.set_function({}, lambda: time.sleep(0.005) or 2)
many = Gauge("many", "M.", registry=registry)
for number in range(5000):
    many.set({"n": number}, 1)

def scrape(service):
    for _ in range(4):
        lines = urllib.request.urlopen(service.metrics_url, timeout=60).read().splitlines()
        assert b"awaited 1" in lines and b"g 2" in lines and len(lines) > 5000

def gather(_):
    for _ in range(4):
        gathering = registry.gather()
        assert not gathering.faults, gathering.faults

def own_loop(_):
    async def main():
        assert [each async for each in numbers()] == [0, 1, 2]
        return (await registry.async_gather(30)).faults
    async def numbers():
        for each in range(3):
            yield await asyncio.sleep(0.005, each)
    assert not loops.spawn(asyncio.run, main()).get()  # one loop of the program at a time

def serve_too(_):
    with ThreadedService(registry).running("127.0.0.1", 0) as another:
        scrape(another)

loops = __import__("gevent.pool").pool.Pool(1)
ticks = []
gevent.spawn(lambda: [gevent.sleep(0.001) or ticks.append(1) for _ in iter(int, 1)])
with ThreadedService(registry).running("localhost", 0) as service:
    url = service.metrics_url
    greenlets = [gevent.spawn(each, service) for each in (scrape, gather, own_loop, serve_too) * 3]
    gevent.joinall(greenlets, timeout=120, raise_error=True)
    print([each.successful() for each in greenlets].count(True), len(ticks) > 50, flush=True)
try:
    urllib.request.urlopen(url, timeout=5)
except Exception as error:
    print(type(error).__name__)
"""


def test_a_service_runs_beside_greenlets() -> None:
    """Beside other services, collections, and event loops of the program; nothing of them is lost or held up."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=180
    )

    assert (done.stdout.splitlines(), done.stderr) == (["12 True", "URLError"], "")
    assert done.returncode == 0
