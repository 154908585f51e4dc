"""Programs without code of this library, run by ``opentelemetry-instrument``, scraped by a real Prometheus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from oracles import DEADLINE
from processes import answers, free_port, wait_until
from prometheus import PrometheusServer
from scraper import ScrapeJob

pytestmark = pytest.mark.integration

COUNTS = """
from opentelemetry import metrics
jobs = metrics.get_meter("m").create_counter("jobs")
"""
APPS = {
    "flask": COUNTS
    + """
import sys
from flask import Flask
app = Flask("app")

@app.get("/")
def index():
    jobs.add(1)
    return "ok"

app.run("127.0.0.1", int(sys.argv[1]))
""",
    "aiohttp": COUNTS
    + """
import sys
from aiohttp import web

async def index(request):
    jobs.add(1)
    return web.Response(text="ok")

app = web.Application()
app.router.add_get("/", index)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
""",
    "fastapi": COUNTS
    + """
import sys
import uvicorn
from fastapi import FastAPI
app = FastAPI()

@app.get("/")
async def index():
    jobs.add(1)
    return "ok"

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
""",
}
CONFIG = """
file_format: "1.0"
meter_provider:
  readers:
    - pull:
        exporter:
          otel_aioprom:
            host: 127.0.0.1
            port: %d
            scope_info_enabled: false
            target_info_enabled/development: false
"""
EXPORTERS = {
    "OTEL_METRICS_EXPORTER": "otel_aioprom",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
}


class Program(NamedTuple):
    """A running program: the ports of its application and of its metrics."""

    process: subprocess.Popen[str]
    port: int
    metrics: int


@contextmanager
def instrumented(source: str, folder: Path, **settings: str) -> Iterator[Program]:
    """Run a program under ``opentelemetry-instrument``."""
    metrics, port = free_port(), free_port()
    (folder / "app.py").write_text(source)
    tool = Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument"
    environment = {**os.environ, **EXPORTERS, "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics)}
    environment |= {
        name: value % metrics if "%d" in value else value for name, value in settings.items()
    }
    log: IO[str]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(tool), sys.executable, "app.py", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Program(process, port, metrics)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(DEADLINE)
        finally:
            process.kill()
            process.wait()


def call(port: int) -> str:
    """Send requests to a program."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=DEADLINE) as response:
        return str(response.read().decode())


def test_m74_several_kinds_of_programs_are_scraped(tmp_path: Path) -> None:
    """By a real Prometheus; each exits as without us, and logs nothing of ours."""
    with ExitStack() as opened:
        programs = {}
        for name, source in APPS.items():
            (tmp_path / name).mkdir()
            programs[name] = opened.enter_context(instrumented(source, tmp_path / name))
        for program in programs.values():
            wait_until(lambda port=program.port: answers(f"http://127.0.0.1:{port}/"), 30)  # type: ignore[misc]
        for number, program in enumerate(programs.values()):
            for _ in range(number + 1):
                call(program.port)
        jobs = [
            ScrapeJob(name, f"127.0.0.1:{program.metrics}") for name, program in programs.items()
        ]
        server = opened.enter_context(PrometheusServer("prometheus3", jobs, interval="500ms"))
        for name in programs:
            server.wait_for_scrape(name)
        found = {name: server.value(f'jobs_total{{job="{name}"}}') for name in programs}
        assert server.warnings() == []
    for number, name in enumerate(programs):
        assert (found[name] or 0) >= number + 2  # one request was the check that it runs
        log = (tmp_path / name / "log").read_text()
        assert "Traceback" not in log.replace("KeyboardInterrupt", ""), log
        assert "not served" not in log


PLAIN = (
    COUNTS
    + """
import sys, time
jobs.add(3)
print("up", flush=True)
time.sleep(60)
"""
)


FAILING = """
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

class Failing(InMemoryMetricReader):
    def __init__(self):
        raise OSError("the port is taken")
"""


def fetch(port: int) -> str:
    """Scrape."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE) as response:
        return str(response.read().decode())


def wait_up(folder: Path) -> None:
    """Wait until the program runs."""
    wait_until(lambda: "up\n" in (folder / "log").read_text(), 30)


def test_m75_m76_a_configuration_file(tmp_path: Path) -> None:
    """Loaded by the SDK."""
    port = free_port()
    (tmp_path / "otel.yaml").write_text(CONFIG % port)
    with instrumented(PLAIN, tmp_path, OTEL_CONFIG_FILE="otel.yaml"):
        wait_up(tmp_path)
        text = fetch(port)

    assert text.splitlines() == ["# TYPE jobs_total counter", "jobs_total 3"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"OTEL_EXPORTER_PROMETHEUS_HOST": "no.such.host.invalid"}, " are not served: "),
        ({"OTEL_CONFIG_FILE": "otel.yaml"}, "did you mean scope_info_enabled?"),
    ],
)
def test_m73_m75_an_invalid_configuration_does_not_stop_the_program(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    """It is logged, and the program continues without metrics."""
    wrong = (CONFIG % free_port()).replace("scope_info_enabled", "scope_infos")
    (tmp_path / "otel.yaml").write_text(wrong)
    with instrumented(PLAIN, tmp_path, **settings) as program:
        wait_up(tmp_path)
        assert program.process.poll() is None
        log = (tmp_path / "log").read_text()

    assert said in log


def test_an_exporter_beside_ours_that_fails(tmp_path: Path) -> None:
    """The set-up of the SDK fails as a whole: scrapes get 503, and one line says what to look for."""
    package = tmp_path / "failing-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1.0\n")
    entry = "[opentelemetry_metrics_exporter]\nfailing = failing:Failing\n"
    (package / "entry_points.txt").write_text(entry)
    (tmp_path / "failing.py").write_text(FAILING)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = {"OTEL_METRICS_EXPORTER": "otel_aioprom,failing", "PYTHONPATH": path}
    with instrumented(PLAIN, tmp_path, **settings) as program:
        wait_up(tmp_path)

        def is_said() -> bool:
            with pytest.raises(urllib.error.HTTPError) as caught:
                fetch(program.metrics)
            with caught.value as answer:
                assert answer.code == 503
            return "has the reader" in (tmp_path / "log").read_text()

        wait_until(is_said, 30)
        for _ in range(3):
            assert is_said()
        log = (tmp_path / "log").read_text()

    assert log.count("(logged once)") == 1
    assert f"process {program.process.pid} has the reader" in log


def test_m73_an_invalid_port_means_the_default(tmp_path: Path) -> None:
    """With a warning, even if the default port is taken."""
    with instrumented(PLAIN, tmp_path, OTEL_EXPORTER_PROMETHEUS_PORT="abc") as program:
        wait_up(tmp_path)
        assert program.process.poll() is None
        log: Any = (tmp_path / "log").read_text()

    assert (
        "OTEL_EXPORTER_PROMETHEUS_PORT='abc' is no port number (0 to 65535): 9464 is used instead"
        in log
    )
