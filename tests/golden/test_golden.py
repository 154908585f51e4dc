"""Whole responses, byte by byte.

``UPDATE_GOLDEN=1 pytest tests/golden`` rewrites the files; read the difference before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from oracles import FakeSource, TextReader, family, number
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.series.number import CounterSeries
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

FOLDER = Path(__file__).parent
INF = float("inf")

Fill = Callable[[CollectorRegistry], None]


@pytest.fixture
def reader() -> Iterator[TextReader]:
    """Let other parsers read the response too."""
    with TextReader() as text_reader:
        yield text_reader


def native_kinds(registry: CollectorRegistry) -> None:
    """Register every kind of collector: without series, without labels, with labels and constant labels."""
    Counter("unused_total", "Never incremented, so not shown.", registry=registry)
    requests = Counter("app_requests_total", "Requests served.", {"app": "shop"}, registry=registry)
    requests.inc()
    requests.add({"method": "GET", "code": 200}, 1027)
    requests.inc({"code": 404, "method": "POST"})
    temperature = Gauge("app_temperature_celsius", "Temperature.", registry=registry)
    temperature.set({"room": "cellar"}, -12.5)
    temperature.inc({"room": "attic"})
    seconds = Histogram(
        "app_request_seconds", "Time to answer.", buckets=[0.1, 1, 1e6], registry=registry
    )
    for value in (0.0625, 0.1, 0.5, 2, 1e7):
        seconds.observe({}, value)
    seconds.observe({"method": "GET"}, 0.25)
    sizes = Summary("app_response_bytes", "Bytes sent.", {"app": "shop"}, registry=registry)
    for _ in range(3):
        sizes.observe({"method": "GET"}, 2048)
    sizes.labels()
    Summary("app_bare", "", invariants=(), registry=registry).observe({}, 2.5)
    Collector("app_untyped", "Of no kind.", registry=registry).set_value({"a": 1}, 3)


def odd_values(registry: CollectorRegistry) -> None:
    """Register labels, help texts and numbers that need escaping or a special form."""
    path = Gauge("odd_labels", 'A "quoted" \\ description\nof two lines, é.', registry=registry)
    labels = ["", " ", 'C:\\d\n"q"', r"\n", "\t", "{}=,#", "é 日本 \U0001f600", "\ud800", "%s"]
    for index, label in enumerate([*labels, 404, None, True, 0.5]):
        path.set({"value": label, "zone": "x"}, index)
    numbers = Gauge("odd_numbers", "Numbers.", registry=registry)
    floats = [0, -0.0, 0.1, 1e-05, 1e16, 5e-324, 2**53 + 1, -(2**64), INF, -INF, INF - INF]
    for index, value in enumerate([*floats, True]):
        numbers.set({"n": f"{index:02}"}, value)
    bounds = Histogram(
        "odd_bounds", "Bounds.", buckets=[-1e6, -0.5, 0, 1e-5, 1, 1e5, 2e6], registry=registry
    )
    for value in (*floats, -2e6):
        bounds.observe({"value": 'a"b'}, value)
    times = Summary("odd_times", "Quantiles.", invariants=[(0.5, 0.05)], registry=registry)
    times.observe({"value": "infinite"}, INF)
    times.observe({"value": "nan"}, INF - INF)


def conflicts(registry: CollectorRegistry) -> None:
    """Register families whose names collide; what is lost is counted."""
    Histogram("mine", "Made by hand.", buckets=[1], registry=registry).observe({}, 2)
    first = FakeSource(
        family("level", number(1, {"from": "first"}), doc="The first text."),
        family("hits_total", number(1, kind=CounterSeries), kind="counter", doc="Hits."),
        family("mine_count", number(9)),
        family("target_info", number(1, {"service_name": "one"}), kind="info"),
    )
    second = FakeSource(
        family("level", number(2, {"from": "second"}), doc="The second text."),
        family("hits_total", number(2, kind=CounterSeries), kind="counter", doc="Hits."),
        family("level", number(3, kind=CounterSeries), kind="counter"),
        family("mine", number(9)),
        family("target_info", number(1, {"service_name": "two"}), kind="info"),
    )
    for source in (first, second, FakeSource(RuntimeError("broken"), name="broken")):
        registry.add_source(source)


def observe_cpu(_: CallbackOptions) -> list[Observation]:
    """Return what an asynchronous instrument observes."""
    return [Observation(12.5)]


def record(provider: MeterProvider) -> None:
    """Record what the mapping's documentation shows."""
    meter = provider.get_meter("shop.api", "1.2", attributes={"team": "core"})
    requests = meter.create_counter("http.server.requests", "{request}", "Requests")
    requests.add(3, {"http.method": "GET", "code": 200})
    requests.add(1, {"http.method": "POST"})
    meter.create_up_down_counter("pool.used", "{connection}").add(2)
    meter.create_gauge("cpu.utilization", "1").set(0.25)
    duration = meter.create_histogram(
        "http.server.duration", "s", explicit_bucket_boundaries_advisory=[0.1, 1]
    )
    for value in (0.0625, 0.5, 5):
        duration.record(value)
    meter.create_observable_counter("process.cpu.time", [observe_cpu], "s")


def compare(name: str, body: bytes) -> None:
    """Compare a response with its file, or write the file where ``UPDATE_GOLDEN=1`` is set."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN", "0") not in {"", "0"}:
        path.write_bytes(body)
    expected = path.read_bytes()

    assert body == expected


@pytest.mark.parametrize("fill", [native_kinds, odd_values, conflicts])
def test_a_response_has_not_changed(reader: TextReader, fill: Fill) -> None:
    """No byte is different."""
    registry = CollectorRegistry()
    fill(registry)
    body, _ = render(registry)

    compare(fill.__name__, body)
    reader.read(body)


@pytest.mark.parametrize("native", [False, True], ids=["otel_program", "both"])
def test_an_opentelemetry_program(
    reader: TextReader, native: bool, request: pytest.FixtureRequest
) -> None:
    """Through the SDK, alone and with native collectors."""
    registry = CollectorRegistry()
    metrics = PrometheusMetricReader(registry=registry)
    provider = MeterProvider([metrics], Resource({"service.name": "shop"}), shutdown_on_exit=False)
    record(provider)
    if native:
        native_kinds(registry)
    body, _ = render(registry)
    provider.shutdown()

    compare(request.node.callspec.id, body)
    reader.read(body)


def test_every_file_has_a_test() -> None:
    """And every test a file."""
    cases = {"native_kinds", "odd_values", "conflicts", "otel_program", "both"}

    assert {path.stem for path in FOLDER.glob("*.txt")} == cases
