"""Bounded collectors under hostile threads, signals and garbage collection: no deadlock, no lost update."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import Counter, Enum, Gauge
from otel_aioprom.kinds import bounds
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

THREADS = 4
ROUNDS = 3000


@pytest.fixture
def hostile_switching() -> Iterator[None]:
    """Threads change as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*work: Callable[[], object]) -> None:
    """Run in threads, and wait for all."""
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.usefixtures("hostile_switching")
def test_bounded_counters_lose_nothing() -> None:
    """Whether a label set has a place or not."""
    counter = Counter("x_total", "X.", max_series=20)

    def work() -> None:
        for number in range(ROUNDS):
            counter.inc({"n": number % 60})

    together(*[work] * THREADS)

    assert sum(value for _, value in counter.get_all()) == THREADS * ROUNDS
    assert len(counter.get_all()) == 21


@pytest.mark.usefixtures("hostile_switching")
def test_series_that_come_and_go_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swept as soon as nobody looks, and back with the next measurement."""
    monkeypatch.setattr(bounds, "monotonic", lambda: time.monotonic() * 1e6)
    counter = Counter("x_total", "X.", expire_after=1)
    children = [counter.labels({"n": number}) for number in range(10)]
    done = threading.Event()

    def work() -> None:
        for number in range(ROUNDS):
            children[number % 10].inc()

    def sweep() -> None:
        while not done.is_set():
            counter._store.sweep()

    sweeping = threading.Thread(target=sweep, daemon=True)
    sweeping.start()
    together(*[work] * THREADS)
    done.set()
    sweeping.join(DEADLINE)
    for child in children:
        child.inc()

    assert sum(value for _, value in counter.get_all()) == THREADS * ROUNDS + 10
    assert [counter.labels({"n": number}) for number in range(10)] == children


@pytest.mark.usefixtures("hostile_switching")
def test_new_sets_are_whole_for_who_reads() -> None:
    """Of one block each."""
    gauge = Gauge("x", "X.")
    registry = CollectorRegistry()
    registry.register(gauge)
    done = threading.Event()
    torn = []

    def replace() -> None:
        for turn in range(200):
            with gauge.replace() as fresh:
                for number in range(20):
                    fresh.set({"n": number}, turn)
        done.set()

    def read() -> None:
        while not done.is_set():
            found = [value for _, value in gauge.get_all()]
            if len(found) not in (0, 20) or len(set(found)) > 1:
                torn.append(found)

    together(replace, read)

    assert torn == []


@pytest.mark.usefixtures("hostile_switching")
def test_an_enumeration_is_in_one_state_for_who_reads() -> None:
    """Whatever threads set it to."""
    phase = Enum("phase", "P.", ["a", "b", "c"])
    child = phase.labels()
    done = threading.Event()
    wrong = []

    def work() -> None:
        for number in range(ROUNDS):
            child.set("abc"[number % 3])
        done.set()

    def read() -> None:
        while not done.is_set():
            shown: Any = phase.family().series
            if sum(series.value for series in shown) != 1:
                wrong.append(1)

    together(work, read)

    assert wrong == []


@contextmanager
def alarms(handler: Callable[[], object]) -> Iterator[list[int]]:
    """Interrupt the main thread again and again."""
    seen: list[int] = []

    def handle(number: int, _frame: Any) -> None:
        seen.append(number)
        handler()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
def test_signal_handlers_make_series_too() -> None:
    """In the middle of making others, of a sweep, and of a response."""
    registry = CollectorRegistry(max_series=100)
    counter = Counter("x_total", "X.", expire_after=3600, max_series=50, registry=registry)
    count = 0

    def handler() -> None:
        handled.append(1)
        counter.inc({"handler": len(handled) % 70})

    handled: list[int] = []
    handler()  # what measures the coverage takes a lock for code that it has not seen
    with alarms(handler) as seen:
        end = time.monotonic() + DEADLINE
        while len(seen) < 200 and time.monotonic() < end:
            counter.inc({"n": count % 70})
            count += 1
            if count % 50 == 0:
                render(registry)

    assert len(seen) >= 200
    assert sum(value for _, value in counter.get_all()) == count + len(handled)


def test_finalizers_and_garbage_collection_make_series_too() -> None:
    """Wherever something is allocated."""
    counter = Counter("x_total", "X.", max_series=10, exemplars=lambda: {"of": "gc"})
    extra = []

    class Dying:
        def __init__(self) -> None:
            self.self = self

        def __del__(self) -> None:
            extra.append(1)
            counter.inc({"dying": len(extra) % 20})

    def collected(_phase: str, _info: dict[str, int]) -> None:
        extra.append(1)
        counter.inc({"collected": len(extra) % 20})

    before = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(5, 2, 2)
    try:
        for number in range(2000):
            Dying()
            counter.inc({"n": number % 20})
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(collected)
        gc.collect()

    assert len(extra) > 2000
    assert sum(value for _, value in counter.get_all()) == 2000 + len(extra)
