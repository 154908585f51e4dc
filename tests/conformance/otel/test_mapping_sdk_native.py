"""Exponential histograms: native buckets, their classic stand-ins, and summaries (M5, M32 to M38)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Histogram, export
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from mapping_sdk import CUMULATIVE, Rig, hand_over, histogram_point, metric
from otel_aioprom._core.native_histogram import NativeBuckets, deltas, spans
from otel_aioprom.otel.exponential import power
from otel_aioprom.otel.summaries import explicit_quantile, exponential_quantile


def exponential(**aggregation: Any) -> View:
    """A view that makes every histogram exponential."""
    return View(
        instrument_type=Histogram,
        instrument_name="*",
        aggregation=ExponentialBucketHistogramAggregation(**aggregation),
    )


def point(**changes: Any) -> Any:
    """A real point of the SDK, with changes."""
    rig = Rig(views=[exponential()])
    kept: list[Any] = []
    rig.reader._receive_metrics = lambda data, **_: kept.append(data)  # type: ignore[method-assign,assignment]
    rig.meter().create_histogram("h").record(1)
    rig.reader.collect()
    rig.reader.shutdown()
    (made,) = kept[0].resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    buckets = type(made.positive)
    for side in ("positive", "negative"):
        if side in changes:
            changes[side] = buckets(*changes[side])
    values = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return type(made)(**{**values, **changes})


def native_of(rig: Rig, name: str = "h") -> NativeBuckets:
    """The native buckets of a family's one series, after a collection."""
    rig.registry.gather()
    native: NativeBuckets = rig.registry.get(name).labels().native
    return native


def native_of_point(rig: Rig, **changes: Any) -> NativeBuckets:
    """The native buckets that a point becomes."""
    data = export.ExponentialHistogram([point(**changes)], CUMULATIVE)
    hand_over(rig.reader, metric("h", data))
    return native_of(rig)


def test_m5_every_histogram_of_a_reader_can_be_exponential(rigs: Callable[..., Rig]) -> None:
    """By the aggregation that the reader prefers."""
    aggregation = {Histogram: ExponentialBucketHistogramAggregation(max_scale=8)}
    rig = rigs(preferred_aggregation=aggregation)
    rig.meter().create_histogram("h").record(2)

    assert native_of(rig).positive == [(256, 1)]


def test_m33_m34_the_example_of_a_view(rigs: Callable[..., Rig]) -> None:
    """Scale, indexes by their upper bounds, count and sum; spans and deltas as in the example."""
    rig = rigs(views=[exponential(max_size=10)])
    histogram = rig.meter().create_histogram("x", unit="By")
    for value in (23, 7, 101, 105):
        histogram.record(value)
    native = native_of(rig, "x_bytes")
    samples = rig.samples()

    assert (native.schema, native.zero_count) == (1, 0)
    assert native.positive == [(6, 1), (10, 1), (14, 2)]
    runs = spans(native.positive)
    assert [(offset, len(counts)) for offset, counts in runs] == [(6, 1), (3, 1), (3, 1)]
    assert list(deltas(runs)) == [1, 0, 1]
    assert samples['x_bytes_bucket{le="+Inf"}'] == samples["x_bytes_count"] == 4
    assert samples["x_bytes_sum"] == 236


def test_m34_counts_with_gaps(rig: Rig) -> None:
    """Zeros are no buckets; the index is that of the upper bound."""
    counts = [10, 0, 0, 20, 5, 2]
    native = native_of_point(rig, scale=0, count=37, sum=1.0, zero_count=0, positive=(3, counts))

    assert native.positive == [(4, 10), (7, 20), (8, 5), (9, 2)]


@pytest.mark.parametrize(
    ("scale", "positive", "index"),
    [
        (20, (2434718, [1]), [(595, 1)]),
        (10, (-5, [1, 2, 3, 4, 5, 6]), [(-1, 1), (0, 14), (1, 6)]),
        (9, (-1, [3]), [(0, 3)]),
    ],
)
def test_m35_finer_scales_are_halved(
    rig: Rig, scale: int, positive: tuple[int, list[int]], index: list[tuple[int, int]]
) -> None:
    """Until they are 8: the index that is named by its lower bound is halved, rounding down."""
    count = sum(positive[1])
    native = native_of_point(rig, scale=scale, count=count, zero_count=0, positive=positive)

    assert native.schema == 8
    assert native.positive == index


def test_m36_the_zero_threshold(rigs: Callable[..., Rig]) -> None:
    """What OpenTelemetry's data mean by zero where they do not say."""
    rig = rigs(views=[exponential()])
    rig.meter().create_histogram("h").record(0)
    native = native_of(rig)

    assert (native.zero_count, native.zero_threshold) == (1, 1e-128)


def test_m33_points_that_no_server_can_take_are_dropped(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Too coarse a scale, no sum: each costs itself, is counted and logged."""
    good = point(attributes={"a": "good"}, count=1)
    coarse = point(attributes={"a": "coarse"}, scale=-5)
    without = point(attributes={"a": "without"}, sum=None)
    hand_over(
        rig.reader, metric("h", export.ExponentialHistogram([coarse, good, without], CUMULATIVE))
    )
    page = rig.scrape()

    assert page.named("h_count") == {'h_count{a="good"}': 1}
    assert page.dropped == {"untranslatable": 2}
    assert "its scale is -5" in caplog.text


def test_m33_counts_that_do_not_agree_keep_the_count_alone(rig: Rig) -> None:
    """The native part would make a server refuse the whole response."""
    data = export.ExponentialHistogram([point(count=7)], CUMULATIVE)
    hand_over(rig.reader, metric("h", data))
    page = rig.scrape()

    assert page.samples["h_count"] == 7
    assert rig.registry.get("h").labels().native is None


def test_m37_classic_buckets_by_option(rigs: Callable[..., Rig]) -> None:
    """Each count goes to the bucket of its upper bound, never to a lower one."""
    rig = rigs(views=[exponential(max_size=160, max_scale=2)], classic_buckets=[0, 1, 10, 100])
    histogram = rig.meter().create_histogram("h")
    for value in (0, 0.5, 1, 3, 9.9, 50, 5000):
        histogram.record(value)
    samples = rig.samples()

    upto = [samples[f'h_bucket{{le="{le}"}}'] for le in ("0", "1", "10", "100", "+Inf")]
    assert upto == [0, 3, 4, 6, 7]  # 9.9 lies in a bucket that ends above 10
    assert (samples["h_count"], samples["h_sum"]) == (7, 5064.4)


def test_m37_negative_values_have_buckets_too(rig: Rig, rigs: Callable[..., Rig]) -> None:
    """By their upper bounds, which are the ends nearer to zero."""
    rig = rigs(classic_buckets=[-4, -1, 0, 1])
    changes = {"scale": 0, "zero_count": 1, "positive": (0, [1]), "negative": (0, [1, 1, 1])}
    data = export.ExponentialHistogram([point(count=5, sum=-9.0, **changes)], CUMULATIVE)
    hand_over(rig.reader, metric("h", data))
    samples = rig.samples()

    # The buckets [-8, -4), [-4, -2) and [-2, -1) end at -4, -2 and -1, the zero bucket above 0.
    upto = [samples[f'h_bucket{{le="{le}"}}'] for le in ("-4", "-1", "0", "1", "+Inf")]
    assert upto == [1, 3, 3, 4, 5]


@pytest.mark.parametrize("bounds", [[], [2, 1], [math.nan], ["x"]])
def test_m37_bounds_that_make_no_sense_are_refused(bounds: Any) -> None:
    """When the reader is made."""
    with pytest.raises((ValueError, TypeError)):
        Rig(classic_buckets=bounds)


# --- summaries -------------------------------------------------------------------------


def test_m32_histograms_can_be_summaries(rigs: Callable[..., Rig]) -> None:
    """Those whose names match, explicit and exponential, with the quantiles of the option."""
    rig = rigs(
        summaries={"rpc.*": (0.9, 0.5), "*": (0.1,)},
        views=[
            View(instrument_name="rpc.fine", aggregation=ExponentialBucketHistogramAggregation())
        ],
    )
    meter = rig.meter()
    for name in ("rpc.fine", "rpc.coarse", "other"):
        histogram = meter.create_histogram(name, explicit_bucket_boundaries_advisory=[10, 20])
        for value in range(1, 21):
            histogram.record(value, {"quantile": "mine"})
    page = rig.scrape()

    assert page.types == {"rpc_fine": "summary", "rpc_coarse": "summary", "other": "summary"}
    own = 'exported_quantile="mine"'
    assert page.samples[f'rpc_coarse{{{own},quantile="0.5"}}'] == 10
    assert page.samples[f'rpc_coarse{{{own},quantile="0.9"}}'] == 18
    assert page.samples[f'rpc_fine{{{own},quantile="0.5"}}'] == pytest.approx(10, rel=0.05)
    assert page.samples[f"rpc_fine_count{{{own}}}"] == 20
    assert page.samples[f"rpc_fine_sum{{{own}}}"] == 210
    assert list(page.named("other")) == [f'other{{{own},quantile="0.1"}}']


@pytest.mark.parametrize(
    "option", [{"a": ()}, {"a": (2,)}, {"a": (-0.1,)}, {"a": ("x",)}, {"": (math.nan,)}]
)
def test_m32_quantiles_that_make_no_sense_are_refused(option: Any) -> None:
    """When the reader is made."""
    with pytest.raises(ValueError, match=r"quantiles|float"):
        Rig(summaries=option)
    with pytest.raises(TypeError, match="mapping"):
        Rig(summaries=[("a", 0.5)])


@pytest.mark.parametrize(
    ("quantile", "bounds", "counts", "estimate"),
    [
        (0.5, [1, 2], [0, 4, 0], 1.5),
        (0.25, [1, 2], [2, 2, 0], 0.5),
        (0.99, [1, 2], [0, 0, 5], 2),
        (0.1, [-1, 2], [5, 0, 0], -1),
        (0, [1, 2], [0, 4, 0], 1),
        (1, [1, 2], [1, 1, 0], 2),
        (0.5, [1], [0, 0], math.nan),
        (0.5, [], [3], math.nan),
    ],
)
def test_m32_explicit_quantiles_are_those_of_histogram_quantile(
    quantile: float, bounds: list[float], counts: list[int], estimate: float
) -> None:
    """Linear inside a bucket; the highest bound above it; NaN where nothing is known."""
    assert explicit_quantile(quantile, bounds, counts) == pytest.approx(estimate, nan_ok=True)


def exact(values: Iterable[float], quantile: float) -> float:
    """The value of a quantile's rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


@given(
    values=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60),
    quantile=st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]),
    size=st.sampled_from([4, 20, 160]),
)
def test_m32_exponential_quantiles_keep_their_promise(
    values: list[float], quantile: float, size: int
) -> None:
    """The relative error is (base - 1) / (base + 1) at most."""
    rig = Rig(views=[exponential(max_size=size)])
    kept: list[Any] = []
    rig.reader._receive_metrics = lambda data, **_: kept.append(data)  # type: ignore[method-assign,assignment]
    histogram = rig.meter().create_histogram("h")
    for value in values:
        histogram.record(value)
    rig.reader.collect()
    rig.reader.shutdown()
    (made,) = kept[0].resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    base = 2.0**2.0**-made.scale
    estimate = exponential_quantile(quantile, made)
    true = exact(values, quantile)

    assert abs(estimate - true) <= true * ((base - 1) / (base + 1) + 1e-9)


def test_m31_summaries_of_odd_points(rig: Rig, rigs: Callable[..., Rig]) -> None:
    """Without a sum it is NaN; what makes no sense costs itself."""
    rig = rigs(summaries={"*": (0.5,)})
    odd = histogram_point(attributes={"a": "odd"}, bucket_counts=(1,))
    points = [histogram_point(sum=None), odd]
    hand_over(rig.reader, metric("h", export.Histogram(points, CUMULATIVE)))
    page = rig.scrape()

    assert page.samples["h_count"] == 3
    assert math.isnan(page.samples["h_sum"])
    assert page.dropped == {"untranslatable": 1}


def test_m32_exponential_quantiles_of_both_signs() -> None:
    """Negative values come first, zeros count as zero; nothing has no quantile."""
    both = point(scale=0, count=3, zero_count=1, positive=(1, [1]), negative=(1, [1]))
    none = point(scale=0, count=0, zero_count=0, positive=(0, [0]), negative=(0, [0]))

    estimates = [exponential_quantile(quantile, both) for quantile in (0.1, 0.5, 0.9)]
    assert estimates == pytest.approx([-8 / 3, 0, 8 / 3])
    assert math.isnan(exponential_quantile(0.5, none))
    assert power(-4, 100) == math.inf
