"""Types from end to end: what becomes of sums, gauges and histograms; one test or more a rule."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    SumAggregation,
    View,
)

from mapping_sdk import (
    CUMULATIVE,
    DELTA,
    Rig,
    hand_over,
    histogram_point,
    metric,
    number_point,
    observing,
    warnings_about,
)
from otel_aioprom.collectors import Summary


def test_m25_the_data_decide_the_type(rigs: Callable[..., Rig]) -> None:
    """A view that keeps the last value makes a gauge of a counter."""
    rig = rigs(views=[View(instrument_name="seq", aggregation=LastValueAggregation())])
    counter = rig.meter().create_counter("seq")
    counter.add(5)
    counter.add(3)

    page = rig.scrape()
    assert page.types == {"seq": "gauge"}
    assert page.samples == {"seq": 3}


def test_m25_each_instrument_has_its_type(rig: Rig) -> None:
    """Counters, gauges and histograms, synchronous or not."""
    meter = rig.meter()
    meter.create_counter("c").add(1)
    meter.create_up_down_counter("u").add(1)
    meter.create_histogram("h").record(1)
    meter.create_gauge("g").set(1)
    meter.create_observable_counter("oc", [observing([(1, {})])])
    meter.create_observable_up_down_counter("ou", [observing([(1, {})])])
    meter.create_observable_gauge("og", [observing([(1, {})])])

    assert rig.scrape().types == {
        "c_total": "counter",
        "u": "gauge",
        "h": "histogram",
        "g": "gauge",
        "oc_total": "counter",
        "ou": "gauge",
        "og": "gauge",
    }


def test_m25_unspecified_temporality_is_dropped(rig: Rig) -> None:
    """What is neither delta nor cumulative has no meaning here."""
    unspecified = export.AggregationTemporality.UNSPECIFIED
    good = metric("good", export.Sum([number_point(1)], CUMULATIVE, is_monotonic=True))
    bad = metric("bad", export.Sum([number_point(1)], unspecified, is_monotonic=True))
    hand_over(rig.reader, bad, good)

    page = rig.scrape()
    assert page.samples["good_total"] == 1
    assert page.named("bad_total") == page.named("bad") == {}


def test_m26_counters_expose_the_value_unchanged(rig: Rig) -> None:
    """A counter that was reset is exposed with its smaller value."""
    rig.meter().create_observable_counter("t", [observing([(10, {})], [(3, {})])])

    assert rig.samples() == {"t_total": 10}
    assert rig.samples() == {"t_total": 3}


def test_m27_sums_that_fall_are_gauges(rigs: Callable[..., Rig]) -> None:
    """Non-monotonic sums are gauges, whatever instrument they come from."""
    rig = rigs(views=[View(instrument_name="req.size", aggregation=SumAggregation())])
    rig.meter().create_up_down_counter("pool.used", "By").add(-4)
    histogram = rig.meter().create_histogram("req.size", "By")
    histogram.record(5)
    histogram.record(6)

    page = rig.scrape()
    assert page.samples == {"pool_used_bytes": -4, "req_size_bytes": 11}
    assert page.types == {"pool_used_bytes": "gauge", "req_size_bytes": "gauge"}


def test_m28_gauges_are_gauges(rig: Rig) -> None:
    """The SDK's metrics carry no metadata that could make them anything else."""
    rig.meter().create_gauge("g").set(1.5)

    page = rig.scrape()
    assert page.types == {"g": "gauge"}
    assert page.samples == {"g": 1.5}


def test_m29_delta_data_are_dropped(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Delta data come from no instrument; if they are delivered, they are dropped with one warning each."""
    hand_over(
        rig.reader,
        metric("up", export.Sum([number_point(1)], DELTA, is_monotonic=True)),
        metric("down", export.Sum([number_point(1)], DELTA, is_monotonic=False)),
        metric("dist", export.Histogram([histogram_point()], DELTA)),
        metric("good", export.Gauge([number_point(1)])),
    )
    rig.scrape()
    page = rig.scrape()

    assert page.types["good"] == "gauge"
    assert not {"up_total", "up", "down", "dist"} & set(page.types)
    assert [len(warnings_about(caplog, f"{name}: ")) for name in ("up", "down", "dist")] == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("bounds", [[0.5, 2], [0.5, 2.0]])
def test_m30_histograms_are_cumulative(rig: Rig, bounds: list[float]) -> None:
    """Bucket counts are summed up; bounds are inclusive, and spelled in one way."""
    histogram = rig.meter().create_histogram("lat", "s", explicit_bucket_boundaries_advisory=bounds)
    for value in (0.5, 0.75, 2, 2.5):
        histogram.record(value)

    page = rig.scrape()
    assert page.types == {"lat_seconds": "histogram"}
    assert list(page.samples.items())[:3] == [
        ('lat_seconds_bucket{le="0.5"}', 1),
        ('lat_seconds_bucket{le="2"}', 3),
        ('lat_seconds_bucket{le="+Inf"}', 4),
    ]
    assert (page.samples["lat_seconds_sum"], page.samples["lat_seconds_count"]) == (5.75, 4)
    assert 'le="2.0"' in page.text


def test_m30_negative_observations(rigs: Callable[..., Rig]) -> None:
    """A negative sum is exposed unchanged."""
    rig = rigs(
        views=[View(instrument_name="n", aggregation=ExplicitBucketHistogramAggregation([0]))]
    )
    counter = rig.meter().create_up_down_counter("n")
    counter.add(-3)
    counter.add(1)

    assert rig.samples() == {
        'n_bucket{le="0"}': 1,
        'n_bucket{le="+Inf"}': 2,
        "n_sum": -2,
        "n_count": 2,
    }


def test_m31_no_bounds(rig: Rig) -> None:
    """A histogram without bounds has the last bucket only; least and greatest value are not used."""
    rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[]).record(3)

    assert rig.samples() == {'h_bucket{le="+Inf"}': 1, "h_sum": 3, "h_count": 1}


def test_m31_no_sum(rig: Rig) -> None:
    """Without a sum the buckets and the count stay."""
    hand_over(rig.reader, metric("h", export.Histogram([histogram_point(sum=None)], CUMULATIVE)))

    assert rig.samples() == {'h_bucket{le="1"}': 1, 'h_bucket{le="+Inf"}': 3, "h_count": 3}


def test_m31_no_buckets(rig: Rig) -> None:
    """Without any buckets the last one is the count."""
    point = histogram_point(bucket_counts=(), explicit_bounds=())
    hand_over(rig.reader, metric("h", export.Histogram([point], CUMULATIVE)))

    assert rig.samples() == {'h_bucket{le="+Inf"}': 3, "h_sum": 6, "h_count": 3}


def test_m31_record_min_max_off(rigs: Callable[..., Rig]) -> None:
    """Infinite min and max, as from an SDK that does not record them, do not matter."""
    aggregation = ExplicitBucketHistogramAggregation([1], record_min_max=False)
    rig = rigs(views=[View(instrument_name="h", aggregation=aggregation)])
    rig.meter().create_histogram("h").record(3)

    assert rig.samples() == {
        'h_bucket{le="1"}': 0,
        'h_bucket{le="+Inf"}': 1,
        "h_sum": 3,
        "h_count": 1,
    }


def test_m32_summaries(rig: Rig) -> None:
    """The SDK has no summaries; a native one beside it has quantiles, sum and count."""
    summary = Summary("s", "A summary.", invariants=[(0.5, 0.05)], registry=rig.registry)
    rig.meter().create_counter("c").add(1)
    for _ in range(3):
        summary.observe(None, 2)

    page = rig.scrape()
    assert page.types == {"c_total": "counter", "s": "summary"}
    assert page.samples == {"c_total": 1, 's{quantile="0.5"}': 2, "s_sum": 6, "s_count": 3}


def test_m32_unknown_data_cost_themselves(rig: Rig) -> None:
    """Only data of an unknown class are dropped."""
    unknown = SimpleNamespace(data_points=[number_point(1)])
    hand_over(rig.reader, metric("new", unknown), metric("good", export.Gauge([number_point(1)])))

    page = rig.scrape()
    assert page.samples["good"] == 1
    assert page.named("new") == {}


def test_m37_exponential_histograms_keep_their_count_and_sum(rigs: Callable[..., Rig]) -> None:
    """In the text format, an exponential histogram has only the last bucket."""
    aggregation = ExponentialBucketHistogramAggregation(max_size=10)
    rig = rigs(views=[View(instrument_name="x", aggregation=aggregation)])
    histogram = rig.meter().create_histogram("x", "By")
    for value in (23, 7, 101, 105):
        histogram.record(value)
    rig.meter().create_counter("c").add(1)

    page = rig.scrape()
    assert page.types == {"x_bytes": "histogram", "c_total": "counter"}
    assert page.samples == {
        'x_bytes_bucket{le="+Inf"}': 4,
        "x_bytes_sum": 236,
        "x_bytes_count": 4,
        "c_total": 1,
    }


def test_m43_own_bounds_are_safe_from_attributes(rig: Rig) -> None:
    """An attribute of the name of the bound's label gives way on histograms, and only there."""
    histogram = rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[1])
    histogram.record(2, {"le": "x"})
    rig.meter().create_counter("c").add(1, {"le": "x"})

    assert rig.samples() == {
        'h_bucket{exported_le="x",le="1"}': 0,
        'h_bucket{exported_le="x",le="+Inf"}': 1,
        'h_sum{exported_le="x"}': 2,
        'h_count{exported_le="x"}': 1,
        'c_total{le="x"}': 1,
    }
