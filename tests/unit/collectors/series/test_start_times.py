"""Start times of series, and their resets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.quantiles.estimator import Estimator
from otel_aioprom.collectors.series.classic_histogram import Histogram as HistogramStore
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
LONG_AGO = 1.0

COUNTING: dict[str, Callable[..., Collector[Any]]] = {
    "counter": Counter,
    "classic": lambda *given, **options: Histogram(*given, buckets=[1, 2], **options),
    "native": lambda *given, **options: Histogram(
        *given, buckets=None, native_bucket_factor=1.1, **options
    ),
    "both": lambda *given, **options: Histogram(
        *given, buckets=[1, 2], native_bucket_factor=1.1, **options
    ),
    "summary": Summary,
}


def record(collector: Any, labels: dict[str, str]) -> None:
    """Record something by label set."""
    (collector.inc if isinstance(collector, Counter) else lambda each: collector.observe(each, 1))(
        labels
    )


@pytest.mark.parametrize("kind", COUNTING)
@pytest.mark.parametrize("options", [{}, {"expire_after": 60.0}], ids=["plain", "expiring"])
def test_the_start_time_is_that_of_the_creation(kind: str, options: dict[str, Any]) -> None:
    """By binding or by its first measurement; measurements do not change it."""
    collector = COUNTING[kind]("x_total", "What.", **options)
    before = time.time()
    collector.labels({"a": "bound"})
    between = time.time()
    record(collector, {"a": "recorded"})
    after = time.time()
    record(collector, {"a": "bound"})
    bound, recorded = [one.created for one in collector.family().series]

    assert bound is not None
    assert recorded is not None
    assert before <= bound <= between <= recorded <= after


@pytest.mark.parametrize("kind", COUNTING)
def test_a_start_time_is_exposed(kind: str, registry: CollectorRegistry) -> None:
    """With ``created_samples``."""
    child: Any = COUNTING[kind]("x_total", "What.", registry=registry).labels({})
    child.created = 1234.5
    body, _ = render(registry, [OPENMETRICS], created_samples=True)

    base = "x" if kind == "counter" else "x_total"
    assert f"\n{base}_created 1234.5\n" in body.decode()


@pytest.mark.parametrize("kind", COUNTING)
def test_a_series_created_after_a_removal_has_a_new_start_time(kind: str) -> None:
    """It counts from then on."""
    collector = COUNTING[kind]("x_total", "What.")
    collector.labels({}).created = LONG_AGO
    before = time.time()
    collector.remove({})
    record(collector, {})

    assert (collector.labels({}).created or 0) >= before


def test_a_gauge_has_no_start_time() -> None:
    """It does not count."""
    gauge = Gauge("x", "What.")
    gauge.set({}, 1)

    assert gauge.labels().created is None


# --- counts from elsewhere -------------------------------------------------------------------


def histogram_of(count: int) -> HistogramStore:
    """A histogram with this number of observations."""
    store = HistogramStore(1, 2)
    for _ in range(count):
        store.observe(1.5)
    return store


def estimator_of(count: int) -> Estimator:
    """An estimator with this number of observations."""
    estimator = Estimator()
    for _ in range(count):
        estimator.observe(1.5)
    return estimator


STORES: list[tuple[Callable[[], Any], Callable[[int], Any]]] = [
    (lambda: Histogram("x", "What.", buckets=[1, 2]), histogram_of),
    (lambda: Summary("x", "What."), estimator_of),
]


def counted_long_ago(collector: Any) -> Any:
    """A series with three observations and an old start time."""
    child = collector.labels({})
    for _ in range(3):
        child.observe(1.5)
    child.created = LONG_AGO
    return child


@pytest.mark.parametrize(("make", "store_of"), STORES, ids=["histogram", "summary"])
@pytest.mark.parametrize("fewer", [0, 1, 2])
def test_fewer_observations_than_before_are_a_reset(
    make: Callable[[], Any], store_of: Callable[[int], Any], fewer: int
) -> None:
    """The start time is the current time."""
    collector = make()
    child = counted_long_ago(collector)
    before = time.time()
    collector.set_value({}, store_of(fewer))

    assert child.get()["count"] == fewer
    assert before <= child.created <= time.time()


@pytest.mark.parametrize(("make", "store_of"), STORES, ids=["histogram", "summary"])
@pytest.mark.parametrize("more", [3, 4])
def test_as_many_observations_as_before_are_no_reset(
    make: Callable[[], Any], store_of: Callable[[int], Any], more: int
) -> None:
    """Nor are more: the start time stays."""
    collector = make()
    child = counted_long_ago(collector)
    collector.set_value({}, store_of(more))

    assert child.get()["count"] == more
    assert child.created == LONG_AGO


def test_classic_counts_for_native_buckets_are_refused() -> None:
    """So the start time stays."""
    collector = Histogram("x", "What.", buckets=[1, 2], native_bucket_factor=1.1)
    collector.observe({}, 1.5)
    child = collector.labels({})
    child.created = LONG_AGO
    with pytest.raises(TypeError, match="native buckets"):
        collector.set_value({}, histogram_of(0))

    assert (child.created, child.observations) == (LONG_AGO, 1)


@pytest.mark.parametrize(
    ("make", "store_of"),
    [*STORES, (lambda: Counter("x", "What."), int)],
    ids=["histogram", "summary", "counter"],
)
def test_the_start_time_of_a_count_from_elsewhere_is_unknown(
    make: Callable[[], Any], store_of: Callable[[int], Any]
) -> None:
    """With the current time, Prometheus would count all of it as an increase."""
    collector = make()
    collector.set_value({"a": "counted"}, store_of(3))
    collector.set_value({"a": "nothing yet"}, store_of(0))

    counted, nothing = collector.family().series
    assert counted.created is None
    assert nothing.created is not None
