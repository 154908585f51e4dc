"""Gauge histograms and partial summaries in real servers: the same names and values by every way (E21, E34, E65, E84)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from format_families import histogram, summary
from oracles import OWN, FakeSource
from otel_aioprom import BlockingPusher, CollectorRegistry
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._core.native_histogram import NativeBuckets
from prometheus import PROTOCOLS, PrometheusServer
from pushgateway import VERSIONS, Pushgateway
from remote_write_servers import complaints, deliver, receiving, writer_to
from scraper import ScrapeJob
from served import served
from servers import free_port

pytestmark = pytest.mark.integration

NATIVE = NativeBuckets(0, zero_count=1, positive=[(0, 1), (1, 2)])
Stored = dict[tuple[str, frozenset[tuple[str, str]]], str]


def odd_kinds(*, native: bool = False) -> CollectorRegistry:
    """A registry with a source that has some of each."""
    some = NATIVE if native else None
    ages = [
        histogram([1, 3, 0], -5.5, (-1.0, 2.0), some),
        histogram([4, 0, 0], 8, (-1.0, 2.0), labels={"q": "mail"}),
    ]
    sizes = [
        summary(None, None, [(0.5, 1.5), (0.9, 2)], {"of": "quantiles"}),
        summary(5, None, [(0.5, 3)], {"of": "count"}),
        summary(None, 6, [(0.5, 4)], {"of": "sum"}),
        summary(2, 9, [(0.5, 7)], {"of": "all"}),
    ]
    registry = CollectorRegistry()
    families = [
        MetricFamily("age_seconds", "gaugehistogram", "Ages.", "seconds", ages),
        MetricFamily("size_bytes", "summary", "Sizes.", "bytes", sizes),
    ]
    registry.add_source(FakeSource(*families))
    return registry


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """What identifies a series."""
    return name, frozenset(labels.items())


EXPECTED: Stored = {
    key("age_seconds_bucket", le="-1.0"): "1",
    key("age_seconds_bucket", le="2.0"): "4",
    key("age_seconds_bucket", le="+Inf"): "4",
    key("age_seconds_gcount"): "4",
    key("age_seconds_gsum"): "-5.5",
    key("age_seconds_bucket", q="mail", le="-1.0"): "4",
    key("age_seconds_bucket", q="mail", le="2.0"): "4",
    key("age_seconds_bucket", q="mail", le="+Inf"): "4",
    key("age_seconds_gcount", q="mail"): "4",
    key("age_seconds_gsum", q="mail"): "8",
    key("size_bytes", of="quantiles", quantile="0.5"): "1.5",
    key("size_bytes", of="quantiles", quantile="0.9"): "2",
    key("size_bytes", of="count", quantile="0.5"): "3",
    key("size_bytes_count", of="count"): "5",
    key("size_bytes", of="sum", quantile="0.5"): "4",
    key("size_bytes_sum", of="sum"): "6",
    key("size_bytes", of="all", quantile="0.5"): "7",
    key("size_bytes_count", of="all"): "2",
    key("size_bytes_sum", of="all"): "9",
}


def stored(server: PrometheusServer, job: str) -> Stored:
    """Series of a job and their values; of a native histogram its count."""
    mine = f'{{job="{job}",__name__!~"{OWN}.*|scrape_.*|up|push_.*"}}'
    found: Stored = {}
    for item in server._api("query", query=mine)["result"]:
        labels = {k: v for k, v in item["metric"].items() if k not in ("job", "instance")}
        value = item["histogram"][1]["count"] if "histogram" in item else item["value"][1]
        found[key(labels.pop("__name__"), **labels)] = value
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "native"])
def exposed(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """The port on which they are served, and whether one has native buckets."""
    port = free_port()
    with served(odd_kinds(native=request.param), port):
        yield port, request.param


def test_e21_e34_e65_every_protocol_stores_the_same_series(exposed: tuple[int, bool]) -> None:
    """And native buckets, where there is protobuf, as a gauge histogram."""
    port, native = exposed
    jobs = [
        ScrapeJob(each, f"127.0.0.1:{port}", {"scrape_protocols": [each]}) for each in PROTOCOLS
    ]
    with PrometheusServer("prometheus3", jobs, interval="500ms", features=["native-histograms"]) as server:  # fmt: skip
        for each in PROTOCOLS:
            server.wait_for_scrape(each)
        found = {each: stored(server, each) for each in PROTOCOLS}
        types = {each: server.target_metadata(each) for each in PROTOCOLS}
        warnings = server.warnings()

    extra: Stored = {key("age_seconds"): "4"} if native else {}
    assert found == {
        each: EXPECTED | (extra if each == "PrometheusProto" else {}) for each in PROTOCOLS
    }
    assert types["OpenMetricsText1.0.0"]["age_seconds"].type == "gaugehistogram"
    assert types["PrometheusText0.0.4"]["age_seconds_gcount"].type == "gauge"
    assert types["PrometheusText0.0.4"]["size_bytes"].type == "summary"
    if native:
        assert types["PrometheusProto"]["age_seconds"].type == "gaugehistogram"
    assert warnings == []


@pytest.mark.parametrize("features", [(), ("native-histograms",)])
def test_e65_prometheus_2_stores_the_same_series(
    exposed: tuple[int, bool], features: tuple[str, ...]
) -> None:
    """From OpenMetrics, and from protobuf, in which it mixes up the names of classic gauge histograms."""
    port, native = exposed
    job = ScrapeJob("two", f"127.0.0.1:{port}")
    with PrometheusServer("prometheus2", [job], interval="500ms", features=features) as server:
        server.wait_for_scrape("two")
        extra: Stored = {key("age_seconds"): "4"} if native and features else {}
        assert stored(server, "two") == EXPECTED | extra
        assert server.warnings() == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ["text", "protobuf"])
def test_e84_gateways_show_the_same_series(version: str, way: Any) -> None:
    """No count of zero is invented, and no page is broken off."""
    with Pushgateway(version) as gateway:
        BlockingPusher("odd", gateway.url, format=way).replace(odd_kinds(native=True))
        target = gateway.url.partition("//")[2]
        jobs = [
            ScrapeJob(each, target, {"scrape_protocols": [each], "honor_labels": True})
            for each in ("PrometheusText0.0.4", "OpenMetricsText1.0.0", "PrometheusProto")
        ]
        with ExitStack() as stack:  # one store for each, all at once: starting one takes seconds
            servers = [
                stack.enter_context(PrometheusServer("prometheus3", [job], interval="500ms"))
                for job in jobs
            ]
            for job, server in zip(jobs, servers):
                server.wait_for_scrape(job.name)
                assert stored(server, "odd") == EXPECTED
                assert server.warnings() == []


@pytest.mark.parametrize("version", ["1.0", "2.0"])
async def test_e99_e104_what_is_written_equals_what_is_scraped(version: str) -> None:
    """Native buckets too; counts that fall are no reset."""
    with receiving() as server:
        async with writer_to(server, version, "odd") as writer:
            await deliver(writer, odd_kinds(native=True))
            found = await asyncio.to_thread(stored, server, "odd")
            native = await asyncio.to_thread(server.histogram, 'age_seconds{job="odd"}')
        assert complaints(server) == []

    assert found == EXPECTED | {key("age_seconds"): "4"}
    assert native is not None
    assert (native.count, native.sum) == (4, -5.5)
