"""Remote write to a real Prometheus and a real VictoriaMetrics: everything is found again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from oracles import FakeSource, family, number
from otel_aioprom.collectors import Counter, Enum, Gauge, Histogram, Info, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.writer import RemoteWriter
from processes import wait_until
from prometheus import PrometheusServer
from victoria import VictoriaMetricsServer

pytestmark = pytest.mark.integration
WAIT = 20.0


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusServer]:
    """One that scrapes nothing, and takes writes."""
    with PrometheusServer(
        "prometheus3",
        [],
        features=["native-histograms"],
        flags=["--web.enable-remote-write-receiver"],
        max_exemplars=1000,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def victoria() -> Iterator[VictoriaMetricsServer]:
    """One that scrapes nothing."""
    with VictoriaMetricsServer([]) as running:
        yield running


def shop() -> CollectorRegistry:
    """A registry with every kind of metric."""
    registry = CollectorRegistry()
    orders = Counter("orders_total", "Orders.", registry=registry)
    orders.add({"kind": 'a"b\\c\nd', "of": "é"}, 3, exemplar={"trace_id": "abc"})
    Gauge("level", "Level.", registry=registry).set({}, -1.5)
    Gauge("nothing", "NaN.", registry=registry).set({}, math.nan)
    seconds = Histogram("seconds", "Time.", buckets=[1, 2.5], registry=registry)
    for value in (0.5, 2, 7):
        seconds.observe({}, value, exemplar={"trace_id": f"t{value}"})
    sizes = Histogram("sizes", "S.", buckets=None, native_bucket_factor=1.1, registry=registry)
    for value in (0, 1, -3, 100):
        sizes.observe({"a": "b"}, value)
    wait = Summary("wait", "Time.", registry=registry)
    wait.observe({}, 4)
    Info("build", "Build.", registry=registry).set({}, {"version": "1"})
    Enum("phase", "Phase.", ["starting", "running"], registry=registry).set({}, "running")
    return registry


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_everything_is_found_again(prometheus: PrometheusServer, version: str) -> None:
    """With its value; exemplars, native histograms and stale markers, too. Nothing is complained about."""
    job = f"all-{version}"
    since = len(prometheus.log())
    registry = shop()
    labels = {"job": job, "instance": "i"}
    async with RemoteWriter(
        f"{prometheus.url}/api/v1/write",
        version=version,  # type: ignore[arg-type]
        external_labels=labels,
    ) as writer:
        await writer.write(registry)
        assert await writer.flush(WAIT)

        def value(name: str, more: str = "") -> float | None:
            return prometheus.value(f'{name}{{job="{job}",instance="i"{more}}}')

        assert value("orders_total", ',of="é",kind="a\\"b\\\\c\\nd"') == 3
        assert value("level") == -1.5
        assert math.isnan(value("nothing") or 0)
        assert [value("seconds_bucket", f',le="{le}"') for le in ("1.0", "2.5", "+Inf")] == [
            1,
            2,
            3,
        ]
        assert (value("seconds_sum"), value("seconds_count")) == (9.5, 3)
        assert (value("wait", ',quantile="0.5"'), value("wait_count")) == (4, 1)
        assert value("build_info", ',version="1"') == 1
        assert [value("phase", f',phase="{each}"') for each in ("starting", "running")] == [0, 1]
        sizes = prometheus.histogram(f'sizes{{job="{job}"}}')
        assert sizes is not None
        assert (sizes.count, sizes.sum) == (4, 98)
        assert [round(bucket.count) for bucket in sizes.buckets] == [1, 1, 1, 1]
        found = prometheus.exemplars(f'{{job="{job}"}}')
        assert sorted(each.labels["trace_id"] for each in found) == ["abc", "t0.5", "t2", "t7"]

        registry.get("orders_total").clear()
        await writer.write(registry)
        assert await writer.flush(WAIT)
        assert value("orders_total") is None
        assert value("level") == -1.5
        await writer.end()
        assert await writer.flush(WAIT)
        assert value("level") is None
        assert prometheus.histogram(f'sizes{{job="{job}"}}') is None

    assert prometheus.warnings(since) == []


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_many_series_arrive(prometheus: PrometheusServer, version: str) -> None:
    """In many messages, each whole, while the loop goes on."""
    registry = CollectorRegistry()
    gauge = Gauge("many", "Many.", registry=registry)
    for place in range(20_000):
        gauge.set({"place": place, "version": version}, place)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    async with RemoteWriter(f"{prometheus.url}/api/v1/write", version=version) as writer:  # type: ignore[arg-type]
        await writer.write(registry)
        assert await writer.flush(WAIT)
    counting.cancel()

    assert prometheus.value(f'count(many{{version="{version}"}})') == 20_000
    assert prometheus.value(f'sum(many{{version="{version}"}})') == sum(range(20_000))
    assert turns > 50


async def test_start_times_arrive_with_version_2(prometheus: PrometheusServer) -> None:
    """They are written; a server that keeps none takes the samples all the same."""
    registry = CollectorRegistry()
    Counter("begun_total", "Counts.", registry=registry).add({}, 5)
    async with RemoteWriter(f"{prometheus.url}/api/v1/write", version="2.0") as writer:
        for _ in range(3):
            await writer.write(registry)
        assert await writer.flush(WAIT)

    points = prometheus.points("begun_total")
    assert {point.value for point in points if not math.isnan(point.value)} == {5}


async def test_names_of_opentelemetry_arrive(prometheus: PrometheusServer) -> None:
    """As they are with 2.0, escaped with 1.0."""
    for version, query in (("2.0", '{"my.m", "a.b"="2.0"}'), ("1.0", 'my_m{a_b="1.0"}')):
        registry = CollectorRegistry()
        odd = replace(family("my.m", number(7, {"a.b": version})), utf8=True)
        registry.add_source(FakeSource(odd))
        async with RemoteWriter(f"{prometheus.url}/api/v1/write", version=version) as writer:  # type: ignore[arg-type]
            await writer.write(registry)
            assert await writer.flush(WAIT)
        assert prometheus.value(query) == 7


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_victoria_metrics_takes_version_1(
    victoria: VictoriaMetricsServer, version: str
) -> None:
    """And gets it, although 2.0 was preferred."""
    job = f"vm-{version}"
    async with RemoteWriter(
        f"{victoria.url}/api/v1/write",
        version=version,  # type: ignore[arg-type]
        external_labels={"job": job},
    ) as writer:
        await writer.write(shop())
        assert await writer.flush(WAIT)

    wait_until(lambda: victoria.value(f'level{{job="{job}"}}') == -1.5)
    assert victoria.value(f'orders_total{{job="{job}"}}') == 3
    assert victoria.value(f'seconds_bucket{{job="{job}",le="2.5"}}') == 2
    assert victoria.value(f'wait_sum{{job="{job}"}}') == 4
