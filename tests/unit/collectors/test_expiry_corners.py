"""Series that have gone, at the corners: other spellings, removal, bounds, and what happens meanwhile."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.collectors.series import expiry
from otel_aioprom.registry import CollectorRegistry

AFTER = 10.0


def grow_old(registry: CollectorRegistry, clock: ManualClock) -> None:
    """Collect twice, with an age between, so that what is not recorded on goes."""
    registry.gather()
    clock.now += AFTER
    registry.gather()


@pytest.mark.parametrize(
    ("held", "used"), [({"a": ""}, {}), ({}, {"a": ""}), ({"app": ""}, {"app": "", "a": ""})]
)
def test_other_spellings_find_a_series_that_has_gone(
    held: dict[str, str], used: dict[str, str], registry: CollectorRegistry, clock: ManualClock
) -> None:
    """An empty value is as good as none, so nothing that is recorded on either is lost."""
    counter = Counter("x_total", "What.", {"app": "b"}, registry=registry, expire_after=AFTER)
    child = counter.labels(held)
    child.inc()
    grow_old(registry, clock)
    counter.inc(used)
    child.inc()

    assert [value for _, value in counter.get_all()] == [3]


@pytest.mark.parametrize("forget", ["clear", "remove_matching", "replace"])
def test_what_is_removed_stays_away_though_it_had_gone_before(
    forget: str, registry: CollectorRegistry, clock: ManualClock
) -> None:
    """A series that is held and has gone does not come back to a collector that was emptied."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER)
    child = counter.labels({"a": "1"})
    child.inc()
    grow_old(registry, clock)
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


def test_places_of_old_series_are_free_where_nobody_collects(clock: ManualClock) -> None:
    """A collector that is full of them sweeps before it overflows."""
    counter = Counter("x_total", "What.", expire_after=AFTER, max_series=5)
    for number in range(20):
        clock.now += 10 * AFTER
        counter.inc({"a": number})

    assert counter.count_overflows() == 0


def test_a_sweep_takes_no_series_that_is_new(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was removed and made again while a sweep looks for old ones stays."""
    counter = Counter("x_total", "What.", expire_after=AFTER)
    counter.inc({"a": 1})
    (expire,) = counter.chores()
    assert expire.run is not None
    expire.run(None)
    held: list[Any] = []

    def remove_and_make() -> float:
        if not held:
            held.append(None)
            counter.remove({"a": 1})
            held.append(counter.labels({"a": 1}))
            held[1].inc()
        return clock.now

    clock.now += AFTER
    monkeypatch.setattr(expiry, "monotonic", remove_and_make)
    expire.run(None)
    held[1].inc()

    assert counter.get_all() == [({"a": "1"}, 2)]


def test_a_block_that_outlasts_its_series_comes_down_to_zero(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """A gauge of blocks in progress is never below zero."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER)
    with gauge.track_inprogress({"a": 1}):
        grow_old(registry, clock)

    assert [value for _, value in gauge.get_all()] in ([], [0])


def test_a_series_that_another_sweep_has_taken_is_taken_once(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep within a sweep changes nothing, and the series comes back with its value."""
    counter = Counter("x_total", "What.", expire_after=AFTER)
    child = counter.labels({"a": "1"})
    (expire,) = counter.chores()
    assert expire.run is not None
    expire.run(None)
    clock.now += AFTER
    run = partial(expire.run, None)
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
def test_a_series_that_is_removed_is_shown_no_more(
    forget: str, registry: CollectorRegistry, clock: ManualClock
) -> None:
    """Sweeps neither bring it back nor stumble over it."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER)
    child = counter.labels({"a": "1"})
    registry.gather()
    getattr(counter, forget)(*([] if forget == "clear" else [{"a": "1"}]))
    clock.now += AFTER
    registry.gather()
    child.inc()

    assert counter.get_all() == []


def test_the_overflow_grows_old_too(registry: CollectorRegistry, clock: ManualClock) -> None:
    """It is a series like others."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER, max_series=1)
    gauge.set({"a": 1}, 1)
    gauge.set({"a": 2}, 2)
    grow_old(registry, clock)
    assert gauge.get_all() == []
    gauge.set({"a": 3}, 3)

    assert gauge.get_all() == [({"a": "3"}, 3)]


def test_an_overflow_that_is_held_comes_back(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """For those who use it by labels, too, so that nothing that is recorded on it is lost."""
    counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER, max_series=1)
    counter.inc({"a": 1})
    child = counter.labels({"a": 2})
    child.inc()
    grow_old(registry, clock)
    counter.inc({"a": 1})
    counter.inc({"a": 2})
    child.inc()

    assert counter.get_all()[1] == ({"otel_metric_overflow": "true"}, 3)


def test_replaced_series_grow_old_in_their_collector(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """Those of the new set go, and come back to the collector that shows them."""
    gauge = Gauge("x", "What.", registry=registry, expire_after=AFTER)
    with gauge.replace() as fresh:
        child = fresh.labels({"a": "1"})
        child.set(5)
    grow_old(registry, clock)
    assert gauge.get_all() == []
    child.inc()

    assert gauge.get_all() == [({"a": "1"}, 6)]
