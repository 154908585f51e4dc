"""Real Prometheus servers store everything that each of their scrape protocols supports."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest

from oracles import OWN, FakeSource, family, number
from otel_aioprom import CollectorRegistry
from otel_aioprom._core.escaping import Escaping, escape_label_name, escape_metric_name
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import POS_INF, HistogramSeries
from otel_aioprom.collectors.series.number import CounterSeries
from processes import wait_until
from prometheus import PROTOCOLS
from served import served
from servers import PrometheusServer, ScrapeJob, free_port
from victoria import VictoriaMetricsServer

pytestmark = pytest.mark.integration

NOW = round(time.time(), 3)
CREATED = NOW - 100
UTF8 = ("OpenMetricsText1.0.0", "PrometheusText1.0.0")
"""Protocols whose requests have an escaping scheme."""
EXEMPLARS = PROTOCOLS[:3]
BUCKETS = [
    (1, "-1", "-0.9170040432046711", "1"),
    (3, "-2.938735877055719e-39", "2.938735877055719e-39", "1"),
    (0, "0.7711054127039704", "0.8408964152537144", "2"),
    (0, "0.8408964152537144", "0.9170040432046711", "1"),
    (0, "1.189207115002721", "1.2968395546510096", "1"),
]
TYPES = {
    "requests_total": "counter",
    "temp_celsius": "gauge",
    "latency_seconds": "histogram",
    "native_seconds": "histogram",
    "waited": "summary",
    "odd": "unknown",
}

OTHERS = re.compile(rf"{OWN}.*|scrape_.*|up")
COMPLAINT = re.compile(r"(?i)level=(warn|error)|scrape failed|error on ingesting")

Key = tuple[str, tuple[tuple[str, str], ...]]


def exposed() -> list[MetricFamily]:
    """Families of every type, with all features of all protocols."""
    requests = number(5, {"path": 'a\\b"c\nd'}, CounterSeries)
    requests.created, requests.exemplar = CREATED, Exemplar((("trace_id", "ab"),), 1, NOW)  # type: ignore[attr-defined]
    latency = HistogramSeries(("m",), ("GET",), '{m="GET"} ', (0.5, 1.0, POS_INF), CREATED)
    latency.load([1, 2, 3], 9.5)
    latency.exemplars = [None, Exemplar((("span_id", "b7"),), 0.75, NOW), Exemplar((), 4.0, NOW)]
    native = HistogramSeries((), (), " ", (POS_INF,), CREATED)
    buckets = [(-2, 2), (-1, 1), (3, 1)]
    example = Exemplar((("trace_id", "native"),), 0.8, NOW)
    native.load([6], 18.4, NativeBuckets(3, 2**-128, 1, buckets, [(0, 1)], [example]))
    waited = SummaryPoint((), (), " ", 3, 6.0, [(0.5, 2.0), (0.9, math.nan)], CREATED)
    level = number(2, {"os.type": "linux", "plain": "x"})
    calls = number(4, {"a b": "c"}, CounterSeries)
    return [
        family("requests_total", requests, kind="counter", doc='Requests, "q" \\ and\nlines.'),
        family("temp_celsius", number(-12.5), unit="celsius", doc="Temperature."),
        family("latency_seconds", latency, kind="histogram", unit="seconds"),
        family("native_seconds", native, kind="histogram", unit="seconds"),
        family("waited", waited, kind="summary"),
        family("build_info", number(1, {"version": "1"}), kind="info"),
        family("odd", number(math.inf), kind="untyped"),
        replace(family("my.level", level, doc="Level."), utf8=True),
        replace(family("http.calls_total", calls, kind="counter"), utf8=True),
    ]


def expected(protocol: str, escaping: Escaping, *, natively: bool) -> dict[Key, str]:
    """The series that a server must store, by name and labels."""
    scheme: Escaping = escaping if protocol in UTF8 else "underscores"

    def key(name: str, **labels: str) -> Key:
        pairs = [(escape_label_name(label, scheme), value) for label, value in labels.items()]
        return escape_metric_name(name, scheme), tuple(sorted(pairs))

    found = {
        key("requests_total", path='a\\b"c\nd'): "5",
        key("temp_celsius"): "-12.5",
        **{
            key("latency_seconds_bucket", m="GET", le=le): count
            for le, count in (("0.5", "1"), ("1.0", "3"), ("+Inf", "6"))
        },
        key("latency_seconds_sum", m="GET"): "9.5",
        key("latency_seconds_count", m="GET"): "6",
        key("waited", quantile="0.5"): "2",
        key("waited", quantile="0.9"): "NaN",
        key("waited_sum"): "6",
        key("waited_count"): "3",
        key("build_info", version="1"): "1",
        key("odd"): "+Inf",
        key("my.level", **{"os.type": "linux", "plain": "x"}): "2",
        key("http.calls_total", **{"a b": "c"}): "4",
    }
    if natively:
        return found | {key("native_seconds"): "6 observations, sum 18.4"}
    classic = {"_sum": "18.4", "_count": "6"}
    found |= {key(f"native_seconds{suffix}"): value for suffix, value in classic.items()}
    return found | {key("native_seconds_bucket", le="+Inf"): "6"}


class Job(NamedTuple):
    """A scrape job and its settings."""

    protocol: str
    escaping: Escaping

    @property
    def name(self) -> str:
        """The ``job`` label."""
        return f"{self.protocol}/{self.escaping}"

    def on(self, port: int) -> ScrapeJob:
        """The job, for a target on a port."""
        settings = {
            "scrape_protocols": [self.protocol],
            "metric_name_escaping_scheme": self.escaping,
            "always_scrape_classic_histograms": True,
        }
        return ScrapeJob(self.name, f"127.0.0.1:{port}", settings)


JOBS = [
    Job(protocol, escaping)
    for protocol in PROTOCOLS
    for escaping in ("allow-utf-8", "underscores", "dots", "values")
    if protocol in UTF8 or escaping in ("allow-utf-8", "underscores")
]


@dataclass(frozen=True)
class Findings:
    """What a server has stored, by job.

    Attributes:
        samples: Every series but those of the server and of the library.
        exemplars: By name and ``le`` of their series.
        metadata: Type, help and unit by name.
        first_points: Of the series that count: the oldest point.
        targets: As the server sees them.
        complaints: Lines of its log that speak of something wrong.
    """

    samples: dict[str, dict[Key, str]]
    exemplars: dict[str, dict[str, list[dict[str, Any]]]]
    metadata: dict[str, dict[str, dict[str, str]]]
    first_points: dict[str, dict[str, tuple[float, str]]]
    targets: list[dict[str, Any]]
    complaints: list[str]


def find_all(server: PrometheusServer, jobs: Sequence[str]) -> Findings:
    """Let a server scrape all of its jobs, then query everything."""
    for job in jobs:
        server.wait_for_scrape(job)
    return Findings(
        {job: samples(server, job) for job in jobs},
        {job: exemplars(server, job) for job in jobs},
        {job: metadata(server, job) for job in jobs},
        {job: first_points(server, job) for job in jobs},
        settled(server),
        [line for line in server.log().splitlines() if COMPLAINT.search(line)],
    )


def settled(server: PrometheusServer) -> list[dict[str, Any]]:
    """Its targets: an invalid response is an error each time, a late one on a busy machine is not."""
    targets: list[dict[str, Any]] = []

    def are_fine() -> bool:
        targets[:] = server.targets()
        return not any(target["lastError"] for target in targets)

    with suppress(TimeoutError):
        wait_until(are_fine)
    return targets


def samples(server: PrometheusServer, job: str) -> dict[Key, str]:
    """Every series of a job with its value."""
    mine = f'{{job="{job}",__name__!~"{OWN}.*|scrape_.*|up"}}'
    found = {}
    for item in server._api("query", query=mine)["result"]:
        labels = {k: v for k, v in item["metric"].items() if k not in {"job", "instance"}}
        found[labels.pop("__name__"), tuple(sorted(labels.items()))] = shown(item)
    return found


def shown(item: Mapping[str, Any]) -> str:
    """A value as a string; the buckets of a native histogram are compared here."""
    if "value" in item:
        return str(item["value"][1])
    histogram = item["histogram"][1]
    assert [tuple(bucket) for bucket in histogram["buckets"]] == BUCKETS
    return f"{histogram['count']} observations, sum {histogram['sum']}"


def exemplars(server: PrometheusServer, job: str) -> dict[str, list[dict[str, Any]]]:
    """The exemplars of a job."""
    span = {"start": str(NOW - 1000), "end": str(NOW + 1000)}
    found: dict[str, list[dict[str, Any]]] = {}
    for item in server._api("query_exemplars", query=f'{{job="{job}"}}', **span):
        labels = item["seriesLabels"]
        found[f"{labels['__name__']} {labels.get('le', '')}".strip()] = item["exemplars"]
    return found


def metadata(server: PrometheusServer, job: str) -> dict[str, dict[str, str]]:
    """Type, help and unit of a job's metrics."""
    found = server._api("targets/metadata", match_target=f'{{job="{job}"}}')
    return {entry["metric"]: entry for entry in found}


def first_points(server: PrometheusServer, job: str) -> dict[str, tuple[float, str]]:
    """The oldest point of series with start times."""
    found = {}
    for name in ("requests_total", "latency_seconds_count", "waited_count"):
        series = server._api("query", query=f'{name}{{job="{job}"}}[10m]')["result"]
        found[name] = tuple(series[0]["values"][0])
    return found  # type: ignore[return-value]


def all_families() -> CollectorRegistry:
    """Return a registry that exposes them all."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(*exposed()))
    return registry


# --- Prometheus 3 ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> Findings:
    """By Prometheus 3, with all features of the protocols enabled."""
    port = free_port()
    features = ["native-histograms", "exemplar-storage", "created-timestamp-zero-ingestion"]
    jobs = [job.on(port) for job in JOBS]
    with (
        served(all_families(), port),
        PrometheusServer("prometheus3", jobs, interval="500ms", features=features) as server,
    ):
        return find_all(server, [job.name for job in JOBS])


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_each_protocol_and_naming_has_every_sample(found: Findings, job: Job) -> None:
    """Each series with its value, native histograms completely, and nothing else."""
    natively = job.protocol == "PrometheusProto"

    assert found.samples[job.name] == expected(*job, natively=natively)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_exemplars_are_stored(found: Findings, job: Job) -> None:
    """In the protocols that have them: of a counter, of buckets, of a native histogram."""
    carried = found.exemplars[job.name]
    wanted: dict[str, dict[str, str]] = {}
    if job.protocol in EXEMPLARS:
        wanted["requests_total"] = {"trace_id": "ab"}
        wanted["latency_seconds_bucket 1.0"] = {"span_id": "b7"}
        wanted["latency_seconds_bucket +Inf"] = {}
    if job.protocol == "PrometheusProto":
        wanted["native_seconds"] = {"trace_id": "native"}

    assert {name: each[0]["labels"] for name, each in carried.items()} == wanted
    stamps = {each["timestamp"] for every in carried.values() for each in every}
    assert all(abs(stamp - NOW) < 0.002 for stamp in stamps)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_start_times_are_stored(found: Findings, job: Job) -> None:
    """From protobuf: the server stores a zero at that time."""
    first = set(found.first_points[job.name].values())
    if job.protocol == "PrometheusProto":
        assert {(round(stamp, 1), value) for stamp, value in first} == {(round(CREATED, 1), "0")}
    else:
        assert all(stamp > NOW and value != "0" for stamp, value in first)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_metadata_is_stored(found: Findings, job: Job) -> None:
    """As in each protocol: OpenMetrics strips the suffix of a counter's name."""
    entries = found.metadata[job.name]
    openmetrics = job.protocol.startswith("OpenMetrics")
    requests = "requests" if openmetrics else "requests_total"
    has_units = openmetrics or job.protocol == "PrometheusProto"

    for name, kind in TYPES.items():
        assert entries[requests if name == "requests_total" else name]["type"] == kind
    assert entries["temp_celsius"]["unit"] == ("celsius" if has_units else "")
    assert entries["temp_celsius"]["help"] == "Temperature."
    assert entries[requests]["help"] == 'Requests, "q" \\ and\nlines.'


def test_there_are_no_errors_and_warnings(found: Findings) -> None:
    """Of targets and in the log."""
    assert {target["lastError"] for target in found.targets} == {""}
    assert {target["health"] for target in found.targets} == {"up"}
    assert found.complaints == []


# --- Prometheus 2 ----------------------------------------------------------------------


@pytest.mark.parametrize("features", [(), ("native-histograms",)])
def test_prometheus_2_stores_everything(features: tuple[str, ...]) -> None:
    """From OpenMetrics, and from protobuf with native histograms; with escaped names, as it requests no scheme."""
    port = free_port()
    job = ScrapeJob("two", f"127.0.0.1:{port}")
    switched_on = [*features, "exemplar-storage"]
    with (
        served(all_families(), port),
        PrometheusServer("prometheus2", [job], interval="500ms", features=switched_on) as server,
    ):
        found = find_all(server, ["two"])

    assert found.samples["two"] == expected("", "underscores", natively=bool(features))
    assert {"requests_total", "latency_seconds_bucket 1.0"} <= found.exemplars["two"].keys()
    assert found.targets[0]["lastError"] == ""
    assert found.complaints == []


# --- VictoriaMetrics -------------------------------------------------------------------


def test_victoriametrics_stores_everything_in_the_text_format() -> None:
    """It requests text 0.0.4; no scrape fails, and there are no warnings."""
    port = free_port()
    job = ScrapeJob("vm", f"127.0.0.1:{port}")
    with served(all_families(), port), VictoriaMetricsServer([job]) as server:
        server.wait_for_scrape("vm")
        found = {
            as_key(sample.labels): sample.value
            for sample in server.query('{job="vm"}')
            if not OTHERS.fullmatch(sample.labels["__name__"])
        }
        complaints = server.warnings()

    wanted = expected("PrometheusText0.0.4", "underscores", natively=False)
    unknown = {key for key, value in wanted.items() if value == "NaN"}  # it does not store NaN
    assert found == {key: float(wanted[key]) for key in wanted.keys() - unknown}
    assert complaints == []


def as_key(labels: Mapping[str, str]) -> Key:
    """Name and labels, without those that servers add."""
    kept = {k: v for k, v in labels.items() if k not in {"__name__", "job", "instance"}}
    return labels["__name__"], tuple(sorted(kept.items()))
