"""Bounds and sweeps without luck: another one gets its turn at every single call, or at the worst one."""

from __future__ import annotations

import threading
from itertools import count
from types import FrameType
from typing import Any

import pytest

from clocks import ManualClock
from interruptions import OnceIn, at_every_call
from otel_aioprom._concurrency.atomic import has_global_lock
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry

DEADLINE = 10.0
AFTER = 10.0
OVERFLOW = {"otel_metric_overflow": "true"}

pytestmark = pytest.mark.skipif(not has_global_lock(), reason="series have locks of their own")


def sweep(counter: Counter) -> None:
    """Take the series that are too old."""
    (expire,) = counter.chores()
    assert expire.run is not None
    expire.run(None)


def aged(clock: ManualClock) -> tuple[Counter, Any]:
    """Return a counter with a series that the next sweep takes, and that series."""
    counter = Counter("x_total", "What.", expire_after=AFTER)
    child = counter.labels({"a": "1"})
    sweep(counter)
    clock.now += AFTER
    return counter, child


# --- sweeps ----------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [True, False])
def test_what_is_recorded_during_a_sweep_is_not_lost(clock: ManualClock, bound: bool) -> None:
    """A label set has one series, whatever step of the sweep somebody else sees."""
    for step in count():
        counter, child = aged(clock)
        events: list[str] = []

        def act(_frame: FrameType, event: str) -> None:
            events.append(event)  # noqa: B023 - used before the next step
            if len(events) - 1 == step:  # noqa: B023
                child.inc() if bound else counter.inc({"a": "1"})  # noqa: B023

        with at_every_call(act):
            sweep(counter)
        child.inc()
        counter.inc({"a": "1"})

        assert counter.get({"a": "1"}) == child.get() == 2 + (step < len(events))
        if step >= len(events):
            break

    assert step > 20


def test_what_is_recorded_while_a_series_comes_back_is_not_lost(clock: ManualClock) -> None:
    """By whoever is first."""
    counter, child = aged(clock)
    sweep(counter)
    assert counter.get_all() == []
    turns: list[str] = []

    def act(_frame: FrameType, event: str) -> None:
        turns.append(event)
        counter.inc({"a": "1"})

    with at_every_call(act):
        child.inc()

    assert counter.get({"a": "1"}) == child.get() == len(turns) + 1


@pytest.mark.parametrize("forget", ["clear", "remove_matching"])
def test_a_sweep_does_not_stumble_over_what_is_removed(clock: ManualClock, forget: str) -> None:
    """At any of its calls; and the series does not come back."""
    counter, child = aged(clock)
    arguments = [] if forget == "clear" else [{"a": "1"}]
    with at_every_call(lambda *_: getattr(counter, forget)(*arguments)):
        sweep(counter)
    child.inc()

    assert counter.get_all() == []


# --- bounds ----------------------------------------------------------------------------


def test_a_bound_is_exact_though_a_finalizer_makes_a_series() -> None:
    """Also between the look at the bound and the new series."""
    counter = Counter("x_total", "What.", max_series=1)
    other = OnceIn("_add", lambda: counter.inc({"a": "2"}))
    with at_every_call(other):
        counter.inc({"a": "1"})

    assert other.done
    assert len([labels for labels, _ in counter.get_all() if labels != OVERFLOW]) == 1
    assert sum(value for _, value in counter.get_all()) == 2


def test_a_bound_of_a_registry_is_exact_though_another_thread_makes_a_series() -> None:
    """Of another collector, between the look at the bound and the new series."""
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


# --- registries and functions ----------------------------------------------------------


def test_collectors_are_registered_in_the_middle_of_anything() -> None:
    """By finalizers, while a series is made and while the registry is collected."""
    registry = CollectorRegistry(max_series=100_000)
    gauge = Gauge("x", "What.", registry=registry)
    numbers = count()

    def register(*_: Any) -> None:
        Gauge(f"g{next(numbers)}", "What.", registry=registry)

    with at_every_call(register):
        gauge.set({"a": 1}, 1)
    made = next(numbers)
    assert made > 10
    other = OnceIn("chores", register)
    with at_every_call(other):
        registry.gather()

    assert other.done
    assert len(registry.get_all()) == made + 2


def test_functions_are_set_while_others_are_removed() -> None:
    """None of them gets lost."""
    gauge = Gauge("x", "What.")
    for number in range(3):
        gauge.set_function({"a": number}, lambda: 1)
    numbers = count(100)
    with at_every_call(lambda *_: gauge.set_function({"a": next(numbers)}, lambda: 1)):
        gauge.remove({"a": 1})
    (call,) = gauge.chores()
    assert call.run is not None
    call.run(None)

    assert len(gauge.get_all()) == 2 + next(numbers) - 100
