"""Limited collectors with threads, signals and garbage collections: no deadlock, no lost update."""

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
def test_limited_counters_lose_no_update() -> None:
    """Whether a label set has a slot or not."""
    counter = Counter("x_total", "X.", max_series=20)

    def work() -> None:
        for number in range(ROUNDS):
            counter.inc({"n": number % 60})

    together(*[work] * THREADS)

    assert sum(value for _, value in counter.get_all()) == THREADS * ROUNDS
    assert len(counter.get_all()) == 21


@pytest.mark.usefixtures("hostile_switching")
def test_series_that_expire_lose_no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """They expire at once, and are revived by the next measurement."""
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
def test_readers_see_complete_sets() -> None:
    """Each is from one block."""
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
def test_readers_see_one_state_of_an_enumeration() -> None:
    """Though threads set it concurrently."""
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
def test_signal_handlers_create_series() -> None:
    """During the creation of others, a sweep, and a response."""
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
def test_finalizers_and_garbage_collections_create_series() -> None:
    """Wherever memory is allocated."""
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
