"""Topic http: scrapes of native counters over a loopback socket.

Each contender serves from a process of its own (`benchmarks.serving`), idle but while
it is measured; this process is the client, a bare blocking socket that asks and throws
away, so none of its work holds the serving loop's interpreter. A reading is a few
scrapes, one after the other, each on a new connection; read are the time of a scrape and the
longest time for which the serving loop did not come round to its 1 ms
ticker. ``idle`` is our server with nobody asking: the noise of the machine itself.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from benchmarks.measure import (
    AIOPROMETHEUS,
    OURS,
    PROMETHEUS,
    Case,
    Contender,
    Goal,
    interleave,
)
from benchmarks.serving import HOST
from benchmarks.subjects import ACCEPT

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "http"
SERIES = 100_000
QUICK_SERIES = 5_000
SCRAPES = 3
"""Scrapes of one reading."""
STALL_GOAL_MS = 10.0
TIME_GOAL = Goal(1 / 15, AIOPROMETHEUS)
FORMATS = ("text 0.0.4", "openmetrics", "protobuf")
IDLE = "idle"
IDLE_SECONDS = 0.3
PLAIN_BYTES_A_SERIES = 40
"""A line is longer than that; a shorter answer is not the whole one."""
_MILLI = 1e3
_BUFFER = 1 << 18
_PATIENCE = 120.0


class Reading(NamedTuple):
    """What one contender showed in one round.

    Attributes:
        time: Of a scrape, in milliseconds.
        stall: Longest delay of the ticker, in milliseconds.
    """

    time: float
    stall: float


class Server:
    """The other end: a serving process and its control connection.

    Owns the process and the connection; `close` ends both, and may be called again.
    """

    def __init__(self, name: str, series: int, values: str) -> None:
        command = [sys.executable, "-m", "benchmarks.serving", name, str(series), values]
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)  # noqa: S603 - our own module
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        assert first, f"the server of {name} did not start"
        words = json.loads(first)
        self._address = (HOST, int(urlsplit(words["url"]).port or 0))
        self._least = series * PLAIN_BYTES_A_SERIES
        self._control = socket.create_connection((HOST, words["control"]), timeout=_PATIENCE)

    def order(self, word: str) -> float:
        """Send an order to the server; gives its answer in seconds."""
        self._control.sendall(f"{word}\n".encode())
        return float(self._control.makefile("rb", buffering=0).readline())

    def scrape(self, protocol: str = "text 0.0.4", *, gzip: bool = False) -> int:
        """Ask for the metrics once.

        Args:
            protocol: One of our formats; the peers have text 0.0.4.
            gzip: Ask for a compressed answer.

        Returns:
            Bytes received, headers among them.
        """
        accepted = "gzip" if gzip else "identity"
        request = (
            f"GET /metrics HTTP/1.1\r\nHost: {HOST}\r\nAccept: {ACCEPT[protocol]}\r\n"
            f"Accept-Encoding: {accepted}\r\nConnection: close\r\n\r\n"
        )
        with socket.create_connection(self._address, timeout=_PATIENCE) as connection:
            connection.sendall(request.encode())
            size = _drain(connection)
        assert gzip or size > self._least, f"an answer of {size} bytes is not whole"
        return size

    def close(self) -> None:
        """End the control connection, and so the process."""
        self._control.close()
        self._process.communicate()


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Scrape every contender over HTTP.

    Args:
        rounds: Readings of each contender.
        quick: A twentieth of the series.

    Returns:
        Three cases: the time of a scrape twice, with whole and with mixed numbers, and the longest stall.
    """
    series = QUICK_SERIES if quick else SERIES
    whole = _readings(series, "whole", rounds)
    times = {name: [reading.time for reading in values] for name, values in whole.items()}
    times.pop(IDLE)
    stalls = {name: [reading.stall for reading in values] for name, values in whole.items()}
    mixed = {
        name: [reading.time for reading in values]
        for name, values in _readings(series, "mixed", rounds).items()
        if name != IDLE
    }
    words = f"{series:,} counters over HTTP"
    worst = [max(at_once) for at_once in zip(*[stalls[name] for name in stalls if OURS in name])]
    return [
        Case(TOPIC, f"{words}, whole numbers, a scrape", "ms", times, [TIME_GOAL]),
        Case(TOPIC, f"{words}, a quarter with 17 digits, a scrape", "ms", mixed),
        Case(TOPIC, f"{words}, longest loop stall", "ms", stalls),
        Case(
            TOPIC,
            f"{words}, longest loop stall of all our formats, plain and gzip",
            "ms",
            {OURS: worst, IDLE: stalls[IDLE]},
            [Goal(STALL_GOAL_MS)],
        ),
    ]


def _readings(series: int, values: str, rounds: int) -> dict[str, list[Reading]]:
    with ExitStack() as stack:
        servers = {}
        for name in (OURS, PROMETHEUS, AIOPROMETHEUS):
            servers[name] = Server(name, series, values)
            stack.callback(servers[name].close)
        return interleave(_contenders(servers), rounds)


def _contenders(servers: dict[str, Server]) -> list[Contender[Reading]]:
    plain = [Contender(name, _reader(server, server.scrape)) for name, server in servers.items()]
    ours = servers[OURS]
    others = [(name, gzip) for name in FORMATS for gzip in (False, True)][1:]
    return [
        *plain,
        *[
            Contender(
                f"{OURS} {name}{' gzip' if gzip else ''}",
                _reader(ours, partial(ours.scrape, name, gzip=gzip)),
            )
            for name, gzip in others
        ],
        Contender(IDLE, _reader(ours, partial(time.sleep, IDLE_SECONDS / SCRAPES))),
    ]


def _reader(server: Server, action: Callable[[], object]) -> Callable[[], Reading]:
    def read() -> Reading:
        server.order("start")
        start = time.perf_counter()
        for _ in range(SCRAPES):
            action()
        spent = time.perf_counter() - start
        return Reading(spent / SCRAPES * _MILLI, server.order("stop") * _MILLI)

    return read


def _drain(connection: socket.socket) -> int:
    """Read to the end and keep nothing.

    Returns:
        The bytes read.

    Raises:
        AssertionError: The status is not 200.
    """
    buffer = bytearray(_BUFFER)
    size = connection.recv_into(buffer)
    assert buffer.startswith(b"HTTP/1.1 200"), bytes(buffer[:80])
    while count := connection.recv_into(buffer):
        size += count
    return size
