"""Summaries lose nothing and wait for nobody, whoever comes in between."""

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
from otel_aioprom._concurrency.atomic import has_global_lock
from otel_aioprom.collectors import Summary
from otel_aioprom.collectors.quantiles.ckms import BATCH
from otel_aioprom.collectors.series import summary
from otel_aioprom.collectors.series.summary import SummarySeries

THREADS = 4
LATER = 1.0  # seconds from one look at the clock to the next


class Clock:
    """A clock that goes on with every look, so that the window moves all the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell a time that is later than the last one."""
        self.now += LATER
        return self.now


def moving(steps_of: int = 700) -> SummarySeries:
    """A series whose window moves once in so many observations."""
    window = {"max_age": 5 * LATER * steps_of, "age_buckets": 5, "clock": Clock()}
    return Summary("x", "What.", **window).labels({})  # type: ignore[arg-type]


@pytest.mark.usefixtures("hostile_switching")
def test_hostile_threads_lose_no_value() -> None:
    """The streams have each value once, not only count and sum; readers see whole answers."""
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
    assert len(made._waiting) <= 2 * BATCH


@pytest.mark.usefixtures("hostile_switching")
def test_hostile_threads_lose_no_value_of_a_window() -> None:
    """The window moves meanwhile; what the youngest stream has is never more than what was observed in its step."""
    made = moving()
    rounds = 4 * BATCH
    together(*[lambda: [made.observe(1.0) for _ in range(rounds)]] * THREADS)
    sizes = [stream.size for stream in made._streams]

    assert made.snapshot() == (THREADS * rounds, THREADS * rounds)
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < made.stream().size <= 5 * 700 + THREADS * 10
    assert dict(made.quantiles())[0.5] == 1


@pytest.mark.skipif(not has_global_lock(), reason="series have locks of their own")
@pytest.mark.parametrize("make", [moving, lambda: Summary("x", "What.", max_age=None).labels({})])
def test_somebody_records_at_every_call(make: Callable[[], SummarySeries]) -> None:
    """While others observe, hand over, move the window and read: each value is counted once in all of its streams."""
    made = make()
    made._due = 50
    # No variables of the closure: Python 3.10 may set those back after an event.
    seen: list[str] = []
    inside: list[str] = []

    def act(_frame: Any, event: str) -> None:
        if not inside:
            inside.append(event)
            seen.append(event)
            made.observe(0.5)
            if len(seen) % 50 == 0:
                made._due = made.count  # the next one hands over
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
        youngest = made._streams[-1].size + len(made._waiting)
        assert 0 < youngest <= 700


@pytest.mark.no_cover
@needs_alarms
@pytest.mark.skipif(not has_global_lock(), reason="series have locks of their own")
def test_a_signal_handler_records_and_reads() -> None:
    """It interrupts observations and hand-overs, and waits for none of them."""
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
    """What a signal handler raises in the middle of anything."""


@pytest.mark.parametrize("step", ["limit_of", "merged", "patience"])
def test_a_hand_over_that_is_broken_off_loses_nothing(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that raises, as that of Ctrl+C does, ends it anywhere; the next one does its work."""
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
    assert len(made._waiting) <= BATCH
    assert made.stream().size == made.count == made.total


@pytest.mark.no_cover
@pytest.mark.skipif(not has_global_lock(), reason="series have locks of their own")
def test_garbage_collection_and_destructors_record() -> None:
    """In the middle of anything that allocates."""
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
        os._exit(0 if same and len(made._waiting) <= 2 * BATCH else 2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
end.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_goes_on_from_where_its_parent_was() -> None:
    """Also when another thread of the parent was handing over at that moment.

    In a program of its own: what measures the coverage has a lock that a child never gets.
    """
    words = [sys.executable, "-c", FORKING]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)

    assert (done.stdout.split(), done.stderr) == (["0"] * 5, "")
