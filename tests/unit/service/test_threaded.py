"""The service in its own thread, for programs without an event loop."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from certificates import client_context, make_pair, server_context
from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import ServiceNotRunningError, ServiceStartError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service.threaded import ThreadedService
from processes import free_port


def registry_with(value: float) -> CollectorRegistry:
    """A registry with a gauge."""
    registry = CollectorRegistry()
    Gauge("level", "Level.", registry=registry).set({}, value)
    return registry


def fetch(url: str, **options: Any) -> str:
    """Scrape without an event loop."""
    with urllib.request.urlopen(url, timeout=DEADLINE, **options) as response:
        return str(response.read().decode())


def serving() -> list[str]:
    """Names of the threads of services."""
    return [each.name for each in threading.enumerate() if "otel_aioprom service" in each.name]


def test_a_program_without_a_loop_is_scraped() -> None:
    """Afterwards neither thread nor port is left."""
    service = ThreadedService(registry_with(3), self_metrics=False)
    with pytest.raises(ServiceNotRunningError):
        _ = service.metrics_url
    with service.running("127.0.0.1") as same:
        assert same is service
        url = service.metrics_url
        assert url == f"{service.base_url}/metrics"
        assert "level 3\n" in fetch(url)
        assert len(serving()) == 1
    with pytest.raises(ServiceNotRunningError):
        _ = service.base_url
    with pytest.raises(urllib.error.URLError):
        fetch(url)
    assert serving() == []
    service.stop()


def test_it_can_be_started_again() -> None:
    """With a new loop each time; starting a running service warns."""
    service = ThreadedService(registry_with(1))
    service.add_endpoint("/more")
    for _ in range(2):
        assert service.start("127.0.0.1", metrics_url="/m") is service
        assert service.metrics_url.endswith("/m")
        assert "level 1\n" in fetch(f"{service.base_url}/more")
        with pytest.warns(RuntimeWarning, match="runs already"):
            service.start("127.0.0.1")
        service.stop()
    assert serving() == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("no.such.host.invalid", 0), ServiceStartError),
        (("127.0.0.1", 70_000), ServiceStartError),
        (("127.0.0.1", 0, None, "metrics"), ValueError),
    ],
)
def test_start_raises_in_the_calling_thread(arguments: Any, error: type[Exception]) -> None:
    """No thread is left running."""
    service = ThreadedService()
    with pytest.raises(error):
        service.start(*arguments)

    assert serving() == []
    with service.running("127.0.0.1"):
        assert fetch(service.metrics_url) == ""


def test_a_taken_port_raises() -> None:
    """The error names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceStartError, match=f"127.0.0.1:{port}"):
            ThreadedService().start("127.0.0.1", port)


def test_it_serves_https(tmp_path: Any) -> None:
    """With an SSL context."""
    pair = make_pair(tmp_path, "own")
    with ThreadedService(registry_with(2)).running(
        "localhost", ssl=server_context(pair)
    ) as service:
        assert service.metrics_url.startswith("https://")
        assert "level 2\n" in fetch(service.metrics_url, context=client_context(pair))


async def test_a_program_with_a_loop_may_use_it_too() -> None:
    """The service runs on a loop of its own."""
    with ThreadedService(registry_with(4)).running("127.0.0.1") as service:
        assert "level 4\n" in await asyncio.to_thread(fetch, service.metrics_url)


INTERRUPTED = """
import os, signal, sys, threading
import otel_aioprom.service.service as module
from otel_aioprom import ThreadedService

service = ThreadedService()

def threads():
    return sum("otel_aioprom service" in each.name for each in threading.enumerate())

def handle(*_):
    if sys.argv[1] == "raises":
        raise KeyboardInterrupt
    service.stop()

async def interrupting(*arguments, real=module.open_sockets):
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    return await real(*arguments)

signal.signal(signal.SIGUSR1, handle)
module.open_sockets = interrupting
try:
    service.start("127.0.0.1")
except KeyboardInterrupt:
    print("raised", end=" ")
print(threads())
module.open_sockets = interrupting.__kwdefaults__["real"]
with service.running("127.0.0.1"):
    print(threads())
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signals")
@pytest.mark.parametrize(("act", "printed"), [("stops", ["0", "1"]), ("raises", ["raised 0", "1"])])
def test_a_signal_handler_may_end_a_start(act: str, printed: list[str]) -> None:
    """By ``stop``, or by an exception: neither waits for ever, and no thread is left."""
    program = [sys.executable, "-c", INTERRUPTED, act]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=DEADLINE)

    assert done.stdout.splitlines() == printed
    assert done.stderr == ""


def test_a_thread_that_cannot_be_started_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the service can be started later."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    service = ThreadedService(registry_with(1))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            service.start("127.0.0.1")

    with service.running("127.0.0.1"):
        assert "level 1" in fetch(service.metrics_url)


def test_a_thread_without_an_event_loop_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the process has no file descriptors left; ``start`` waits for nobody, and works afterwards."""

    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    service, raised = ThreadedService(registry_with(1)), []

    def start() -> None:
        try:
            service.start("127.0.0.1", 1234)
        except ServiceStartError as error:
            raised.append(error)

    with monkeypatch.context() as patched:
        patched.setattr("asyncio.events.new_event_loop", refuse)
        starting = threading.Thread(target=start, daemon=True)
        starting.start()
        starting.join(DEADLINE)

    assert not starting.is_alive()
    (error,) = raised
    assert "127.0.0.1:1234" in str(error)
    assert "open files" in str(error)
    assert serving() == []
    with service.running("127.0.0.1"):
        assert "level 1\n" in fetch(service.metrics_url)


def test_a_service_that_is_not_required_logs_instead(caplog: pytest.LogCaptureFixture) -> None:
    """One line that names the process, for set-up code that runs in several; wrong arguments still raise."""
    service = ThreadedService(registry_with(1), required=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with service.running("127.0.0.1", port) as same, pytest.raises(ServiceNotRunningError):
            _ = same.metrics_url
    with pytest.raises(ValueError, match="metrics_url"):
        service.start("127.0.0.1", 0, None, "metrics")
    [record] = caplog.records

    assert record.getMessage().startswith(f"metrics of this process ({os.getpid()}) are not served")
    assert f"127.0.0.1:{port}" in record.getMessage()
    assert record.levelname == "WARNING"
    assert serving() == []
    with service.running("127.0.0.1"):
        assert "level 1\n" in fetch(service.metrics_url)


IMPORTED_AGAIN = """
import logging, multiprocessing, sys, urllib.request
from otel_aioprom import CollectorRegistry, Gauge, ThreadedService

logging.basicConfig(format="%(levelname)s %(message)s")
registry = CollectorRegistry()
Gauge("level", "Level.", registry=registry).set({}, 1)
service = ThreadedService(registry).start("127.0.0.1", int(sys.argv[1]))

def double(number):
    return 2 * number

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        print(pool.map(double, [1, 2]))
    print("level 1" in urllib.request.urlopen(service.metrics_url, timeout=5).read().decode())
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_start_at_import_does_not_end_multiprocessing(tmp_path: Path, method: str) -> None:
    """Processes that import the main module again say what is wrong with it, in one line each, and go on."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    program = tmp_path / "program.py"
    program.write_text(IMPORTED_AGAIN)
    words = [sys.executable, program, str(free_port()), method]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stderr.splitlines()

    assert done.stdout.splitlines() == ["[2, 4]", "True"], done.stderr
    assert lines
    assert all(line.startswith("WARNING metrics of this process (") for line in lines)
    assert all('below if __name__ == "__main__":' in line for line in lines)


FORKS = """
import logging, os, sys, urllib.request
from otel_aioprom import CollectorRegistry, Gauge, ThreadedService

logging.basicConfig(format="%(levelname)s %(message)s")
registry = CollectorRegistry()
gauge = Gauge("who", "Who.", registry=registry)
gauge.set({}, 1)
service = ThreadedService(registry).start("127.0.0.1", int(sys.argv[1]))
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    try:
        gauge.set({}, 2)
        with service.running("127.0.0.1") as own:
            assert own.base_url != sys.argv[2]
            text = urllib.request.urlopen(own.metrics_url, timeout=5).read().decode()
            os.write(writer, text.splitlines()[2].encode())
    finally:
        os._exit(0)
os.waitpid(child, 0)
print(os.read(reader, 100).decode())
print(urllib.request.urlopen(service.metrics_url, timeout=5).read().decode().splitlines()[2])
service.stop()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_warns_and_may_start_its_own_server() -> None:
    """One line in its log; the parent continues to serve."""
    port = free_port()
    words = [sys.executable, "-c", FORKS, str(port), f"http://127.0.0.1:{port}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)

    assert done.stdout.splitlines() == ["who 2", "who 1"]
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 1
    assert f"it was forked from one that serves at http://127.0.0.1:{port}" in warnings[0]
    assert "Traceback" not in done.stderr
