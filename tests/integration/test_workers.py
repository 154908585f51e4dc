"""The documented recipes for worker processes, with their servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from oracles import DEADLINE
from processes import answers, free_port, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these servers fork")

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "workers.md"
START = 30.0
COUNTED = """
import os
from otel_aioprom import REGISTRY, Counter
visits = Counter("visits_total", "Visits.", registry=REGISTRY)
visits.inc({"pid": os.getpid()})
"""


def recipe(word: str) -> str:
    """The program on the page that contains a word."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    [found] = [block for block in blocks if word in block]
    return str(found)


@contextmanager
def ports() -> Iterator[tuple[int, int]]:
    """A range of ports for the workers: the first, and the one after the last."""
    first = free_port()
    yield first, first + 20


def in_range(program: str, span: tuple[int, int]) -> str:
    """A recipe with other ports."""
    assert "range(9464, 9500)" in program
    return program.replace("range(9464, 9500)", f"range{span}")


def workers(span: tuple[int, int]) -> dict[str, int]:
    """Process → port, of processes that serve metrics."""
    found = {}
    for port in range(*span):
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=2) as response:
                text = response.read().decode()
        except (OSError, urllib.error.URLError):
            continue
        for pid in re.findall(r'visits_total\{pid="(\d+)"\} 1', text):
            found[pid] = port
    return found


@contextmanager
def running(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server and capture its output."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(DEADLINE)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_workers(folder: Path, span: tuple[int, int]) -> dict[str, int]:
    """Wait until two of them serve."""
    end = time.monotonic() + START
    found = workers(span)
    while len(found) < 2 and time.monotonic() < end:
        time.sleep(0.1)  # the interval of polling
        found = workers(span)
    assert len(found) >= 2, (folder / "log").read_text()
    assert len(set(found.values())) == len(found)
    return found


WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


@pytest.mark.integration
def test_gunicorn_workers_serve_on_their_own_ports(tmp_path: Path) -> None:
    """By a hook that runs in the worker."""
    pytest.importorskip("gunicorn")
    (tmp_path / "app.py").write_text(WSGI)
    port = free_port()
    with ports() as span:
        program = in_range(recipe("def post_fork"), span)
        counted = program.replace("    for port", "    count()\n    for port", 1)
        (tmp_path / "conf.py").write_text(
            f"def count():{COUNTED.replace(chr(10), chr(10) + '    ')}\n\n{counted}"
        )
        words = ["gunicorn", "-c", "conf.py", "-w", "2", "-b", f"127.0.0.1:{port}", "app:app"]
        with running(tmp_path, *words):
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), START)
            wait_for_workers(tmp_path, span)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("uvicorn", ["--workers", "2", "--port", "PORT", "app:app"]),
        ("hypercorn", ["--workers", "2", "--bind", "127.0.0.1:PORT", "app:app"]),
        ("granian", ["--interface", "asgi", "--workers", "2", "--port", "PORT", "app:app"]),
    ],
)
def test_workers_of_asgi_servers_serve_on_their_own_ports(
    tmp_path: Path, package: str, words: list[str]
) -> None:
    """By the application's lifespan."""
    pytest.importorskip(package)
    port = free_port()
    with ports() as span:
        program = in_range(recipe("async def lifespan"), span)
        (tmp_path / "app.py").write_text(program + COUNTED)
        filled = [word.replace("PORT", str(port)) for word in words]
        with running(tmp_path, package, *filled):
            wait_for_workers(tmp_path, span)


@pytest.mark.integration
def test_celery_processes_serve_on_their_own_ports(tmp_path: Path) -> None:
    """By a signal of Celery."""
    pytest.importorskip("celery")
    with ports() as span:
        program = in_range(recipe("def serve("), span)
        (tmp_path / "tasks.py").write_text(
            program.replace("    for port", "    count()\n    for port", 1)
            + f"\n\ndef count():{COUNTED.replace(chr(10), chr(10) + '    ')}\n"
            + "\nfrom celery import Celery\nfrom celery.signals import worker_process_init\n"
            + 'app = Celery("tasks", broker="memory://")\n'
            + "worker_process_init.connect(serve, weak=False)\n"
        )
        words = ["celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2"]
        with running(tmp_path, *words, "--without-gossip", "--without-mingle"):
            wait_for_workers(tmp_path, span)


RECORDS = """
import os
from opentelemetry import metrics
counter = metrics.get_meter("m").create_counter("visits")
def app(environ, start):
    counter.add(1)
    start("200 OK", [])
    return [b"ok"]
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    counter.add(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("gunicorn", ["gunicorn", "-w", "2", "-b", "127.0.0.1:PORT", "app:app"]),
        ("hypercorn", ["hypercorn", "--workers", "2", "--bind", "127.0.0.1:PORT", "app:asgi"]),
    ],
)
def test_workers_without_code_can_be_reached(
    tmp_path: Path, package: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor has the first port; whoever has metrics takes one of the next, and logs it."""
    pytest.importorskip(package)
    port = free_port()
    (tmp_path / "app.py").write_text(RECORDS)
    tool = "from opentelemetry.instrumentation.auto_instrumentation import run\nrun()\n"
    (tmp_path / "instrument.py").write_text(tool)
    with ports() as (first, _):
        for name, value in {
            "OTEL_METRICS_EXPORTER": "otel_aioprom",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(first),
        }.items():
            monkeypatch.setenv(name, value)
        filled = [word.replace("PORT", str(port)) for word in words]
        with running(tmp_path, "instrument", sys.executable, "-m", *filled):

            def logged() -> set[str]:
                log = (tmp_path / "log").read_text()
                return set(re.findall(r"\(\d+\) are served at (\S+): another process has", log))

            def all_counted() -> bool:
                answers(f"http://127.0.0.1:{port}/")
                return len(logged()) >= 2 and all("visits_total" in page(url) for url in logged())

            wait_until(all_counted, 2 * START)


def page(url: str) -> str:
    """Scrape."""
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        return str(response.read().decode())


@pytest.mark.integration
def test_a_server_that_forks_after_the_start_warns(tmp_path: Path) -> None:
    """Gunicorn with ``preload_app``: the parent serves, each worker logs that it does not, and continues."""
    pytest.importorskip("gunicorn")
    port = free_port()
    with ports() as span:
        (tmp_path / "app.py").write_text(
            "from otel_aioprom import REGISTRY, ThreadedService\n"
            f'ThreadedService(REGISTRY).start("localhost", {span[0]})\n{WSGI}'
        )
        words = ["gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "app:app"]
        with running(tmp_path, *words):
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), START)
            wait_until(lambda: (tmp_path / "log").read_text().count("are not served") == 2, START)
            assert answers(f"http://localhost:{span[0]}/metrics")
    assert "Traceback" not in (tmp_path / "log").read_text()
