"""With any thread switches, no update is lost, and responses are consistent."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

pytestmark = pytest.mark.usefixtures("hostile_switching")

THREADS = 8
ROUNDS = 3000
DEADLINE = 30.0
VALUE = 0.5  # sums of it are exact


@contextmanager
def renders(registry: CollectorRegistry) -> Iterator[list[str]]:
    """Render repeatedly in another thread; the list gets the responses, the last one without concurrent recording."""
    end = threading.Event()
    texts: list[str] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not end.is_set():
                texts.append(render(registry, [])[0].decode())
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield texts
    finally:
        end.set()
        thread.join(DEADLINE)
    texts.append(render(registry, [])[0].decode())
    assert not errors
    assert not thread.is_alive()


def in_threads(work: Callable[[int], None]) -> None:
    """Run a function in all threads at once; it gets the number of its thread."""
    barrier = threading.Barrier(THREADS)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(DEADLINE)
            work(number)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    deadline = time.monotonic() + DEADLINE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not errors
    assert not [thread for thread in threads if thread.is_alive()]


def numbers(text: str, start: str) -> list[float]:
    """Values of the sample lines that start with a prefix."""
    return [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start)]


@pytest.fixture
def registry() -> CollectorRegistry:
    """A fresh registry."""
    return CollectorRegistry()


def test_no_increment_of_a_counter_is_lost(registry: CollectorRegistry) -> None:
    """Bound, by labels, and by amounts, while values in responses only rise."""
    counter = Counter("x_total", "What.", registry=registry)
    child = counter.labels({"a": "bound"})

    def work(number: int) -> None:
        labels = {"a": "labels"} if number % 2 else {"b": "2", "a": "other"}
        for _ in range(ROUNDS):
            child.inc()
            counter.inc(labels)
            counter.add({}, 2)

    with renders(registry) as texts:
        in_threads(work)
    seen = [numbers(text, "x_total ") for text in texts]

    assert child.get() == THREADS * ROUNDS
    assert counter.get({"a": "labels"}) == counter.get({"a": "other", "b": "2"}) == 4 * ROUNDS
    assert counter.get({}) == 2 * THREADS * ROUNDS
    assert all(before <= after for before, after in pairwise(seen))


def test_no_step_of_a_gauge_is_lost(registry: CollectorRegistry) -> None:
    """Up and down, by one and by amounts, bound and by labels."""
    gauge = Gauge("x", "What.", registry=registry)
    child = gauge.labels({"a": "bound"})

    def work(number: int) -> None:
        for _ in range(ROUNDS):
            child.add(3)
            child.sub(1)
            gauge.inc({"a": "1"})
            gauge.add({"a": "1"}, 2.5)
            gauge.sub({"a": "1"}, VALUE)
            gauge.dec({})

    with renders(registry):
        in_threads(work)

    assert child.get() == 2 * THREADS * ROUNDS
    assert gauge.get({"a": "1"}) == 3 * THREADS * ROUNDS
    assert gauge.get({}) == -THREADS * ROUNDS


def check_histogram(text: str, labels: str) -> None:
    """Check that one series of a response, with ``VALUE`` as its only value, is consistent."""
    buckets = numbers(text, f"x_bucket{{{labels}")
    if buckets:
        (count,) = numbers(text, f"x_count{{{labels}")
        (total,) = numbers(text, f"x_sum{{{labels}")
        assert buckets == sorted(buckets)
        assert buckets[-1] == count
        assert total == count * VALUE
        assert buckets == [0, count, count]


def test_no_observation_of_a_histogram_is_lost_and_responses_are_consistent(
    registry: CollectorRegistry,
) -> None:
    """In every response, count, last bucket and sum are those of the same observations."""
    histogram = Histogram("x", "What.", buckets=[0.1, 1], registry=registry)
    child = histogram.labels({"a": "bound"})
    torn = []

    def work(number: int) -> None:
        for _ in range(ROUNDS):
            child.observe(VALUE)
            histogram.observe({"a": "labels"}, VALUE)
        found = child.get()
        if found["sum"] != found["count"] * VALUE or found["count"] != found[1.0]:
            torn.append(found)

    with renders(registry) as texts:
        in_threads(work)

    for text in texts:
        check_histogram(text, 'a="bound"')
        check_histogram(text, 'a="labels"')
    assert torn == []
    assert len(texts) > 1
    assert histogram.get({"a": "labels"})["count"] == THREADS * ROUNDS
    assert child.get() == {
        0.1: 0,
        1.0: THREADS * ROUNDS,
        float("inf"): THREADS * ROUNDS,
        "count": THREADS * ROUNDS,
        "sum": THREADS * ROUNDS * VALUE,
    }


def test_no_observation_of_a_summary_is_lost(registry: CollectorRegistry) -> None:
    """Count, sum and estimator include all observations, and quantiles are right meanwhile."""
    summary = Summary("x", "What.", registry=registry)
    child = summary.labels({"a": "bound"})

    def work(number: int) -> None:
        for _ in range(ROUNDS):
            child.observe(VALUE)
            summary.observe({}, VALUE)

    with renders(registry) as texts:
        in_threads(work)
    shown = {
        float(value)
        for text in texts
        for value in re.findall(r"quantile=.* (.*)", text)
        if value != "NaN"
    }

    for labels in ({"a": "bound"}, {}):
        found = summary.get(labels)
        assert (found["count"], found["sum"]) == (THREADS * ROUNDS, THREADS * ROUNDS * VALUE)
        assert summary.get_value(labels)._observations == THREADS * ROUNDS
    assert shown == {VALUE}


def test_threads_that_create_the_same_series_share_it(registry: CollectorRegistry) -> None:
    """Of several threads that use a label set first, in any order of its names, none loses an update."""
    counter = Counter("x_total", "What.", registry=registry)
    histogram = Histogram("y", "What.", registry=registry)
    sets = 200
    barriers = [threading.Barrier(THREADS) for _ in range(sets // 10)]

    def work(number: int) -> None:
        for index in range(sets):
            if index % 10 == 0:
                barriers[index // 10].wait(DEADLINE)
            pair = [("set", index), (f"name{index % 7}", "1")]
            labels = dict(pair if number % 2 else reversed(pair))
            counter.inc(labels)
            histogram.observe(labels, VALUE)

    with renders(registry) as texts:
        in_threads(work)
    lines = [line.rpartition(" ")[0] for line in texts[-1].splitlines()]

    assert [value for _, value in counter.get_all()] == [THREADS] * sets
    assert [value["count"] for _, value in histogram.get_all()] == [THREADS] * sets
    assert len(lines) == len(set(lines))


def test_threads_that_bind_the_same_series_get_the_same_object() -> None:
    """A child created by the loser of a race would not be exposed."""
    gauge = Gauge("x", "What.")
    children: list[list[object]] = [[] for _ in range(THREADS)]

    def work(number: int) -> None:
        children[number] = [gauge.labels({"a": index}) for index in range(200)]

    in_threads(work)

    for same in zip(*children):
        assert len({id(child) for child in same}) == 1
