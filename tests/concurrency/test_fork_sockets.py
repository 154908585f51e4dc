"""A forked child keeps nothing of its parent's endpoint: neither the port nor the connections."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from processes import free_port

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

DEADLINE = 60.0
PROGRAM = """
import asyncio, logging, os, sys, urllib.request
from otel_aioprom import CollectorRegistry, Gauge, Service
from otel_aioprom.errors import ServiceNotRunningError

logging.basicConfig(format="%(levelname)s %(message)s")
registry = CollectorRegistry()
Gauge("level", "Level.", registry=registry).set({}, 1)

def scrape(url):
    with urllib.request.urlopen(url, timeout=20) as response:
        return "level 1" in response.read().decode()

async def main():
    port = int(sys.argv[1])
    service = Service(registry)
    await service.start("127.0.0.1", port)
    kept, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    await asyncio.wait_for(kept.readuntil(b"level 1\\n"), 20)  # it stays open
    begun, over = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # it lives on longer than the endpoint of its parent
        os.close(over[1])
        writer.transport.get_extra_info("socket")._sock.close()  # the client's end, which is not the endpoint's
        try:
            service.metrics_url
        except ServiceNotRunningError:
            os.write(begun[1], b"x")
        os.read(over[0], 1)
        os._exit(0)
    assert os.read(begun[0], 1) == b"x"
    print("parent serves", await asyncio.to_thread(scrape, service.metrics_url))
    await service.stop(0.1)
    print("connection ends", await asyncio.wait_for(kept.read(), 20) == b"")
    again = Service(registry)
    await again.start("127.0.0.1", port)
    print("restart serves", await asyncio.to_thread(scrape, again.metrics_url))
    await again.stop()
    os.close(over[1])
    os.waitpid(child, 0)

asyncio.run(main())
"""


def test_a_service_on_a_loop_leaves_nothing_to_children() -> None:
    """While a child lives: the parent serves, its connections end when it stops, and the port is free for a restart."""
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, str(free_port())]
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, check=False)

    assert done.stdout.splitlines() == [
        "parent serves True",
        "connection ends True",
        "restart serves True",
    ], done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("WARNING metrics of this process (")
    assert "it was forked from one that serves at http://127.0.0.1:" in line


SCRAPES = """
import socket, sys
from otel_aioprom import REGISTRY, Histogram, PrometheusMetricReader, ThreadedService
from opentelemetry.sdk.metrics import MeterProvider

provider = MeterProvider([PrometheusMetricReader()])
provider.get_meter("m").create_counter("c").add(1)
Histogram("seconds", "S.", registry=REGISTRY, native_bucket_factor=1.1).observe({}, 1)
service = ThreadedService(REGISTRY).start("127.0.0.1", int(sys.argv[1]))
before = set(sys.modules)
for accept in ("text/plain", "application/openmetrics-text", "application/vnd.google.protobuf"):
    for coding in ("identity", "gzip", "zstd"):
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
            client.sendall((
                "GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n"
                f"Accept: {accept}\\r\\nAccept-Encoding: {coding}\\r\\n\\r\\n"
            ).encode())
            answer = b""
            while piece := client.recv(65536):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200"), answer
print(sorted(set(sys.modules) - before))
"""


def test_a_scrape_imports_nothing() -> None:
    """A child that is forked meanwhile would wait for ever for an import of a thread that it does not have."""
    words = [sys.executable, "-c", SCRAPES, str(free_port())]
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, check=False)

    assert done.stdout == "[]\n", done.stderr
