"""Expiry of idle series, and their revival with their values."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import (
    Collector,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StateSet,
    Summary,
)
from otel_aioprom.collectors.series.limits import MANY
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render

AFTER = 10.0


def expire_idle(registry: CollectorRegistry, clock: ManualClock) -> None:
    """Collect twice, one idle time apart, so that idle series expire."""
    registry.gather()
    clock.now += AFTER
    registry.gather()


RECORDERS: list[tuple[Callable[..., Any], Callable[[Any], object]]] = [
    (Collector, lambda child: child.set(3)),
    (Counter, lambda child: child.inc()),
    (Counter, lambda child: child.add(2)),
    (Counter, lambda child: child.inc({"trace_id": "1"})),
    (Counter, lambda child: child.set(9)),
    (Gauge, lambda child: child.inc()),
    (Gauge, lambda child: child.dec()),
    (Gauge, lambda child: child.add(2)),
    (Gauge, lambda child: child.sub(2)),
    (Gauge, lambda child: child.set(9)),
    (Histogram, lambda child: child.observe(1)),
    (
        lambda *args, **more: Histogram(*args, native_bucket_factor=1.1, **more),
        lambda child: child.observe(1),
    ),
    (lambda *args, **more: Counter(*args, exemplars=dict, **more), lambda child: child.inc()),
    (
        lambda *args, **more: Histogram(*args, exemplars=dict, **more),
        lambda child: child.observe(1),
    ),
    (Summary, lambda child: child.observe(1)),
    (Info, lambda child: child.set({"version": "1"})),
    (lambda name, doc, **more: StateSet(name, doc, ["on"], **more), lambda child: child.set("on")),
    (lambda name, doc, **more: Enum(name, doc, ["a", "b"], **more), lambda child: child.set("b")),
]


@pytest.mark.parametrize(("make", "record"), RECORDERS)
def test_series_of_every_kind_expire_and_are_revived(
    make: Any, record: Any, registry: CollectorRegistry, clock: ManualClock
) -> None:
    """Every kind of recording keeps a series or revives it, with its values."""
    collector = make("x", "What.", registry=registry, expire_after=AFTER)
    child = collector.labels({"a": "1"})
    record(child)
    expire_idle(registry, clock)
    assert collector.get_all() == []
    record(child)
    assert collector.labels({"a": "1"}) is child
    registry.gather()
    clock.now += AFTER - 1
    record(child)
    registry.gather()
    clock.now += AFTER - 1
    registry.gather()

    assert [labels for labels, _ in collector.get_all()] == [{"a": "1"}]


def test_an_idle_series_expires(registry: CollectorRegistry, clock: ManualClock) -> None:
    """It is neither exposed nor found; the others stay."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER)
    counter.inc({"a": 1})
    counter.inc({"a": 2})
    registry.gather()
    clock.now += AFTER
    counter.inc({"a": 2})
    body, _ = render(registry)

    assert b'x_total{a="2"} 2\n' in body
    assert b'a="1"' not in body
    with pytest.raises(KeyError):
        counter.get({"a": 1})


def test_reading_is_no_measurement(registry: CollectorRegistry, clock: ManualClock) -> None:
    """Nor is finding the series."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER)
    gauge.set({"a": 1}, 1)
    registry.gather()
    clock.now += AFTER
    gauge.labels({"a": 1})
    gauge.get({"a": 1})
    registry.gather()

    assert gauge.get_all() == []


def test_a_series_is_revived_with_its_value(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """By a bound child, and by its labels while there is a bound child."""
    counter = Counter("x_total", "What.", {"app": "b"}, registry=registry, expire_after=AFTER)
    child = counter.labels({"a": "1"})
    child.add(5)
    expire_idle(registry, clock)
    child.inc()
    assert counter.get_all() == [({"a": "1"}, 6)]
    expire_idle(registry, clock)
    counter.inc({"a": 1})

    assert counter.get_all() == [({"a": "1"}, 7)]
    assert counter.labels({"app": "b", "a": "1"}) is child


def test_an_expired_series_without_references_is_freed(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """Its label set starts from 0."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER)
    counter.add({"a": 1}, 5)
    expire_idle(registry, clock)
    gc.collect()
    counter.inc({"a": 1})

    assert counter.get_all() == [({"a": "1"}, 1)]


def test_creating_series_sweeps_without_collections(clock: ManualClock) -> None:
    """So that their number stays bounded."""
    counter = Counter("x_total", "What.", expire_after=AFTER)
    for number in range(6 * MANY):
        clock.now += 2 * AFTER / MANY
        counter.inc({"user": number})

    assert len(counter.get_all()) <= 2 * MANY


async def test_sweeps_do_not_block_the_event_loop(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """They run in a thread of the pool, before the series are read."""
    Counter("x_total", "What.", registry=registry, expire_after=AFTER).inc({"a": 1})
    clock.threads.clear()
    await async_render(registry)
    clock.now += AFTER
    body, _ = await async_render(registry)

    assert b"x_total" not in body
    assert len(clock.threads) >= 2
    assert threading.current_thread() not in clock.threads


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (float("nan"), ValueError),
        ("5", TypeError),
        (True, TypeError),
        (Decimal(5), TypeError),
    ],
)
def test_an_invalid_idle_time_is_refused(bad: Any, error: type[Exception]) -> None:
    """The collector is not registered."""
    registry = CollectorRegistry()
    with pytest.raises(error, match="expire_after must be"):
        Counter("x_total", "What.", expire_after=bad, registry=registry)

    assert registry.get_all() == []


@pytest.mark.parametrize(
    "collector",
    [
        Counter("x_total", "What.", expire_after=AFTER),
        Summary("x", "What.", expire_after=AFTER),
    ],
    ids=repr,
)
def test_a_copy_of_a_series_does_not_belong_to_its_collector(collector: Any) -> None:
    """It can be recorded on, and revives nothing."""
    child = collector.labels({"a": "1"})
    child.add(1)
    before = child.get()
    other = child.renamed(child.names, child.values, child.text)
    collector.remove({"a": "1"})
    other.add(1)

    assert child.get() == before != other.get()
    assert collector.get_all() == []


def test_a_partial_sweep_keeps_no_series_alive(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """The creation of a series sweeps a batch; what the next collection expires is freed."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER)
    for number in range(300):
        gauge.set({"a": number}, 1)
    clock.now += AFTER
    gauge.set({"late": 1}, 1)  # sweeps a batch
    expire_idle(registry, clock)
    assert gauge.get_all() == []
    gc.collect()
    for number in range(300):
        gauge.inc({"a": number})

    assert {value for _, value in gauge.get_all()} == {1}
