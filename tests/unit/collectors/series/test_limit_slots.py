"""Places in a bound: taken, given back, owed, and handed on."""

from __future__ import annotations

from typing import Any

import pytest

from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.collectors.series.limits import Bound, Share
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.registry import CollectorRegistry

OVERFLOW = {"otel_metric_overflow": "true"}


def some(count: int) -> list[NumberSeries]:
    """Series, which differ by what they are."""
    return [NumberSeries() for _ in range(count)]


def free(bound: Bound) -> int:
    """Take all places that are free, and tell how many there were."""
    return sum(iter(bound.take, False))


def shown(*metrics: Any) -> int:
    """How many series there are, but for those that overflow."""
    return sum(labels != OVERFLOW for metric in metrics for labels, _ in metric.get_all())


def test_as_many_places_as_the_limit_says() -> None:
    """One that is given back can be taken again."""
    bound = Bound(2)
    assert [bound.take() for _ in range(3)] == [True, True, False]
    bound.give_back()

    assert [bound.take() for _ in range(2)] == [True, False]


def test_what_was_insisted_on_is_owed() -> None:
    """The next place that is given back is nobody's."""
    bound = Bound(1)
    bound.insist()
    bound.insist()
    assert not bound.take()
    bound.give_back()
    assert not bound.take()
    bound.give_back()

    assert bound.take()


def test_a_series_has_one_place() -> None:
    """However often it is adopted or released."""
    bound = Bound(3)
    share = Share(bound)
    one, two = some(2)
    assert share.admit(one)
    share.adopt(one)
    share.adopt(two)
    share.adopt(two)
    assert free(bound) == 1
    share.release(one)
    share.release(one)
    assert free(bound) == 1
    share.close()
    share.close()

    assert free(bound) == 1


@pytest.mark.parametrize(
    ("old", "new", "left"), [(2, 2, 3), (2, 1, 4), (1, 3, 2), (0, 2, 3), (3, 0, 5)]
)
def test_a_set_that_is_replaced_hands_its_places_on(old: int, new: int, left: int) -> None:
    """Until then both together have as many as the larger one."""
    bound = Bound(5)
    before = Share(bound)
    assert all(before.admit(series) for series in some(old))
    share = before.successor()
    assert all(share.admit(series) for series in some(new))
    share.succeed(before)

    assert free(bound) == left


def test_places_that_are_gone_before_they_are_handed_on_are_owed() -> None:
    """A series of the old set was removed meanwhile, and somebody else has its place."""
    bound = Bound(1)
    before = Share(bound)
    (old,) = some(1)
    before.admit(old)
    share = before.successor()
    assert share.admit(some(1)[0])
    before.release(old)
    assert bound.take()
    share.succeed(before)
    bound.give_back()
    assert not bound.take()
    share.close()

    assert free(bound) == 1


# --- of collectors and registries ------------------------------------------------------


def test_blocks_at_once_stay_within_the_bound_of_the_registry() -> None:
    """With a collector beside them."""
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

    assert shown(gauge, other) == 10
    gauge.clear()
    other.clear()
    for number in range(20):
        other.set({"n": number}, 1)
    assert shown(other) == 10


def test_a_block_that_raises_gives_its_places_back() -> None:
    """Though somebody still has what it has filled."""
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

    assert shown(other) == 5


def test_a_set_within_a_new_set_has_the_whole_bound() -> None:
    """It is to take the place of that one."""
    counter = Counter("x_total", "What.", max_series=10)
    with counter.replace() as fresh:
        for number in range(10):
            fresh.inc({"n": number})
        with fresh.replace() as fresher:
            for number in range(12):
                fresher.inc({"m": number})

    assert shown(counter) == 10
    assert counter.count_overflows() == 2


def test_registries_that_come_and_go_in_a_block_know_what_is_shown() -> None:
    """The new set counts in the one that came, and in the one that has gone no more."""
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

    assert (shown(one), shown(two)) == (3, 1)


def test_what_was_there_before_the_registry_counts_too() -> None:
    """More than the bound, even: then nothing is added until they are fewer."""
    counter = Counter("x_total", "What.")
    for number in range(4):
        counter.inc({"n": number})
    registry = CollectorRegistry(max_series=3)
    registry.register(counter)
    counter.inc({"n": 9})
    assert shown(counter) == 4
    counter.remove({"n": 0})
    counter.inc({"n": 9})
    assert shown(counter) == 3
    counter.remove({"n": 1})
    counter.inc({"n": 9})

    assert shown(counter) == 3
    assert counter.get({"n": 9}) == 1
    assert counter.get(OVERFLOW) == 2


def test_the_new_set_is_the_collector_s_after_the_block() -> None:
    """Who goes on to record on it does so within bounds, and is seen."""
    counter = Counter("x_total", "What.", max_series=2)
    with counter.replace() as fresh:
        fresh.inc({"n": 1})
    fresh.inc({"n": 2})
    counter.inc({"n": 3})

    assert [labels.get("n") for labels, _ in counter.get_all()] == ["1", "2", None]


def test_places_that_a_new_set_has_not_used_are_there_once() -> None:
    """They go back to the bound, for whoever comes first."""
    registry = CollectorRegistry(max_series=10)
    gauge = Gauge("x", "What.", registry=registry)
    for _ in range(3):
        for number in range(10):
            gauge.set({"n": number}, 1)
        with gauge.replace() as fresh:
            fresh.set({"n": 0}, 1)
    for number in range(100):
        gauge.set({"n": number}, 1)

    assert shown(gauge) == 10


def test_what_is_refused_leaves_nothing_behind() -> None:
    """Not even its label names, of which strangers may have any number."""
    counter = Counter("x_total", "What.", max_series=3)
    for number in range(3):
        counter.inc({"n": number})
    before = len(counter._store.series._groups), len(counter._store.series._layouts)
    for number in range(100):
        counter.inc({f"n{number}": 1})

    assert shown(counter) == 3
    after = len(counter._store.series._groups), len(counter._store.series._layouts)
    assert [now - then for now, then in zip(after, before)] == [1, 1]  # those of the overflow
