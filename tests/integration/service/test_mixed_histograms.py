"""A histogram of which only some series have native buckets, in real servers (E70)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from mapping_sdk import Rig
from otel_aioprom.pusher.blocking import BlockingPusher
from prometheus import PrometheusServer
from pushgateway import VERSIONS, Pushgateway
from scraper import ScrapeJob
from served import served
from servers import free_port

pytestmark = pytest.mark.integration

NATIVE = {"scrape_protocols": ["PrometheusProto"]}
SCOPES = ("classic", "exponential")


@pytest.fixture(params=SCOPES)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Two scopes with a histogram of one name, one of them through an exponential view; either may come first."""
    view = View(
        instrument_name="took",
        meter_name="exponential",
        aggregation=ExponentialBucketHistogramAggregation(),
    )
    made = Rig(views=[view], scope_info_enabled=True)
    for scope in sorted(SCOPES, key=lambda each: each != request.param):
        made.meter(scope).create_histogram("took").record(3)
    yield made
    made.provider.shutdown()


def stored(server: PrometheusServer, **labels: str) -> dict[tuple[str, str], str]:
    """Name and scope → value of the histogram's counts; of native histograms the count."""
    wanted = ",".join([f'{name}="{text}"' for name, text in labels.items()])
    found: list[Any] = server._api("query", query=f'{{{wanted},__name__=~"took|took_count"}}')["result"]  # fmt: skip
    return {
        (each["metric"]["__name__"], each["metric"]["otel_scope_name"]): (
            each["histogram"][1]["count"] if "histogram" in each else each["value"][1]
        )
        for each in found
    }


@pytest.mark.parametrize("version", ["prometheus3", "prometheus2"])
def test_e70_both_kinds_are_stored(rig: Rig, version: str) -> None:
    """In either order: no scrape fails, no native buckets and no classic ones are lost."""
    port = free_port()
    job = ScrapeJob("mixed", f"127.0.0.1:{port}", NATIVE if version == "prometheus3" else {})
    with (
        served(rig.registry, port),
        PrometheusServer(version, [job], interval="500ms", features=["native-histograms"]) as server,
    ):  # fmt: skip
        server.wait_for_scrape("mixed")
        assert stored(server, job="mixed") == {
            ("took", "exponential"): "1",
            ("took_count", "classic"): "1",
        }
        assert server.warnings() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_e70_e84_a_push_can_be_scraped_from_the_gateway(rig: Rig, version: str) -> None:
    """It has one kind, the other is counted as dropped."""
    with Pushgateway(version) as gateway:
        BlockingPusher("mixed", gateway.url, format="protobuf").replace(rig.registry)
        settings = {**NATIVE, "honor_labels": True}
        job = ScrapeJob("gateway", gateway.url.partition("//")[2], settings)
        with PrometheusServer("prometheus3", [job], interval="500ms", features=["native-histograms"]) as server:  # fmt: skip
            server.wait_for_scrape("gateway")
            assert stored(server, job="mixed") == {("took", "exponential"): "1"}
            assert server.warnings() == []
    assert rig.scrape().dropped == {"type_conflict": 1}
