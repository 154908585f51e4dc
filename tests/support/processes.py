"""Server programs: find them, run them, wait for them, send them requests.

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
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
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
    """Poll a condition until it is true.

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
    """Return whether a GET of ``url`` ends with status 200."""
    try:
        fetch(url)
    except urllib.error.HTTPError as error:
        error.close()  # it is a response
        return False
    except OSError:  # URLError is one
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
        """Base URL of the server, without a slash at its end."""
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
        self.check_running()
        return answers(self.url + self._ready_path)

    def check_running(self) -> None:
        """Raise a ``RuntimeError`` that holds the log if the server has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the server has ended:\n{self.log()}")

    def halt(self) -> None:
        """Stop the server; ``start`` restarts it on the same port, with its data."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(STOP_DEADLINE)

    def stop(self) -> None:
        """Stop the server and remove its folder; a second call does nothing."""
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

    def __exit__(self, *_: object) -> None:
        self.stop()
