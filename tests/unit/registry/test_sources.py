"""A source in a registry: asked once at a time, and never a danger to the others."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future, wait

import pytest

from oracles import FakeSource, family, names_of, number
from otel_aioprom._concurrency.shared_future import Run
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.source_runner import Collected, Feed

DEADLINE = 10


def test_a_source_gives_families_and_faults() -> None:
    """Families of one name are made one at once; what is neither is ignored."""
    said = Fault("late", "x", "Late.")
    one, two = number(1, {"a": "1"}), number(2, {"a": "2"})
    source = FakeSource(family("x", one), said, family("y"), family("x", two))
    collected = Feed(source).collect()

    assert [(each.name, len(each.series)) for each in collected.families] == [("x", 2), ("y", 1)]
    assert list(collected.faults) == [said]
    assert collected.complete


def test_what_is_no_family_is_ignored() -> None:
    """Whatever it is."""
    source = FakeSource(family("x"))
    source.items = [family("x"), None, "y"]  # type: ignore[list-item]

    assert [each.name for each in Feed(source).collect().families] == ["x"]


def test_conflicts_within_a_source_are_faults() -> None:
    """Together with those that it tells of itself."""
    said = Fault("late", "x", "Late.")
    collected = Feed(FakeSource(family("x"), family("x", kind="info"), said)).collect()

    assert [fault.cause for fault in collected.faults] == ["late", "type_conflict"]


@pytest.mark.parametrize("items", [(), (family("x"),)])
def test_a_source_that_raises_costs_itself(items: tuple[MetricFamily, ...]) -> None:
    """Also half-way: nothing of it is shown, and it is known not to have answered."""
    collected = Feed(FakeSource(*items, ValueError("no"), name="bad")).collect()

    message = "collecting raised ValueError('no'); nothing of this source is shown"
    assert collected == Collected((), [Fault("raised", "bad", message)], complete=False)


def test_a_late_source_is_a_fault() -> None:
    """With the time that it had."""
    late = Feed(FakeSource(name="slow")).outcome(Future(), 0.5)

    message = "no answer within 0.5 s; nothing of this source is shown"
    assert late == Collected((), [Fault("late", "slow", message)], complete=False)


def test_a_source_that_wants_an_end_is_a_fault() -> None:
    """What is no exception goes no further."""
    feed = Feed(FakeSource(SystemExit(1), name="bad"))
    future = feed.flight.join()
    wait([future], DEADLINE)

    message = "collecting raised SystemExit(1); nothing of this source is shown"
    expected = Collected((), [Fault("raised", "bad", message)], complete=False)
    assert feed.outcome(future, DEADLINE) == expected


def test_a_source_that_is_asked_while_it_answers_says_so() -> None:
    """In the same thread, waiting would be for ever."""
    inner: list[Collected] = []

    class Curious:
        name = "curious"

        def collect(self) -> Iterable[MetricFamily | Fault]:
            inner.append(feed.collect())
            return [family("x")]

    feed = Feed(Curious())

    assert [each.name for each in feed.collect().families] == ["x"]
    assert [fault.cause for fault in inner[0].faults] == ["raised"]


def test_a_source_is_never_asked_twice_at_once() -> None:
    """Neither by threads that collect themselves nor by the flight."""
    begun, go, both = threading.Event(), threading.Event(), threading.Barrier(2)
    inside: list[int] = []
    most: list[int] = []

    class Held:
        name = "held"

        def collect(self) -> Iterable[MetricFamily | Fault]:
            inside.append(1)
            most.append(len(inside))
            begun.set()
            assert go.wait(DEADLINE)
            inside.pop()
            return [family("x")]

    feed = Feed(Held())
    flying = feed.flight.join()
    assert begun.wait(DEADLINE)

    def collect() -> None:
        both.wait(DEADLINE)
        feed.collect()

    other = threading.Thread(target=collect)
    other.start()
    both.wait(DEADLINE)
    go.set()
    other.join(DEADLINE)

    assert [each.name for each in flying.result(DEADLINE).families] == ["x"]
    assert most == [1, 1]


def test_the_flight_carries_the_name_of_the_source() -> None:
    """So that a thread that hangs can be told from others."""
    names: list[str] = []

    class Naming:
        name = "shop"

        def collect(self) -> Iterable[MetricFamily | Fault]:
            names.append(threading.current_thread().name)
            return ()

    Feed(Naming()).flight.join().result(DEADLINE)

    assert names == ["collect shop"]


def test_what_a_source_does_before_is_waited_for() -> None:
    """It begins, and tells how long it may take."""
    run: Run[None] = Run()
    source = FakeSource(family("x"))
    source.before_collection = lambda: {run: 3}  # type: ignore[attr-defined]

    assert Feed(source).prepare([]) == {run: 3.0}
    assert Feed(FakeSource()).prepare([]) == {}


@pytest.mark.parametrize("bad", [None, {None: 1}, ValueError("no"), SystemExit(1)], ids=repr)
def test_a_source_that_cannot_prepare_is_collected_all_the_same(
    registry: CollectorRegistry, bad: object
) -> None:
    """What it raises, or gives that is no run, costs it the preparation alone."""
    source = FakeSource(family("x"))

    def begin() -> object:
        if isinstance(bad, BaseException):
            raise bad
        return bad

    source.before_collection = begin  # type: ignore[attr-defined]
    registry.add_source(source)
    gatherings = []
    thread = threading.Thread(target=lambda: gatherings.append(registry.gather()))
    thread.start()
    thread.join(DEADLINE)

    assert names_of(gatherings[0]) == ["x"]
