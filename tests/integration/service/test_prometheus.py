"""A real Prometheus scrapes the library and stores what was exposed."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client.metrics_core import Metric

from otel_aioprom import CollectorRegistry, Counter, Gauge, PrometheusMetricReader, Service
from servers import (
    PrometheusServer,
    ScrapeJob,
    check_with_promtool,
    fetch,
    free_port,
    parse_with_prometheus_client,
    wait_until,
)

pytestmark = pytest.mark.integration

JOB = "application"
ADDED_LABELS = {"job", "instance"}
"""Labels that Prometheus adds to scraped series."""


@dataclass(frozen=True)
class Stage:
    """A Prometheus and the port that it scrapes, for one application after the other."""

    server: PrometheusServer
    port: int


@pytest.fixture(scope="module", params=["prometheus2", "prometheus3"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """One Prometheus of each major version for all tests, as its first scrape takes a while."""
    port = free_port()
    with PrometheusServer(request.param, [ScrapeJob(JOB, f"127.0.0.1:{port}")]) as server:
        yield Stage(server, port)


@pytest.fixture(scope="module")
def shop() -> ModuleType:
    """The demo, as a module."""
    path = Path(__file__).resolve().parents[3] / "examples" / "shop.py"
    spec = importlib.util.spec_from_file_location("examples_shop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses need it there
    spec.loader.exec_module(module)
    return module


# --- helpers ---------------------------------------------------------------------------

Key = tuple[str, tuple[tuple[str, str], ...]]


def series_key(name: str, labels: Mapping[str, str]) -> Key:
    """Return the key of a series; for Prometheus, an empty label is absent."""
    kept = {label: value for label, value in labels.items() if value and label not in ADDED_LABELS}
    return name, tuple(sorted(kept.items()))


def as_text(value: float) -> str:
    """Return a value so that NaN equals NaN."""
    return "NaN" if math.isnan(value) else repr(float(value))


async def exposed_families(service: Service) -> list[Metric]:
    """Scrape the service, with third-party parsers."""
    body, _ = await asyncio.to_thread(fetch, service.metrics_url)
    await asyncio.to_thread(check_with_promtool, body)
    return parse_with_prometheus_client(body)


def exposed_samples(families: list[Metric]) -> dict[Key, str]:
    """Return every sample of a response, without those that change with each scrape."""
    return {
        series_key(sample.name, sample.labels): as_text(sample.value)
        for family in families
        for sample in family.samples
        if not sample.name.startswith("otel_aioprom_")
    }


async def stored_samples(server: PrometheusServer) -> dict[Key, str]:
    """Return every sample that Prometheus has now, without its own."""
    found = await asyncio.to_thread(server.query, f'{{job="{JOB}"}}')
    own = re.compile(r"up|scrape_\w+|otel_aioprom_\w+")
    return {
        series_key(name, {k: v for k, v in sample.labels.items() if k != "__name__"}): as_text(
            sample.value
        )
        for sample in found
        if not own.fullmatch(name := sample.labels["__name__"])
    }


async def scraped(stage: Stage) -> None:
    """Wait for a scrape of the application's current state."""
    await asyncio.to_thread(stage.server.wait_for_scrape, JOB)


async def value(stage: Stage, expr: str) -> float | None:
    """Return the only value of an instant query."""
    return await asyncio.to_thread(stage.server.value, expr)


async def comes_true(predicate: Callable[[], bool], what: str) -> None:
    """Wait in a thread for a predicate that blocks."""
    await asyncio.to_thread(wait_until, predicate, 30.0, what)


def complaints(log: str) -> list[str]:
    """Return the lines of a log about failed scrapes."""
    return [
        line
        for line in log.splitlines()
        if "scrape" in line.lower() and re.search(r"(?i)level=(warn|error)|failed", line)
    ]


def target_of(stage: Stage) -> dict[str, Any]:
    """Return Prometheus' state of the scraped target."""
    target = stage.server.target(JOB)
    assert target is not None
    return target


# --- the demo --------------------------------------------------------------------------


async def test_every_sample_of_the_demo_is_stored(stage: Stage, shop: ModuleType) -> None:
    """Prometheus has each exposed sample with its value, and nothing else."""
    async with shop.running(stage.port, 0) as demo:
        demo.customers.pause = 0.01
        demo.customers.start(5)
        await comes_true(lambda: all(demo.shop.till.values()), "a few sales")
        await demo.customers.stop()
        await scraped(stage)

        exposed = exposed_samples(await exposed_families(demo.service))
        stored = await stored_samples(stage.server)

        assert len(exposed) > 50
        assert stored == exposed


async def test_metadata_of_the_demo_is_stored(stage: Stage, shop: ModuleType) -> None:
    """The metadata API returns each family's type and help as exposed."""
    async with shop.running(stage.port, 0) as demo:
        demo.customers.pause = 0.01
        demo.customers.start(5)
        await comes_true(lambda: all(demo.shop.till.values()), "a few sales")
        await demo.customers.stop()
        await scraped(stage)

        families = await exposed_families(demo.service)
        metadata = await asyncio.to_thread(stage.server.metadata)

        assert {family.type for family in families} == {"counter", "gauge", "histogram", "summary"}
        for family in families:
            if family.name.startswith("otel_aioprom_"):
                continue
            # The client's parser strips `_total` of a counter's name, like OpenMetrics, and `_info` of others.
            names = (family.name, f"{family.name}_total", family.name.removesuffix("_info"))
            entries = [entry for name in names for entry in metadata.get(name, [])]
            kinds = {"info", "gauge"} if family.name.startswith("target") else {family.type}
            assert any(
                entry["type"] in kinds and entry["help"] == family.documentation
                for entry in entries
            ), (family, entries)


async def test_the_target_is_up_without_errors(stage: Stage, shop: ModuleType) -> None:
    """``up`` is 1, the target has no last error, and no failed scrape is logged."""
    async with shop.running(stage.port, 0) as demo:
        demo.customers.start(3)
        await scraped(stage)
        mark = len(stage.server.log())
        await scraped(stage)
        await scraped(stage)

        target = await asyncio.to_thread(target_of, stage)

        assert await value(stage, f'up{{job="{JOB}"}}') == 1
        assert target["health"] == "up"
        assert target["lastError"] == ""
        assert complaints(stage.server.log()[mark:]) == []


async def test_scrapes_under_load_are_consistent(stage: Stage, shop: ModuleType) -> None:
    """While many customers shop, no scrape fails, no counter decreases, no histogram is inconsistent."""
    async with shop.running(stage.port, 0) as demo:
        demo.customers.pause = 0.02
        demo.customers.start(30)
        await scraped(stage)
        begun = time.monotonic()
        duration = "http_request_duration_seconds"
        for _ in range(4):
            await scraped(stage)
            torn = await asyncio.to_thread(
                stage.server.query,
                f'{duration}_bucket{{le="+Inf"}} != ignoring(le) {duration}_count',
            )
            assert torn == []
        span = f"{int(time.monotonic() - begun)}s"
        await demo.customers.stop()

        assert await value(stage, f'min_over_time(up{{job="{JOB}"}}[{span}])') == 1
        assert (await value(stage, f"sum(increase(http_requests_total[{span}]))") or 0) > 0
        assert await value(stage, f"sum(resets(http_requests_total[{span}]))") == 0
        await scraped(stage)
        exposed = exposed_samples(await exposed_families(demo.service))
        assert await stored_samples(stage.server) == exposed


# --- counter resets, and series that end -----------------------------------------------


async def test_a_restart_is_seen_as_a_counter_reset(stage: Stage) -> None:
    """If the process restarts with smaller counters, Prometheus counts one reset."""
    for start in (7, 2):
        registry = CollectorRegistry()
        Counter("restarted_total", "Falls at a restart.", registry=registry).add({}, start)
        async with Service(registry).running(addr="127.0.0.1", port=stage.port):
            await scraped(stage)
            assert await value(stage, "restarted_total") == start

    assert await value(stage, "resets(restarted_total[5m])") == 1


async def test_a_counter_set_to_a_smaller_value_is_a_reset(stage: Stage) -> None:
    """Prometheus counts one."""
    registry = CollectorRegistry()
    counter = Counter("set_back_total", "Falls by set.", registry=registry)
    async with Service(registry).running(addr="127.0.0.1", port=stage.port):
        for number in (7, 2):
            counter.set({"a": "b"}, number)
            await scraped(stage)
            assert await value(stage, "set_back_total") == number

        assert await value(stage, "resets(set_back_total[5m])") == 1


async def test_a_cleared_counter_starts_again(stage: Stage) -> None:
    """After ``clear`` the series ends; a new one begins at zero."""
    registry = CollectorRegistry()
    counter = Counter("cleared_total", "Falls by clear.", registry=registry)
    async with Service(registry).running(addr="127.0.0.1", port=stage.port):
        counter.add({"a": "b"}, 7)
        await scraped(stage)
        counter.clear()
        await scraped(stage)
        assert await value(stage, "cleared_total") is None
        counter.inc({"a": "b"})
        await scraped(stage)

        assert await value(stage, "cleared_total") == 1
        assert await value(stage, "resets(cleared_total[5m])") == 1


async def test_a_removed_series_ends_at_once(stage: Stage) -> None:
    """An instant query no longer finds a removed series, but the others."""
    registry = CollectorRegistry()
    gauge = Gauge("rooms", "Ends by remove.", registry=registry)
    async with Service(registry).running(addr="127.0.0.1", port=stage.port):
        gauge.set({"room": "blue"}, 1)
        gauge.set({"room": "red"}, 2)
        await scraped(stage)
        assert await value(stage, 'rooms{room="blue"}') == 1
        gauge.remove({"room": "blue"})
        await scraped(stage)

        assert await value(stage, 'rooms{room="blue"}') is None
        assert await value(stage, 'rooms{room="red"}') == 2


async def test_m68_a_series_that_is_no_longer_observed_ends_at_once(stage: Stage) -> None:
    """Attributes that a callback no longer observes are not exposed."""
    registry = CollectorRegistry()
    provider = MeterProvider(
        metric_readers=[PrometheusMetricReader(registry=registry)], shutdown_on_exit=False
    )
    readings = {"in": 20.5, "out": -3.0}

    def read(options: CallbackOptions) -> list[Observation]:
        return [Observation(heat, {"place": place}) for place, heat in readings.items()]

    provider.get_meter("weather").create_observable_gauge("heat", [read], "Cel")
    async with Service(registry).running(addr="127.0.0.1", port=stage.port):
        await scraped(stage)
        assert await value(stage, 'heat_celsius{place="out"}') == -3
        del readings["out"]
        await scraped(stage)

        assert await value(stage, 'heat_celsius{place="out"}') is None
        assert await value(stage, 'heat_celsius{place="in"}') == 20.5
    provider.shutdown()


async def test_a_stopped_service_closes_its_port(stage: Stage) -> None:
    """And all its series end."""
    registry = CollectorRegistry()
    Gauge("fleeting", "Ends with the service.", registry=registry).set({}, 1)
    async with Service(registry).running(addr="127.0.0.1", port=stage.port):
        await scraped(stage)
        assert await value(stage, "fleeting") == 1

    mark = len(stage.server.log())
    await comes_true(lambda: stage.server.query("fleeting") == [], "the end of the series")
    target = await asyncio.to_thread(target_of, stage)
    assert target["health"] == "down"
    assert "refused" in target["lastError"]
    assert complaints(stage.server.log()[mark:])  # proves that failed scrapes are logged
