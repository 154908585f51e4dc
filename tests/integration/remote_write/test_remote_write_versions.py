"""Which version a server of remote writes gets when it comes late, is replaced, or is no Prometheus."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from oracles import FakeSource, family, number
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from processes import wait_until
from prometheus import PrometheusServer
from remote_write_servers import (
    WAIT,
    complaints,
    deliver,
    numbers,
    outcomes,
    receiving,
    shop,
    stored,
    writer_to,
)
from victoria import VictoriaMetricsServer

pytestmark = pytest.mark.integration
VERSIONS = ("1.0", "2.0")


async def test_a_server_that_comes_late_gets_version_2(server: PrometheusServer) -> None:
    """What was written before it was there is there too."""
    registry = CollectorRegistry()
    value = Gauge("value", "A value.", registry=registry)
    async with writer_to(server, "2.0") as writer:
        for place in range(3):
            value.set({}, place)
            await writer.write(registry)
        await asyncio.to_thread(server.start)
        assert await writer.flush(WAIT)
        value.set({}, 3)
        await deliver(writer, registry)
        version = writer._sender.version

    assert version == "2.0"
    assert numbers(server, "value") == [0, 1, 2, 3]
    assert complaints(server) == []


async def test_series_end_whichever_version_they_were_written_in(
    server: PrometheusServer,
) -> None:
    """Those that had other names before the server was there, and those that are gone since then."""
    registry = CollectorRegistry()
    odd = replace(family("my.m", number(7, {"a.b": "c"})), utf8=True)
    registry.add_source(FakeSource(odd))
    value = Gauge("value", "A value.", registry=registry)
    for place in ("stays", "goes"):
        value.set({"n": place}, 1)
    async with writer_to(server, "2.0") as writer:
        await writer.write(registry)
        await asyncio.to_thread(server.start)
        assert await writer.flush(WAIT)
        value.remove({"n": "goes"})
        await deliver(writer, registry)

    found = {
        each: server.value(each)
        for each in ('{"my.m", "a.b"="c"}', 'value{n="stays"}', 'value{n="goes"}', 'my_m{a_b="c"}')
    }
    assert list(found.values()) == [7, 1, None, None]


async def test_a_server_that_is_replaced_by_an_older_one(server: PrometheusServer) -> None:
    """What waited in version 2.0 is counted as refused; all that is written from then on arrives."""
    registry = CollectorRegistry()
    value = Counter("value_total", "A value.", registry=registry)
    value.inc()
    older = receiving("prometheus2")
    older.port = server.port
    await asyncio.to_thread(server.start)
    async with writer_to(server, "2.0") as writer:
        await deliver(writer, registry)
        await asyncio.to_thread(server.halt)
        value.inc()
        await writer.write(registry)
        await asyncio.to_thread(older.start)
        try:
            assert await writer.flush(WAIT)
            value.inc()
            await deliver(writer, registry)
            found, complained = numbers(older, "value_total"), complaints(older)
        finally:
            older.stop()

    assert found == [3]
    assert complained == []
    told = outcomes(writer)
    assert told["refused"] >= 1
    assert "dropped" not in told


@pytest.mark.parametrize("version", VERSIONS)
async def test_victoria_metrics_comes_late_and_is_restarted(version: str) -> None:
    """Every value of a series is there."""
    victoria = VictoriaMetricsServer([])
    registry = CollectorRegistry()
    value = Gauge("value", "A value.", registry=registry)
    try:
        async with writer_to(victoria, version) as writer:
            for place in range(6):
                if place == 2:
                    await asyncio.to_thread(victoria.start)
                    assert await writer.flush(WAIT)
                if place == 4:
                    await asyncio.to_thread(victoria.halt)
                value.set({}, place)
                await writer.write(registry)
            await asyncio.to_thread(victoria.start)
            assert await writer.flush(WAIT)
        wait_until(lambda: victoria.value("count_over_time(value[1h])") == 6)
        found = victoria.value("sum_over_time(value[1h])")
        complained = victoria.warnings()
    finally:
        victoria.stop()

    assert found == sum(range(6))
    assert complained == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_sent_twice_does_no_harm(
    server: PrometheusServer, tmp_path: Path, version: str
) -> None:
    """As after a kill: samples, native histograms and exemplars are there once."""
    registry = shop()
    await asyncio.to_thread(server.start)
    first, again = tmp_path / "first", tmp_path / "again"
    async with writer_to(server, version, "j", spool=first, flush_timeout=0.05) as writer:
        await deliver(writer, registry)
        for value in (1, 3, 9):
            for name in ("both", "sizes"):
                labels = {} if name == "both" else {"a": "b"}
                registry.get(name).observe(labels, value, exemplar={"trace_id": f"new{value}"})
        await asyncio.to_thread(server.halt)
        await writer.write(registry)
    shutil.copytree(first, again)
    (message,) = again.glob("*.snappy")
    await asyncio.to_thread(server.start)
    found, complained = [], []
    for spool in (first, again):
        since = len(server.log())
        async with writer_to(server, version, "j", spool=spool) as writer:
            assert await writer.flush(WAIT)
        exemplars = [each.labels["trace_id"] for each in server.exemplars('both{job="j"}')]
        found.append((stored(server, "j"), sorted(exemplars), outcomes(writer).keys()))
        complained.append(complaints(server, since))

    assert f"-{version}-" in message.name
    assert found[0] == found[1]
    assert {"new1", "new3", "new9"} <= set(found[0][1])
    assert found[0][2] == {"sent"}
    assert numbers(server, 'both_count{job="j"}') == [5, 8]
    # Of several exemplars in a message, the server knows the last one again.
    assert complained[0] == []
    assert [line for line in complained[1] if "exemplar" not in line] == []
