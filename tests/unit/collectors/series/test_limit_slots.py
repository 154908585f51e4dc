"""Slots of a limit: acquired, released, owed, and handed over."""

from __future__ import annotations

from typing import Any

import pytest

from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.collectors.series.limits import SeriesLimit, SlotShare
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.registry import CollectorRegistry

OVERFLOW = {"otel_metric_overflow": "true"}


def some(count: int) -> list[NumberSeries]:
    """Distinct series objects."""
    return [NumberSeries() for _ in range(count)]


def free(limit: SeriesLimit) -> int:
    """Acquire all free slots, and return how many there were."""
    return sum(iter(limit.acquire, False))


def exposed(*metrics: Any) -> int:
    """Number of series without the overflow series."""
    return sum(labels != OVERFLOW for metric in metrics for labels, _ in metric.get_all())


def test_a_limit_has_as_many_slots() -> None:
    """A released slot can be acquired again."""
    limit = SeriesLimit(2)
    assert [limit.acquire() for _ in range(3)] == [True, True, False]
    limit.release()

    assert [limit.acquire() for _ in range(2)] == [True, False]


def test_slots_beyond_the_limit_are_owed() -> None:
    """The next slot that is released stays occupied."""
    limit = SeriesLimit(1)
    limit.acquire_or_owe()
    limit.acquire_or_owe()
    assert not limit.acquire()
    limit.release()
    assert not limit.acquire()
    limit.release()

    assert limit.acquire()


def test_a_series_has_one_slot() -> None:
    """However often it is adopted or released."""
    limit = SeriesLimit(3)
    share = SlotShare(limit)
    one, two = some(2)
    assert share.admit(one)
    share.adopt(one)
    share.adopt(two)
    share.adopt(two)
    assert free(limit) == 1
    share.release(one)
    share.release(one)
    assert free(limit) == 1
    share.close()
    share.close()

    assert free(limit) == 1


@pytest.mark.parametrize(
    ("old", "new", "left"), [(2, 2, 3), (2, 1, 4), (1, 3, 2), (0, 2, 3), (3, 0, 5)]
)
def test_a_replaced_set_hands_its_slots_over(old: int, new: int, left: int) -> None:
    """Before, both sets together have as many as the larger one."""
    limit = SeriesLimit(5)
    before = SlotShare(limit)
    assert all(before.admit(series) for series in some(old))
    share = before.successor()
    assert all(share.admit(series) for series in some(new))
    share.take_over(before)

    assert free(limit) == left


def test_slots_released_before_they_are_handed_over_are_owed() -> None:
    """A series of the old set was removed meanwhile, and another one has its slot."""
    limit = SeriesLimit(1)
    before = SlotShare(limit)
    (old,) = some(1)
    before.admit(old)
    share = before.successor()
    assert share.admit(some(1)[0])
    before.release(old)
    assert limit.acquire()
    share.take_over(before)
    limit.release()
    assert not limit.acquire()
    share.close()

    assert free(limit) == 1


# --- of collectors and registries ------------------------------------------------------


def test_concurrent_blocks_stay_within_the_limit_of_the_registry() -> None:
    """With another collector."""
    registry = CollectorRegistry(max_series=10)
    gauge, other = (Gauge(name, "What.", registry=registry) for name in "xy")
    for number in range(4):
        gauge.set({"n": number}, 1)
    with gauge.replace() as outer:
        for number in range(10):
            outer.set({"n": number}, 1)
        with gauge.replace() as inner:
            for number in range(10):
                inner.set({"n": number}, 1)
    for number in range(20):
        other.set({"n": number}, 1)

    assert exposed(gauge, other) == 10
    gauge.clear()
    other.clear()
    for number in range(20):
        other.set({"n": number}, 1)
    assert exposed(other) == 10


def test_a_block_that_raises_releases_its_slots() -> None:
    """Though its set is still referenced."""
    registry = CollectorRegistry(max_series=5)
    gauge, other = (Gauge(name, "What.", registry=registry) for name in "xy")
    kept = []

    def fill_and_fail() -> None:
        with gauge.replace() as fresh:
            kept.append(fresh)
            for number in range(5):
                fresh.set({"n": number}, 1)
            raise KeyError

    with pytest.raises(KeyError):
        fill_and_fail()
    for number in range(9):
        other.set({"n": number}, 1)

    assert exposed(other) == 5


def test_a_set_within_a_new_set_has_the_whole_limit() -> None:
    """It is to replace that one."""
    counter = Counter("x_total", "What.", max_series=10)
    with counter.replace() as fresh:
        for number in range(10):
            fresh.inc({"n": number})
        with fresh.replace() as fresher:
            for number in range(12):
                fresher.inc({"m": number})

    assert exposed(counter) == 10
    assert counter.count_overflows() == 2


def test_registries_that_join_and_leave_in_a_block_count_the_new_set() -> None:
    """The new set counts in the one that joined, and not in the one that left."""
    first, second = CollectorRegistry(max_series=3), CollectorRegistry(max_series=3)
    gauge = Gauge("x", "What.", registry=first)
    one, two = Gauge("y", "What.", registry=first), Gauge("y", "What.", registry=second)
    with gauge.replace() as fresh:
        for number in range(2):
            fresh.set({"n": number}, 1)
        first.deregister("x")
        second.register(gauge)
    for number in range(5):
        one.set({"n": number}, 1)
        two.set({"n": number}, 1)

    assert (exposed(one), exposed(two)) == (3, 1)


def test_series_from_before_the_registration_count_too() -> None:
    """Even beyond the limit: then no series is added until they are fewer."""
    counter = Counter("x_total", "What.")
    for number in range(4):
        counter.inc({"n": number})
    registry = CollectorRegistry(max_series=3)
    registry.register(counter)
    counter.inc({"n": 9})
    assert exposed(counter) == 4
    counter.remove({"n": 0})
    counter.inc({"n": 9})
    assert exposed(counter) == 3
    counter.remove({"n": 1})
    counter.inc({"n": 9})

    assert exposed(counter) == 3
    assert counter.get({"n": 9}) == 1
    assert counter.get(OVERFLOW) == 2


def test_the_new_set_belongs_to_the_collector_after_the_block() -> None:
    """Recording on it stays within the limit, and is exposed."""
    counter = Counter("x_total", "What.", max_series=2)
    with counter.replace() as fresh:
        fresh.inc({"n": 1})
    fresh.inc({"n": 2})
    counter.inc({"n": 3})

    assert [labels.get("n") for labels, _ in counter.get_all()] == ["1", "2", None]


def test_unused_slots_of_a_new_set_are_released_once() -> None:
    """They are free for any collector."""
    registry = CollectorRegistry(max_series=10)
    gauge = Gauge("x", "What.", registry=registry)
    for _ in range(3):
        for number in range(10):
            gauge.set({"n": number}, 1)
        with gauge.replace() as fresh:
            fresh.set({"n": 0}, 1)
    for number in range(100):
        gauge.set({"n": number}, 1)

    assert exposed(gauge) == 10


def test_a_refused_label_set_leaves_nothing_behind() -> None:
    """Not even its label names, of which clients may send any number."""
    counter = Counter("x_total", "What.", max_series=3)
    for number in range(3):
        counter.inc({"n": number})
    before = len(counter._store.series._groups), len(counter._store.series._layouts)
    for number in range(100):
        counter.inc({f"n{number}": 1})

    assert exposed(counter) == 3
    after = len(counter._store.series._groups), len(counter._store.series._layouts)
    assert [now - then for now, then in zip(after, before)] == [1, 1]  # that of the overflow series
