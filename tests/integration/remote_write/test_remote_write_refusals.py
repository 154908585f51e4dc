"""What a real Prometheus refuses costs itself: native histograms, a version, a time ahead of its clock."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from otel_aioprom.collectors import Gauge, Histogram
from otel_aioprom.registry import CollectorRegistry
from processes import free_port
from prometheus import PrometheusServer
from remote_write_servers import (
    complaints,
    deliver,
    natives,
    numbers,
    outcomes,
    receiving,
    writer_to,
)

pytestmark = pytest.mark.integration
VERSIONS = ("1.0", "2.0")
ONLY_2 = "--web.remote-write-receiver.accepted-protobuf-messages=io.prometheus.write.v2.Request"


def registry_of(*values: float) -> tuple[CollectorRegistry, Gauge]:
    """A registry with a gauge, a native histogram, and one that is classic as well."""
    registry = CollectorRegistry()
    gauge = Gauge("level", "Level.", registry=registry)
    sizes = natives(registry)
    both = Histogram("both", "Both.", buckets=[1, 2], native_bucket_factor=1.1, registry=registry)
    for value in values:
        sizes.observe({}, value)
        both.observe({}, value)
    return registry, gauge


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as a warning, or worse."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("max_samples", [2000, 3])
@pytest.mark.parametrize(
    ("name", "version"), [("prometheus2", "1.0"), ("prometheus3", "1.0"), ("prometheus3", "2.0")]
)
async def test_a_prometheus_without_native_histograms_gets_classic_ones(
    name: str, version: str, max_samples: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its 500 is permanent. Everything else arrives, whether in the same message or in others, from the first on."""
    server = receiving(name, features=())
    registry, gauge = registry_of(1, 5)
    try:
        await asyncio.to_thread(server.start)
        async with writer_to(server, version, max_samples=max_samples) as writer:
            for value in (1, 2, 3):
                gauge.set({}, value)
                await asyncio.wait_for(deliver(writer, registry), 10)  # ten attempts take 19 s
        found = {
            each: numbers(server, each)
            for each in ("level", "sizes_count", "sizes_sum", 'sizes_bucket{le="+Inf"}',
                         "both_count", "both_sum", 'both_bucket{le="1.0"}', 'both_bucket{le="+Inf"}')
        }  # fmt: skip
    finally:
        server.stop()
    (line,) = warnings(caplog)

    assert found == {
        "level": [1, 2, 3],
        "sizes_count": [2, 2, 2],
        "sizes_sum": [6, 6, 6],
        'sizes_bucket{le="+Inf"}': [2, 2, 2],
        "both_count": [2, 2, 2],
        "both_sum": [6, 6, 6],
        'both_bucket{le="1.0"}': [1, 1, 1],
        'both_bucket{le="+Inf"}': [2, 2, 2],
    }
    assert "--enable-feature=native-histograms" in line
    assert outcomes(writer)["refused"] == 2


async def test_a_backlog_with_native_histograms_arrives(tmp_path: Path) -> None:
    """It waited while the server was away, and on disk."""
    server = receiving(features=())
    server.port = free_port()
    registry, gauge = registry_of(1, 5)
    try:
        async with writer_to(server, "1.0", spool=tmp_path, flush_timeout=0.1) as writer:
            for value in range(20):
                gauge.set({}, value)
                await writer.write(registry)
        await asyncio.to_thread(server.start)
        async with writer_to(server, "1.0", spool=tmp_path) as writer:
            assert await writer.flush(15)
        found = [numbers(server, name) for name in ("level", "sizes_count")]
    finally:
        server.stop()

    assert found == [list(range(20)), [2] * 20]


async def test_a_prometheus_that_accepts_only_2_0_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    """It answers 415 to 1.0."""
    server = PrometheusServer(
        "prometheus3", [], flags=["--web.enable-remote-write-receiver", ONLY_2]
    )
    registry = CollectorRegistry()
    gauge = Gauge("level", "Level.", registry=registry)
    try:
        await asyncio.to_thread(server.start)
        async with writer_to(server, "1.0") as writer:
            for value in (1, 2, 3):
                gauge.set({}, value)
                await deliver(writer, registry)
        found = numbers(server, "level")
    finally:
        server.stop()

    assert found[-2:] == [2, 3]
    assert "supports only remote write 2.0" in caplog.text
    assert outcomes(writer)["refused"] == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_clock_that_was_ahead_costs_one_collection(
    version: Any,
    server: PrometheusServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server refuses two hours ahead; what follows has the time of the clock again, and is stored."""
    ahead = 0.0
    monkeypatch.setattr("otel_aioprom.remote_write.writer.time", lambda: time.time() + ahead)
    registry = CollectorRegistry()
    gauge = Gauge("level", "Level.", registry=registry)
    await asyncio.to_thread(server.start)
    async with writer_to(server, version) as writer:
        for value in (1, 2, 3, 4):
            ahead = 7200.0 if value == 2 else 0.0
            gauge.set({}, value)
            await deliver(writer, registry)

    assert numbers(server, "level") == [1, 3, 4]
    assert complaints(server) != []  # it has refused some
    assert any("ahead of the clock" in line for line in warnings(caplog))
