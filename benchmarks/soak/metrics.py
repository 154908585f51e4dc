"""What the soak records: collectors of all kinds and OpenTelemetry's instruments, and threads that know their totals."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from benchmarks.data import label_rows
from otel_aioprom import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    PrometheusMetricReader,
    StateSet,
    Summary,
)

SERIES = 5_000
THREADS = 3
PAUSE = 0.0005
"""Seconds between two recordings of a thread: the load is the clients', not this."""
_COUNTED = (
    "soak_total",
    "soak_seconds_count",
    "soak_native_seconds_count",
    "soak_recent_seconds_count",
    "otel_requests_total",
    "otel_duration_seconds_count",
    "otel_size_bytes_count",
    "otel_seen_total",
)
STATES = ("starting", "running", "draining")


class Metrics:
    """All kinds of metrics in one registry.

    Attributes:
        registry: What is served, pushed and written.
        totals: What each thread has recorded: the number of times.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.totals = [0] * THREADS
        self._done = threading.Event()
        self.counter = Counter("soak_total", "Added by threads.", registry=registry)
        self.shared = Counter("soak_shared_total", "Added by all.", registry=registry)
        self.observed: list[Any] = [
            Histogram("soak_seconds", "Observed.", registry=registry),
            Histogram(
                "soak_native_seconds",
                "Observed.",
                native_bucket_factor=1.1,
                native_min_reset_duration=0,  # it would start over after an hour; totals are compared
                registry=registry,
            ),
            Summary("soak_recent_seconds", "Observed.", max_age=60.0, registry=registry),
        ]
        self.states = Enum("soak_phase", "Phase.", states=STATES, registry=registry)
        self.flags = StateSet("soak_flags", "Flags.", states=STATES, registry=registry)
        Info("soak_build", "Build.", registry=registry).set({}, {"version": "1", "of": "soak"})
        _level(registry)
        _callbacks(registry)
        registry.add_source(_Source())
        self._instruments(registry)

    def _instruments(self, registry: CollectorRegistry) -> None:
        views = [
            View(instrument_name="otel.size", aggregation=ExponentialBucketHistogramAggregation())
        ]
        reader = PrometheusMetricReader(registry=registry)
        self.provider = sdk.MeterProvider(
            metric_readers=[reader], views=views, shutdown_on_exit=False
        )
        meter = self.provider.get_meter("soak", "1.0")
        self.requests = meter.create_counter("otel.requests")
        self.in_flight = meter.create_up_down_counter("otel.in_flight")
        self.temperature = meter.create_gauge("otel.temperature")
        self.durations = [
            meter.create_histogram("otel.duration", "s"),
            meter.create_histogram("otel.size", "By"),
        ]
        meter.create_observable_counter("otel.seen", [self._observe])
        meter.create_observable_gauge("otel.age", [self._observe])

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(total, {"thread": str(n)}) for n, total in enumerate(self.totals)]

    def start(self) -> list[threading.Thread]:
        """Start the recording threads."""
        threads = [threading.Thread(target=self._record, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        return threads

    def stop(self) -> None:
        """Let the threads end."""
        self._done.set()

    def _record(self, number: int) -> None:
        labels = {"thread": str(number)}
        bound = self.counter.labels(labels)
        while not self._done.is_set():
            seconds = random.expovariate(0.1)
            if number % 2:
                bound.inc()
            else:
                self.counter.inc(labels, exemplar={"trace_id": f"{random.getrandbits(64):x}"})
            self.shared.inc()
            for metric in self.observed:
                metric.observe(labels, seconds)
            self.states.set(labels, random.choice(STATES))  # noqa: S311
            self.flags.set(labels, STATES[number], on=seconds > 1)
            self.requests.add(1, labels)
            self.in_flight.add(1 if seconds > 1 else -1, labels)
            self.temperature.set(seconds, labels)
            for instrument in self.durations:
                instrument.record(seconds, labels)
            self.totals[number] += 1
            time.sleep(PAUSE)

    def truth(self) -> dict[tuple[str, str], float]:
        """Return what must be shown when the threads have ended, by the name of the series and its label ``thread``."""
        found: dict[tuple[str, str], float] = {("soak_shared_total", ""): sum(self.totals)}
        for number, total in enumerate(self.totals):
            found |= {(name, str(number)): total for name in _COUNTED}
        return found


class _Source:
    """A source of a user's, whose collectors are new each time."""

    name = "soak"

    def collect(self) -> list[Gauge]:
        """Return a gauge."""
        gauge = Gauge("soak_source", "From a source.")
        for number in range(100):
            gauge.set({"n": str(number)}, random.random())  # noqa: S311 - no secret
        return [gauge]


def _level(registry: CollectorRegistry) -> None:
    level = Gauge("soak_level", "Set once.", registry=registry)
    for index, (method, path, code) in enumerate(label_rows(SERIES)):
        level.set({"method": method, "path": path, "code": code}, index)


def _callbacks(registry: CollectorRegistry) -> None:
    async def now() -> float:
        await asyncio.sleep(0.001)
        return time.time()

    read = Gauge("soak_read", "From functions.", registry=registry)
    read.set_function({"kind": "plain"}, time.time)
    read.set_function({"kind": "async"}, now)
    Counter("soak_ticks_total", "From a function.", registry=registry).set_function(
        None, time.monotonic
    )
