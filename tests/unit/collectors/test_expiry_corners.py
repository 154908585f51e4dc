"""Corner cases of expiry: other spellings, removal, limits, and concurrent changes."""

from __future__ import annotations

from typing import Any

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.collectors.series import expiry
from otel_aioprom.registry import CollectorRegistry

AFTER = 10.0


def expire_idle(registry: CollectorRegistry, clock: ManualClock) -> None:
    """Collect twice, one idle time apart, so that idle series expire."""
    registry.gather()
    clock.now += AFTER
    registry.gather()


@pytest.mark.parametrize(
    ("held", "used"), [({"a": ""}, {}), ({}, {"a": ""}), ({"app": ""}, {"app": "", "a": ""})]
)
def test_other_spellings_find_an_expired_series(
    held: dict[str, str], used: dict[str, str], registry: CollectorRegistry, clock: ManualClock
) -> None:
    """An empty value counts as absent, so nothing that is recorded under either is lost."""
    counter = Counter("x_total", "What.", {"app": "b"}, registry=registry, expire_after=AFTER)
    child = counter.labels(held)
    child.inc()
    expire_idle(registry, clock)
    counter.inc(used)
    child.inc()

    assert [value for _, value in counter.get_all()] == [3]


@pytest.mark.parametrize("forget", ["clear", "remove_matching", "replace"])
def test_a_removed_series_is_not_revived_though_it_had_expired_before(
    forget: str, registry: CollectorRegistry, clock: ManualClock
) -> None:
    """A bound child of an expired series does not revive it in a collector that was cleared."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER)
    child = counter.labels({"a": "1"})
    child.inc()
    expire_idle(registry, clock)
    if forget == "clear":
        counter.clear()
    elif forget == "replace":
        with counter.replace():
            pass
    else:
        counter.remove_matching({"a": "1"})
    child.inc()
    assert counter.get_all() == []
    counter.inc({"a": "1"})

    assert counter.get_all() == [({"a": "1"}, 1)]


def test_slots_of_idle_series_are_free_without_collections(clock: ManualClock) -> None:
    """A full collector sweeps before it overflows."""
    counter = Counter("x_total", "What.", expire_after=AFTER, max_series=5)
    for number in range(20):
        clock.now += 10 * AFTER
        counter.inc({"a": number})

    assert counter.count_overflows() == 0


def test_a_sweep_expires_no_new_series(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series that was removed and created again during a sweep stays."""
    counter = Counter("x_total", "What.", expire_after=AFTER)
    counter.inc({"a": 1})
    counter.expire_idle()
    held: list[Any] = []

    def remove_and_create() -> float:
        if not held:
            held.append(None)
            counter.remove({"a": 1})
            held.append(counter.labels({"a": 1}))
            held[1].inc()
        return clock.now

    clock.now += AFTER
    monkeypatch.setattr(expiry, "monotonic", remove_and_create)
    counter.expire_idle()
    held[1].inc()

    assert counter.get_all() == [({"a": "1"}, 2)]


def test_a_block_that_outlasts_its_series_decrements_to_zero(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """A gauge of blocks in progress is never below zero."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER)
    with gauge.track_inprogress({"a": 1}):
        expire_idle(registry, clock)

    assert [value for _, value in gauge.get_all()] in ([], [0])


def test_a_series_that_another_sweep_has_expired_is_expired_once(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep within a sweep changes nothing, and the series is revived with its value."""
    counter = Counter("x_total", "What.", expire_after=AFTER)
    child = counter.labels({"a": "1"})
    counter.expire_idle()
    clock.now += AFTER
    run = counter.expire_idle
    again = [None]

    def sweep_too() -> float:
        if again:
            again.clear()
            run()
        return clock.now

    monkeypatch.setattr(expiry, "monotonic", sweep_too)
    run()
    assert counter.get_all() == []
    child.inc()

    assert counter.get_all() == [({"a": "1"}, 1)]


@pytest.mark.parametrize("forget", ["clear", "remove", "remove_matching"])
def test_a_removed_series_is_not_exposed(
    forget: str, registry: CollectorRegistry, clock: ManualClock
) -> None:
    """Sweeps neither revive it nor fail because of it."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER)
    child = counter.labels({"a": "1"})
    registry.gather()
    getattr(counter, forget)(*([] if forget == "clear" else [{"a": "1"}]))
    clock.now += AFTER
    registry.gather()
    child.inc()

    assert counter.get_all() == []


def test_the_overflow_series_expires_too(registry: CollectorRegistry, clock: ManualClock) -> None:
    """It is a series like others."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER, max_series=1)
    gauge.set({"a": 1}, 1)
    gauge.set({"a": 2}, 2)
    expire_idle(registry, clock)
    assert gauge.get_all() == []
    gauge.set({"a": 3}, 3)

    assert gauge.get_all() == [({"a": "3"}, 3)]


def test_a_bound_overflow_series_is_revived(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """Also by other label sets that overflow, so that nothing that is recorded on it is lost."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER, max_series=1)
    counter.inc({"a": 1})
    child = counter.labels({"a": 2})
    child.inc()
    expire_idle(registry, clock)
    counter.inc({"a": 1})
    counter.inc({"a": 2})
    child.inc()

    assert counter.get_all()[1] == ({"otel_metric_overflow": "true"}, 3)


def test_series_of_a_new_set_expire_in_their_collector(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """They expire, and are revived in the collector that exposes them."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER)
    with gauge.replace() as fresh:
        child = fresh.labels({"a": "1"})
        child.set(5)
    expire_idle(registry, clock)
    assert gauge.get_all() == []
    child.inc()

    assert gauge.get_all() == [({"a": "1"}, 6)]
