"""Native histograms under hostile threads: nothing is lost, and every reading is whole."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interruptions import garbage_collections, switching
from otel_aioprom.atomic import with_lock
from otel_aioprom.collectors import Histogram
from otel_aioprom.recording_native import NativeHistogramSeries
from otel_aioprom.resolution import Resolution

THREADS, ROUNDS = 4, 10_000


@pytest.mark.parametrize("locked", [False, True], ids=["global lock", "own lock"])
def test_changes_of_resolution_lose_nothing(locked: bool) -> None:
    """While others record, buckets are merged again and again."""
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


def test_starting_over_tears_nothing() -> None:
    """Resets in the middle of recording: count and buckets agree in every reading."""
    histogram = Histogram(
        "h", "H.", native_bucket_factor=1.01, native_max_buckets=5, native_min_reset_duration=1e-9
    )
    series = histogram.labels({})
    ended = threading.Event()

    def record(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - no secret
        while not ended.is_set():
            series.observe(chance.expovariate(1))

    threads = [threading.Thread(target=record, args=(n,)) for n in range(THREADS)]
    try:
        with switching(1e-5):
            for thread in threads:
                thread.start()
            for _ in range(2000):
                (*counts, _), native = series.read()
                assert native is not None
                assert sum(counts) == native.observations
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.no_cover
def test_a_finalizer_that_observes_waits_for_nobody() -> None:
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
    """Lets somebody observe while it is copied, as a finalizer can."""

    act: Callable[[], object] | None = None

    def __iter__(self) -> Iterator[int]:
        act, self.act = self.act, None
        if act is not None:
            act()
        return super().__iter__()

    def keys(self) -> Any:
        """Be copied by way of Python."""
        return list(self)


def test_a_finalizer_that_observes_tears_no_reading() -> None:
    """What it has interrupted is read once more."""
    series = NativeHistogramSeries((), (), " ", (1.0, float("inf")), None, Resolution(3))
    series.observe(2.5)
    interrupted = Interrupted(series._state.positive)
    interrupted.act = lambda: series.observe(2.5)
    series._state.positive = interrupted
    (*counts, _), native = series.read()

    assert interrupted.act is None
    assert native is not None
    assert native.observations == sum(counts) == 2
