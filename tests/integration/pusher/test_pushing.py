"""Pushes to real gateways: what is pushed is found again, and requests do what they say."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.errors import PushError
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.pusher import Pusher
from otel_aioprom.pusher.blocking import BlockingPusher
from otel_aioprom.pusher.jobs import job_metrics
from otel_aioprom.registry import CollectorRegistry
from processes import wait_until
from prometheus import PrometheusServer
from pushgateway import VERSIONS, Pushgateway
from scraper import ScrapeJob

pytestmark = pytest.mark.integration
ODD = ("a b", "/data/in", ".", "..", "é/ü", 'q"q', "line\nfeed", "a+b", "a%2Fb", "@base64", "Προμηθεύς")  # fmt: skip


@pytest.fixture(scope="module", params=VERSIONS)
def gateway(request: pytest.FixtureRequest) -> Iterator[Pushgateway]:
    """A gateway for many tests, each of which has a job of its own."""
    with Pushgateway(request.param) as running:
        yield running


@pytest.fixture
def job(request: pytest.FixtureRequest) -> str:
    """A job that no other test has."""
    return str(request.node.name)


def gauge_of(name: str, value: float, **labels: str) -> CollectorRegistry:
    """A registry with one sample."""
    registry = CollectorRegistry()
    Gauge(name, f"About {name}.", registry=registry).set(labels, value)
    return registry


def every_kind() -> CollectorRegistry:
    """Native metrics of each kind, and OpenTelemetry's."""
    registry = CollectorRegistry()
    Counter("orders_total", "Orders.", registry=registry).add({"kind": 'a"b\\\n'}, 3)
    Gauge("level", "Level.", registry=registry).set({}, -0.5)
    Histogram("seconds", "Time.", buckets=[0.1, 1], registry=registry).observe({}, 0.5)
    summary = Summary("sizes", "Sizes.", registry=registry)
    for value in range(1, 4):
        summary.observe({}, value)
    reader = PrometheusMetricReader(
        registry=registry,
        scope_info_enabled=False,
        preferred_aggregation={sdk.Histogram: ExponentialBucketHistogramAggregation(max_scale=3)},
    )
    provider = sdk.MeterProvider(
        metric_readers=[reader], resource=Resource({"service": "shop"}), shutdown_on_exit=False
    )
    provider.get_meter("m").create_counter("hits").add(7, {"path": "/"})
    provider.get_meter("m").create_histogram("weight", "kg").record(2.0)
    return registry


EXPECTED = {
    "orders_total": {(("kind", 'a"b\\\n'),): 3},
    "level": {(): -0.5},
    "seconds_bucket": {(("le", "0.1"),): 0, (("le", "1"),): 1, (("le", "+Inf"),): 1},
    "seconds_sum": {(): 0.5},
    "seconds_count": {(): 1},
    "sizes_sum": {(): 6},
    "sizes_count": {(): 3},
    "hits_total": {(("path", "/"),): 7},
    "weight_kg_sum": {(): 2},
    "weight_kg_count": {(): 1},
    "target_info": {(("service", "shop"),): 1},
}
TYPES = {"orders_total": 0, "level": 1, "seconds": 4, "sizes": 2, "hits_total": 0, "weight_kg": 4, "target_info": 1}  # fmt: skip


def some(found: dict[str, Any]) -> dict[str, Any]:
    """The expected ones of the gateway's metrics."""
    return {name: found.get(name) for name in EXPECTED}


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("form", ["text", "protobuf"])
async def test_every_sample_is_found_again(
    gateway: Pushgateway, job: str, form: Any, compression: Any
) -> None:
    """With its value and its type; native histograms where protobuf carries them."""
    async with Pusher(job, gateway.url, format=form, compression=compression) as pusher:
        response = await pusher.replace(every_kind())
        families = gateway.families()
        types = {name: families[name].type for name in TYPES}
        native = families["weight_kg"].metric[0].histogram
        found = some(gateway.samples(job=job))
        await pusher.delete()

    assert (response.status, await response.text()) == (200, "")
    assert found == EXPECTED
    assert types == TYPES
    assert list(native.positive_delta) == ([1] if form == "protobuf" else [])
    assert native.schema == (3 if form == "protobuf" else 0)


@pytest.mark.parametrize("value", ODD)
async def test_whatever_a_group_is_called_it_arrives_as_it_is(
    gateway: Pushgateway, value: str
) -> None:
    """Job and label, in the group and on the sample."""
    async with Pusher(value, gateway.url, grouping_key={"dir": value, "none": ""}) as pusher:
        response = await pusher.add(gauge_of("odd", 1))
        groups, found = gateway.groups(), gateway.samples(job=value, dir=value)
        await pusher.delete()

    assert response.status == 200
    assert {"job": value, "dir": value, "none": ""} in groups
    assert found["odd"] == {(): 1}
    # A gateway responds before it deletes.
    wait_until(lambda: {"job": value, "dir": value, "none": ""} not in gateway.groups())


async def test_replace_add_and_delete_do_what_they_say(gateway: Pushgateway, job: str) -> None:
    """On one group, and on no other."""
    pusher = Pusher(job, gateway.url)
    longer = Pusher(job, gateway.url, grouping_key={"a": "b"})
    await longer.replace(gauge_of("one", 9))
    await pusher.replace(gauge_of("one", 1))
    await pusher.add(gauge_of("two", 2))
    await pusher.add(gauge_of("one", 3, x="y"))
    added = gateway.samples(job=job)
    await pusher.replace(gauge_of("three", 4))
    replaced = gateway.samples(job=job)
    deleted = await pusher.delete()
    left = gateway.groups()
    await longer.delete()

    assert added["one"] == {(("a", "b"),): 9, (("x", "y"),): 3}
    assert added["two"] == {(): 2}
    assert replaced["three"] == {(): 4}
    assert "two" not in replaced
    assert replaced["one"] == {(("a", "b"),): 9}
    assert deleted.status == 202
    assert {"job": job} not in left
    assert {"job": job, "a": "b"} in left


@pytest.mark.parametrize("form", ["text", "protobuf"])
async def test_batches_equal_one_push(gateway: Pushgateway, job: str, form: Any) -> None:
    """Added and replaced; a replace removes what was there before."""
    registry = every_kind()
    pusher = Pusher(job, gateway.url, max_batch_bytes=200, format=form)
    await pusher.add(gauge_of("before", 1))
    await pusher.add(registry)
    added = gateway.samples(job=job)
    await pusher.replace(registry)
    replaced = gateway.samples(job=job)
    await pusher.delete()

    assert some(added) == some(replaced) == EXPECTED
    assert "before" in added
    assert "before" not in replaced
    assert registry.pushes.requests.get({"destination": gateway.url, "code": "200"}) > 4


async def test_what_is_refused_comes_back_with_the_gateways_words(
    gateway: Pushgateway, job: str
) -> None:
    """Readable, or raised; the gateway keeps what it had, and tells when it refused."""
    await Pusher(job, gateway.url).replace(gauge_of("taken", 1))
    other = Pusher(job, gateway.url, grouping_key={"x": "y"})
    registry = CollectorRegistry()
    Counter("taken", "Another type.", registry=registry).inc()
    response = await other.replace(registry)
    with pytest.raises(PushError) as caught:
        await Pusher(job, gateway.url, raise_for_status=True, grouping_key={"x": "y"}).add(registry)
    found = gateway.samples(job=job)
    await Pusher(job, gateway.url).delete()
    await other.delete()

    assert response.status == caught.value.status == 400
    assert "inconsistent with existing metrics" in await response.text()
    assert "inconsistent with existing metrics" in str(caught.value)
    assert found["taken"] == {(): 1}
    assert found["push_failure_time_seconds"][(("x", "y"),)] > 0
    assert found["push_time_seconds"][()] > 0


async def test_e87_the_time_of_the_push_moves(gateway: Pushgateway, job: str) -> None:
    """With an empty body too."""
    times = []
    async with Pusher(job, gateway.url) as pusher:
        for _ in range(3):
            await pusher.add(CollectorRegistry())
            times.append(gateway.samples(job=job)["push_time_seconds"][()])
        await pusher.delete()

    assert times == sorted(set(times))


async def test_a_job_is_measured(gateway: Pushgateway, job: str) -> None:
    """Well or not; the time of its last success stays when it fails."""
    async with job_metrics(job, gateway.url) as run:
        Gauge("rows", "Rows.", registry=run.registry).set({}, 5)
    well = gateway.samples(job=job)
    with pytest.raises(KeyError, match="no"):
        async with job_metrics(job, gateway.url):
            raise KeyError("no")
    failed = gateway.samples(job=job)

    assert well["rows"] == {(): 5}
    assert (well["job_success"], failed["job_success"]) == ({(): 1}, {(): 0})
    assert well["job_last_success_timestamp_seconds"] == failed["job_last_success_timestamp_seconds"]  # fmt: skip
    assert failed["job_duration_seconds"][()] < well["push_time_seconds"][()]


async def test_a_service_pushes_again_and_again(gateway: Pushgateway, job: str) -> None:
    """The last values arrive on exit, or the group is deleted."""
    registry = CollectorRegistry()
    turns = Gauge("turns", "Turns.", registry=registry)
    async with Pusher(job, gateway.url).running(registry, interval=0.05):
        for turn in range(5):
            turns.set({}, turn)
            await asyncio.sleep(0.05)
        turns.set({}, 99)
    last = gateway.samples(job=job)["turns"]
    async with Pusher(job, gateway.url).running(registry, interval=30, delete_on_exit=True):
        pass

    assert last == {(): 99}
    assert {"job": job} not in gateway.groups()


def test_a_script_pushes_without_a_loop(gateway: Pushgateway, job: str) -> None:
    """And waits for the answer."""
    pusher = BlockingPusher(job, gateway.url)

    assert pusher.replace(gauge_of("script", 1)) == (200, "")
    assert gateway.samples(job=job)["script"] == {(): 1}
    assert pusher.delete().status == 202


_PROGRAM = """
import sys
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from otel_aioprom import PushMetricExporter

exporter = PushMetricExporter(sys.argv[1], sys.argv[2], translation={"prefix": "shop"})
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider(metric_readers=[reader])
orders = provider.get_meter("m").create_counter("orders")
orders.add(1)
provider.force_flush()
orders.add(1)
"""


def test_an_sdk_user_needs_no_registry(gateway: Pushgateway, job: str) -> None:
    """The last values arrive when the program ends, with the loop of nobody."""
    url = gateway.url.replace("127.0.0.1", "localhost")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM, job, url],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    (found,) = gateway.samples(job=job)["shop_orders_total"].items()
    assert found[1] == 2


def test_a_real_prometheus_finds_it_behind_the_gateway() -> None:
    """Every sample, under the job that pushed it."""
    with Pushgateway(VERSIONS[-1]) as gateway:
        target = gateway.url.partition("//")[2]
        jobs = [ScrapeJob("gateway", target, {"honor_labels": True})]
        with PrometheusServer("prometheus3", jobs) as prometheus:
            BlockingPusher("behind", gateway.url).replace(every_kind())
            prometheus.wait_for_scrape("gateway")
            found = {
                (sample.labels["__name__"], sample.labels.get("le", "")): sample.value
                for sample in prometheus.query('{job="behind"}')
            }
            complaints = prometheus.warnings()

    for name, series in EXPECTED.items():
        for labels, value in series.items():
            assert found[name, _as_stored(dict(labels).get("le", ""))] == value
    assert complaints == []


def _as_stored(bound: str) -> str:
    """The gateway writes whole bounds without their point, Prometheus 3 puts it back."""
    return f"{float(bound)}" if bound and bound != "+Inf" else bound
