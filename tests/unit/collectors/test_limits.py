"""Bounds on series: how many there may be, how long they stay, and sets that change at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import Collector, Counter, Enum, Gauge, Histogram, Info, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

OVERFLOW = {"otel_metric_overflow": "true"}


def record(metric: Any, labels: dict[str, object]) -> None:
    """Record something."""
    if isinstance(metric, Enum):
        metric.set(labels, "b")
    elif isinstance(metric, Info):
        metric.set(labels, {"fact": 1})
    elif hasattr(metric, "observe"):
        metric.observe(labels, 1)
    elif hasattr(metric, "inc"):
        metric.inc(labels)
    else:
        metric.set_value(labels, 1)


def make(kind: type[Any], **options: Any) -> Any:
    """A collector of any kind."""
    arguments: list[Any] = [["a", "b"]] if kind is Enum else []
    return kind("x", "X.", *arguments, **options)


KINDS = [Collector, Counter, Gauge, Histogram, Summary, Info, Enum]


def names(metric: Any) -> list[dict[str, str]]:
    """Its label sets."""
    return [labels for labels, _ in metric.get_all()]


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_place_overflows(kind: type[Any]) -> None:
    """Into one more series; those that exist go on as before."""
    metric = make(kind, max_series=2)
    for number in (1, 2, 3, 1, 4):
        record(metric, {"n": number})

    assert names(metric) == [{"n": "1"}, {"n": "2"}, OVERFLOW]
    assert metric.count_overflows() == 2


def test_what_overflows_adds_up() -> None:
    """Nothing is lost but whose it was; a place that is free again is given away."""
    counter = Counter("x_total", "X.", max_series=1)
    for number in range(10):
        counter.inc({"n": number})
    assert (counter.get({"n": 0}), counter.get(OVERFLOW)) == (1, 9)
    counter.clear()
    counter.inc({"n": 7})
    assert names(counter) == [{"n": "7"}]


def test_another_spelling_is_no_other_series() -> None:
    """Of one that exists."""
    counter = Counter("x_total", "X.", {"app": "a"}, max_series=1)
    counter.inc({"b": 1, "a": "2"})
    counter.inc({"a": 2, "b": "1", "c": ""})
    counter.inc({"a": 2, "b": "1", "app": "a"})

    assert counter.get({"a": 2, "b": 1}) == 3


def test_a_bound_is_exact_for_threads() -> None:
    """However many make series at once."""
    counter = Counter("x_total", "X.", max_series=50)
    barrier = threading.Barrier(8)

    def work(first: int) -> None:
        barrier.wait()
        for number in range(200):
            counter.inc({"n": (first * 7 + number) % 300})

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(names(counter)) == 51
    assert sum(value for _, value in counter.get_all()) == 1600


def test_a_registry_bounds_its_collectors_together() -> None:
    """Whatever each may have; one that leaves gives its places back."""
    registry = CollectorRegistry(max_series=3)
    first = Counter("a_total", "A.", registry=registry)
    second = Gauge("b", "B.", registry=registry)
    first.inc({"n": 1})
    first.inc({"n": 2})
    second.set({"n": 1}, 1)
    second.set({"n": 2}, 1)
    first.inc({"n": 3})
    assert (names(first)[2:], names(second)) == ([OVERFLOW], [{"n": "1"}, OVERFLOW])
    registry.deregister("a_total")
    second.set({"n": 3}, 1)
    first.inc({"n": 4})
    assert names(second) == [{"n": "1"}, {"n": "3"}, OVERFLOW]
    assert {"n": "4"} in names(first)


def test_overflows_are_counted() -> None:
    """By metric, in the registry's own metrics."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "X.", max_series=1, registry=registry)
    for number in range(4):
        counter.inc({"n": number})

    text = render(registry)[0].decode()
    assert 'otel_aioprom_series_overflows_total{metric="x_total"} 3\n' in text


def test_many_series_are_worth_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the label that makes most of them; whoever has set a bound knows."""
    monkeypatch.setattr("otel_aioprom.collectors.series.limits.MANY", 20)
    free, bounded = Counter("x_total", "X."), Counter("y_total", "Y.", max_series=1000)
    for number in range(60):
        for metric in (free, bounded):
            metric.inc({"code": number % 3, "user": number})

    [message] = caplog.messages
    assert message.startswith("x_total has 20 series: its label 'user' has 20 values")


def test_one_warning_is_enough_though_sets_are_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Again and again, as a refresh does."""
    monkeypatch.setattr("otel_aioprom.collectors.series.limits.MANY", 20)
    counter = Counter("x_total", "X.", {"app": "a"})
    for turn in range(3):
        with counter.replace() as fresh:
            for number in range(30):
                fresh.inc({"code": turn, "user": number})

    [message] = caplog.messages
    assert "its label 'user' has 20 values" in message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_series": 0}, ValueError),
        ({"max_series": 1.5}, TypeError),
        ({"max_series": True}, TypeError),
        ({"expire_after": 0}, ValueError),
        ({"expire_after": float("nan")}, ValueError),
        ({"expire_after": "1"}, TypeError),
    ],
)
def test_bounds_that_make_no_sense_are_refused(options: Any, error: type[Exception]) -> None:
    """By their name."""
    with pytest.raises(error, match=next(iter(options))):
        Counter("x_total", "X.", **options)


# --- series that expire ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_series_that_nobody_records_on_expire(kind: type[Any], clock: ManualClock) -> None:
    """At a collection; those that are recorded on stay."""
    registry = CollectorRegistry()
    metric = make(kind, expire_after=60, registry=registry)
    record(metric, {"n": "old"})
    record(metric, {"n": "new"})
    for _ in range(4):
        render(registry)
        clock.now += 30
        record(metric, {"n": "new"})
    text = render(registry)[0].decode()

    assert names(metric) == [{"n": "new"}]
    assert 'n="old"' not in text
    assert 'n="new"' in text


def test_a_series_comes_back_with_its_value(clock: ManualClock) -> None:
    """When somebody who holds it records on it, or asks for its labels."""
    counter = Counter("x_total", "X.", expire_after=60)
    child = counter.labels({"n": 1})
    child.add(5)
    for _ in range(2):
        counter.chores()[0].run(None)  # type: ignore[misc]
        clock.now += 61
    counter.chores()[0].run(None)  # type: ignore[misc]
    assert names(counter) == []
    child.inc()
    assert counter.get({"n": "1"}) == 6
    for _ in range(2):
        clock.now += 61
        counter.chores()[0].run(None)  # type: ignore[misc]
    assert names(counter) == []
    counter.inc({"n": 1})
    assert counter.labels({"n": 1}) is child
    assert child.get() == 7


def test_a_series_that_nobody_holds_begins_anew(clock: ManualClock) -> None:
    """It is gone for good."""
    counter = Counter("x_total", "X.", expire_after=60)
    counter.add({"n": 1}, 5)
    for _ in range(3):
        counter.chores()[0].run(None)  # type: ignore[misc]
        clock.now += 61
    counter.chores()[0].run(None)  # type: ignore[misc]
    counter.inc({"n": 1})

    assert counter.get({"n": 1}) == 1


def test_series_expire_where_nobody_collects(clock: ManualClock) -> None:
    """When many have been made since."""
    counter = Counter("x_total", "X.", expire_after=60)
    for number in range(1000):
        counter.inc({"n": number})
        clock.now += 10

    assert len(names(counter)) < 100


def test_who_makes_a_series_looks_at_a_hundred_others(clock: ManualClock) -> None:
    """So that nobody who records holds the event loop; all of them in the end, and then none for a while."""
    counter = Counter("x_total", "X.", expire_after=60)
    for number in range(1000):
        counter.inc({"n": number})
    counter._store.sweep()
    clock.now += 61
    left = []
    for number in range(12):
        counter.inc({"new": number})
        left.append(sum("n" in labels for labels in names(counter)))

    assert left == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, 0, 0]


def test_collectors_without_an_age_have_no_chores() -> None:
    """And their series note nothing."""
    counter = Counter("x_total", "X.")
    assert counter.chores() == []
    assert not hasattr(counter.labels(), "recorded")


# --- sets that change at once ----------------------------------------------------------------


def test_series_are_removed_by_some_of_their_labels() -> None:
    """Values as text; an empty one stands for an absent label, a constant one counts."""
    gauge = Gauge("x", "X.", {"app": "a"})
    for tenant in (1, 2):
        for code in (200, 500):
            gauge.set({"tenant": tenant, "code": code}, 1)
    gauge.set({"code": 200}, 1)
    assert gauge.remove_matching({"tenant": "1"}) == 2
    assert gauge.remove_matching({"tenant": 1}) == 0
    assert gauge.remove_matching({"app": "b"}) == 0
    assert gauge.remove_matching({"tenant": "", "code": 200}) == 1
    assert names(gauge) == [{"tenant": "2", "code": "200"}, {"tenant": "2", "code": "500"}]
    assert gauge.remove_matching({"app": "a"}) == 2
    with pytest.raises(TypeError, match="labels must be a dict"):
        gauge.remove_matching("tenant")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_set_is_shown_at_once(kind: type[Any]) -> None:
    """When the block has ended; before that, nothing of it."""
    metric = make(kind)
    record(metric, {"n": "old"})
    with metric.replace() as fresh:
        record(fresh, {"n": "new"})
        assert names(metric) == [{"n": "old"}]
        assert type(fresh) is type(metric)
    assert names(metric) == [{"n": "new"}]
    record(metric, {"n": "more"})
    assert names(metric) == [{"n": "new"}, {"n": "more"}]


def fail(gauge: Gauge) -> None:
    """Replace nothing."""
    with gauge.replace() as fresh:
        fresh.set({}, 2)
        raise KeyError("boom")


def test_a_block_that_raises_replaces_nothing() -> None:
    """What was there stays."""
    gauge = Gauge("x", "X.")
    gauge.set({}, 1)
    with pytest.raises(KeyError):
        fail(gauge)

    assert gauge.get() == 1


def test_a_new_set_has_bounds_and_ages_too(clock: ManualClock) -> None:
    """As the old one has."""
    gauge = Gauge("x", "X.", max_series=2, expire_after=60)
    with gauge.replace() as fresh:
        for number in range(3):
            fresh.set({"n": number}, 1)
        child = fresh.labels({"n": 0})
    assert names(gauge) == [{"n": "0"}, {"n": "1"}, OVERFLOW]
    assert gauge.count_overflows() == 1
    for _ in range(3):
        gauge.chores()[0].run(None)  # type: ignore[misc]
        clock.now += 61
    gauge.chores()[0].run(None)  # type: ignore[misc]
    assert names(gauge) == []
    child.set(3)
    assert gauge.get({"n": 0}) == 3
