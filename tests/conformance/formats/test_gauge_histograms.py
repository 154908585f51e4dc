"""Gauge histograms: one name for each sample in every format, and no reader misreads them."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from client_model import TYPES, buckets_of, read_delimited, refuse
from format_families import encode, histogram
from oracles import FakeSource, dropped, family, names_of, number
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors import Histogram
from otel_aioprom.formats import (
    BinaryFormatter,
    OpenMetricsFormatter,
    Text100Formatter,
    TextFormatter,
)
from otel_aioprom.formats.protobuf_push import PushFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.validation import well_formed
from otel_aioprom.remote_write.encoder import WriteEncoder
from otel_aioprom.remote_write.sending.parts import without_native
from otel_aioprom.remote_write.sending.protocol import compress, decompress
from otel_aioprom.remote_write.sending.queue import QueuedMessage
from servers import check_with_promtool, parse_with_prometheus_client
from write_model import Request, WriteRequest, read_points

MARK = Exemplar((("trace_id", "1"),), 0.5, 5.0)
MOMENT = 1_800_000_000_000
NATIVE = NativeBuckets(0, zero_count=1, positive=[(0, 1), (1, 2)], exemplars=[MARK])


def ages(*series: Any, doc: str = "Ages.") -> MetricFamily:
    """A gauge histogram; one series without labels if none is given."""
    own = histogram([1, 3, 0], 5.5, (1.0, 2.0), created=5.0)
    return MetricFamily("age_seconds", "gaugehistogram", doc, "seconds", list(series) or [own])


def test_e21_text_has_gauges() -> None:
    """There is no such type: as a histogram, its counts would seem to be counters."""
    labelled = histogram([1, 0, 2], 4, (1.0, 2.0), labels={"a": "x", "z": "y"})
    body = encode(TextFormatter, ages(histogram([1, 3, 0], 5.5, (1.0, 2.0)), labelled))

    assert (
        body.decode()
        == """\
# HELP age_seconds_bucket Ages.
# TYPE age_seconds_bucket gauge
age_seconds_bucket{le="1.0"} 1
age_seconds_bucket{le="2.0"} 4
age_seconds_bucket{le="+Inf"} 4
age_seconds_bucket{a="x",z="y",le="1.0"} 1
age_seconds_bucket{a="x",z="y",le="2.0"} 1
age_seconds_bucket{a="x",z="y",le="+Inf"} 3
# HELP age_seconds_gcount Ages.
# TYPE age_seconds_gcount gauge
age_seconds_gcount 4
age_seconds_gcount{a="x",z="y"} 3
# HELP age_seconds_gsum Ages.
# TYPE age_seconds_gsum gauge
age_seconds_gsum 5.5
age_seconds_gsum{a="x",z="y"} 4
"""
    )
    check_with_promtool(body)


def test_e30_e34_openmetrics_has_the_type() -> None:
    """With unit and exemplars, without a start time."""
    one = histogram([1, 3, 0], 5.5, (1.0, 2.0), created=5.0, exemplars=[MARK, None, None])
    body = encode(OpenMetricsFormatter, ages(one), created_samples=True)

    assert (
        body.decode()
        == """\
# TYPE age_seconds gaugehistogram
# UNIT age_seconds seconds
# HELP age_seconds Ages.
age_seconds_bucket{le="1.0"} 1 # {trace_id="1"} 0.5 5.0
age_seconds_bucket{le="2.0"} 4
age_seconds_bucket{le="+Inf"} 4
age_seconds_gcount 4
age_seconds_gsum 5.5
# EOF
"""
    )
    assert [each.type for each in parse_with_prometheus_client(body, openmetrics=True)] == ["gaugehistogram"]  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "total", "written"),
    [
        ((1.0,), None, False),
        ((1.0,), nan, False),
        ((1.0,), -2, False),
        ((-1.0,), -2, True),
        ((-1.0,), 3, True),
        ((-1.0,), nan, False),
        ((1.0,), inf, True),
    ],
)
def test_e32_sums_that_openmetrics_forbids(bounds: Any, total: Any, written: bool) -> None:
    """A sum below zero needs a bound below zero; the count is there if and only if the sum is."""
    made = ages(histogram([1, 1], total, bounds))
    text = encode(OpenMetricsFormatter, made).decode()

    assert ("_gsum" in text, "_gcount" in text) == (written, written)
    parse_with_prometheus_client(text, openmetrics=True)
    assert ("_gsum" in encode(TextFormatter, made).decode()) is (total is not None)


def test_e64_protobuf_has_gauges_under_the_same_names() -> None:
    """Of the type of its own, Prometheus 2 mixes up the names, and 3 makes ``_count`` and ``_sum``."""
    found = read_delimited(encode(BinaryFormatter, ages()))

    assert [(each.name, TYPES[each.type]) for each in found] == [
        ("age_seconds_bucket", "GAUGE"),
        ("age_seconds_gcount", "GAUGE"),
        ("age_seconds_gsum", "GAUGE"),
    ]
    assert [(one.label[0].value, one.gauge.value) for one in found[0].metric] == [
        ("1.0", 1),
        ("2.0", 4),
        ("+Inf", 4),
    ]


def test_e64_protobuf_has_native_buckets_of_the_type() -> None:
    """With the classic ones as gauges, unless there are none."""
    both = histogram([2, 2, 0], 5.5, (1.0, 2.0), NATIVE, labels={"a": "both"}, created=5.0)
    alone = histogram([4], 5.5, (), NATIVE, labels={"a": "alone"})
    found = read_delimited(encode(BinaryFormatter, ages(both, alone), timestamps=True))
    for each in found:
        refuse(each)
    first, *rest = found

    assert (first.name, TYPES[first.type], first.unit) == ("age_seconds", "GAUGE_HISTOGRAM", "seconds")  # fmt: skip
    for metric in first.metric:
        held = metric.histogram
        assert (held.sample_count, held.sample_sum, held.zero_count) == (4, 5.5, 1)
        assert buckets_of(held.positive_span, held.positive_delta) == {0: 1, 1: 2}
        assert [each.value for each in held.exemplars] == [0.5]
        assert not held.bucket
        assert not held.HasField("created_timestamp")
    assert [each.name for each in rest] == ["age_seconds_bucket", "age_seconds_gcount", "age_seconds_gsum"]  # fmt: skip
    assert {one.label[0].value for each in rest for one in each.metric} == {"both"}
    assert all(one.timestamp_ms for each in found for one in each.metric)


def test_e84_a_push_has_gauges_only() -> None:
    """A gateway 1.5 breaks off its page at the type; native buckets are counted as lost."""
    formatter = PushFormatter()
    ready, faults = formatter.prepare([ages(histogram([4], 5.5, (), NATIVE)), family("fine")])
    found = read_delimited(b"".join(formatter.encode(ready)))

    assert {TYPES[each.type] for each in found} == {"GAUGE"}
    assert {each.name for each in found} >= {"age_seconds_bucket", "age_seconds_gcount", "age_seconds_gsum"}  # fmt: skip
    assert [(each.cause, each.subject, each.lost) for each in faults] == [
        ("type_conflict", "age_seconds", True)
    ]
    assert formatter.prepare([ages()])[1] == []


def test_e43_e45_names_are_quoted_or_escaped() -> None:
    """Of the metric and of its labels."""
    one = histogram([1, 1], 2, (1.0,), labels={"l.m": "v"})
    made = MetricFamily("age.s", "gaugehistogram", "", "", [one], utf8=True)

    assert '{"age.s_gcount","l.m"="v"} 2' in encode(Text100Formatter, made, scheme="allow-utf-8").decode()  # fmt: skip
    assert 'age_s_bucket{l_m="v",le="+Inf"} 2' in encode(TextFormatter, made).decode()
    found = read_delimited(encode(BinaryFormatter, made))
    assert [label.name for label in found[0].metric[0].label] == ["l_m", "le"]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_e99_remote_write_has_the_same_names(version: Any) -> None:
    """And the type, and a hint that counts may fall; no start time."""
    both = histogram([2, 2, 0], 5.5, (1.0, 2.0), NATIVE, created=5.0)
    encoder = WriteEncoder(version)
    (message,) = [each for each in encoder.messages([ages(both)], MOMENT) if each is not None]
    points = read_points(version, message.body)
    names = {dict(each.labels)["__name__"]: each for each in points}

    assert names.keys() == {"age_seconds", "age_seconds_bucket", "age_seconds_gcount", "age_seconds_gsum"}  # fmt: skip
    assert (names["age_seconds_gcount"].value, names["age_seconds_gsum"].value) == (4, 5.5)
    assert names["age_seconds"].histogram.reset_hint == 3
    assert {each.start for each in points} == {0}
    if version == "2.0":
        assert {each.metadata for each in points} == {("gaugehistogram", "Ages.", "seconds")}
    else:
        assert b"\x08\x04\x12\x0bage_seconds" in message.body  # the metadata


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_e104_without_native_histograms_a_server_gets_the_same_names(version: Any) -> None:
    """When a message is sent again without them."""
    encoder = WriteEncoder(version)
    made = ages(histogram([4], 5.5, (), NATIVE))
    (message,) = [each for each in encoder.messages([made], MOMENT) if each is not None]
    found = without_native(QueuedMessage(version, 1, compress(message.body), MOMENT))
    assert found is not None
    kind = WriteRequest if version == "1.0" else Request
    request = kind.FromString(bytes(decompress(found.message.body)))
    values = []
    for each in request.timeseries:
        labels = [one.value for one in each.labels] if version == "1.0" else [request.symbols[n] for n in each.labels_refs]  # fmt: skip
        (name,) = [text for text in labels if text.startswith("age_seconds")]
        values.append((name, each.samples[0].value))

    assert values == [("age_seconds_bucket", 4), ("age_seconds_gsum", 5.5), ("age_seconds_gcount", 4)]  # fmt: skip


def test_m54_its_sample_names_are_its_own() -> None:
    """Not those of a histogram: a metric of such a name is kept beside it."""
    registry = CollectorRegistry()
    others = [family(f"age_seconds_{end}") for end in ("gcount", "bucket", "count", "sum")]
    registry.add_source(FakeSource(ages(), *others))
    gathering = registry.gather()

    assert names_of(gathering) == ["age_seconds", "age_seconds_count", "age_seconds_sum"]
    assert dropped(gathering) == {"name_conflict": 2}
    for formatter in (TextFormatter, OpenMetricsFormatter, BinaryFormatter):
        body = encode(formatter, *gathering.families)
        assert all(name in body for name in (b"age_seconds_gsum", b"age_seconds_sum"))


def test_it_can_be_looked_up() -> None:
    """As a histogram, under its name."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(ages()))
    registry.gather()
    found = registry.get("age_seconds")

    assert isinstance(found, Histogram)
    assert found.get({}) == {1.0: 1, 2.0: 4, inf: 4, "count": 4, "sum": 5.5}


def test_an_invalid_one_costs_itself() -> None:
    """Like the series of every other type."""
    faults: list[Fault] = []
    good = histogram([1, 1], 2, (1.0,))
    wrong = histogram([1, -1], 2, (1.0,), labels={"a": "1"})
    bound = histogram([1, 1], 2, (1.0,), labels={"le": "1"})
    made = well_formed(ages(good, wrong, bound, number(1)), faults)

    assert list(made.series) == [good]
    assert sum(fault.number for fault in faults) == 3
