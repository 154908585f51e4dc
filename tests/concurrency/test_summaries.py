"""Summaries lose no value and never block, with threads, signals, garbage collections and forks."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from interruptions import (
    DEADLINE,
    alarms,
    at_every_call,
    garbage_collections,
    meanwhile,
    needs_alarms,
    together,
)
from otel_aioprom._concurrency.atomic import has_gil
from otel_aioprom.collectors import Summary
from otel_aioprom.collectors.quantiles.ckms import BATCH
from otel_aioprom.collectors.series import summary
from otel_aioprom.collectors.series.summary import SummarySeries

THREADS = 4
LATER = 1.0  # seconds from one reading of the clock to the next


class Clock:
    """A clock that advances with every reading, so that the window moves continually."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return a time that is later than the last one."""
        self.now += LATER
        return self.now


def moving(steps_of: int = 700) -> SummarySeries:
    """A series whose window moves once in ``steps_of`` observations."""
    window = {"max_age": 5 * LATER * steps_of, "age_buckets": 5, "clock": Clock()}
    return Summary("x", "What.", **window).labels({})  # type: ignore[arg-type]


@pytest.mark.usefixtures("hostile_switching")
def test_threads_lose_no_value() -> None:
    """The streams have each value once, not only count and sum; readers see consistent estimates."""
    made = Summary("x", "What.", max_age=None).labels({})
    rounds = 4 * BATCH
    torn: list[Any] = []

    def record() -> None:
        for value in range(rounds):
            made.observe(value)

    def read() -> None:
        found = made.quantiles()
        size = made.stream().size
        values = [value for _, value in found if not math.isnan(value)]
        if values != sorted(values) or size > THREADS * rounds:
            torn.append(found)

    with meanwhile(read):
        together(*[record] * THREADS)

    assert torn == []
    assert made.stream().size == made.count == THREADS * rounds
    assert made.total == THREADS * rounds * (rounds - 1) // 2
    for q, error in ((0.5, 0.05), (0.9, 0.01), (0.99, 0.001)):
        assert abs(made.query(q) - q * rounds) <= error * rounds + 1
    assert len(made._buffer) <= 2 * BATCH


@pytest.mark.usefixtures("hostile_switching")
def test_threads_lose_no_value_of_a_window() -> None:
    """The window moves meanwhile; the youngest stream never has more values than were observed in its step."""
    made = moving()
    rounds = 4 * BATCH
    together(*[lambda: [made.observe(1.0) for _ in range(rounds)]] * THREADS)
    sizes = [stream.size for stream in made._streams]

    assert made.snapshot() == (THREADS * rounds, THREADS * rounds)
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < made.stream().size <= 5 * 700 + THREADS * 10
    assert dict(made.quantiles())[0.5] == 1


@pytest.mark.skipif(not has_gil(), reason="series have locks of their own")
@pytest.mark.parametrize("make", [moving, lambda: Summary("x", "What.", max_age=None).labels({})])
def test_recording_at_every_call_loses_no_value(make: Callable[[], SummarySeries]) -> None:
    """During observations, flushes, rotations and queries: each value is counted once in all its streams."""
    made = make()
    made._next_flush = 50
    # No closure variables: Python 3.10 may reset those after an event.
    seen: list[str] = []
    inside: list[str] = []

    def act(_frame: Any, event: str) -> None:
        if not inside:
            inside.append(event)
            seen.append(event)
            made.observe(0.5)
            if len(seen) % 50 == 0:
                made._next_flush = made.count  # the next one flushes
                made.quantiles()
            inside.clear()

    with at_every_call(act):
        for _ in range(300):
            made.observe(0.5)
        made.quantiles()

    events = len(seen)
    assert events > 1000
    assert made.snapshot() == (300 + events, (300 + events) / 2)
    if made.window.streams == 1:
        assert made.stream().size == 300 + events
    else:
        youngest = made._streams[-1].size + len(made._buffer)
        assert 0 < youngest <= 700


@pytest.mark.no_cover
@needs_alarms
@pytest.mark.skipif(not has_gil(), reason="series have locks of their own")
def test_a_signal_handler_records_and_reads() -> None:
    """It interrupts observations and flushes, and waits for none of them."""
    made = Summary("x", "What.", max_age=None).labels({})

    def handler() -> None:
        made.observe(2.0)
        assert len(made.quantiles()) == 3

    rounds = 0
    with alarms(handler) as seen:
        end = time.monotonic() + DEADLINE
        while len(seen) < 200 and time.monotonic() < end:
            for _ in range(1000):
                made.observe(1.0)
            rounds += 1000

    assert len(seen) >= 200
    handled = len(seen)
    assert made.snapshot() == (rounds + handled, rounds + 2.0 * handled)
    assert made.stream().size == rounds + handled


class Stop(Exception):  # noqa: N818 - no error
    """What a signal handler raises."""


@pytest.mark.parametrize("step", ["error_function", "merge", "batch_size"])
def test_an_interrupted_flush_loses_no_value(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that raises, as on Ctrl+C, ends it at any step; the next flush does its work."""
    made = Summary("x", "What.", max_age=None).labels({})

    def stop(*_: object) -> None:
        raise Stop

    broken = 0
    with monkeypatch.context() as patch:
        patch.setattr(summary, step, stop)
        for _ in range(3 * BATCH):
            try:
                made.observe(1.0)
            except Stop:
                broken += 1
    assert broken == 3
    assert made.stream().size == made.count == made.total == 3 * BATCH
    for _ in range(BATCH):
        made.observe(1.0)
    assert len(made._buffer) <= BATCH
    assert made.stream().size == made.count == made.total


@pytest.mark.no_cover
@pytest.mark.skipif(not has_gil(), reason="series have locks of their own")
def test_garbage_collections_and_finalizers_record() -> None:
    """Wherever memory is allocated."""
    made = moving(300)
    extra = 0

    class Dying:
        def __init__(self) -> None:
            self.self = self

        def __del__(self) -> None:
            nonlocal extra
            extra += 1
            made.observe(0.5)

    def collected(phase: str, _info: dict[str, int]) -> None:
        nonlocal extra
        extra += 1
        made.observe(0.5)
        if phase == "stop":
            made.quantiles()

    with garbage_collections(collected, often=1):
        for _ in range(3000):
            Dying()
            made.observe(0.5)
    counted = extra

    assert counted > 3000
    assert made.snapshot() == (3000 + counted, (3000 + counted) / 2)
    assert dict(made.quantiles())[0.5] == 0.5


FORKING = """
import os, signal, threading, warnings
from otel_aioprom.collectors import Summary
from otel_aioprom.collectors.quantiles.ckms import BATCH

warnings.simplefilter("ignore", DeprecationWarning)  # that other threads run is the point
made = Summary("x", "What.", max_age=None).labels({})
end = threading.Event()

def record():
    while not end.is_set():
        made.observe(1.0)

thread = threading.Thread(target=record, daemon=True)
thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        for _ in range(3 * BATCH):
            made.observe(1.0)
        same = made.stream().size == made.count
        os._exit(0 if same and len(made._buffer) <= 2 * BATCH else 2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
end.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_continues_from_its_parent() -> None:
    """Also when another thread of the parent was flushing.

    In a program of its own: the coverage tracer has a lock that a child may never acquire.
    """
    words = [sys.executable, "-c", FORKING]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)

    assert (done.stdout.split(), done.stderr) == (["0"] * 5, "")
