"""Series that come, go and come back, interrupted once in each run: at every call and return, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
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


class WrongError(Exception):
    """What the tests raise in the middle of something."""


def interrupted(step: int, run: Callable[[], object], act: Callable[[], object]) -> bool:
    """Do something at one step of something else in this package; tell whether there was such a step."""
    steps = count()
    done = []

    def once(frame: FrameType, _event: str) -> None:
        # A test tool that looks at each collection of garbage is not to be interrupted.
        if frame.f_globals["__name__"].startswith("otel_aioprom") and next(steps) == step:
            done.append(True)
            act()

    with at_every_call(once):
        run()
    return bool(done)


def aged(clock: ManualClock, **options: Any) -> tuple[Counter, Any]:
    """Return a counter with a series that the next sweep takes, and that series."""
    counter = Counter("x_total", "What.", expire_after=AFTER, **options)
    child = counter.labels({"a": "1"})
    child.inc()
    counter._store.sweep()
    clock.now += AFTER
    return counter, child


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("options", [{}, {"max_series": 3}])
def test_what_is_recorded_while_a_series_comes_back_is_not_lost(
    clock: ManualClock, bound: bool, options: Any
) -> None:
    """It comes back once, and all is recorded on it."""
    for step in count():
        counter, child = aged(clock, **options)
        counter._store.sweep()
        assert counter.get_all() == []
        act = child.inc if bound else lambda: counter.inc({"a": "1"})  # noqa: B023
        acted = interrupted(step, child.inc, act)
        child.inc()

        assert counter.get_all() == [({"a": "1"}, 3 + acted)]
        assert counter.labels({"a": "1"}) is child
        if not acted:
            break
    assert step > 10


def test_what_is_recorded_between_two_sweeps_is_not_lost(clock: ManualClock) -> None:
    """The second one, of another registry, makes a new age of it that the first one must see."""
    for step in count():
        counter, _ = aged(clock)

        def act() -> None:
            counter.inc({"a": "1"})  # noqa: B023
            counter._store.sweep()  # noqa: B023

        acted = interrupted(step, counter._store.sweep, act)
        if not acted:
            break
        assert counter.get_all() == [({"a": "1"}, 2)]
    assert step > 10


@pytest.mark.parametrize("options", [{}, {"max_series": 1}])
def test_a_series_that_comes_back_may_be_swept_again_at_once(
    clock: ManualClock, options: Any
) -> None:
    """By two collections that take place in the middle; neither it nor its place gets lost."""
    for step in count():
        counter, child = aged(clock, **options)
        counter._store.sweep()

        def act() -> None:
            for _ in range(2):
                counter._store.sweep()  # noqa: B023
                clock.now += 10 * AFTER

        acted = interrupted(step, child.inc, act)
        counter.inc({"a": "1"})
        child.inc()
        assert counter.get_all() == [({"a": "1"}, 4)]
        counter.remove({"a": "1"})
        counter.inc({"a": "2"})

        assert counter.get_all() == [({"a": "2"}, 1)]
        if not acted:
            break
    assert step > 5


def forget(counter: Counter, way: str) -> None:
    """Forget all series in one of four ways."""
    if way == "replace":
        with counter.replace():
            pass
    elif way == "clear":
        counter.clear()
    elif way == "remove_matching":
        counter.remove_matching({"a": "1"})
    else:
        try:
            counter.remove({"a": "1"})
        except KeyError:
            counter.labels({"a": "1"})  # it has gone just now: it comes back
            counter.remove({"a": "1"})


@pytest.mark.parametrize("way", ["clear", "remove", "remove_matching", "replace"])
@pytest.mark.parametrize("meanwhile", ["sweep", "come back"])
def test_what_is_removed_does_not_come_back(clock: ManualClock, way: str, meanwhile: str) -> None:
    """Whatever a sweep, or who records, is at when it is removed."""
    for step in count():
        counter, child = aged(clock)
        run: Callable[[], object] = counter._store.sweep
        if meanwhile == "come back":
            counter._store.sweep()
            run = child.inc
        acted = interrupted(step, run, lambda: forget(counter, way))  # noqa: B023
        if not acted:
            break
        child.inc()

        assert counter.get_all() == []
    assert step > 5


@pytest.mark.parametrize("way", ["clear", "remove_matching", "replace"])
def test_a_sweep_in_the_middle_of_a_removal_brings_nothing_back(
    clock: ManualClock, way: str
) -> None:
    """The other way around."""
    for step in count():
        counter, child = aged(clock)
        acted = interrupted(step, lambda: forget(counter, way), counter._store.sweep)  # noqa: B023
        child.inc()

        assert counter.get_all() == []
        if not acted:
            break
    assert step > 5


def test_places_are_neither_lost_nor_made_when_two_make_the_same_series() -> None:
    """One of them is stored; the other one's place is free."""
    for step in count():
        counter = Counter("x_total", "What.", max_series=2)
        acted = interrupted(
            step,
            lambda: counter.inc({"a": "1"}),  # noqa: B023
            lambda: counter.inc({"a": "1"}),  # noqa: B023
        )
        assert counter.get_all() == [({"a": "1"}, 1 + acted)]
        for number in (2, 3):
            counter.inc({"a": number})

        assert [labels["a"] for labels, _ in counter.get_all() if labels != OVERFLOW] == ["1", "2"]
        if not acted:
            break
    assert step > 10


def test_a_handler_that_raises_leaves_no_lock_behind() -> None:
    """As a time limit does, which raises wherever it finds the program."""
    for step in count():
        counter = Counter("x_total", "What.", max_series=5, expire_after=AFTER)

        def fail() -> None:
            raise WrongError

        try:
            acted = interrupted(step, lambda: counter.inc({"a": "1"}), fail)  # noqa: B023
        except WrongError:
            acted = True
        thread = threading.Thread(target=counter.inc, args=({"a": "2"},), daemon=True)
        thread.start()
        thread.join(DEADLINE)

        assert not thread.is_alive()
        assert counter.get({"a": "2"}) == 1
        if not acted:
            break
    assert step > 10


def test_a_finalizer_may_wait_for_who_makes_a_series() -> None:
    """It logs, say, and a handler of the log counts, under a lock that another thread holds."""
    one, two = (Counter(name, "What.", max_series=10) for name in ("x_total", "y_total"))
    handler_lock, held, finalizing = threading.Lock(), threading.Event(), threading.Event()

    def log() -> None:
        with handler_lock:
            held.set()
            assert finalizing.wait(DEADLINE)
            two.inc({"level": "error"})

    waited = []

    def finalize() -> None:
        finalizing.set()
        waited.append(handler_lock.acquire(timeout=DEADLINE))

    thread = threading.Thread(target=log, daemon=True)
    thread.start()
    assert held.wait(DEADLINE)
    with at_every_call(OnceIn("_made", finalize)):
        one.inc({"a": "1"})
    thread.join(DEADLINE)

    assert waited == [True]
    assert two.get({"level": "error"}) == 1


def test_collectors_come_and_go_at_every_step_of_a_collection() -> None:
    """And of each other's leaving; no name stays taken."""
    for step in count():
        registry = CollectorRegistry(max_series=100)
        for name in ("a", "b"):
            Gauge(name, "What.", registry=registry).set({}, 1)

        def act() -> None:
            Gauge("c", "What.", registry=registry).set({}, 1)  # noqa: B023
            registry.deregister("c")  # noqa: B023

        def run() -> None:
            registry.gather()  # noqa: B023
            registry.deregister("a")  # noqa: B023

        acted = interrupted(step, run, act)
        for name in ("a", "c"):
            Gauge(name, "What.", registry=registry)

        assert [each.name for each in registry.get_all()] == ["b", "a", "c"]
        if not acted:
            break
    assert step > 50
