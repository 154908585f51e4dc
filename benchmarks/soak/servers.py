"""Real servers that come and go: a Prometheus that is written to, and a Pushgateway."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

_FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "servers"
SERVERS = _FOLDER / "servers.json"
"""Where the programs are; written by ``make servers``."""
_NAMES = {"prometheus": "prometheus3", "pushgateway": "pushgateway1.11"}
_DEADLINE = 60.0
_QUERY = 180.0
UP = (20.0, 60.0)
"""Seconds for which a server is there: from, to."""
AWAY = (2.0, 25.0)
"""Seconds for which it is away."""


class Server:
    """A server program in a folder of its own, which keeps its port and its data.

    Args:
        kind: ``prometheus`` or ``pushgateway``.
    """

    def __init__(self, kind: str) -> None:
        paths = json.loads(SERVERS.read_text(encoding="utf-8"))
        self.kind = kind
        self.folder = tempfile.TemporaryDirectory(prefix="soak-")
        self.outages = 0
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = [str(_FOLDER / paths[_NAMES[kind]]), *_options(kind, port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (Path(self.folder.name) / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - one of ours
                self._command, cwd=self.folder.name, stdout=log, stderr=log
            )
        end = time.monotonic() + _DEADLINE
        while not self._answers():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.kind} does not start: see {self.folder.name}/log")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return bool(self.get("/-/ready"))
        except (urllib.error.HTTPError, OSError):
            return False

    def get(self, path: str) -> bytes:
        """Get a page."""
        with urllib.request.urlopen(self.url + path, timeout=_QUERY) as response:  # noqa: S310 - ours
            return bytes(response.read())

    def query(self, expression: str) -> dict[str, float]:
        """Return the value of each label ``writer`` that a query finds."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        found: Any = json.loads(self.get(path))["data"]["result"]
        return {item["metric"].get("writer", ""): float(item["value"][1]) for item in found}

    def samples(self) -> Counter[str]:
        """Return the number of stored samples by the label ``writer``; stale markers are none."""
        names: list[str] = json.loads(self.get("/api/v1/label/__name__/values"))["data"]
        found: Counter[str] = Counter()
        for name in names:
            found.update(self.query(f"sum by (writer) (count_over_time({name}[1d]))"))  # type: ignore[arg-type]
        return found

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, by a signal."""
        if self._process is not None:
            self._signal(number)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.folder.cleanup()

    async def come_and_go(self, over: asyncio.Event) -> None:
        """Be killed, ended or frozen now and then, until it is over; then be there."""
        while not await _wait(over, UP):
            self.outages += 1
            way = random.choice(["kill", "stop", "freeze"])  # noqa: S311 - no secret
            if way == "freeze":
                self._signal(signal.SIGSTOP)
                await _wait(over, AWAY)
                self._signal(signal.SIGCONT)
            else:
                number = signal.SIGKILL if way == "kill" else signal.SIGTERM
                await asyncio.to_thread(self.stop, number)
                await _wait(over, AWAY)
                await asyncio.to_thread(self.start)


async def _wait(over: asyncio.Event, seconds: tuple[float, float]) -> bool:
    """Wait for a while; return whether it is over."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(over.wait(), random.uniform(*seconds))  # noqa: S311 - no secret
    return over.is_set()


def _free_port() -> int:
    """Return a port below those of outgoing connections, so that it is free whenever the server comes back."""
    while True:
        port = random.randint(12000, 30000)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _options(kind: str, port: int) -> list[str]:
    address = f"--web.listen-address=127.0.0.1:{port}"
    if kind == "pushgateway":
        return [address]
    return [
        address,
        "--config.file=/dev/null",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=1d",
        "--web.enable-remote-write-receiver",
        "--enable-feature=native-histograms,exemplar-storage",
        "--query.max-samples=200000000",
        "--query.timeout=3m",
    ]
