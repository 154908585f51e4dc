"""Text 0.0.4: types and whole families (E21 to E26)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pytest

from oracles import FakeSource, TextReader, all_kinds, family, number, sample_lines
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.series.number import CounterSeries, NumberSeries
from otel_aioprom.registry import CollectorRegistry


@pytest.fixture
def text_of() -> Iterator[TextReader]:
    """Encode text and check it with third-party parsers."""
    with TextReader() as reader:
        yield reader


def test_e21_the_types(text_of: TextReader) -> None:
    """In lower case; plain collectors are untyped."""
    types = re.findall("# TYPE (.*)", text_of(all_kinds()))

    assert types == ["any untyped", "c_total counter", "g gauge", "h histogram", "s summary"]


def test_e21_info_becomes_a_gauge_and_units_are_not_written(text_of: TextReader) -> None:
    """The format has neither."""
    registry = CollectorRegistry()
    info = family(
        "build_info", number(1, {"version": "2"}, NumberSeries), kind="info", doc="Build."
    )
    seconds = family("age_seconds", number(2.5), unit="seconds")
    registry.add_source(FakeSource(info, seconds))

    assert text_of(registry) == (
        "# TYPE age_seconds gauge\nage_seconds 2.5\n"
        '# HELP build_info Build.\n# TYPE build_info gauge\nbuild_info{version="2"} 1\n'
    )


def test_e22_counters_are_typed_with_total(text_of: TextReader) -> None:
    """HELP and TYPE have the sample's name, unchanged."""
    jobs, plain = Counter("jobs_total", "Jobs."), Counter("jobs", "")
    jobs.add({}, 3)
    plain.inc()
    source = family("ticks_total", number(4, kind=CounterSeries), kind="counter")

    assert text_of(jobs) == "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total 3\n"
    assert text_of(plain) == "# TYPE jobs counter\njobs 1\n"
    assert text_of(source) == "# TYPE ticks_total counter\nticks_total 4\n"


HISTOGRAM = """\
# HELP rpc_seconds Time.
# TYPE rpc_seconds histogram
rpc_seconds_bucket{m="GET",le="0.005"} 0
rpc_seconds_bucket{m="GET",le="1.0"} 2
rpc_seconds_bucket{m="GET",le="+Inf"} 3
rpc_seconds_sum{m="GET"} 6.25
rpc_seconds_count{m="GET"} 3
"""


def test_e23_the_example(text_of: TextReader) -> None:
    """Buckets are cumulative, the last one is the count; sum and count follow."""
    histogram = Histogram("rpc_seconds", "Time.", buckets=[0.005, 1])
    for value in (0.25, 1, 5):
        histogram.observe({"m": "GET"}, value)

    assert text_of(histogram) == HISTOGRAM


def test_e23_the_lines_of_a_series_are_consecutive(text_of: TextReader) -> None:
    """All lines of one label set, then the next; without labels, only ``le``."""
    histogram = Histogram("h", "", buckets=[1])
    histogram.observe({}, 0.5)
    histogram.observe({"a": 1}, math.nan)

    assert sample_lines(text_of(histogram)) == [
        'h_bucket{le="1.0"} 1',
        'h_bucket{le="+Inf"} 1',
        "h_sum 0.5",
        "h_count 1",
        'h_bucket{a="1",le="1.0"} 0',
        'h_bucket{a="1",le="+Inf"} 1',
        'h_sum{a="1"} NaN',
        'h_count{a="1"} 1',
    ]


SUMMARY = """\
# TYPE s summary
s{quantile="0.5"} NaN
s{quantile="0.99"} NaN
s_sum 0
s_count 0
"""


def test_e24_the_example(text_of: TextReader) -> None:
    """Without observations, quantiles are NaN."""
    summary = Summary("s", "", invariants=[(0.99, 0.001), (0.5, 0.05)])
    summary.labels()

    assert text_of(summary) == SUMMARY


def test_e24_quantiles_ascend_then_sum_and_count(text_of: TextReader) -> None:
    """Series by series; without quantiles, only sum and count."""
    summary = Summary("s", "", invariants=[(0.9, 0.01), (0.5, 0.05)])
    summary.observe({"a": 1}, 2.5)
    bare = Summary("t", "", invariants=())
    bare.observe({"a": 1}, 2)

    assert sample_lines(text_of(summary)) == [
        's{a="1",quantile="0.5"} 2.5',
        's{a="1",quantile="0.9"} 2.5',
        's_sum{a="1"} 2.5',
        's_count{a="1"} 1',
    ]
    assert sample_lines(text_of(bare)) == ['t_sum{a="1"} 2', 't_count{a="1"} 1']


WHOLE = r"""# HELP app_requests_total Requests, "quoted" \\ and\nnewline.
# TYPE app_requests_total counter
app_requests_total{method="GET",path="/a\"b\\c\nd"} 1027
app_requests_total{method="POST",path=""} 3
# HELP app_temp_celsius Temp.
# TYPE app_temp_celsius gauge
app_temp_celsius -12.5
# HELP target_info Target metadata
# TYPE target_info gauge
target_info{service_name="s"} 1
"""


def test_e26_a_whole_response(text_of: TextReader) -> None:
    """With three families, two of them from native collectors."""
    registry = CollectorRegistry()
    target = family(
        "target_info", number(1, {"service_name": "s"}), kind="info", doc="Target metadata"
    )
    registry.add_source(FakeSource(target))
    Gauge("app_temp_celsius", "Temp.", registry=registry).set({}, -12.5)
    requests = Counter(
        "app_requests_total", 'Requests, "quoted" \\ and\nnewline.', registry=registry
    )
    requests.add({"path": '/a"b\\c\nd', "method": "GET"}, 1027)
    requests.add({"method": "POST", "path": ""}, 3)

    assert text_of(registry) == WHOLE
