"""Native collectors of every kind, read back through a real Prometheus in every protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from otel_aioprom import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StateSet,
    Summary,
    process_metrics,
)
from processes import free_port
from prometheus import PrometheusServer
from scraper import ScrapeJob
from served import served

pytestmark = pytest.mark.integration

PROTOCOLS = (
    "PrometheusProto",
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)
WITH_EXEMPLARS = PROTOCOLS[:3]


def shop() -> CollectorRegistry:
    """A registry with every kind, and everything that they can do."""
    registry = CollectorRegistry()
    orders = Counter("orders_total", "Orders.", registry=registry, max_series=1)
    orders.inc({"kind": "a"}, exemplar={"trace_id": "t1"})
    orders.add({"kind": "b"}, 2)
    Gauge("asked", "Asked.", registry=registry).set_function({}, lambda: 7)

    async def ask() -> float:
        await asyncio.sleep(0)
        return 1.5

    Gauge("awaited", "Awaited.", registry=registry).set_function({"a": "b"}, ask)
    seconds = Histogram("seconds", "Time.", buckets=[1], registry=registry)
    seconds.observe({}, 0.5, exemplar={"trace_id": "t2"})
    seconds.observe({}, 3)
    sizes = Histogram("sizes", "S.", buckets=None, native_bucket_factor=1.1, registry=registry)
    for value in (0, 0.9, 100, -100):
        sizes.observe({"n": 1}, value, exemplar={"trace_id": f"n{value}"})
    both = Histogram("both", "B.", buckets=[1, 2], native_bucket_factor=2, registry=registry)
    for value in (0.5, 1.5, 7):
        both.observe({}, value)
    wait = Summary("waiting", "W.", registry=registry)
    for value in range(1, 101):
        wait.observe({}, value)
    Info("build", "Build.", registry=registry).set({}, {"version": "1.2"})
    StateSet("features", "F.", ["x", "y"], registry=registry).set({}, "y")
    Enum("phase", "P.", ["off", "on"], registry=registry).set({"part": "db"}, "on")
    process_metrics(registry)
    return registry


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusServer]:
    """A Prometheus that has scraped it in every protocol."""
    port = free_port()
    jobs = [
        ScrapeJob(
            protocol,
            f"127.0.0.1:{port}",
            {"scrape_protocols": [protocol], "always_scrape_classic_histograms": True},
        )
        for protocol in PROTOCOLS
    ]
    with (
        served(shop(), port),
        PrometheusServer(
            "prometheus3",
            jobs,
            interval="500ms",
            features=["native-histograms"],
            max_exemplars=10_000,
        ) as server,
    ):
        for protocol in PROTOCOLS:
            server.wait_for_scrape(protocol)
        yield server


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_series_is_found_again(prometheus: PrometheusServer, protocol: str) -> None:
    """With its value."""

    def value(name: str, labels: str = "") -> float | None:
        return prometheus.value(f'{name}{{job="{protocol}"{labels}}}')

    assert value("orders_total", ',kind="a"') == 1
    assert value("orders_total", ',otel_metric_overflow="true"') == 2
    assert (value("asked"), value("awaited", ',a="b"')) == (7, 1.5)
    assert (value("seconds_count"), value("seconds_sum")) == (2, 3.5)
    assert value("seconds_bucket", ',le="1.0"') == 1
    assert [value("both_bucket", f',le="{le}"') for le in ("1.0", "2.0", "+Inf")] == [1, 2, 3]
    assert (value("waiting_count"), value("waiting_sum")) == (100, 5050)
    assert 45 <= (value("waiting", ',quantile="0.5"') or 0) <= 55
    assert value("build_info", ',version="1.2"') == 1
    assert [value("features", f',features="{each}"') for each in "xy"] == [0, 1]
    assert [value("phase", f',part="db",phase="{each}"') for each in ("off", "on")] == [0, 1]
    assert (value("process_threads") or 0) >= 2
    assert (value("otel_aioprom_series_overflows_total", ',metric="orders_total"') or 0) >= 1


def test_native_histograms_are_whole(prometheus: PrometheusServer) -> None:
    """In the protocol that carries them; in the others their count and sum."""
    sizes = prometheus.histogram('sizes{job="PrometheusProto"}')
    assert sizes is not None
    assert (sizes.count, sizes.sum) == (4, pytest.approx(0.9))
    assert [
        (bucket.count, bucket.lower <= at <= bucket.upper)
        for bucket, at in zip(sizes.buckets, (-100, 0, 0.9, 100), strict=True)
    ] == [(1, True)] * 4
    both = prometheus.histogram('both{job="PrometheusProto"}')
    assert both is not None
    assert [(bucket.lower, bucket.upper) for bucket in both.buckets] == [
        (0.25, 0.5),
        (1, 2),
        (4, 8),
    ]
    for protocol in PROTOCOLS[1:]:
        assert prometheus.histogram(f'sizes{{job="{protocol}"}}') is None
        assert prometheus.value(f'sizes_count{{job="{protocol}"}}') == 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exemplars_are_found_again(prometheus: PrometheusServer, protocol: str) -> None:
    """In the protocols that carry them."""
    found = prometheus.exemplars(f'{{job="{protocol}"}}')
    ids = {each.labels["trace_id"] for each in found}
    wanted = {"t1", "t2"} if protocol in WITH_EXEMPLARS else set()

    assert {each for each in ids if each.startswith("t")} == wanted
    native = {each for each in ids if each.startswith("n")}
    if protocol == "PrometheusProto":
        assert native == {"n0", "n0.9", "n100", "n-100"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_types_are_told(prometheus: PrometheusServer, protocol: str) -> None:
    """As each protocol has them."""
    entries: dict[str, Any] = prometheus.target_metadata(protocol)
    openmetrics = protocol.startswith("OpenMetrics")

    assert entries["orders" if openmetrics else "orders_total"].type == "counter"
    assert entries["seconds"].type == entries["sizes"].type == "histogram"
    assert entries["waiting"].type == "summary"
    assert entries["features"].type == ("stateset" if openmetrics else "gauge")
    assert entries["build" if openmetrics else "build_info"].type == (
        "info" if openmetrics else "gauge"
    )


def test_nothing_is_complained_of(prometheus: PrometheusServer) -> None:
    """No target has an error, and no line of the log is a warning."""
    assert {target["lastError"] for target in prometheus.targets()} == {""}
    assert prometheus.warnings() == []
