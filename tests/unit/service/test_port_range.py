"""The service of programs that nobody has changed: every process of one can be reached."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import ServiceNotRunningError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service import port_range
from otel_aioprom.service.port_range import PortRangeService
from processes import free_port, wait_until

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@contextmanager
def served(port: int, value: int = 0) -> Iterator[PortRangeService]:
    """A service that is to serve on a port."""
    registry = CollectorRegistry()
    Gauge("who", "Who.", registry=registry).set({}, value)
    service = PortRangeService(registry)
    service.serve("127.0.0.1", port)
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(autouse=True)
def interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(port_range, "_INTERVAL", 0.02)


def is_served(service: PortRangeService) -> bool:
    """Return whether a service has a port."""
    try:
        return bool(service.metrics_url)
    except ServiceNotRunningError:
        return False


def who(url: str) -> str:
    """Scrape without an event loop."""
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        return re.findall(r"^who (\d)$", response.read().decode(), re.MULTILINE)[0]


def test_whoever_comes_later_takes_the_next_port(caplog: pytest.LogCaptureFixture) -> None:
    """And says which; the first one says nothing."""
    port = free_port()
    with ExitStack() as opened:
        services = [opened.enter_context(served(port, each)) for each in range(3)]
        wait_until(lambda: all(map(is_served, services)))
        urls = [service.metrics_url for service in services]
        assert [who(url) for url in urls] == ["0", "1", "2"]
        assert len(set(urls)) == 3
    words = [record.getMessage() for record in caplog.records]

    assert sorted(words) == sorted(
        f"metrics of this process ({os.getpid()}) are served at {url}: another process has port {port}"
        for url in urls[1:]
    )


def test_whoever_has_nothing_to_serve_takes_no_second_port() -> None:
    """Such as a supervisor: not until something is recorded, and not after a stop."""
    port = free_port()
    with served(port):
        registry = CollectorRegistry()
        service = PortRangeService(registry)
        looks = threading.Semaphore(0)
        registry.add_source(Looking(looks))
        service.serve("127.0.0.1", port)
        for _ in range(2):  # the second look begins when the first one has led to nothing
            assert looks.acquire(timeout=DEADLINE)
        assert not is_served(service)
        Gauge("who", "Who.", registry=registry).set({}, 7)
        wait_until(lambda: is_served(service))
        assert who(service.metrics_url) == "7"
        service.stop()
        service.serve("127.0.0.1", port)
        service.stop()
        wait_until(lambda: "otel_aioprom service start" not in names_of_threads())
        assert not is_served(service)


class Looking:
    """A source that counts collections, and has nothing."""

    name = "looking"

    def __init__(self, looks: threading.Semaphore) -> None:
        self.looks = looks

    def collect(self) -> list[Any]:
        """Return nothing."""
        self.looks.release()
        return []


def names_of_threads() -> list[str]:
    """The threads of this process."""
    return [each.name for each in threading.enumerate()]


def test_no_port_of_the_range_is_free(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error, and nothing is raised."""
    monkeypatch.setattr(port_range, "PORTS", 1)
    port = free_port()
    with served(port), served(port) as second:
        wait_until(lambda: bool(caplog.records))
        assert not is_served(second)
    [record] = caplog.records

    assert f"({os.getpid()}) are not served: " in record.getMessage()
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)


def test_any_free_port(caplog: pytest.LogCaptureFixture) -> None:
    """Is what 0 stands for, for each."""
    with served(0) as first, served(0) as second:
        assert first.metrics_url != second.metrics_url
    assert caplog.records == []


PROGRAM = """
import logging, os, sys, time
from otel_aioprom import CollectorRegistry, Gauge
from otel_aioprom.service import port_range

logging.basicConfig(format="%(message)s", level=logging.INFO)
logging.getLogger("asyncio").setLevel(logging.WARNING)
port_range._INTERVAL = 0.05
registry = CollectorRegistry()
gauge = Gauge("who", "Who.", registry=registry)
gauge.set({}, 0)
service = port_range.PortRangeService(registry)
service.serve("127.0.0.1", int(sys.argv[1]))

def child(then):
    if os.fork() == 0:
        then()
        sys.stdin.read()
        os._exit(0)

def serves():
    gauge.set({}, 1)

def stops():
    service.stop()
    time.sleep(0.2)  # it would serve by now; what it logs would fail the test

def forks_again():
    if os.fork() != 0:
        os._exit(0)
    gauge.set({}, 2)

child(serves)
child(stops)
child(forks_again)
sys.stdin.read()
"""


@forks
def test_forked_children_serve_on_ports_of_their_own() -> None:
    """Also those that fork again before they serve, but none that has stopped its service."""
    words = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    with subprocess.Popen(
        [*words, str(free_port())], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stderr is not None
        found: dict[str, str] = {}
        said = []
        while set(found) != {"0", "1", "2"}:
            said.append(program.stderr.readline())
            match = re.search(r"\((\d+)\) are served at (\S+?/metrics)(: another.*)?$", said[-1])
            assert match is not None, said
            assert bool(match[3]) is (match[1] != str(program.pid)), said
            found[who(match[2])] = match[1]
        assert program.stdin is not None
        program.stdin.close()

    assert found["0"] == str(program.pid)
    assert len(set(found.values())) == 3
