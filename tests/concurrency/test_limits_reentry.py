"""Re-entrant recording: signal handlers, finalizers, and forked processes."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading
import time
import warnings
from contextlib import suppress
from typing import Any

import pytest

from interruptions import (
    OnceIn,
    alarms,
    at_every_call,
    garbage_collections,
    meanwhile,
    needs_alarms,
    together,
)
from otel_aioprom._concurrency.atomic import has_gil
from otel_aioprom.collectors import Counter
from otel_aioprom.collectors.series import expiry

DEADLINE = 20.0
AFTER = 10.0


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two readings of the clock, every series expires."""
    ticks = itertools.count()
    monkeypatch.setattr(expiry, "monotonic", lambda: next(ticks) * 2 * AFTER)


@pytest.mark.no_cover
@needs_alarms
@pytest.mark.usefixtures("fast_clock")
def test_signal_handlers_record_while_series_are_created_and_swept() -> None:
    """Without deadlock or loss, while another thread sweeps."""
    counter = Counter("x_total", "What.", expire_after=AFTER, max_series=60)
    child = counter.labels({"a": "held"})
    handled: list[int] = []
    mine = 0

    def handle() -> None:
        handled.append(1)
        counter.inc({"a": "held"})
        counter.inc({"signal": len(handled) % 50})

    with meanwhile(counter.expire_idle), alarms(handle):
        end = time.monotonic() + DEADLINE
        while len(handled) < 300 and time.monotonic() < end:
            counter.inc({"a": "held"})
            counter.inc({"main": mine % 50})
            mine += 1
    child.inc()

    assert len(handled) >= 300
    assert child.get() == counter.get({"a": "held"}) == mine + len(handled) + 1


@pytest.mark.no_cover
@pytest.mark.usefixtures("fast_clock")
def test_finalizers_record_while_series_are_created_and_swept() -> None:
    """And callbacks of the garbage collector."""
    counter = Counter("x_total", "What.", expire_after=AFTER, max_series=60)
    child = counter.labels({"a": "held"})
    recorded: list[int] = []

    def record(*_: Any) -> None:
        recorded.append(1)
        counter.inc({"a": "held"})
        counter.inc({"gc": len(recorded) % 50})

    class Dying:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            record()

    def work() -> None:
        for number in range(300):
            Dying()
            counter.inc({"a": number % 50})

    with garbage_collections(record), meanwhile(counter.expire_idle):
        together(*[work] * 3)
    gc.collect()
    child.inc()

    assert len(recorded) > 900
    assert child.get() == counter.get({"a": "held"}) == len(recorded) + 1


@pytest.mark.skipif(not has_gil(), reason="series have locks of their own")
def test_finalizers_that_use_each_other_s_collectors_do_not_deadlock() -> None:
    """Of two threads that each create a series, and record on the other's collector meanwhile."""
    counters = [Counter(name, "What.", max_series=10) for name in ("x_total", "y_total")]
    both = threading.Barrier(2)

    def work(mine: Counter, other: Counter) -> None:
        def finalize() -> None:
            with suppress(
                threading.BrokenBarrierError
            ):  # the other thread has to wait for this one
                both.wait(1)
            other.inc({"a": "finalizer"})

        with at_every_call(OnceIn("_created", finalize)):
            mine.inc({"a": "work"})

    pairs = [counters, counters[::-1]]
    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE / 8)

    assert not any(thread.is_alive() for thread in threads)
    assert [sorted(value for _, value in each.get_all()) for each in counters] == [[1, 1]] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_process_creates_series_though_its_parent_was_doing_so() -> None:
    """It does not wait for a thread that does not exist in it."""
    counter = Counter("x_total", "What.", max_series=10)
    begun, go = threading.Event(), threading.Event()

    def wait_inside() -> None:
        begun.set()
        go.wait(DEADLINE)

    def work() -> None:
        with at_every_call(OnceIn("_created", wait_inside)):
            counter.inc({"a": "parent"})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(DEADLINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that other threads run is the point
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(3)
        counter.inc({"a": "child"})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    go.set()
    thread.join(DEADLINE)

    assert os.waitstatus_to_exitcode(status) == 0
