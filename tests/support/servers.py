"""The real servers and foreign parsers that the tests hold the library against.

``make servers`` brings the programs; an environment variable names one of your own, such as
``PROMETHEUS_BIN`` (see ``ENVIRONMENT``). A test that lacks its program is skipped with the
reason, and fails where ``REQUIRE_SERVERS=1`` is set.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import prometheus_client.openmetrics.parser
import prometheus_client.parser
import pytest
from prometheus_client.metrics_core import Metric
from typing_extensions import Self

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "servers"

# The names that ``servers.json`` uses → the variables that come before it. A variable
# without a number stands for the newest generation.
ENVIRONMENT = {
    "prometheus2": ("PROMETHEUS2_BIN",),
    "prometheus3": ("PROMETHEUS3_BIN", "PROMETHEUS_BIN"),
    "promtool2": ("PROMTOOL2_BIN",),
    "promtool3": ("PROMTOOL3_BIN", "PROMTOOL_BIN"),
    "pushgateway1.5": ("PUSHGATEWAY1_5_BIN",),
    "pushgateway1.11": ("PUSHGATEWAY1_11_BIN", "PUSHGATEWAY_BIN"),
    "victoriametrics": ("VICTORIAMETRICS_BIN",),
}

START_DEADLINE = 30.0
STOP_DEADLINE = 10.0
HTTP_TIMEOUT = 10.0
POLL = 0.05


# --- finding programs ------------------------------------------------------------------


def find(name: str) -> Path | None:
    """Return the path of a server program, or ``None`` where it is not on this machine."""
    for variable in ENVIRONMENT[name]:
        if value := os.environ.get(variable):
            return Path(value)
    try:
        paths = json.loads((FOLDER / "servers.json").read_text(encoding="utf-8"))
    except OSError:
        return None
    program = FOLDER / paths.get(name, "missing")
    return program if program.is_file() else None


def require(name: str) -> Path:
    """Return the path of a server program, or end the test that needs it."""
    program = find(name)
    if program is not None:
        return program
    reason = f"{name} is not here: run `make servers` or set {ENVIRONMENT[name][-1]}"
    if os.environ.get("REQUIRE_SERVERS", "0") not in {"", "0"}:
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    It is below the range that outgoing connections are given theirs from, so a server that
    is started, stopped and started again finds it free each time.
    """
    for _ in range(100):
        port = random.randint(12000, 30000)  # noqa: S311 (no secret)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 12000 and 30000")


# --- HTTP and waiting ------------------------------------------------------------------


def wait_until(
    predicate: Callable[[], bool], deadline: float = 30.0, what: str = "the condition"
) -> None:
    """Ask again and again until the answer is yes.

    Args:
        predicate: Asked every 50 ms.
        deadline: Seconds until this gives up.
        what: What is waited for, for the message.

    Raises:
        TimeoutError: It was still no.
    """
    end = time.monotonic() + deadline
    while not predicate():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come true within {deadline} s")
        time.sleep(POLL)


def fetch(url: str, headers: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
    """GET a page of a local server; return its body and headers.

    Raises:
        urllib.error.HTTPError: The status is 400 or more.
        OSError: The server cannot be reached.
    """
    request = urllib.request.Request(url, headers=dict(headers or {}))
    with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT) as response:
        return response.read(), response.headers


def answers(url: str) -> bool:
    """Say whether a GET of ``url`` ends with status 200."""
    try:
        fetch(url)
    except OSError:  # HTTPError and URLError are such
        return False
    return True


# --- running servers -------------------------------------------------------------------


class ServerProcess:
    """A server program as a child process on 127.0.0.1, with a folder of its own.

    Args:
        command: Makes the command line from the folder and the port to listen on.
        ready_path: Where the server answers 200 when it is ready.
    """

    def __init__(
        self, command: Callable[[Path, int], Sequence[str | Path]], ready_path: str
    ) -> None:
        self._command = command
        self._ready_path = ready_path
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="server-"))
        self.port = free_port()

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """Return all that the server has printed so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start the server and wait until it is ready.

        Raises:
            RuntimeError: It ended at once; the message holds its log.
            TimeoutError: It was not ready in time.
        """
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(part) for part in self._command(self.folder, self.port)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_ready, START_DEADLINE, f"the start of {self.url}")

    def _is_ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the server ended at its start:\n{self.log()}")
        return answers(self.url + self._ready_path)

    def stop(self) -> None:
        """Stop the server and remove its folder; twice does no harm."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass(frozen=True)
class ScrapeJob:
    """One scrape job of a Prometheus.

    Attributes:
        name: The ``job`` label of what it scrapes.
        target: ``host:port``.
        settings: Anything else that a ``scrape_config`` may say.
    """

    name: str
    target: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """Return the job as an entry of ``scrape_configs``."""
        return {
            "job_name": self.name,
            "static_configs": [{"targets": [self.target]}],
            **self.settings,
        }


@dataclass(frozen=True)
class QuerySample:
    """One series of a query's answer: its labels, ``__name__`` among them, and its value."""

    labels: Mapping[str, str]
    value: float


class PrometheusServer(ServerProcess):
    """A real Prometheus that scrapes the given jobs.

    The first scrape comes about five seconds after the start: that is how long its target
    discovery gathers changes. So start one for many tests, and let their applications
    follow each other on one port.

    Args:
        name: ``prometheus2`` or ``prometheus3``.
        jobs: What to scrape.
        interval: Scrape interval and timeout, at most a second.
        features: Words for ``--enable-feature``, such as ``native-histograms``.
        flags: More words for the command line.
    """

    def __init__(
        self,
        name: str,
        jobs: Sequence[ScrapeJob],
        *,
        interval: str = "1s",
        features: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        program = require(name)
        switches = [f"--enable-feature={feature}" for feature in features]
        super().__init__(
            lambda folder, port: [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=debug",
                *switches,
                *flags,
            ],
            "/-/ready",
        )
        # JSON is YAML, so no YAML library is needed.
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [job.config() for job in jobs],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")

    def _api(self, path: str, **parameters: str) -> Any:
        """Return the ``data`` of an API answer; the message of a refusal is in the error."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            body, _ = fetch(url)
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{url}: {error.read().decode()}") from error
        return json.loads(body)["data"]

    def query(self, expr: str) -> list[QuerySample]:
        """Return the series that an instant query finds now."""
        data = self._api("query", query=expr)
        if data["resultType"] == "scalar":
            return [QuerySample({}, float(data["result"][1]))]
        return [QuerySample(item["metric"], float(item["value"][1])) for item in data["result"]]

    def value(self, expr: str) -> float | None:
        """Return the value of the one series that a query finds, or ``None`` if none is."""
        found = self.query(expr)
        if len(found) > 1:
            raise LookupError(f"{expr} finds {len(found)} series")
        return found[0].value if found else None

    def metadata(self) -> dict[str, list[dict[str, str]]]:
        """Return metric name → its type, help and unit as the targets have given them."""
        found: dict[str, list[dict[str, str]]] = self._api("metadata")
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return the active targets, each with ``health``, ``lastError``, ``lastScrape``."""
        found: list[dict[str, Any]] = self._api("targets", state="active")["activeTargets"]
        return found

    def target(self, job: str) -> dict[str, Any] | None:
        """Return the target of one job, or ``None`` before discovery has found it."""
        return next((item for item in self.targets() if item["labels"]["job"] == job), None)

    def wait_for_scrape(self, job: str, deadline: float = 30.0) -> None:
        """Wait until a scrape that began after this call has ended well and can be queried."""
        # Prometheus shifts the time of a scrape by up to 2 ms, to keep its steps even.
        begun = time.time() + 0.01
        up = f'up{{job="{job}"}}'

        def is_scraped() -> bool:
            # The time of a sample is the begin of its scrape; other than the list of targets
            # it changes only when the samples can be queried.
            stamp = self.value(f"timestamp({up}) and ({up} == 1)")
            return stamp is not None and stamp > begun

        wait_until(is_scraped, deadline, f"a good scrape of {job}")


# --- foreign parsers -------------------------------------------------------------------


def check_with_promtool(text: bytes, name: str = "promtool3") -> None:
    """Let ``promtool check metrics`` read a response in text format 0.0.4.

    Call it after a test's own asserts, for it ends the test where promtool is missing.

    Raises:
        AssertionError: It is no valid text; remarks about naming are allowed.
    """
    done = subprocess.run(
        [str(require(name)), "check", "metrics"],
        input=text,
        capture_output=True,
        timeout=60,
        check=False,
    )
    # 3 means: read without error, but some name or help could be better.
    if done.returncode not in {0, 3}:
        raise AssertionError(f"promtool: {done.stderr.decode(errors='replace').strip()}")


def parse_with_prometheus_client(text: str | bytes, *, openmetrics: bool = False) -> list[Metric]:
    """Let the official Python client's parser read a response.

    Args:
        text: The body.
        openmetrics: Whether it is OpenMetrics 1.0 instead of text 0.0.4.

    Returns:
        The families, in the order of the response.

    Raises:
        ValueError: It cannot be read.
        AssertionError: A series, or a family, is in it twice.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    parser = prometheus_client.openmetrics.parser if openmetrics else prometheus_client.parser
    families = list(parser.text_string_to_metric_families(text))
    check_unique([(family.name, family.type) for family in families])
    check_unique(
        [
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in families
            for sample in family.samples
        ]
    )
    return families


def check_unique(items: Sequence[object]) -> None:
    """Raise an ``AssertionError`` that names the first item which occurs twice."""
    seen = set()
    for item in items:
        if item in seen:
            raise AssertionError(f"twice in one response: {item}")
        seen.add(item)
