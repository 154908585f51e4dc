"""No update is lost if another thread runs at every single call.

With the GIL, CPython switches threads at calls. Here this happens at each call: a profile function does what the
other thread would do. Without the GIL this cannot be tested, for the other thread would wait for the lock of the series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from interruptions import at_every_call
from otel_aioprom._concurrency.atomic import has_gil
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

pytestmark = pytest.mark.skipif(not has_gil(), reason="series have locks of their own")

VALUE = 0.5  # sums of it are exact


@contextmanager
def interrupted_by(act: Callable[[], object]) -> Iterator[list[str]]:
    """Do something at each call and each return of the block; the list has one item for each time."""
    events: list[str] = []

    def note(_frame: FrameType, event: str) -> None:
        events.append(event)
        act()

    with at_every_call(note):
        yield events


def values(registry: CollectorRegistry, act: Callable[[], object]) -> dict[str, float]:
    """Value of each sample in a response that is interrupted at each call."""
    with interrupted_by(act) as events:
        body, _ = render(registry, [])
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert len(events) > 20
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.parametrize("method", ["inc", "add"])
def test_no_update_of_a_counter_is_lost(method: str) -> None:
    """Bound and by labels, including a new series."""
    counter = Counter("x", "What.")
    child = counter.labels({"a": "1"})
    amount = () if method == "inc" else (1,)
    with interrupted_by(child.inc) as events:
        getattr(child, method)(*amount)
        getattr(counter, method)({"a": "1"}, *amount)
        getattr(counter, method)({"a": 1}, *amount)

    assert child.get() == 3 + len(events)


@pytest.mark.parametrize("amount", [1, 1.0, True])
def test_no_update_of_a_gauge_is_lost(amount: float) -> None:
    """Up and down, with amounts of any type."""
    gauge = Gauge("x", "What.")
    child = gauge.labels({"a": "1"})
    with interrupted_by(lambda: child.add(amount)) as events:
        child.inc()
        child.dec()
        child.add(amount)
        child.sub(amount)
        gauge.add({"a": "1"}, amount)

    assert child.get() == 1 + len(events)


@pytest.mark.parametrize("kind", [Histogram, Summary])
def test_no_observation_is_lost(kind: type[Any]) -> None:
    """Count and sum include all observations."""
    collector = kind("x", "What.")
    child = collector.labels({})
    with interrupted_by(lambda: child.observe(VALUE)) as events:
        for _ in range(300):
            child.observe(VALUE)
            collector.observe({}, VALUE)
    found = child.get()

    assert found["count"] == 600 + len(events)
    assert found["sum"] == VALUE * found["count"]


def test_the_first_use_of_a_label_set_is_not_lost() -> None:
    """Another thread is always slightly faster in creating the series."""
    counter = Counter("x", "What.")
    for number in range(5):
        labels = {"a": str(number)}
        with interrupted_by(lambda labels=labels: counter.inc(labels)) as events:
            counter.inc(labels)

        assert counter.get(labels) == 1 + len(events)


def test_a_histogram_in_a_response_is_consistent() -> None:
    """The last bucket equals the count, and the sum is that of the same observations."""
    registry = CollectorRegistry()
    child = Histogram("x", "What.", buckets=[1], registry=registry).labels()
    found = values(registry, lambda: child.observe(VALUE))

    assert found['x_bucket{le="1.0"}'] == found['x_bucket{le="+Inf"}'] == found["x_count"]
    assert found["x_sum"] == VALUE * found["x_count"]


def test_a_summary_in_a_response_is_consistent() -> None:
    """Sum and count are those of the same observations, so that the average is right."""
    registry = CollectorRegistry()
    child = Summary("x", "What.", invariants=[(0.5, 0.05)], registry=registry).labels()
    child.observe(VALUE)
    found = values(registry, lambda: child.observe(VALUE))

    assert found["x_sum"] == VALUE * found["x_count"]
    assert found['x{quantile="0.5"}'] == VALUE
