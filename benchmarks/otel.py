"""Topic otel: a scrape of OpenTelemetry metrics, beside the SDK's own share of it.

One provider with three readers (ours, the official exporter's and one that drops what it
gets), so that all of them collect the same instruments. No reader can be quicker than the
dropping one: ``collect()`` is the floor, and the ratio to it is what a reader
adds. Scope labels are on; the SDK's limit of 2000 series is lifted for all.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import prometheus_client
from opentelemetry.exporter import prometheus as official
from opentelemetry.sdk import metrics as sdk

import otel_aioprom
from benchmarks.data import SCOPE, amounts, label_rows, observations
from benchmarks.measure import (
    EXPORTER,
    OURS,
    SDK,
    Case,
    Contender,
    Goal,
    interleave,
    seconds,
)
from benchmarks.subjects import LIMITS, DroppingReader

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "otel"
QUICK_DIVISOR = 10
INSTRUMENTS = 5
"""The series are spread evenly over this many instruments."""
OBSERVATIONS = 3
COUNTER_GOAL = Goal(1.35, SDK)
HISTOGRAM_GOAL = Goal(1.9, SDK)
_MILLI = 1e3


class Bench(NamedTuple):
    """One provider and its readers.

    Attributes:
        provider: Where the instruments live.
        actions: Contender → what its scrape is.
    """

    provider: sdk.MeterProvider
    actions: dict[str, Callable[[], object]]


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Time scrapes of counters and of histograms.

    Args:
        rounds: Readings of each contender.
        quick: A tenth of the series.

    Returns:
        One case a kind and size, in milliseconds.
    """
    divisor = QUICK_DIVISOR if quick else 1
    few, many, histograms = 10_000 // divisor, 50_000 // divisor, 5_000 // divisor
    return [
        *_cases(f"{few:,} counters", counter_bench(few), COUNTER_GOAL, few, rounds),
        *_cases(f"{many:,} counters", counter_bench(many), COUNTER_GOAL, many, rounds),
        *_cases(
            f"{few:,} counters, resource labels and exemplars",
            counter_bench(few, _full_bench()),
            COUNTER_GOAL,
            few,
            rounds,
        ),
        *_cases(
            f"{histograms:,} histograms",
            histogram_bench(histograms),
            HISTOGRAM_GOAL,
            histograms,
            rounds,
        ),
    ]


def _cases(words: str, bench: Bench, goal: Goal, series: int, rounds: int) -> list[Case]:
    """Time one provider twice: with the garbage collector off, and as services run it."""
    _check(bench, series)
    figures = {
        collector: _figures(bench, rounds, collector=collector) for collector in (False, True)
    }
    bench.provider.shutdown()
    return [
        Case(TOPIC, words, "ms", figures[False], [goal], series),
        Case(TOPIC, f"{words}, gc on", "ms", figures[True], (), series),
    ]


def _figures(bench: Bench, rounds: int, *, collector: bool) -> dict[str, list[float]]:
    def timer(action: Callable[[], object]) -> Callable[[], float]:
        return lambda: seconds(action, collector=collector) * _MILLI

    contenders = [Contender(name, timer(action)) for name, action in bench.actions.items()]
    return interleave(contenders, rounds)


def _full_bench() -> Bench:
    """A bench with everything on that a scrape may have to carry: each measurement leaves an exemplar."""

    def chosen(key: str) -> bool:
        return key.startswith("service.")

    return _bench(
        {"resource_attribute_filter": chosen}, exemplar_filter=sdk.AlwaysOnExemplarFilter()
    )


def _bench(options: dict[str, Any] | None = None, **provider: Any) -> Bench:
    registry = otel_aioprom.CollectorRegistry()
    theirs = prometheus_client.CollectorRegistry()
    dropping = DroppingReader(cardinality_limits=LIMITS)
    shared: dict[str, Any] = {"cardinality_limits": LIMITS, **(options or {})}
    readers = [
        otel_aioprom.PrometheusMetricReader(registry=registry, **shared),
        official.PrometheusMetricReader(registry=theirs, **shared),
        dropping,
    ]
    actions: dict[str, Callable[[], object]] = {
        OURS: lambda: otel_aioprom.render(registry, [])[0],
        SDK: dropping.collect,
        EXPORTER: partial(prometheus_client.generate_latest, theirs),
    }
    made = sdk.MeterProvider(metric_readers=readers, shutdown_on_exit=False, **provider)
    return Bench(made, actions)


def counter_bench(series: int, bench: Bench | None = None) -> Bench:
    """Make a bench, or take the one given, and count in that many series."""
    bench = bench or _bench()
    meter = bench.provider.get_meter(*SCOPE)
    counters = [
        meter.create_counter(f"bench.requests.{index}", unit="{request}")
        for index in range(INSTRUMENTS)
    ]
    for index, (row, amount) in enumerate(zip(label_rows(series), amounts(series), strict=True)):
        attributes = {
            "http.method": row[0],
            "http.route": row[1],
            "http.status_code": row[2],
        }
        counters[index % INSTRUMENTS].add(amount, attributes)
    return bench


def histogram_bench(series: int) -> Bench:
    """Make a bench and observe three values in each of that many series."""
    bench = _bench()
    meter = bench.provider.get_meter(*SCOPE)
    histograms = [
        meter.create_histogram(f"bench.duration.{index}", unit="s") for index in range(INSTRUMENTS)
    ]
    values = iter(observations(series * OBSERVATIONS))
    for index, row in enumerate(label_rows(series)):
        for _ in range(OBSERVATIONS):
            attributes = {"http.method": row[0], "http.route": row[1]}
            histograms[index % INSTRUMENTS].record(next(values), attributes)
    return bench


def _check(bench: Bench, series: int) -> None:
    """Refuse to time a scrape that misses data.

    Raises:
        AssertionError: A text mentions fewer series than were recorded.
    """
    for name in (OURS, EXPORTER):
        text = bench.actions[name]()
        assert isinstance(text, bytes)
        routes = {
            line.split(b'http_route="', 1)[1].split(b'"', 1)[0]
            for line in text.splitlines()
            if b"http_route" in line
        }
        assert len(routes) == series, f"{name} wrote {len(routes)} series, expected {series}"
