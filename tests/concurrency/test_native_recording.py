"""Native histograms with threads: no observation is lost, and every reading is consistent."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from clocks import ManualTime
from interruptions import at_every_call, garbage_collections, switching
from otel_aioprom._concurrency.atomic import has_gil, with_lock
from otel_aioprom.collectors import Histogram
from otel_aioprom.collectors.series import native_histogram
from otel_aioprom.collectors.series.native_histogram import NativeHistogramSeries
from otel_aioprom.collectors.series.native_resolution import Resolution, grid_of

THREADS, ROUNDS = 4, 10_000
DEADLINE = 30.0
ALWAYS = threading.Event()
ALWAYS.set()


@pytest.mark.parametrize("locked", [False, True], ids=["global lock", "own lock"])
def test_changes_of_resolution_lose_no_observation(locked: bool) -> None:
    """While threads record, buckets are merged repeatedly."""
    resolution = Resolution(8, max_buckets=20, min_reset_duration=0, max_zero_threshold=1e-6)
    kind = (
        with_lock(NativeHistogramSeries, ("observe", "read")) if locked else NativeHistogramSeries
    )
    series = kind((), (), " ", (1.0, float("inf")), None, resolution)
    torn = []

    def record(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - no secret
        for _ in range(ROUNDS):
            series.observe(chance.lognormvariate(0, 6) * chance.choice([-1, 1, 0]))

    threads = [threading.Thread(target=record, args=(n,)) for n in range(THREADS)]
    with switching():
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            (*counts, _), native = series.read()
            assert native is not None
            if sum(counts) != native.observations:
                torn.append((counts, native))
    (*counts, _), native = series.read()

    assert torn == []
    assert native is not None
    assert sum(counts) == native.observations == THREADS * ROUNDS
    assert native.schema < 8


def test_readings_are_consistent_despite_resets() -> None:
    """Count and buckets agree in every reading, and exemplars are those of counted observations."""
    histogram = Histogram(
        "h", "H.", native_bucket_factor=1.01, native_max_buckets=5, native_min_reset_duration=1e-9
    )
    series = histogram.labels({})
    ended = threading.Event()

    def record(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - no secret
        while not ended.is_set():
            series.observe(chance.expovariate(1), {"seed": seed})

    threads = [threading.Thread(target=record, args=(n,)) for n in range(THREADS)]
    try:
        with switching(1e-5):
            for thread in threads:
                thread.start()
            for _ in range(2000):
                (*counts, _), native = series.read()
                assert native is not None
                assert sum(counts) == native.observations
                places = {grid_of(native.schema).place(each.value) for each in native.exemplars}
                assert places <= {place for place, _ in native.positive}
    finally:
        ended.set()
        for thread in threads:
            thread.join()


class Paused(NativeHistogramSeries):
    """Waits before it checks its limits, for some values."""

    __slots__ = ("gates",)
    gates: dict[float, tuple[threading.Event, threading.Event]]

    def _limit(self, *arguments: Any) -> Any:
        reached, opened = self.gates.get(arguments[-1], (threading.Event(), ALWAYS))
        reached.set()
        assert opened.wait(DEADLINE)
        return super()._limit(*arguments)


@pytest.mark.skipif(not has_gil(), reason="series have locks of their own")
def test_a_late_reset_drops_no_unexposed_observation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One thread counts before a response, another one after it; both check limits when both have counted."""
    clock = ManualTime()
    monkeypatch.setattr(native_histogram, "time", clock)
    series = Paused((), (), " ", (float("inf"),), None, Resolution(0, max_buckets=2))
    series.gates = {}
    for value in (1, 2, 4):
        series.observe(value)
    clock.now += 3600
    series.gates = {value: (threading.Event(), threading.Event()) for value in (8, 16)}
    threads = []
    for value, (reached, _) in series.gates.items():
        thread = threading.Thread(target=series.observe, args=(value,), daemon=True)
        thread.start()
        threads.append((thread, reached))
        while thread.is_alive() and not reached.wait(0.001):
            pass
        if value == 8:
            series.mark_exposed(sum(series.read()[0][:-1]), series.created)
    for thread, (_, opened) in zip([each for each, _ in threads], series.gates.values()):
        opened.set()
        thread.join(DEADLINE)

    assert series.read()[0] == [1, 16]


@pytest.mark.no_cover
@pytest.mark.skipif(not has_gil(), reason="series have locks of their own")
def test_a_bucket_that_is_added_during_a_check_is_checked() -> None:
    """The thread that has found few buckets keeps the flag of the thread that adds one more."""
    series = NativeHistogramSeries((), (), " ", (float("inf"),), None, Resolution(0, max_buckets=2))
    series.observe(1)

    def add(frame: FrameType, event: str) -> None:
        if event == "return" and frame.f_code.co_name == "_has_too_many":
            series._state.positive.setdefault(7, 0)
            series._state.pending = True

    with at_every_call(add):
        series.observe(2)

    assert series._state.pending


class Due(NativeHistogramSeries):
    """A reset is due for the main thread, and never for others."""

    __slots__ = ()

    def _may_reset(self, state: object) -> bool:
        return threading.current_thread() is threading.main_thread()


def test_every_observation_is_exposed_or_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While threads record, a histogram is reset repeatedly: all its observations were exposed before each reset."""
    clock = ManualTime()
    monkeypatch.setattr(native_histogram, "time", clock)
    series = Due((), (), " ", (float("inf"),), 0.0, Resolution(0, max_buckets=2))
    ended = threading.Event()
    done = [0] * THREADS
    shown: dict[Any, int] = {}

    def record(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - no secret
        while not ended.is_set():
            series.observe(2.0 ** chance.randint(1, 8))
            done[number] += 1

    threads = [threading.Thread(target=record, args=(n,), daemon=True) for n in range(THREADS)]
    with switching(1e-5):
        for thread in threads:
            thread.start()
        end = time.monotonic() + DEADLINE
        while len(shown) < 30 and time.monotonic() < end:
            began: Any = series.created
            *counts, _ = series.read()[0]
            if series.created == began:
                clock.now += 1
                shown[began] = sum(counts)
                series.mark_exposed(sum(counts), began)
        ended.set()
        for thread in threads:
            thread.join(DEADLINE)
    shown[series.created] = series.observations

    assert len(shown) >= 30
    assert sum(shown.values()) == sum(done)


@pytest.mark.no_cover
def test_a_finalizer_that_observes_does_not_block() -> None:
    """It may run in the thread that holds the lock of the series."""
    kind = with_lock(NativeHistogramSeries, ("observe", "read"))
    series = kind((), (), " ", (1.0, float("inf")), None, Resolution(3))

    def observe(*_: object) -> None:
        series.observe(2.5)

    with garbage_collections(observe, often=1):
        for _ in range(300):
            series.read()

    assert sum(series.read()[0][:-1]) > 100


class Interrupted(dict[int, int]):
    """Calls a function that observes while it is copied, as a finalizer can."""

    act: Callable[[], object] | None = None

    def __iter__(self) -> Iterator[int]:
        act, self.act = self.act, None
        if act is not None:
            act()
        return super().__iter__()

    def keys(self) -> Any:
        """Force a copy in Python code."""
        return list(self)


def test_readings_are_consistent_despite_a_finalizer_that_observes() -> None:
    """The interrupted reading is repeated."""
    series = NativeHistogramSeries((), (), " ", (1.0, float("inf")), None, Resolution(3))
    series.observe(2.5)
    interrupted = Interrupted(series._state.positive)
    interrupted.act = lambda: series.observe(2.5)
    series._state.positive = interrupted
    (*counts, _), native = series.read()

    assert interrupted.act is None
    assert native is not None
    assert native.observations == sum(counts) == 2
