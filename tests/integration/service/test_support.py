"""Tests of the helpers that query real servers, with canned bodies."""

from __future__ import annotations

import re
import time
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from accept_headers import RECORDED, Recorded
from canned_bodies import OPENMETRICS, PROTOBUF, TEXT, with_created
from servers import (
    Answer,
    Bucket,
    CannedTarget,
    MetricMetadata,
    PrometheusServer,
    ScrapeJob,
    Scraper,
    VictoriaMetricsServer,
    fetch,
    find,
    parse_with_prometheus_client,
    require,
    wait_until,
)

pytestmark = pytest.mark.integration

NOW = int(time.time())
CREATED = NOW - 100
FEATURES = ("native-histograms", "created-timestamp-zero-ingestion")

# --- servers ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """The installed servers by name and setting, and the target that they scrape."""

    target: CannedTarget
    servers: Mapping[str, Scraper]

    def scraper(self, name: str, setting: str = "default") -> Scraper:
        """Return a server, or skip the test."""
        require(name)
        return self.servers[f"{name} {setting}"]

    def prometheus(self, name: str, setting: str = "default") -> PrometheusServer:
        """Return a Prometheus, or skip the test."""
        server = self.scraper(name, setting)
        assert isinstance(server, PrometheusServer)
        return server


def path_of(recorded: Recorded) -> str:
    """Return the path that identifies a scraper in one setting."""
    return f"/{recorded.scraper}/{recorded.setting}"


def job_settings(setting: str) -> dict[str, object]:
    """Return a setting of a job; nothing for settings of the whole server."""
    kind, _, value = setting.partition("=")
    if kind == "escaping":
        return {"metric_name_escaping_scheme": value}
    return {"scrape_protocols": value.split("+")} if kind == "protocols" else {}


def every_server(target: CannedTarget) -> Iterator[tuple[str, Scraper]]:
    """Start all installed servers."""
    bodies = {
        "openmetrics": OPENMETRICS,
        "protobuf": PROTOBUF,
        "openmetrics-recent": with_created(OPENMETRICS, CREATED),
        "protobuf-recent": with_created(PROTOBUF, CREATED),
    }
    target.answers.update({f"/{name}": answer for name, answer in bodies.items()})
    target.answers.update({path_of(recorded): TEXT for recorded in RECORDED})

    def job(name: str, path: str, settings: Mapping[str, object] | None = None) -> ScrapeJob:
        return ScrapeJob(name, target.target, {"metrics_path": path, **(settings or {})})

    def recorded_jobs(scraper: str, *prefixes: str) -> list[ScrapeJob]:
        return [
            job(each.setting, path_of(each), job_settings(each.setting))
            for each in RECORDED
            if each.scraper == scraper and each.setting.startswith(prefixes)
        ]

    extra = [job(name, f"/{name}") for name in bodies]
    if find("victoriametrics"):
        name = "victoriametrics"
        yield (
            f"{name} default",
            VictoriaMetricsServer(recorded_jobs(name, "default")),
        )
    for name in filter(find, ("prometheus2", "prometheus3")):
        jobs = [*recorded_jobs(name, "default", "escaping=", "protocols="), extra[0]]
        yield f"{name} default", PrometheusServer(name, jobs, max_exemplars=100)
        jobs = [*recorded_jobs(name, FEATURES[0]), extra[1]]
        yield (
            f"{name} {FEATURES[0]}",
            PrometheusServer(name, jobs, features=FEATURES[:1], max_exemplars=100),
        )
    if find("prometheus3"):
        name = "prometheus3"
        jobs = recorded_jobs(name, FEATURES[1])
        yield (
            f"{name} {FEATURES[1]}",
            PrometheusServer(name, jobs, features=FEATURES[1:]),
        )
        yield f"{name} all", PrometheusServer(name, extra[2:], features=FEATURES)
        settings = {"metric_name_validation_scheme": "legacy"}
        jobs = recorded_jobs(name, "legacy")
        yield f"{name} legacy", PrometheusServer(name, jobs, settings=settings)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """All servers for all tests, as their first scrapes take a while."""
    with ExitStack() as stack:
        target = stack.enter_context(CannedTarget({}))
        servers = every_server(target)
        yield Stage(target, {name: stack.enter_context(server) for name, server in servers})


# --- requests --------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", RECORDED, ids=path_of)
def test_e51_accept_headers_are_those_that_were_recorded(stage: Stage, recorded: Recorded) -> None:
    """Each scraper in each setting sends the Accept header of the table."""
    require(recorded.scraper)

    request = stage.target.wait_for_request(path_of(recorded))

    assert request.header("accept") == recorded.accept


# --- stored data -----------------------------------------------------------------------


def await_first_scrape(server: Scraper, job: str) -> None:
    """Wait until a job was scraped successfully; its body never changes."""
    up = f'up{{job="{job}"}} == 1'
    wait_until(lambda: server.value(up) is not None, 30.0, f"a first scrape of {job}")


def found_samples(server: Scraper, job: str) -> dict[tuple[str, ...], float]:
    """Return every sample of a job, without the server's own."""
    found = {}
    for sample in server.query(f'{{job="{job}",__name__!~"up|scrape_.*"}}'):
        labels = {k: v for k, v in sample.labels.items() if k not in {"job", "instance"}}
        key = (labels.pop("__name__"), *map(str, sorted(labels.items())))
        found[key] = sample.value
    return found


def exposed_samples(answer: Answer, *, openmetrics: bool) -> dict[tuple[str, ...], float]:
    """Return every sample of a canned body; an empty label is absent."""
    return {
        (
            sample.name,
            *(str(pair) for pair in sorted(sample.labels.items()) if pair[1]),
        ): sample.value
        for family in parse_with_prometheus_client(answer.body, openmetrics=openmetrics)
        for sample in family.samples
    }


@pytest.mark.parametrize("name", ["prometheus2", "prometheus3"])
def test_e67_e68_protobuf_samples_are_stored(stage: Stage, name: str) -> None:
    """Gauge, counter, summary and classic histogram have their values."""
    server = stage.prometheus(name, "native-histograms")
    await_first_scrape(server, "protobuf")

    assert found_samples(server, "protobuf") == {
        ("g",): 1.5,
        ("a_total", "('x', '1')"): 5,
        ("s", "('quantile', '0.5')"): 2,
        ("s_sum",): 6,
        ("s_count",): 3,
        ("h_bucket", "('le', '1.0')"): 1,
        ("h_bucket", "('le', '+Inf')"): 3,
        ("h_sum",): 6,
        ("h_count",): 3,
    }


@pytest.mark.parametrize("name", ["prometheus2", "prometheus3"])
def test_e71_a_native_histogram_is_stored(stage: Stage, name: str) -> None:
    """It has its labels, count, sum and buckets; it is no number."""
    server = stage.prometheus(name, "native-histograms")
    await_first_scrape(server, "protobuf")

    found = server.histogram('rpc_seconds{job="protobuf"}')

    assert found is not None
    assert found.labels["m"] == "GET"
    assert (found.count, found.sum) == (6, 18.4)
    assert found.buckets == [
        Bucket(1, -1, pytest.approx(-(2 ** -(1 / 8))), 1),
        Bucket(3, -(2**-128), 2**-128, 1),
        Bucket(0, pytest.approx(2 ** -(3 / 8)), pytest.approx(2 ** -(2 / 8)), 2),
        Bucket(0, pytest.approx(2 ** -(2 / 8)), pytest.approx(2 ** -(1 / 8)), 1),
        Bucket(0, pytest.approx(2 ** (2 / 8)), pytest.approx(2 ** (3 / 8)), 1),
    ]
    assert {point.value for point in server.points('rpc_seconds{job="protobuf"}')} == {6}
    assert server.query("rpc_seconds") == []


def test_other_series_are_no_native_histograms(stage: Stage) -> None:
    """Neither a gauge nor a missing series."""
    server = stage.prometheus("prometheus3", "native-histograms")
    await_first_scrape(server, "protobuf")

    assert server.histogram("g") is None
    assert server.histogram("unheard_of") is None
    assert server.points("unheard_of") == []


@pytest.mark.parametrize("name", ["prometheus2", "prometheus3"])
def test_e67_a_protobuf_exemplar_is_stored(stage: Stage, name: str) -> None:
    """It has the labels of its series and its own, value and time."""
    server = stage.prometheus(name, "native-histograms")
    await_first_scrape(server, "protobuf")

    (found,) = server.exemplars('{job="protobuf"}', span=time.time())

    assert (found.series["__name__"], found.series["x"]) == ("a_total", "1")
    assert (found.labels, found.value, found.time) == ({"trace_id": "ab"}, 1, 1700000000)
    assert server.exemplars('{job="protobuf"}') == []  # within an hour there is none


@pytest.mark.parametrize(("name", "unit"), [("prometheus2", ""), ("prometheus3", "seconds")])
def test_e66_protobuf_metadata_is_stored(stage: Stage, name: str, unit: str) -> None:
    """Types and helps; only Prometheus 3 reads the unit."""
    server = stage.prometheus(name, "native-histograms")
    await_first_scrape(server, "protobuf")

    assert server.target_metadata("protobuf") == {
        "g": MetricMetadata("gauge", "", ""),
        "a_total": MetricMetadata("counter", "h", ""),
        "s": MetricMetadata("summary", "", ""),
        "h": MetricMetadata("histogram", "", ""),
        "rpc_seconds": MetricMetadata("histogram", "h", unit),
    }


@pytest.mark.parametrize("name", ["prometheus2", "prometheus3"])
def test_e41_openmetrics_samples_are_stored(stage: Stage, name: str) -> None:
    """Every sample has its value; E35: start times are series of their own by default."""
    server = stage.prometheus(name)
    await_first_scrape(server, "openmetrics")

    assert found_samples(server, "openmetrics") == exposed_samples(OPENMETRICS, openmetrics=True)


@pytest.mark.parametrize("name", ["prometheus2", "prometheus3"])
def test_e41_openmetrics_exemplars_are_stored(stage: Stage, name: str) -> None:
    """Those of a counter and of buckets; E37: without a time of its own, one has the scrape's."""
    server = stage.prometheus(name)
    await_first_scrape(server, "openmetrics")

    found = {
        (each.series["__name__"], each.series.get("le")): each
        for each in server.exemplars('{job="openmetrics"}', span=time.time())
    }

    requests = found.pop(("app_requests_total", None))
    slowest = found.pop(("app_lat_seconds_bucket", "+Inf"))
    middle = found.pop(("app_lat_seconds_bucket", "1.0"))
    assert found == {}
    assert (requests.labels, requests.value) == ({"trace_id": "0af7"}, 1)
    assert requests.time == slowest.time == 1700000000.5
    assert (slowest.labels, slowest.value) == ({"trace_id": "a", "span_id": "b"}, 4.5)
    assert (middle.labels, middle.value) == ({}, 0.75)
    assert NOW <= middle.time <= time.time()


@pytest.mark.parametrize("name", ["prometheus2", "prometheus3"])
def test_e41_openmetrics_metadata_is_stored(stage: Stage, name: str) -> None:
    """Types, helps and units by the family's name."""
    server = stage.prometheus(name)
    await_first_scrape(server, "openmetrics")

    assert server.target_metadata("openmetrics") == {
        "target": MetricMetadata("info", "Target metadata", ""),
        "app_requests": MetricMetadata("counter", 'Requests, "quoted" \\ and\nnewline.', ""),
        "app_lat_seconds": MetricMetadata("histogram", "Latency.", "seconds"),
    }


@pytest.mark.parametrize(
    ("job", "expr", "value"),
    [
        ("protobuf-recent", "a_total", 5),
        ("protobuf-recent", "rpc_seconds", 6),
        ("openmetrics-recent", 'app_requests_total{method="GET"}', 1027),
        ("openmetrics-recent", "app_lat_seconds_count", 3),
    ],
)
def test_e35_a_start_time_is_the_first_point(
    stage: Stage, job: str, expr: str, value: float
) -> None:
    """The series begins with a zero at its start time; no series holds that time."""
    server = stage.prometheus("prometheus3", "all")
    await_first_scrape(server, job)

    (stamp, zero), *others = server.points(expr)

    assert (int(stamp), zero) == (CREATED, 0)
    assert others
    assert {point.value for point in others} == {value}
    assert all(point.time >= NOW for point in others)
    assert server.query('{__name__=~".*_created"}') == []


def test_several_series_raise(stage: Stage) -> None:
    """If a query must have one."""
    server = stage.prometheus("prometheus3")
    await_first_scrape(server, "openmetrics")

    for ask in (server.value, server.points):
        with pytest.raises(LookupError, match="finds 2 series"):
            ask('app_requests_total{job="openmetrics"}')


def test_e26_victoriametrics_stores_the_text_format(stage: Stage) -> None:
    """Every sample has its value, every metric its type and help."""
    server = stage.scraper("victoriametrics")
    await_first_scrape(server, "default")

    assert found_samples(server, "default") == exposed_samples(TEXT, openmetrics=False)
    assert server.metadata() == {
        "app_requests_total": [{"type": "counter", "help": 'Requests, "quoted" \\ and\nnewline.'}],
        "app_temp_celsius": [{"type": "gauge", "help": "Temp."}],
        "target_info": [{"type": "gauge", "help": "Target metadata"}],
    }


def test_a_new_series_is_stored_after_the_next_scrape(stage: Stage) -> None:
    """On VictoriaMetrics too, which by default returns new series late."""
    server = stage.scraper("victoriametrics")
    path = "/victoriametrics/default"
    server.wait_for_scrape("default")
    try:
        stage.target.answers[path] = Answer(b"fresh 1\n")
        server.wait_for_scrape("default")

        assert server.value("fresh") == 1
    finally:
        stage.target.answers[path] = TEXT


# --- warnings --------------------------------------------------------------------------

WATCHED = [
    ("prometheus2", "native-histograms"),
    ("prometheus3", "native-histograms"),
    ("victoriametrics", "default"),
]


@pytest.mark.parametrize(("name", "setting"), WATCHED)
def test_a_failed_scrape_is_a_warning(stage: Stage, name: str, setting: str) -> None:
    """Successful scrapes are not logged; failed ones are."""
    server = stage.scraper(name, setting)
    path = f"/{name}/{setting}"
    server.wait_for_scrape(setting)
    marks = [len(server.log())]
    server.wait_for_scrape(setting)
    assert server.warnings(marks[-1]) == []
    try:
        for bad in (Answer(status=500), Answer(b"a{ 1\n")):
            stage.target.answers[path] = bad
            wait_until(lambda: server.warnings(marks[-1]) != [], 10.0, "a warning")

            stage.target.answers[path] = TEXT
            server.wait_for_scrape(setting)
            marks.append(len(server.log()))
    finally:
        stage.target.answers[path] = TEXT


def test_e15_a_dropped_sample_is_a_warning(stage: Stage) -> None:
    """The scrape succeeds, but Prometheus 3 logs the second sample of a series."""
    server = stage.prometheus("prometheus3", "native-histograms")
    path = "/prometheus3/native-histograms"
    server.wait_for_scrape("native-histograms")
    mark = len(server.log())
    try:
        stage.target.answers[path] = Answer(b"doubled 1\ndoubled 2\n")
        server.wait_for_scrape("native-histograms")

        assert any("num_dropped=1" in line for line in server.warnings(mark))
        assert server.value("doubled") == 1
    finally:
        stage.target.answers[path] = TEXT


def test_the_servers_log_no_warnings(stage: Stage) -> None:
    """The canned bodies are scraped without a warning, from the start on."""
    watched = {" ".join(each) for each in WATCHED}  # these got invalid responses
    quiet = {name: server for name, server in stage.servers.items() if name not in watched}
    for server in quiet.values():
        for target in server.targets():
            await_first_scrape(server, target["labels"]["job"])

    assert {name: server.warnings() for name, server in quiet.items()} == {
        name: [] for name in quiet
    }


def test_e35_a_start_time_that_is_not_stored_is_a_warning(stage: Stage) -> None:
    """For a counter that began years ago, no zero is stored."""
    server = stage.prometheus("prometheus3", "created-timestamp-zero-ingestion")
    path = "/prometheus3/created-timestamp-zero-ingestion"
    server.wait_for_scrape("created-timestamp-zero-ingestion")
    try:
        stage.target.answers[path] = OPENMETRICS
        server.wait_for_scrape("created-timestamp-zero-ingestion")

        assert any('err="out of bounds"' in line for line in server.warnings())
        assert {point.value for point in server.points("app_lat_seconds_count")} == {3}
    finally:
        stage.target.answers[path] = TEXT


# --- the canned target and the server process ------------------------------------------


def test_a_canned_target_serves_its_bodies() -> None:
    """With status and headers; unknown paths are 404."""
    told = {"X-One": "1"}
    with CannedTarget({"/a": Answer(b"b", "text/x", told), "/c": Answer(b"", None)}) as target:
        body, headers = fetch(f"http://{target.target}/a")
        _, plain = fetch(f"http://{target.target}/c")
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            fetch(f"http://{target.target}/d")
        refused.value.close()

    assert (body, headers["Content-Type"], headers["X-One"]) == (b"b", "text/x", "1")
    assert "Content-Type" not in plain


def test_a_canned_target_records_requests() -> None:
    """Path with query and headers; the last one of each path is returned."""
    with CannedTarget({"/a?b=c": Answer()}) as target:
        for number in "12":
            fetch(f"http://{target.target}/a?b=c", {"X-Number": number})
        request = target.wait_for_request("/a?b=c")
        with pytest.raises(TimeoutError, match="/unasked"):
            target.wait_for_request("/unasked", 0.1)

    assert [each.header("x-number") for each in target.requests] == ["1", "2"]
    assert request == target.requests[1]
    assert request.header("unheard-of") is None


def test_a_server_that_exits_raises_with_its_log() -> None:
    """During its start and later."""
    bad = ScrapeJob("a", "127.0.0.1:1", {"unheard_of": 1})
    server = PrometheusServer("prometheus3", [bad])
    with pytest.raises(RuntimeError, match=re.escape("unheard_of")), server:
        pass
    with PrometheusServer("prometheus3", []) as ended:
        assert ended._process is not None
        ended._process.kill()
        ended._process.wait()
        with pytest.raises(RuntimeError, match="Server is ready"):
            ended.query("up")
