"""Reader and life of series end to end: real SDK, reader, registry, text format; one or more tests per rule."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.view import (
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    View,
)

from mapping_sdk import (
    CUMULATIVE,
    DEADLINE,
    DELTA,
    SDK,
    SHOP,
    THOROUGH_SDK,
    Page,
    Rig,
    hand_over,
    metric,
    observing,
    read,
    warnings_about,
)
from otel_aioprom.collectors import Counter
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render


def test_m1_values_are_cumulative(rig: Rig) -> None:
    """The SDK aggregates; each response exposes the current sum."""
    counter = rig.meter().create_counter("c")
    histogram = rig.meter().create_histogram("h")
    counter.add(1)
    histogram.record(1)
    rig.scrape()
    counter.add(2)
    histogram.record(2)

    samples = rig.samples()
    assert samples["c_total"] == 3
    assert (samples["h_count"], samples["h_sum"]) == (2, 3)


def test_m1_temporality_is_no_option() -> None:
    """Options that Prometheus cannot use do not exist."""
    with pytest.raises(TypeError):
        PrometheusMetricReader(
            registry=CollectorRegistry(),
            preferred_temporality={sdk.Counter: DELTA},  # type: ignore[call-arg]
        )


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads switch as often as possible."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_m2_concurrent_scrapes_are_all_whole(rig: Rig) -> None:
    """No response is empty, doubled or torn while others are made and values change."""
    counter = rig.meter().create_counter("c")
    histogram = rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
    for number in range(20):
        counter.add(1, {"n": number})
    histogram.record(1.5)

    def work(_: int) -> Page:
        histogram.record(1.5)
        return rig.scrape()

    with ThreadPoolExecutor(8) as threads:
        pages = list(threads.map(work, range(80), timeout=DEADLINE))

    for page in pages:
        assert len(page.named("c_total")) == 20
        assert set(page.named("c_total").values()) == {1}
        assert (
            page.samples["h_count"]
            == page.samples['h_bucket{le="+Inf"}']
            == page.samples['h_bucket{le="2"}']
        )
        assert page.samples["h_sum"] == 1.5 * page.samples["h_count"]


async def test_m2_concurrent_asynchronous_scrapes_are_all_whole(rig: Rig) -> None:
    """Requests that share a collection each get the whole response."""
    rig.meter().create_counter("c").add(1)

    answers = await asyncio.wait_for(
        asyncio.gather(*(async_render(rig.registry) for _ in range(20))), DEADLINE
    )

    assert [read(body).samples for body, _ in answers] == [{"c_total": 1}] * 20


@pytest.mark.usefixtures("hasty_threads")
def test_m2_collect_flush_and_shutdown_may_meet(rig: Rig) -> None:
    """All at once neither raise nor wait for each other for ever."""
    rig.meter().create_counter("c").add(1)
    actions = [rig.samples, rig.provider.force_flush, rig.reader.collect] * 20 + [
        rig.reader.shutdown,
        rig.samples,
    ]

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda action: action(), actions, timeout=DEADLINE))

    assert all(result in ({"c_total": 1}, {}) for result in results[0:60:3])
    assert rig.samples() == {}


def test_m3_an_empty_collection_exposes_nothing_of_the_last(rig: Rig) -> None:
    """The SDK does not deliver an empty collection; the response is empty all the same."""
    rig.meter().create_observable_gauge("temp", [observing([(5, {})], [])])

    assert rig.samples() == {"temp": 5}
    assert rig.samples() == {}
    assert rig.scrape().types == {}


def test_m4_flushing_is_harmless(rig: Rig) -> None:
    """However often a provider is flushed, a response exposes each value once."""
    rig.meter().create_counter("c").add(1)
    for _ in range(3):
        rig.provider.force_flush()

    assert rig.samples() == {"c_total": 1}


def test_m4_after_shutdown_nothing_is_exposed(rig: Rig) -> None:
    """Shutting down is quiet a second time, and takes the reader out of the registry."""
    rig.meter().create_counter("c").add(1)
    rig.scrape()
    rig.provider.shutdown()
    rig.reader.shutdown()
    rig.provider.shutdown()
    rig.reader.collect()

    assert rig.samples() == {}
    assert rig.registry.get_all() == []


def test_m4_shutdown_leaves_others_alone(rigs: Callable[..., Rig]) -> None:
    """Hand-made metrics and other readers of the registry stay."""
    first = rigs()
    second = rigs(registry=first.registry)
    Counter("jobs_total", "Jobs.", registry=first.registry).inc()
    first.meter().create_counter("a").add(1)
    second.meter().create_counter("b").add(1)
    first.scrape()
    first.provider.shutdown()

    assert first.samples() == {"jobs_total": 1, "b_total": 1}


def test_m5_default_aggregation_is_an_option(rigs: Callable[..., Rig]) -> None:
    """The reader can make all histograms exponential."""
    aggregation = ExponentialBucketHistogramAggregation(max_scale=8)
    rig = rigs(preferred_aggregation={sdk.Histogram: aggregation})
    rig.meter().create_histogram("h").record(3)

    assert rig.samples() == {'h_bucket{le="+Inf"}': 1, "h_sum": 3, "h_count": 1}


def test_m6_without_accept_the_answer_is_classic_text(rig: Rig) -> None:
    """Old servers send no Accept header, and get the classic format."""
    rig.meter().create_counter("http.requests").add(1)
    body, headers = render(rig.registry)

    assert dict(headers)["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert read(body).samples == {"http_requests_total": 1}


def test_m6_reader_beside_native_metrics(rig: Rig) -> None:
    """A reader is one source among others of its registry."""
    jobs = Counter("jobs_total", "Jobs finished.", registry=rig.registry)
    jobs.inc({"queue": "mail"})
    rig.meter().create_up_down_counter("queue.depth").add(3, {"queue": "mail"})

    assert rig.samples() == {'jobs_total{queue="mail"}': 1, 'queue_depth{queue="mail"}': 3}


def test_m7_no_timestamps(rigs: Callable[..., Rig]) -> None:
    """A line ends with its value."""
    rig = rigs(target_info_enabled=True, scope_info_enabled=True)
    rig.meter().create_counter("c").add(3)
    rig.meter().create_histogram("h").record(3)
    lines = [line for line in rig.scrape().text.splitlines() if not line.startswith("#")]

    assert lines
    assert all(re.fullmatch(r"[a-z_]+(\{.*\})? [0-9.]+", line) for line in lines)


def test_m9_names_from_end_to_end(rigs: Callable[..., Rig]) -> None:
    """Instrument names and view names come out in classic characters."""
    rig = rigs(views=[View(instrument_name="viewed", name="größe→x")])
    rig.meter().create_counter("a.-_/b").add(1)
    rig.meter().create_gauge("queue.age.", "s").set(2)
    rig.meter().create_gauge("viewed").set(3)

    assert rig.samples() == {"a_b_total": 1, "queue_age_seconds": 2, "gr_e_x": 3}


def test_m10_leading_digits_from_end_to_end(rigs: Callable[..., Rig]) -> None:
    """Views bring names that start with digits, and they stay apart."""
    views = [View(instrument_name="a", name="1abc"), View(instrument_name="b", name="2abc")]
    rig = rigs(views=views)
    rig.meter().create_counter("a").add(1)
    rig.meter().create_counter("b").add(2)

    assert rig.samples() == {"_1abc_total": 1, "_2abc_total": 2}


def test_m17_ratio_depends_on_the_data(rigs: Callable[..., Rig]) -> None:
    """The unit ``1`` means a ratio in Gauges alone, not in sums that become gauges."""
    rig = rigs(views=[View(instrument_name="seq", aggregation=LastValueAggregation())])
    rig.meter().create_gauge("cpu.util", "1").set(0.5)
    rig.meter().create_observable_gauge("cpu.ratio", [observing([(0.25, {})])], "1")
    rig.meter().create_counter("hits", "1").add(1)
    rig.meter().create_counter("seq", "1").add(2)
    rig.meter().create_up_down_counter("n", "1").add(3)

    assert rig.samples() == {
        "cpu_util_ratio": 0.5,
        "cpu_ratio": 0.25,
        "hits_total": 1,
        "seq_ratio": 2,
        "n": 3,
    }


def test_m19_prefix(rigs: Callable[..., Rig]) -> None:
    """Every name but target_info gets the prefix."""
    rig = rigs(prefix="my.app", target_info_enabled=True, resource=SHOP)
    rig.meter().create_counter("foo", "s").add(1)

    assert rig.samples() == {"my_app_foo_seconds_total": 1, 'target_info{service_name="shop"}': 1}


def test_m20_impossible_names_cost_themselves(
    rigs: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """A metric without a name is dropped, counted and logged once; the others are served."""
    rig = rigs(views=[View(instrument_name="bad", name="→→")])
    rig.meter().create_counter("bad").add(1)
    rig.meter().create_counter("hits").add(2)
    rig.scrape()

    page = rig.scrape()
    assert page.samples == {"hits_total": 2}
    assert sum(page.dropped.values()) >= 1
    assert len(warnings_about(caplog, "→→")) == 1


def test_m68_what_is_not_observed_is_not_exposed(rig: Rig) -> None:
    """Asynchronous series come and go with what callbacks observe."""
    both, one = [(1, {"a": 1}), (2, {"a": 2})], [(3, {"a": 2})]
    rig.meter().create_observable_gauge("temp", [observing(both, one, both)])
    rig.meter().create_observable_counter("ticks", [observing(both, one, both)])
    rig.meter().create_counter("c").add(1)

    full = {
        'temp{a="1"}': 1,
        'temp{a="2"}': 2,
        'ticks_total{a="1"}': 1,
        'ticks_total{a="2"}': 2,
        "c_total": 1,
    }
    assert rig.samples() == full
    assert rig.samples() == {'temp{a="2"}': 3, 'ticks_total{a="2"}': 3, "c_total": 1}
    assert rig.samples() == full


def test_m69_what_was_recorded_is_exposed_forever(rig: Rig) -> None:
    """Synchronous series stay with their values."""
    rig.meter().create_counter("c").add(1)
    rig.meter().create_up_down_counter("u").add(3)
    rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[]).record(4)

    first = rig.samples()
    assert first == {"c_total": 1, "u": 3, 'h_bucket{le="+Inf"}': 1, "h_sum": 4, "h_count": 1}
    assert [rig.samples() for _ in range(2)] == [first, first]


@pytest.mark.skipif(SDK < THOROUGH_SDK, reason="this SDK forgets gauges that were not set again")
def test_m69_gauges_stay_too(rig: Rig) -> None:
    """A synchronous gauge keeps the value that it was set to."""
    rig.meter().create_gauge("g").set(2)

    assert [rig.samples() for _ in range(3)] == [{"g": 2}] * 3


OVERFLOWN = {
    'hits_total{k="0"}': 2,
    'hits_total{k="1"}': 1,
    'hits_total{otel_metric_overflow="true"}': 3,
}


def test_m70_overflow_is_passed_on(rigs: Callable[..., Rig]) -> None:
    """What the SDK puts into its overflow point is one series."""
    if "aggregation_cardinality_limit" not in inspect.signature(View).parameters:
        pytest.skip("views of this SDK have no limits")
    rig = rigs(views=[View(instrument_name="hits", aggregation_cardinality_limit=2)])
    counter = rig.meter().create_counter("hits")
    for value in (0, 1, 2, 3, 4, 0):
        counter.add(1, {"k": value})

    assert rig.samples() == OVERFLOWN


def test_m70_limits_are_an_option_of_the_reader(rigs: Callable[..., Rig]) -> None:
    """The reader hands limits on to the SDK, and says so where the SDK takes none."""
    if "cardinality_limits" not in inspect.signature(export.MetricReader).parameters:
        with pytest.raises(TypeError, match="cardinality_limits"):
            rigs(cardinality_limits={sdk.Counter: 2})
        return
    rig = rigs(cardinality_limits={sdk.Counter: 2})
    counter = rig.meter().create_counter("hits")
    for value in (0, 1, 2, 3, 4, 0):
        counter.add(1, {"k": value})

    assert rig.samples() == OVERFLOWN


def test_m71_ended_points_are_not_exposed(rig: Rig) -> None:
    """The flag *no recorded value* takes its point out of the response, no other."""

    def point(flags: int, **attributes: Any) -> export.ExponentialHistogramDataPoint:
        buckets = export.Buckets(0, [1])
        return export.ExponentialHistogramDataPoint(
            attributes, 1, 2, 1, 3.0, 0, 0, buckets, buckets, flags, 3.0, 3.0
        )

    data = export.ExponentialHistogram([point(0, a="here"), point(1, a="gone")], CUMULATIVE)
    hand_over(rig.reader, metric("h", data))

    assert rig.samples() == {
        'h_bucket{a="here",le="+Inf"}': 1,
        'h_sum{a="here"}': 3,
        'h_count{a="here"}': 1,
    }


def test_m72_values_may_go_down(rig: Rig) -> None:
    """Resets are for the server to see."""
    rig.meter().create_observable_counter(
        "t", [observing([(10, {"a": 1})], [(3, {"a": 1})], [(4, {"a": 1})])]
    )

    assert [rig.samples()['t_total{a="1"}'] for _ in range(3)] == [10, 3, 4]


WHOLE = """\
# HELP target_info Target metadata
# TYPE target_info gauge
target_info{service_name="shop"} 1
# HELP http_server_requests_total Requests
# TYPE http_server_requests_total counter
http_server_requests_total{code="200",http_method="GET",@} 3
http_server_requests_total{http_method="POST",@} 1
# TYPE pool_used gauge
pool_used{@} 2
# TYPE cpu_utilization_ratio gauge
cpu_utilization_ratio{@} 0.25
# TYPE http_server_duration_seconds histogram
http_server_duration_seconds_bucket{@,le="0.1"} 1
http_server_duration_seconds_bucket{@,le="1"} 2
http_server_duration_seconds_bucket{@,le="+Inf"} 3
http_server_duration_seconds_sum{@} 5.5625
http_server_duration_seconds_count{@} 3
# TYPE process_cpu_time_seconds_total counter
process_cpu_time_seconds_total{@} 12.5
""".replace(
    "@",
    'otel_scope_name="shop.api",otel_scope_schema_url="",otel_scope_team="core",otel_scope_version="1.2"',
)


def test_m_one_program_has_one_complete_response(rigs: Callable[..., Rig]) -> None:
    """All rules at once, in one program."""
    rig = rigs(resource=SHOP, scope_info_enabled=True, target_info_enabled=True)
    meter = rig.meter("shop.api", version="1.2", attributes={"team": "core"})
    requests = meter.create_counter("http.server.requests", "{request}", "Requests")
    requests.add(3, {"http.method": "GET", "code": 200})
    requests.add(1, {"http.method": "POST"})
    meter.create_up_down_counter("pool.used", "{connection}").add(2)
    meter.create_gauge("cpu.utilization", "1").set(0.25)
    duration = meter.create_histogram(
        "http.server.duration", "s", explicit_bucket_boundaries_advisory=[0.1, 1]
    )
    for value in (0.0625, 0.5, 5):
        duration.record(value)
    meter.create_observable_counter("process.cpu.time", [observing([(12.5, {})])], "s")

    page, whole = rig.scrape(), read(WHOLE.encode())
    assert (page.samples, page.types) == (whole.samples, whole.types)
    assert page.helps["http_server_requests"] == "Requests"
