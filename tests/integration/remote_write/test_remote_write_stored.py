"""What servers have stored of remote writes: the same as of scrapes, of every kind, until it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service import Service
from processes import free_port, wait_until
from prometheus import HistogramSample, PrometheusServer
from remote_write_servers import complaints, deliver, natives, receiving, shop, stored, writer_to
from scraper import ScrapeJob
from victoria import VictoriaMetricsServer

pytestmark = pytest.mark.integration
VERSIONS = ("1.0", "2.0")


class Stage(NamedTuple):
    """A server, and the port that it scrapes."""

    server: PrometheusServer
    port: int


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A Prometheus that takes writes, and scrapes too."""
    port = free_port()
    with receiving(
        jobs=[ScrapeJob("scraped", f"127.0.0.1:{port}")],
        settings={"always_scrape_classic_histograms": True},
    ) as running:
        yield Stage(running, port)


@pytest.fixture(scope="module")
def prometheus(stage: Stage) -> PrometheusServer:
    """The same."""
    return stage.server


@pytest.fixture(scope="module")
def old() -> Iterator[PrometheusServer]:
    """A Prometheus of the generation before, which knows version 1.0."""
    with receiving("prometheus2") as running:
        yield running


def seen(server: PrometheusServer, job: str) -> dict[tuple[str, ...], float]:
    """The exemplars of a job, with their series, and their time."""
    return {
        (
            each.series["__name__"],
            each.series.get("le", ""),
            str(each.labels),
            str(each.value),
        ): each.time
        for each in server.exemplars(f'{{job="{job}"}}')
    }


async def test_what_is_written_equals_what_is_scraped(stage: Stage) -> None:
    """Names, labels, values, native buckets and exemplars, with either version."""
    server, registry = stage.server, shop()
    since = len(server.log())
    async with Service(registry).running(addr="127.0.0.1", port=stage.port):
        for version in VERSIONS:
            async with writer_to(server, version, f"like-{version}") as writer:
                # Exemplars of a new native histogram go with its second message in version 1.0.
                await deliver(writer, registry)
                await deliver(writer, registry)
        await asyncio.to_thread(server.wait_for_scrape, "scraped")
        scraped, exemplars = stored(server, "scraped"), seen(server, "scraped")
        written = {version: stored(server, f"like-{version}") for version in VERSIONS}
        found = {version: seen(server, f"like-{version}") for version in VERSIONS}

    kinds = {"both", "sizes", "weight_kg", "hits_total", "waited_sum", "target_info"}
    assert {name for name, _ in scraped} >= kinds
    assert written == dict.fromkeys(VERSIONS, scraped)
    assert {name for name, *_ in exemplars} == {"seconds_bucket", "both_bucket", "both"}
    # Prometheus cuts what a message rounds.
    assert found["1.0"] == found["2.0"] == pytest.approx(exemplars, abs=0.0015)
    assert complaints(server, since) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_native_histogram_keeps_its_form(
    prometheus: PrometheusServer, version: str
) -> None:
    """Buckets of both signs and of zero, from functions and the API; it grows, and is reset."""
    job = f"native-{version}"
    registry = CollectorRegistry()
    sizes = natives(registry)
    for value in (0, -3, -3, 1, 100):
        sizes.observe({}, value)

    def values() -> list[float | None]:
        functions = ("histogram_count", "histogram_sum")
        return [prometheus.value(f'{each}(sizes{{job="{job}"}})') for each in functions]

    async with writer_to(prometheus, version, job) as writer:
        await deliver(writer, registry)
        form, first = prometheus.histogram(f'sizes{{job="{job}"}}'), values()
        sizes.observe({}, 0.01)
        await deliver(writer, registry)
        second = values()
        sizes.clear()
        sizes.observe({}, 5)
        await deliver(writer, registry)
        third = values()

    assert isinstance(form, HistogramSample)
    for bucket, value, count in zip(form.buckets, (-3, 0, 1, 100), (2, 1, 1, 1), strict=True):
        assert bucket.lower <= value <= bucket.upper
        assert bucket.count == count
    assert [first, second, third] == [[5, 95], [6, 95.01], [1, 5]]


@pytest.mark.parametrize("version", VERSIONS)
async def test_only_what_has_ended_ends(prometheus: PrometheusServer, version: str) -> None:
    """One series of many, in whichever message it was; it comes back when it is there again."""
    job = f"ends-{version}"
    registry = CollectorRegistry()
    level = Gauge("level", "Level.", registry=registry)
    times = Histogram("times", "Times.", buckets=[1, 2], registry=registry)
    sizes = natives(registry)
    waited = Summary("waited", "Time.", registry=registry)
    for place in range(100):
        level.set({"n": str(place)}, place)
        for each in (times, sizes, waited):
            each.observe({"n": str(place)}, place)
    async with writer_to(prometheus, version, job, max_samples=64) as writer:
        await deliver(writer, registry)
        full = stored(prometheus, job)
        for collector in (level, times, sizes, waited):
            collector.remove({"n": "77"})
        await deliver(writer, registry)
        left = stored(prometheus, job)
        level.set({"n": "77"}, 77)
        for each in (times, sizes, waited):
            each.observe({"n": "77"}, 77)
        await deliver(writer, registry)
        again = stored(prometheus, job)

    gone = {key: value for key, value in full.items() if ("n", "77") in key[1]}
    assert {name for name, _ in gone} >= {"level", "times_bucket", "times_sum", "sizes", "waited"}
    assert {**left, **gone} == full == again
    assert not left.keys() & gone.keys()


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_generation_before_gets_version_1(old: PrometheusServer, version: str) -> None:
    """Also if 2.0 was preferred, to which it responds with success without storing anything."""
    job = f"old-{version}"
    since = len(old.log())
    async with writer_to(old, version, job) as writer:
        await deliver(writer, shop())
        await deliver(writer, shop())

    assert old.value(f'orders_total{{job="{job}"}}') == 2.0**60
    assert old.value(f'both_bucket{{job="{job}",le="2.0"}}') == 3
    assert old.value(f'histogram_count(sizes{{job="{job}"}})') == 6
    assert old.value(f'waited{{job="{job}",quantile="0.5"}}') == 4
    assert {name for name, *_ in seen(old, job)} == {"seconds_bucket", "both_bucket", "both"}
    assert complaints(old, since) == []


async def test_start_times_do_no_harm_where_they_are_stored() -> None:
    """However old they are: values are the same, and nothing is complained about."""
    registry = CollectorRegistry()
    counter = Counter("begun_total", "Counts.", registry=registry)
    counter.add({}, 5)
    for child in (counter.labels({"age": "old"}), counter.labels({"age": "epoch"})):
        child.inc()
        child.created = time.time() - 86400.0 if child.values == ("old",) else 0.5
    with receiving(features=["created-timestamp-zero-ingestion"]) as server:
        async with writer_to(server, "2.0", "j", native_histograms=False) as writer:
            await deliver(writer, registry)
            await deliver(writer, registry)
        found = {
            name: server.points(f'begun_total{{age="{name}"}}') for name in ("", "old", "epoch")
        }
        complained = complaints(server)

    assert {name: {each.value for each in points} for name, points in found.items()} == {
        "": {5}, "old": {1}, "epoch": {1}
    }  # fmt: skip
    assert complained == []


async def test_types_and_help_are_stored_where_supported() -> None:
    """VictoriaMetrics does, of version 1.0; also of 2.0, which it does not know."""
    with VictoriaMetricsServer([]) as victoria:
        for version in VERSIONS:
            async with writer_to(victoria, version, f"told-{version}") as writer:
                registry = CollectorRegistry()
                name = f"v{version[0]}"
                Counter(f"{name}_orders_total", "Orders.", registry=registry).inc()
                Gauge(f"{name}_level", 'Le"v\\el\n.', registry=registry).set({}, 1)
                Histogram(f"{name}_seconds", "é", buckets=[1], registry=registry).observe({}, 1)
                Summary(f"{name}_waited", "Time.", registry=registry).observe({}, 1)
                await deliver(writer, registry)
        wait_until(lambda: "v2_waited" in victoria.metadata())
        found = victoria.metadata()

    told = {name: (some[0]["type"], some[0]["help"]) for name, some in found.items()}
    for name in ("v1", "v2"):
        assert told[f"{name}_orders_total"] == ("counter", "Orders.")
        assert told[f"{name}_level"] == ("gauge", 'Le"v\\el\n.')
        assert told[f"{name}_seconds"] == ("histogram", "é")
        assert told[f"{name}_waited"] == ("summary", "Time.")
