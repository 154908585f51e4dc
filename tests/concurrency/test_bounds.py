"""Bounded collectors under hostile threads, signals and garbage collection: no deadlock, no lost update."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from interruptions import alarms, garbage_collections, meanwhile, needs_alarms, together
from oracles import DEADLINE
from otel_aioprom.collectors import Counter, Enum, Gauge
from otel_aioprom.collectors.series import expiry
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

THREADS = 4
ROUNDS = 3000


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
    monkeypatch.setattr(expiry, "monotonic", lambda: time.monotonic() * 1e6)
    counter = Counter("x_total", "X.", expire_after=1)
    children = [counter.labels({"n": number}) for number in range(10)]

    def work() -> None:
        for number in range(ROUNDS):
            children[number % 10].inc()

    with meanwhile(counter._store.sweep):
        together(*[work] * THREADS)
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
    torn = []

    def read() -> None:
        found = [value for _, value in gauge.get_all()]
        if len(found) not in (0, 20) or len(set(found)) > 1:
            torn.append(found)

    with meanwhile(read):
        for turn in range(200):
            with gauge.replace() as fresh:
                for number in range(20):
                    fresh.set({"n": number}, turn)

    assert torn == []


@pytest.mark.usefixtures("hostile_switching")
def test_an_enumeration_is_in_one_state_for_who_reads() -> None:
    """Whatever threads set it to."""
    phase = Enum("phase", "P.", ["a", "b", "c"])
    child = phase.labels()
    wrong = []

    def read() -> None:
        shown: Any = phase.family().series
        if sum(series.value for series in shown) != 1:
            wrong.append(1)

    with meanwhile(read):
        for number in range(ROUNDS):
            child.set("abc"[number % 3])

    assert wrong == []


@pytest.mark.no_cover
@needs_alarms
def test_signal_handlers_make_series_too() -> None:
    """In the middle of making others, of a sweep, and of a response."""
    registry = CollectorRegistry(max_series=100)
    counter = Counter("x_total", "X.", expire_after=3600, max_series=50, registry=registry)
    count = 0

    def handler() -> None:
        handled.append(1)
        counter.inc({"handler": len(handled) % 70})

    handled: list[int] = []
    with alarms(handler) as seen:
        end = time.monotonic() + DEADLINE
        while len(seen) < 200 and time.monotonic() < end:
            counter.inc({"n": count % 70})
            count += 1
            if count % 50 == 0:
                render(registry)

    assert len(seen) >= 200
    assert sum(value for _, value in counter.get_all()) == count + len(handled)


@pytest.mark.no_cover
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

    with garbage_collections(collected):
        for number in range(2000):
            Dying()
            counter.inc({"n": number % 20})
    gc.collect()

    assert len(extra) > 2000
    assert sum(value for _, value in counter.get_all()) == 2000 + len(extra)
