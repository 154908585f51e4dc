"""Real Prometheus servers store a metric under one name, whichever protocol they scrape by (M24, M59)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mapping_sdk import Rig
from oracles import OWN
from otel_aioprom import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from otel_aioprom.collectors import StateSet
from prometheus import PROTOCOLS
from scraper import ScrapeJob
from served import served
from servers import PrometheusServer, free_port

pytestmark = pytest.mark.integration

COUNTERS = {
    "rq": 1,
    "rq_total": 500,
    "mem_bytes_total": 7,
    "orders_total": 3,
    "orders_created_total": 4,
    "orders_created": 5,
    "req_count_total": 6,
    "u_total": 8,
    "rpc_total": 9,
    "s_sum_total": 10,
    "events": 11,
    "queue_messages_in": 12,
    "queue_messages_in_total_total": 13,
    "bytes_seconds": 14,
    "below_zero": -1.5,
}
"""What pages of Envoy, VerneMQ and others have: no suffix, and neighbours whose names differ by one."""


def register_pairs(registry: CollectorRegistry) -> set[tuple[str, str]]:
    """Register metrics whose names differ by a suffix; return the names and values that must be stored."""
    for name, value in COUNTERS.items():
        Counter(name, "Counted.", registry=registry).set({}, value)
    for name in ("mem_bytes", "lonely"):
        Gauge(name, "A level.", registry=registry).set({}, 2)
    for name in ("req", "rpc"):
        Histogram(name, "Times.", buckets=[1], registry=registry).observe({}, 0.5)
    Summary("s", "Sizes.", invariants=(), registry=registry).observe({}, 3)
    for name in ("u_created", "rpc_info", "build_info"):
        Info(name, "What it is.", registry=registry).set({}, {"v": "1"})
    StateSet("state", "On or off.", ["on"], registry=registry).set({}, "on")
    rest = "mem_bytes 2 lonely 2 req_count 1 req_sum 0.5 rpc_count 1 rpc_sum 0.5 s_count 1 s_sum 3 u_created_info 1 rpc_info 1 build_info 1 state 1"  # fmt: skip
    words = iter(f"{rest} foo_bar 21 foo_bar_total 22 req_bucket 1 rpc_bucket 1".split())
    return {(name, str(value)) for name, value in COUNTERS.items()} | set(zip(words, words))


@pytest.fixture(scope="module")
def exposed() -> Iterator[tuple[int, set[tuple[str, str]]]]:
    """Serve them beside OpenTelemetry counters whose names are not translated; return the port and what is stored."""
    rig = Rig(translation_strategy="NoTranslation")
    rig.meter().create_counter("foo.bar").add(21)
    rig.meter().create_counter("foo.bar_total").add(22)
    stored = register_pairs(rig.registry)
    port = free_port()
    with served(rig.registry, port):
        yield port, stored
    rig.provider.shutdown()


def stored_by(server: PrometheusServer, job: str) -> set[tuple[str, str]]:
    """Names and values of a job's series."""
    server.wait_for_scrape(job)
    mine = f'{{job="{job}",__name__!~"{OWN}.*|scrape_.*|up|target_info"}}'
    found = server._api("query", query=mine)["result"]
    return {(item["metric"]["__name__"], item["value"][1]) for item in found}


def test_m24_m59_every_protocol_stores_the_same_series(
    exposed: tuple[int, set[tuple[str, str]]],
) -> None:
    """Each metric under its own name, with its own value; the server has nothing to complain about."""
    port, expected = exposed
    jobs = [
        ScrapeJob(protocol, f"127.0.0.1:{port}", {"scrape_protocols": [protocol], "metric_name_escaping_scheme": "underscores"})
        for protocol in PROTOCOLS
    ]  # fmt: skip
    with PrometheusServer("prometheus3", jobs, interval="500ms") as server:
        found = {protocol: stored_by(server, protocol) for protocol in PROTOCOLS}
        complaints = server.warnings()

    # OpenMetrics allows no counter below zero; this one is no counter there.
    assert found == dict.fromkeys(PROTOCOLS, expected)
    assert complaints == []


@pytest.mark.parametrize("features", [(), ("native-histograms",)])
def test_m24_m59_prometheus_2_stores_the_same_series(
    exposed: tuple[int, set[tuple[str, str]]], features: tuple[str, ...]
) -> None:
    """From OpenMetrics, and from protobuf."""
    port, expected = exposed
    job = ScrapeJob("two", f"127.0.0.1:{port}")
    with PrometheusServer("prometheus2", [job], interval="500ms", features=features) as server:
        assert stored_by(server, "two") == expected
        assert server.warnings() == []
