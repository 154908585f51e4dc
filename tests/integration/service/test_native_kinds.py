"""Native collectors of every type, stored by Prometheus 2 and 3 in every protocol."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

from otel_aioprom import (
    Collector,
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
from prometheus import PROTOCOLS, PrometheusServer
from scraper import MetricMetadata, ScrapeJob
from served import served

pytestmark = pytest.mark.integration

WITH_EXEMPLARS = PROTOCOLS[:3]
BEGAN = time.time()


def shop() -> CollectorRegistry:
    """A registry with collectors of every type, using all of their features."""
    registry = CollectorRegistry()
    orders = Counter("orders_total", "Orders.", registry=registry, max_series=1)
    orders.inc({"kind": "a"}, exemplar={"trace_id": "t1"})
    orders.add({"kind": "b"}, 2)
    Gauge("asked", "Asked.", registry=registry).set_function({}, lambda: 7)

    async def ask() -> float:
        await asyncio.sleep(0)
        return 1.5

    Gauge("awaited", "Awaited.", registry=registry).set_function({"a": "b"}, ask)
    Gauge("lowest", "Lowest.", registry=registry).set({}, -math.inf)
    Collector("bare", "Bare.", registry=registry).set_value({"a": "b"}, 2.5)
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
    Summary("idle", "Nothing was observed.", registry=registry).labels({"a": "b"})
    Info("build", "Build.", registry=registry).set({}, {"version": "1.2"})
    StateSet("features", "F.", ["x", "y"], registry=registry).set({}, "y")
    Enum("phase", "P.", ["off", "on"], registry=registry).set({"part": "db"}, "on")
    process_metrics(registry)
    return registry


class Readings(NamedTuple):
    """What a server has stored of one job."""

    server: PrometheusServer
    job: str

    def value(self, name: str, labels: str = "") -> float:
        """The value of the only series of a name; labels begin with a comma."""
        found = self.server.value(f'{name}{{job="{self.job}"{labels}}}')
        assert found is not None, f"there is no {name}"
        return found

    def count(self, name: str) -> int:
        """The number of series of a name."""
        return len(self.server.query(f'{name}{{job="{self.job}"}}'))


def check_values(found: Readings, *, classic: bool = True) -> None:
    """Each series has its value; without ``classic``, there are no classic buckets beside native ones."""
    value, count = found.value, found.count

    assert value("orders_total", ',kind="a"') == 1
    assert value("orders_total", ',otel_metric_overflow="true"') == 2
    assert (value("asked"), value("awaited", ',a="b"')) == (7, 1.5)
    assert value("lowest") == -math.inf
    assert value("bare", ',a="b"') == 2.5
    assert (value("seconds_count"), value("seconds_sum")) == (2, 3.5)
    assert [value("seconds_bucket", f',le="{le}"') for le in ("1.0", "+Inf")] == [1, 2]
    if classic:
        assert [value("both_bucket", f',le="{le}"') for le in ("1.0", "2.0", "+Inf")] == [1, 2, 3]
    else:
        assert count("both_bucket") == 0
    assert (value("waiting_count"), value("waiting_sum")) == (100, 5050)
    assert 45 <= value("waiting", ',quantile="0.5"') <= 55
    assert value("build_info", ',version="1.2"') == 1
    assert [value("features", f',features="{each}"') for each in "xy"] == [0, 1]
    assert [value("phase", f',part="db",phase="{each}"') for each in ("off", "on")] == [0, 1]
    assert value("process_threads") >= 2
    assert value("otel_aioprom_series_overflows_total", ',metric="orders_total"') >= 1


def check_empty_summary(found: Readings) -> None:
    """It is exposed from the start: count and sum are 0, quantiles are NaN."""
    assert (found.value("idle_count"), found.value("idle_sum")) == (0, 0)
    assert [
        math.isnan(found.value("idle", f',a="b",quantile="{q}"')) for q in ("0.5", "0.9", "0.99")
    ] == [True] * 3
    assert found.count("idle") == 3


def check_native(found: Readings) -> None:
    """Native histograms have all buckets."""
    sizes = found.server.histogram(f'sizes{{job="{found.job}"}}')
    assert sizes is not None
    assert (sizes.count, sizes.sum) == (4, pytest.approx(0.9))
    assert [
        (bucket.count, bucket.lower <= at <= bucket.upper)
        for bucket, at in zip(sizes.buckets, (-100, 0, 0.9, 100), strict=True)
    ] == [(1, True)] * 4
    both = found.server.histogram(f'both{{job="{found.job}"}}')
    assert both is not None
    assert [(bucket.lower, bucket.upper) for bucket in both.buckets] == [
        (0.25, 0.5),
        (1, 2),
        (4, 8),
    ]


def check_not_native(found: Readings) -> None:
    """Protocols without native histograms have their count and sum."""
    assert found.server.histogram(f'sizes{{job="{found.job}"}}') is None
    assert found.server.histogram(f'both{{job="{found.job}"}}') is None
    assert (found.value("sizes_count"), found.value("both_count")) == (4, 3)
    assert found.value("sizes_sum") == pytest.approx(0.9)


def check_types(entries: Mapping[str, MetricMetadata], *, openmetrics: bool) -> None:
    """As in the protocol: only OpenMetrics has the types stateset and info, and strips suffixes."""
    assert entries["orders" if openmetrics else "orders_total"].type == "counter"
    assert entries["lowest"].type == entries["asked"].type == "gauge"
    assert entries["bare"].type == "unknown"
    assert entries["seconds"].type == entries["sizes"].type == "histogram"
    assert entries["waiting"].type == entries["idle"].type == "summary"
    assert entries["features"].type == ("stateset" if openmetrics else "gauge")
    assert entries["build" if openmetrics else "build_info"].type == (
        "info" if openmetrics else "gauge"
    )


# --- Prometheus 3 ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    """What the servers scrape."""
    return shop()


@pytest.fixture(scope="module")
def prometheus(registry: CollectorRegistry) -> Iterator[PrometheusServer]:
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
        served(registry, port),
        PrometheusServer(
            "prometheus3",
            jobs,
            interval="500ms",
            features=["native-histograms", "created-timestamp-zero-ingestion"],
            max_exemplars=10_000,
        ) as server,
    ):
        for protocol in PROTOCOLS:
            server.wait_for_scrape(protocol)
        yield server


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_series_is_stored(prometheus: PrometheusServer, protocol: str) -> None:
    """With its value."""
    check_values(Readings(prometheus, protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_empty_summary_is_stored(prometheus: PrometheusServer, protocol: str) -> None:
    """With quantiles that are NaN."""
    check_empty_summary(Readings(prometheus, protocol))


def test_native_histograms_are_complete(prometheus: PrometheusServer) -> None:
    """In protobuf; in the other protocols, their count and sum."""
    check_native(Readings(prometheus, "PrometheusProto"))
    for protocol in PROTOCOLS[1:]:
        check_not_native(Readings(prometheus, protocol))


COUNTING: list[tuple[str, dict[str, str], str]] = [
    ("orders_total", {"kind": "a"}, 'orders_total{job="%s",kind="a"}'),
    (
        "orders_total",
        {"otel_metric_overflow": "true"},
        'orders_total{job="%s",otel_metric_overflow="true"}',
    ),
    ("seconds", {}, 'seconds_count{job="%s"}'),
    ("seconds", {}, 'seconds_bucket{job="%s",le="1.0"}'),
    ("sizes", {"n": "1"}, 'sizes{job="%s"}'),
    ("both", {}, 'both{job="%s"}'),
    ("waiting", {}, 'waiting_count{job="%s"}'),
    ("idle", {"a": "b"}, 'idle_count{job="%s"}'),
]


def start_of(registry: CollectorRegistry, name: str, labels: dict[str, str]) -> float:
    """The oldest point of a series."""
    began: float = registry.get(name).labels(labels).created
    return began


@pytest.mark.parametrize(("name", "labels", "selector"), COUNTING, ids=str)
def test_start_times_are_stored(
    prometheus: PrometheusServer,
    registry: CollectorRegistry,
    name: str,
    labels: dict[str, str],
    selector: str,
) -> None:
    """From protobuf, of each type that has them: the server stores a zero at that time, then the scraped value."""
    first, second, *_ = prometheus.points(selector % "PrometheusProto")

    assert first == (pytest.approx(start_of(registry, name, labels), abs=0.002), 0)
    assert BEGAN - 0.002 <= first.time < second.time - 0.1
    assert (second.value == 0) is (name == "idle")


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
def test_other_protocols_have_no_start_times(
    prometheus: PrometheusServer, registry: CollectorRegistry, protocol: str
) -> None:
    """Series begin with their first scrape, and there are no additional series."""
    first = prometheus.points(f'waiting_count{{job="{protocol}"}}')[0]

    assert first.value == 100
    assert first.time > start_of(registry, "waiting", {}) + 0.1
    assert prometheus.query(f'{{__name__=~".*_created",job="{protocol}"}}') == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_exemplars_are_stored(prometheus: PrometheusServer, protocol: str) -> None:
    """In the protocols that have them."""
    found = prometheus.exemplars(f'{{job="{protocol}"}}')
    ids = {each.labels["trace_id"] for each in found}
    wanted = {"t1", "t2"} if protocol in WITH_EXEMPLARS else set()

    assert {each for each in ids if each.startswith("t")} == wanted
    native = {each for each in ids if each.startswith("n")}
    if protocol == "PrometheusProto":
        assert native == {"n0", "n0.9", "n100", "n-100"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_types_are_stored(prometheus: PrometheusServer, protocol: str) -> None:
    """As in each protocol."""
    entries = prometheus.target_metadata(protocol)
    check_types(entries, openmetrics=protocol.startswith("OpenMetrics"))


def test_there_are_no_errors_and_warnings(prometheus: PrometheusServer) -> None:
    """Of targets and in the log."""
    assert {target["lastError"] for target in prometheus.targets()} == {""}
    # Self-metrics may begin during a scrape: the server defers such a start time to the next scrape.
    assert [line for line in prometheus.warnings() if "CT is newer" not in line] == []


# --- Prometheus 2 ----------------------------------------------------------------------------


@pytest.mark.parametrize("native", [False, True], ids=["OpenMetrics", "protobuf"])
def test_prometheus_2_stores_everything(registry: CollectorRegistry, native: bool) -> None:
    """It requests OpenMetrics, or protobuf if native histograms are enabled, which replace classic ones."""
    port = free_port()
    features = ["native-histograms"] if native else []
    with (
        served(registry, port),
        PrometheusServer(
            "prometheus2",
            [ScrapeJob("two", f"127.0.0.1:{port}")],
            interval="500ms",
            features=features,
            max_exemplars=10_000,
        ) as server,
    ):
        server.wait_for_scrape("two")
        found = Readings(server, "two")

        check_values(found, classic=not native)
        check_empty_summary(found)
        check_native(found) if native else check_not_native(found)
        check_types(server.target_metadata("two"), openmetrics=not native)
        ids = {each.labels["trace_id"] for each in server.exemplars('{job="two"}')}
        assert {"t1", "t2"} <= ids
        assert {target["lastError"] for target in server.targets()} == {""}
        assert server.warnings() == []
