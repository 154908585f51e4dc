"""Limits and sweeps, interrupted at every single call, or at the worst one."""

from __future__ import annotations

import threading
from itertools import count
from types import FrameType
from typing import Any

import pytest

from clocks import ManualClock
from interruptions import OnceIn, at_every_call
from otel_aioprom._concurrency.atomic import has_gil
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry

DEADLINE = 10.0
AFTER = 10.0
OVERFLOW = {"otel_metric_overflow": "true"}

pytestmark = pytest.mark.skipif(not has_gil(), reason="series have locks of their own")


def aged(clock: ManualClock) -> tuple[Counter, Any]:
    """Return a counter with a series that the next sweep expires, and that series."""
    counter = Counter("x_total", "What.", expire_after=AFTER)
    child = counter.labels({"a": "1"})
    counter.expire_idle()
    clock.now += AFTER
    return counter, child


# --- sweeps ----------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [True, False])
def test_what_is_recorded_during_a_sweep_is_not_lost(clock: ManualClock, bound: bool) -> None:
    """A label set has one series, at every step of the sweep."""
    for step in count():
        counter, child = aged(clock)
        events: list[str] = []

        def act(_frame: FrameType, event: str) -> None:
            events.append(event)  # noqa: B023 - used before the next step
            if len(events) - 1 == step:  # noqa: B023
                child.inc() if bound else counter.inc({"a": "1"})  # noqa: B023

        with at_every_call(act):
            counter.expire_idle()
        child.inc()
        counter.inc({"a": "1"})

        assert counter.get({"a": "1"}) == child.get() == 2 + (step < len(events))
        if step >= len(events):
            break

    assert step > 20


def test_what_is_recorded_during_a_revival_is_not_lost(clock: ManualClock) -> None:
    """By each of several callers."""
    counter, child = aged(clock)
    counter.expire_idle()
    assert counter.get_all() == []
    calls: list[str] = []

    def act(_frame: FrameType, event: str) -> None:
        calls.append(event)
        counter.inc({"a": "1"})

    with at_every_call(act):
        child.inc()

    assert counter.get({"a": "1"}) == child.get() == len(calls) + 1


@pytest.mark.parametrize("method", ["clear", "remove_matching"])
def test_a_sweep_tolerates_removals(clock: ManualClock, method: str) -> None:
    """At any of its calls; and the series is not revived."""
    counter, child = aged(clock)
    arguments = [] if method == "clear" else [{"a": "1"}]
    with at_every_call(lambda *_: getattr(counter, method)(*arguments)):
        counter.expire_idle()
    child.inc()

    assert counter.get_all() == []


# --- limits ----------------------------------------------------------------------------


def test_a_limit_is_exact_though_a_finalizer_creates_a_series() -> None:
    """Also between the check of the limit and the new series."""
    counter = Counter("x_total", "What.", max_series=1)
    other = OnceIn("_add", lambda: counter.inc({"a": "2"}))
    with at_every_call(other):
        counter.inc({"a": "1"})

    assert other.done
    assert len([labels for labels, _ in counter.get_all() if labels != OVERFLOW]) == 1
    assert sum(value for _, value in counter.get_all()) == 2


def test_the_limit_of_a_registry_is_exact_though_another_thread_creates_a_series() -> None:
    """In another collector, between the check of the limit and the new series."""
    registry = CollectorRegistry(max_series=1)
    one, two = (Counter(name, "What.", registry=registry) for name in ("x_total", "y_total"))
    thread = threading.Thread(target=two.inc, args=({"a": "2"},), daemon=True)

    def let_it_run() -> None:
        thread.start()
        thread.join(0.5)  # it may have to wait for this one

    other = OnceIn("_add", let_it_run)
    with at_every_call(other):
        one.inc({"a": "1"})
    thread.join(DEADLINE)

    assert other.done
    assert (
        len([1 for each in (one, two) for labels, _ in each.get_all() if labels != OVERFLOW]) == 1
    )


# --- registries and callbacks ----------------------------------------------------------


def test_collectors_are_registered_at_any_time() -> None:
    """By finalizers, while a series is created and while the registry is collected."""
    registry = CollectorRegistry(max_series=100_000)
    gauge = Gauge("x", "What.", registry=registry)
    numbers = count()

    def register(*_: Any) -> None:
        Gauge(f"g{next(numbers)}", "What.", registry=registry)

    with at_every_call(register):
        gauge.set({"a": 1}, 1)
    made = next(numbers)
    assert made > 10
    other = OnceIn("by_collector", register)
    with at_every_call(other):
        registry.gather()

    assert other.done
    assert len(registry.get_all()) == made + 2


def test_callbacks_are_set_while_others_are_removed() -> None:
    """None of them is lost."""
    gauge = Gauge("x", "What.")
    for number in range(3):
        gauge.set_function({"a": number}, lambda: 1)
    numbers = count(100)
    with at_every_call(lambda *_: gauge.set_function({"a": next(numbers)}, lambda: 1)):
        gauge.remove({"a": 1})
    (call,) = gauge.pre_collect_hooks()
    assert call.run is not None
    call.run(None)

    assert len(gauge.get_all()) == 2 + next(numbers) - 100
