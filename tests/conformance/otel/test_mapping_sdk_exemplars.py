"""Exemplars and start times (M61 to M67)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Exemplar,
    export,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from mapping_sdk import CUMULATIVE, Rig, hand_over, histogram_point, metric, observing, refuse
from otel_aioprom.otel.exemplars import translate
from otel_aioprom.otel.names import label_name
from otel_aioprom.renderer import async_render, render
from servers import parse_with_prometheus_client

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SPAN = 0xB7AD6B7169203331
IDS = 'trace_id="0af7651916cd43dd8448eb211c80319c",span_id="b7ad6b7169203331"'
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
WRITTEN = 1_700_000_000_123_000_000


@contextmanager
def span(*, sampled: bool = True) -> Iterator[None]:
    """A span that is active."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
    context = trace.SpanContext(TRACE, SPAN, is_remote=False, trace_flags=flags)
    with trace.use_span(trace.NonRecordingSpan(context)):
        yield


def openmetrics(rig: Rig, **options: Any) -> dict[str, str]:
    """Lines of samples in OpenMetrics by what stands before the value."""
    body, _ = render(rig.registry, [OPENMETRICS], **options)
    parse_with_prometheus_client(body, openmetrics=True)
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    return {line.split(" ")[0]: line.split(" ", 1)[1] for line in lines}


def given(value: float = 1, **changes: Any) -> Exemplar:
    """An exemplar of the SDK's."""
    return Exemplar(
        **{
            "filtered_attributes": {},
            "value": value,
            "time_unix_nano": WRITTEN,
            "span_id": SPAN,
            "trace_id": TRACE,
            **changes,
        }
    )


def counter_with(rig: Rig, *exemplars: Exemplar) -> None:
    """Let the reader's next collections yield a counter with these exemplars."""
    point = export.NumberDataPoint({}, 1, 2, 3.0, list(exemplars))
    hand_over(rig.reader, metric("c", export.Sum([point], CUMULATIVE, True)))


# --- exemplars -------------------------------------------------------------------------


def test_m61_m62_the_example_of_a_counter(rig: Rig) -> None:
    """Ids in hexadecimal, then what the view took off; value and time of the measurement."""
    counter_with(rig, given(1.0, filtered_attributes={"y": 2}))

    assert openmetrics(rig)["c_total"] == f'3.0 # {{{IDS},y="2"}} 1.0 1700000000.123'


def test_m61_exemplars_of_a_real_measurement(rig: Rig) -> None:
    """On a counter and in the bucket of a histogram, in both formats that carry them, and in no other."""
    meter = rig.meter()
    histogram = meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
    with span():
        meter.create_counter("c").add(2)
        meter.create_up_down_counter("u").add(2)
        meter.create_gauge("g").set(2)
        histogram.record(1.5)
    lines = openmetrics(rig)
    protobuf, _ = render(rig.registry, [PROTOBUF])
    text, _ = render(rig.registry)

    assert f"# {{{IDS}}} 2 1" in lines["c_total"]
    assert f"# {{{IDS}}} 1.5 1" in lines['h_bucket{le="2.0"}']
    assert "#" not in lines['h_bucket{le="1.0"}']
    assert "#" not in lines["u"] + lines["g"] + lines["h_sum"] + lines["h_count"]
    assert protobuf.count(b"0af7651916cd43dd8448eb211c80319c") == 2
    assert b"0af7651916cd43dd8448eb211c80319c" not in text


def test_m61_exponential_histograms_have_them_in_a_list(rigs: Callable[..., Rig]) -> None:
    """And, exposed as classic ones, in their bucket."""
    view = View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())
    rig = rigs(views=[view])
    histogram = rig.meter().create_histogram("h")
    with span():
        histogram.record(3)
    line = openmetrics(rig)['h_bucket{le="+Inf"}']
    series: Any = rig.registry.get("h").labels()

    assert f"# {{{IDS}}} 3 1" in line
    assert [exemplar.value for exemplar in series.native.exemplars] == [3]
    assert series.native.exemplars[0].labels[0] == ("trace_id", f"{TRACE:032x}")


def test_m62_without_a_span_there_are_no_ids(rigs: Callable[..., Rig]) -> None:
    """Not empty ones either."""
    rig = rigs()
    counter_with(rig, given(trace_id=None, span_id=0))

    assert openmetrics(rig)["c_total"] == "3.0 # {} 1 1700000000.123"


def test_m62_ids_win_over_attributes_of_their_names() -> None:
    """Also over those that only become so by escaping."""
    filtered = {"trace.id": "mine", "span_id": "mine", "other": True}
    found = translate(given(filtered_attributes=filtered), label_name, refuse)

    assert dict(found.labels) == {
        "trace_id": f"{TRACE:032x}",
        "span_id": f"{SPAN:016x}",
        "other": "true",
    }


@pytest.mark.parametrize(
    ("filtered", "kept"),
    [
        ({"y": "v" * 64}, True),
        ({"y": "v" * 65}, False),
        ({"y": "\U0001f600" * 64}, True),
        ({"y": "v" * 60, "z": "v" * 10}, False),
    ],
)
def test_m63_too_long_exemplar_labels_are_dropped(filtered: dict[str, str], kept: bool) -> None:
    """All attributes together, never the ids; characters count, not bytes."""
    found = translate(given(filtered_attributes=filtered), label_name, refuse)

    assert [name for name, _ in found.labels] == [
        "trace_id",
        "span_id",
        *(filtered if kept else []),
    ]


def test_m63_without_ids_too_long_means_none() -> None:
    """The exemplar itself stays."""
    long = given(filtered_attributes={"y": "v" * 200}, trace_id=None, span_id=None)

    assert translate(long, label_name, refuse).labels == ()


async def test_m64_an_exemplar_stays_until_a_newer_one_comes(rig: Rig) -> None:
    """The SDK gives each but once; every response has the latest."""
    counter = rig.meter().create_counter("c")
    with span():
        counter.add(1)
    first, second = openmetrics(rig)["c_total"], openmetrics(rig)["c_total"]
    await asyncio.sleep(0.002)  # the clock of another exemplar
    with span():
        counter.add(5)
    third = openmetrics(rig)["c_total"]

    assert first == second
    assert f"# {{{IDS}}} 1 " in first
    assert f"# {{{IDS}}} 5 " in third


def test_m64_of_several_the_latest_counts(rig: Rig) -> None:
    """Of a counter one; of a histogram one in each bucket, each in its own."""
    later = {"time_unix_nano": WRITTEN + 10**9}
    counter_with(rig, given(7.0, **later), given(6.0))
    assert openmetrics(rig)["c_total"].endswith(" 7.0 1700000001.123")

    exemplars = [given(0.5), given(0.75, **later), given(1.0), given(9.0)]
    point = histogram_point(exemplars=exemplars)
    hand_over(rig.reader, metric("h", export.Histogram([point], CUMULATIVE)))
    lines = openmetrics(rig)
    assert lines['h_bucket{le="1.0"}'].endswith(" 0.75 1700000001.123")
    assert lines['h_bucket{le="+Inf"}'].endswith(" 9.0 1700000000.123")


def test_m64_a_flush_removes_no_exemplar(rigs: Callable[..., Rig]) -> None:
    """What it is given is kept for the next response: on counters, histograms of both kinds."""
    view = View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation())
    rig = rigs(views=[view])
    meter = rig.meter()
    counter, classic, fine = (
        meter.create_counter("c"),
        meter.create_histogram("h"),
        meter.create_histogram("e"),
    )
    for record in (counter.add, classic.record, fine.record):
        record(1)  # type: ignore[operator]
    openmetrics(rig)
    with span():
        for record in (counter.add, classic.record, fine.record):
            record(2)  # type: ignore[operator]
    rig.provider.force_flush()
    lines = openmetrics(rig)

    for key in ("c_total", 'h_bucket{le="5.0"}', 'e_bucket{le="+Inf"}'):
        assert f"# {{{IDS}}} 2 " in lines[key]


def test_m65_the_sdk_filters(rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sampled span there is none, unless the provider says always or never."""
    rig = rigs()
    counter = rig.meter().create_counter("c")
    counter.add(1)
    with span(sampled=False):
        counter.add(1)
    assert "#" not in openmetrics(rig)["c_total"]

    for variable, chosen in (("always_on", True), ("always_off", False)):
        monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", variable)
        other = rigs()
        with span():
            other.meter().create_counter("c").add(1)
        assert ("#" in openmetrics(other)["c_total"]) is chosen
    assert AlwaysOnExemplarFilter is not AlwaysOffExemplarFilter


# --- start times -----------------------------------------------------------------------

STARTED = 1_520_430_000_123_000_000


def test_m66_start_times_in_openmetrics_are_an_option(rig: Rig) -> None:
    """As samples of their own, with the labels of the series; of gauges never."""
    total = export.NumberDataPoint({"k": "v"}, STARTED, STARTED + 5, 3)
    level = export.NumberDataPoint({}, STARTED, STARTED + 5, 3)
    histogram = histogram_point(start_time_unix_nano=STARTED)
    hand_over(
        rig.reader,
        metric("foo", export.Sum([total], CUMULATIVE, True)),
        metric("level", export.Sum([level], CUMULATIVE, False)),
        metric("h", export.Histogram([histogram], CUMULATIVE)),
    )
    lines = openmetrics(rig, created_samples=True)

    assert lines['foo_created{k="v"}'] == "1520430000.123"
    assert lines["h_created"] == "1520430000.123"
    assert "level_created" not in lines
    assert not [key for key in openmetrics(rig) if "_created" in key]
    assert b"_created" not in render(rig.registry, created_samples=True)[0]


def test_m66_start_times_in_protobuf_are_always_there(rig: Rig) -> None:
    """Seconds and nanoseconds, in counters and histograms."""
    total = export.NumberDataPoint({}, STARTED, STARTED + 5, 3)
    hand_over(rig.reader, metric("foo", export.Sum([total], CUMULATIVE, True)))
    body, _ = render(rig.registry, [PROTOBUF])

    # 1520430000 seconds and 123000000 nanoseconds, as varints
    assert bytes.fromhex("08b0d7ffd405") + bytes.fromhex("10c0a9d33a") in body


def test_m66_a_start_time_stays_until_a_reset(rig: Rig) -> None:
    """A smaller value with a later start: both are exposed."""
    for value, start in ((10, STARTED), (3, STARTED + 10**10)):
        point = export.NumberDataPoint({}, start, start + 5, value)
        hand_over(rig.reader, metric("foo", export.Sum([point], CUMULATIVE, True)))
        lines = openmetrics(rig, created_samples=True)
        assert lines["foo_total"] == str(value)
        assert lines["foo_created"] == repr(start / 10**9)


def test_m66_real_start_times(rig: Rig) -> None:
    """The time of a series' first measurement, the same in each response; observable ones too."""
    rig.meter().create_counter("c").add(1)
    rig.meter().create_observable_counter("o", [observing([(1, {})], [(2, {})])])
    first, second = (openmetrics(rig, created_samples=True) for _ in range(2))

    assert first["c_created"] == second["c_created"]
    assert first["o_created"] == second["o_created"]
    assert float(first["c_created"]) > 1.7e9


async def test_m67_the_time_of_a_point_is_not_exposed(rig: Rig) -> None:
    """No sample has a timestamp, in any format."""
    rig.meter().create_counter("c").add(1)

    assert openmetrics(rig)["c_total"] == "1"
    assert (await async_render(rig.registry))[0].endswith(b"c_total 1\n")


# --- the SDK's own metrics ---------------------------------------------------------------


def test_m80_the_reader_says_what_kind_of_component_it_is(
    rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the SDK measures its readers: from the second response on."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    rig = rigs()
    rig.meter().create_counter("c").add(1)
    openmetrics(rig)
    name = "otel_sdk_metric_reader_collection_duration_seconds_count"
    found = [key for key in openmetrics(rig) if key.startswith(name)]

    assert len(found) == 1
    assert 'otel_component_type="prometheus_http_text_metric_exporter"' in found[0]
