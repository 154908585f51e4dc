"""Source runners: never collect a source twice at the same time, and keep its failures from the others."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future, wait

import pytest

from oracles import FakeSource, family, names_of, number
from otel_aioprom._concurrency.shared_future import SharedFuture
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.source_runner import Collected, SourceRunner

DEADLINE = 10


def test_a_source_returns_families_and_faults() -> None:
    """Families of the same name are merged."""
    fault = Fault("late", "x", "Late.")
    one, two = number(1, {"a": "1"}), number(2, {"a": "2"})
    source = FakeSource(family("x", one), fault, family("y"), family("x", two))
    collected = SourceRunner(source).collect()

    assert [(each.name, len(each.series)) for each in collected.families] == [("x", 2), ("y", 1)]
    assert list(collected.faults) == [fault]
    assert collected.complete


def test_what_is_no_family_is_dropped_alone() -> None:
    """Whatever it is."""
    source = FakeSource(family("x"))
    source.items = [family("x"), None, "y"]  # type: ignore[list-item]

    assert [each.name for each in SourceRunner(source).collect().families] == ["x"]


def test_conflicts_within_a_source_are_faults() -> None:
    """Besides those that it returns."""
    fault = Fault("late", "x", "Late.")
    collected = SourceRunner(FakeSource(family("x"), family("x", kind="info"), fault)).collect()

    assert [fault.cause for fault in collected.faults] == ["late", "type_conflict"]


@pytest.mark.parametrize("items", [(), (family("x"),)])
def test_a_source_that_raises_is_dropped_alone(items: tuple[MetricFamily, ...]) -> None:
    """Also after some items: nothing of it is exposed, and its result is incomplete."""
    collected = SourceRunner(FakeSource(*items, ValueError("no"), name="bad")).collect()

    message = "collecting raised ValueError('no'); nothing of this source is exposed"
    assert collected == Collected((), [Fault("raised", "bad", message)], complete=False)


def test_a_late_source_is_a_fault() -> None:
    """With its timeout in the message."""
    late = SourceRunner(FakeSource(name="slow")).outcome(Future(), 0.5)

    message = "no answer within 0.5 s; nothing of this source is exposed"
    assert late == Collected((), [Fault("late", "slow", message)], complete=False)


def test_a_source_that_raises_an_exit_is_a_fault() -> None:
    """Outside of the main thread."""
    runner = SourceRunner(FakeSource(SystemExit(1), name="bad"))
    future = runner.flight.join()
    wait([future], DEADLINE)

    message = "collecting raised SystemExit(1); nothing of this source is exposed"
    expected = Collected((), [Fault("raised", "bad", message)], complete=False)
    assert runner.outcome(future, DEADLINE) == expected


def test_a_source_that_collects_itself_is_refused() -> None:
    """In the same thread it would wait for ever."""
    inner: list[Collected] = []

    class Curious:
        name = "curious"

        def collect(self) -> Iterable[MetricFamily | Fault]:
            inner.append(runner.collect())
            return [family("x")]

    runner = SourceRunner(Curious())

    assert [each.name for each in runner.collect().families] == ["x"]
    assert [fault.cause for fault in inner[0].faults] == ["raised"]


def test_a_source_is_never_collected_twice_at_the_same_time() -> None:
    """Neither by calling threads nor by the single flight."""
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

    runner = SourceRunner(Held())
    flying = runner.flight.join()
    assert begun.wait(DEADLINE)

    def collect() -> None:
        both.wait(DEADLINE)
        runner.collect()

    other = threading.Thread(target=collect)
    other.start()
    both.wait(DEADLINE)
    go.set()
    other.join(DEADLINE)

    assert [each.name for each in flying.result(DEADLINE).families] == ["x"]
    assert most == [1, 1]


def test_the_flight_carries_the_name_of_the_source() -> None:
    """So that a thread that hangs can be identified."""
    names: list[str] = []

    class Naming:
        name = "shop"

        def collect(self) -> Iterable[MetricFamily | Fault]:
            names.append(threading.current_thread().name)
            return ()

    SourceRunner(Naming()).flight.join().result(DEADLINE)

    assert names == ["collect shop"]


def test_prepare_returns_what_before_collection_returns() -> None:
    """Futures, and the seconds that they may take."""
    future: SharedFuture[None] = SharedFuture()
    source = FakeSource(family("x"))
    source.before_collection = lambda: {future: 3}  # type: ignore[attr-defined]

    assert SourceRunner(source).prepare([]) == {future: 3.0}
    assert SourceRunner(FakeSource()).prepare([]) == {}


@pytest.mark.parametrize("bad", [None, {None: 1}, ValueError("no"), SystemExit(1)], ids=repr)
def test_a_source_that_cannot_prepare_is_collected_all_the_same(
    registry: CollectorRegistry, bad: object
) -> None:
    """Only its preparation is skipped, if it raises or returns anything but futures."""
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
