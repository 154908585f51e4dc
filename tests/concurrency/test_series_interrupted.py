"""Creation, expiry and revival of series, interrupted once in each run: at every call and return, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
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


class WrongError(Exception):
    """What the tests raise at an interruption."""


def interrupted(step: int, run: Callable[[], object], act: Callable[[], object]) -> bool:
    """Interrupt a function at one step within this package; return whether there was such a step."""
    steps = count()
    done = []

    def once(frame: FrameType, _event: str) -> None:
        # hypothesis observes each garbage collection, and is not to be interrupted.
        if frame.f_globals["__name__"].startswith("otel_aioprom") and next(steps) == step:
            done.append(True)
            act()

    with at_every_call(once):
        run()
    return bool(done)


def aged(clock: ManualClock, **options: Any) -> tuple[Counter, Any]:
    """Return a counter with a series that the next sweep expires, and that series."""
    counter = Counter("x_total", "What.", expire_after=AFTER, **options)
    child = counter.labels({"a": "1"})
    child.inc()
    counter._store.sweep()
    clock.now += AFTER
    return counter, child


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("options", [{}, {"max_series": 3}])
def test_what_is_recorded_during_a_revival_is_not_lost(
    clock: ManualClock, bound: bool, options: Any
) -> None:
    """The series is revived once, with all recordings."""
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
    """The second one, of another registry, restarts its idle time, which the first one must notice."""
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
def test_a_revived_series_may_expire_again_at_once(clock: ManualClock, options: Any) -> None:
    """By two collections in between; neither it nor its slot is lost."""
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


def remove(counter: Counter, way: str) -> None:
    """Remove all series in one of four ways."""
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
            counter.labels({"a": "1"})  # expired just now: this revives it
            counter.remove({"a": "1"})


@pytest.mark.parametrize("way", ["clear", "remove", "remove_matching", "replace"])
@pytest.mark.parametrize("meanwhile", ["sweep", "come back"])
def test_a_removed_series_is_not_revived(clock: ManualClock, way: str, meanwhile: str) -> None:
    """At any step of a sweep or of a recording."""
    for step in count():
        counter, child = aged(clock)
        run: Callable[[], object] = counter._store.sweep
        if meanwhile == "come back":
            counter._store.sweep()
            run = child.inc
        acted = interrupted(step, run, lambda: remove(counter, way))  # noqa: B023
        if not acted:
            break
        child.inc()

        assert counter.get_all() == []
    assert step > 5


@pytest.mark.parametrize("way", ["clear", "remove_matching", "replace"])
def test_a_sweep_during_a_removal_revives_nothing(clock: ManualClock, way: str) -> None:
    """The reverse case."""
    for step in count():
        counter, child = aged(clock)
        acted = interrupted(step, lambda: remove(counter, way), counter._store.sweep)  # noqa: B023
        child.inc()

        assert counter.get_all() == []
        if not acted:
            break
    assert step > 5


def test_slots_are_exact_when_two_threads_create_the_same_series() -> None:
    """One of them is stored; the slot of the other one is released."""
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
    """Like a timeout that raises anywhere in the program."""
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


def test_a_finalizer_may_wait_for_a_thread_that_creates_a_series() -> None:
    """For example, it logs, and a log handler counts under a lock that another thread holds."""
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


def test_collectors_are_registered_and_deregistered_at_every_step_of_a_collection() -> None:
    """And of each other's deregistration; no name stays reserved."""
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
