"""Corner cases of the mapping: names that collide, attributes that cannot be converted, inconsistent data."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import Histogram, MeterProvider, export
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from mapping_sdk import CUMULATIVE, Rig, hand_over, histogram_point, metric
from otel_aioprom.formats import BinaryFormatter, OpenMetricsFormatter, with_escaping
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.otel.summaries import explicit_quantile
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from servers import parse_with_prometheus_client

HUGE = 10**5000
FINE = {Histogram: ExponentialBucketHistogramAggregation(max_scale=0)}
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def sampled() -> Any:
    """A context with a sampled span."""
    context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    return set_span_in_context(NonRecordingSpan(context))


def openmetrics(rig: Rig, scheme: str = "underscores", **options: Any) -> str:
    """A response in OpenMetrics, which the strict parser has read."""
    body, _ = render(rig.registry, [f"{OPENMETRICS};escaping={scheme}"], **options)
    parse_with_prometheus_client(body, openmetrics=True)
    return body.decode()


# --- names -------------------------------------------------------------------------------


def test_m21_m57_labels_of_a_later_scope_are_escaped_too() -> None:
    """The first one's names were classic; that says nothing of the second one's."""
    rig = Rig(translation_strategy="NoTranslation")
    rig.meter("a").create_counter("hits_total").add(1, {"a": 1})
    rig.meter("b").create_counter("hits_total").add(1, {"x.y": 1})

    assert rig.samples() == {'hits_total{a="1"}': 1, 'hits_total{x_y="1"}': 1}
    assert 'hits_total{x_y="1"} 1' in openmetrics(rig)
    assert b"x.y" not in BinaryFormatter().marshall(rig.registry)


def test_m22_m57_labels_of_a_second_reader_are_escaped_too() -> None:
    """Of one registry."""
    registry = CollectorRegistry()
    rigs = [Rig(translation_strategy="NoTranslation", registry=registry) for _ in range(2)]
    rigs[0].meter().create_counter("hits").add(1, {"a": 1})
    rigs[1].meter().create_counter("hits").add(1, {"x.y": 1})

    assert rigs[0].samples() == {'hits_total{a="1"}': 1, 'hits_total{x_y="1"}': 1}


def test_m55_another_description_does_not_keep_labels_from_being_escaped() -> None:
    """The owner's words are kept, its spelling of labels is not."""
    rig = Rig(translation_strategy="NoTranslation")
    rig.meter("a").create_gauge("g", description="one").set(1, {"a": 1})
    rig.samples()
    rig.meter("b").create_gauge("g", description="two").set(1, {"x.y": 1})

    assert rig.samples() == {'g{a="1"}': 1, 'g{x_y="1"}': 1}


def test_m54_labels_do_not_decide_who_has_a_name() -> None:
    """Whose name is classic has it by right, whatever its labels are called."""
    rig = Rig(translation_strategy="NoTranslation")
    rig.meter().create_gauge("a.b").set(1)
    counter = rig.meter().create_counter("a_b")
    counter.add(1)
    first = rig.scrape().types
    counter.add(1, {"x.y": 1})

    assert first == rig.scrape().types == {"a_b": "counter"}


def test_m43_keys_equal_in_utf8_are_one_label() -> None:
    """A label twice in a sample costs a whole response."""
    rig = Rig(translation_strategy="NoTranslation")
    rig.meter().create_counter("c").add(
        1, {f"a{chr(code)}": str(code) for code in (0xD800, 0xD801)}
    )
    allowed = with_escaping(OpenMetricsFormatter, "allow-utf-8")().marshall(rig.registry).decode()

    assert '{"a\ufffd"="55296;55297"} 1\n' in allowed
    assert allowed.count("=") == 1


def test_m54_a_family_without_series_has_no_name() -> None:
    """A metric without points does not block its name for others."""
    rig = Rig()
    bad = metric("h", export.Histogram([histogram_point(count=9)], CUMULATIVE))
    good = metric("h", export.Gauge([export.NumberDataPoint({}, 1, 2, 3)]))
    hand_over(rig.reader, bad, good)

    assert rig.samples() == {"h": 3}


# --- attributes --------------------------------------------------------------------------


def test_m41_integers_of_any_size_are_written() -> None:
    """Of points, scopes and resources; Python itself refuses to write those of more than 4300 digits."""
    rig = Rig(scope_info_enabled=True, target_info_enabled=True, resource={"huge": HUGE})
    rig.meter("z", attributes={"huge": HUGE}).create_counter("c").add(1, {"huge": -HUGE})
    rig.meter().create_counter("d").add(1, {"list": [HUGE]})
    page = rig.scrape()

    assert f'huge="-{"1" + "0" * 5000}"' in page.text
    assert f'otel_scope_huge="{"1" + "0" * 5000}"' in page.text
    assert sum(name.startswith(("c_total", "d_total", "target_info")) for name in page.samples) == 3
    assert not page.dropped


class Unwritable(list[Any]):
    """A list that cannot be read."""

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __deepcopy__(self, memo: Any) -> Any:
        return self


def test_m41_an_attribute_that_cannot_be_written_costs_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not its point and not its metric; counted, and logged once."""
    rig = Rig()
    point = export.NumberDataPoint({"bad": Unwritable(), "good": 1}, 1, 2, 3.0)
    for _ in range(2):
        hand_over(rig.reader, metric("c", export.Sum([point], CUMULATIVE, True)))
        page = rig.scrape()

    assert page.samples == {'c_total{good="1"}': 3}
    assert page.dropped["untranslatable"] >= 1
    assert [record.getMessage().count("dropped") for record in caplog.records] == [1]


# --- exemplars ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trace.id", "span.id"])
def test_m62_ids_win_over_attributes_with_escaped_names(name: str) -> None:
    """The trace is found by its id and by nothing else."""
    views = [View(instrument_name="c_total", attribute_keys=set())]
    rig = Rig(translation_strategy="NoTranslation", views=views)
    rig.meter().create_counter("c_total").add(1, {name: "evil"}, context=sampled())

    assert f'# {{trace_id="{0xABC:032x}",span_id="{0xDEF:016x}"}} 1' in openmetrics(rig)
    assert b"evil" not in BinaryFormatter().marshall(rig.registry)


def test_m63_if_escaping_makes_names_too_long_the_ids_stay() -> None:
    """All the others go."""
    views = [View(instrument_name="c_total", attribute_keys=set())]
    rig = Rig(translation_strategy="NoTranslation", views=views)
    rig.meter().create_counter("c_total").add(1, {"a.b.c": "1", "z..": "1" * 40}, context=sampled())

    assert f'# {{trace_id="{0xABC:032x}",span_id="{0xDEF:016x}"}} 1' in openmetrics(rig, "values")


@pytest.mark.parametrize("aggregation", [None, FINE])
def test_m64_a_flush_before_the_first_scrape_keeps_exemplars(aggregation: Any) -> None:
    """The SDK gives each but once; of a series that comes up later too."""
    rig = Rig(preferred_aggregation=aggregation, classic_buckets=(10,))
    counter, sizes = rig.meter().create_counter("c"), rig.meter().create_histogram("h")
    for attributes in ({}, {"n": 1}):
        counter.add(1, attributes, context=sampled())
        sizes.record(5, attributes, context=sampled())
        rig.provider.force_flush()
        text = openmetrics(rig)
        inner = ",".join(f'{name}="{value}"' for name, value in attributes.items())
        total = f"c_total{{{inner}}}" if inner else "c_total"
        assert f"{total} 1 # {{trace_id=" in text
        lines = [line for line in text.splitlines() if line.startswith("h_bucket")]
        assert any("trace_id" in line and inner in line for line in lines)


def test_m64_a_flush_with_an_attribute_that_cannot_be_written_is_harmless() -> None:
    """It neither raises nor removes anything."""
    views = [View(instrument_name="c", attribute_keys=set())]
    rig = Rig(views=views)
    rig.meter().create_counter("c").add(1, {"a": HUGE}, context=sampled())

    assert rig.provider.force_flush()
    assert rig.samples() == {"c_total": 1}


def test_m61_an_empty_bucket_has_no_exemplar() -> None:
    """Counts are placed by the upper bound of their native bucket, which the value may lie well below."""
    rig = Rig(preferred_aggregation=FINE, classic_buckets=(0.8, 10))
    rig.meter().create_histogram("h").record(0.75, context=sampled())
    text = openmetrics(rig)

    assert 'h_bucket{le="0.8"} 0\n' in text
    assert 'h_bucket{le="10.0"} 1\n' in text


# --- data that contradict themselves -----------------------------------------------------


def test_m31_the_count_of_a_point_is_what_is_exposed() -> None:
    """Where the buckets of an exponential histogram hold fewer, the rest is in the infinite one."""
    from opentelemetry.sdk.metrics._internal.point import Buckets  # noqa: PLC0415 - there is no public name

    point = export.ExponentialHistogramDataPoint(
        {}, 1, 2, 5, 6.0, 0, 0, Buckets(0, [1, 2]), Buckets(0, [0]), 0, 0, 0
    )
    rig = Rig(classic_buckets=(1, 10))
    hand_over(rig.reader, metric("h", export.ExponentialHistogram([point], CUMULATIVE)))

    assert rig.samples() == {
        'h_bucket{le="1"}': 0,
        'h_bucket{le="10"}': 0,
        'h_bucket{le="+Inf"}': 5,
        "h_sum": 6,
        "h_count": 5,
    }


def test_m31_a_histogram_with_inconsistent_buckets_is_dropped() -> None:
    """Which of both numbers is right, nobody knows; counted and logged."""
    rig = Rig()
    hand_over(rig.reader, metric("h", export.Histogram([histogram_point(count=9)], CUMULATIVE)))
    page = rig.scrape()

    assert page.samples == {}
    assert page.dropped == {"untranslatable": 1}


def test_m58_what_cannot_be_added_up_is_lost_and_that_is_said() -> None:
    """Two histograms of one name with other bounds, two summaries with the same labels."""
    views = [
        View(
            instrument_name=name,
            name="h",
            aggregation=ExplicitBucketHistogramAggregation(boundaries=bounds),
        )
        for name, bounds in (("one", (1,)), ("two", (2,)))
    ]
    rig = Rig(views=views)
    rig.meter("a").create_histogram("one").record(1)
    rig.meter("b").create_histogram("two").record(1)
    (fault,) = [each for each in rig.registry.gather().faults if each.cause == "duplicate_series"]
    summaries = Rig(summaries={"*": (0.5,)})
    for value in (1, "1"):
        summaries.meter().create_histogram("s").record(1, {"a": value})
    (other,) = [
        each for each in summaries.registry.gather().faults if each.cause == "duplicate_series"
    ]

    assert fault.lost
    assert other.lost
    assert "the first is exposed" in fault.message


def test_m66_a_reset_above_the_old_value_exposes_its_start() -> None:
    """The value says nothing of it, the start time does."""
    rig = Rig()
    attributes: dict[str, Any] = {}
    seen = []
    for value, start in ((5, 1), (9, 3)):
        point = export.NumberDataPoint(attributes, start * 10**9, 4 * 10**9, value)
        hand_over(rig.reader, metric("c", export.Sum([point], CUMULATIVE, True)))
        text = openmetrics(rig, created_samples=True)
        seen.append(next(line for line in text.splitlines() if line.startswith("c_created")))
        assert rig.registry.get("c_total").get({}) == value
    body = BinaryFormatter().marshall(rig.registry)

    assert seen == ["c_created 1.0", "c_created 3.0"]
    assert bytes.fromhex("1a 02 08 03") in body


# --- summaries ---------------------------------------------------------------------------


def test_m29_quantiles_lie_where_there_are_observations() -> None:
    """The lowest one at the lower end of the first bucket that holds some."""
    assert explicit_quantile(0, [1, 50, 100], [0, 0, 5, 0]) == 50
    assert explicit_quantile(1, [1, 50, 100], [0, 5, 0, 0]) == 50


def test_m29_ranks_are_not_missed_by_rounding() -> None:
    """0.55 · 100 is a bit more than 55 in floating point."""
    rig = Rig(summaries={"*": (0.55,)}, preferred_aggregation=FINE)
    sizes = rig.meter().create_histogram("h")
    for value, times in ((1, 55), (1000, 45)):
        for _ in range(times):
            sizes.record(value)
    (found,) = (value for key, value in rig.samples().items() if "quantile" in key)

    assert 0.5 <= found <= 1


def test_two_readers_of_one_provider_count_twice() -> None:
    """As the documents say: series of one name and labels add up."""
    registry = CollectorRegistry()
    readers = [PrometheusMetricReader(registry=registry) for _ in range(2)]
    provider = MeterProvider(metric_readers=readers, shutdown_on_exit=False)
    provider.get_meter("m").create_counter("c").add(1)
    found = registry.gather().families
    provider.shutdown()

    assert [each.value for family in found for each in family.series if family.name == "c_total"] == [2]  # type: ignore[attr-defined]  # fmt: skip
