"""Bad input through the SDK: it costs itself, and every response can be read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from math import inf
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.view import (
    ExponentialBucketHistogramAggregation,
    View,
)
from prometheus_client.parser import text_string_to_metric_families

from mapping_sdk import (
    CUMULATIVE,
    SDK,
    THOROUGH_SDK,
    Rig,
    hand_over,
    histogram_point,
    metric,
    number_point,
    observing,
)
from otel_aioprom.collectors import Counter
from otel_aioprom.renderer import render


def broken(_: CallbackOptions) -> Iterable[Observation]:
    """Raise at once."""
    raise RuntimeError("boom")


def broken_midway(_: CallbackOptions) -> Generator[Observation, None, None]:
    """Raise after an observation."""
    yield Observation(1, {"a": "1"})
    raise RuntimeError("boom")


@pytest.mark.parametrize("callback", [broken, broken_midway])
def test_l5_callbacks_that_raise_cost_themselves(
    rig: Rig, callback: Callable[[CallbackOptions], Any]
) -> None:
    """Other instruments are served, in every response."""
    rig.meter().create_observable_gauge("bad", [callback])
    rig.meter().create_observable_gauge("good", [observing([(1, {})])])

    for _ in range(2):
        assert rig.samples()["good"] == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        7,
        ["text"],
        [None],
        [Observation("text")],  # type: ignore[arg-type]
        [Observation(None)],  # type: ignore[arg-type]
        [Observation(1, "no mapping")],  # type: ignore[arg-type]
        [Observation(1, {1: 2})],  # type: ignore[dict-item]
        [Observation(float("nan")), Observation(inf)],
        [Observation(1 + 0j)],  # type: ignore[arg-type]
        [Observation(10**400, {})],
    ],
    ids=[
        "none",
        "number",
        "text",
        "list of none",
        "text observed",
        "none observed",
        "text for attributes",
        "number for a key",
        "not finite",
        "complex",
        "huge",
    ],
)
@pytest.mark.parametrize("kind", ["gauge", "counter", "up_down_counter"])
def test_l5_nonsense_from_callbacks_costs_itself(rig: Rig, nonsense: Any, kind: str) -> None:
    """Whatever a callback yields, there is a response, and it has what is good."""
    getattr(rig.meter(), f"create_observable_{kind}")("bad", [lambda _: nonsense])
    rig.meter().create_observable_gauge("good", [observing([(1, {})])])
    rig.meter().create_counter("c").add(2)
    Counter("jobs_total", "Jobs.", registry=rig.registry).inc()

    for _ in range(2):
        samples = rig.samples()
        assert samples["jobs_total"] == 1
        # In older SDKs some nonsense ends the whole collection.
        if SDK >= THOROUGH_SDK:
            assert (samples["good"], samples["c_total"]) == (1, 2)


@pytest.mark.parametrize("first", ["counter", "up_down_counter", "histogram", "gauge"])
def test_l5_one_name_of_all_types(rig: Rig, first: str) -> None:
    """However many types share a name, the first is exposed and the response is valid."""
    meter = rig.meter()
    record: dict[str, Callable[[], None]] = {
        "counter": lambda: meter.create_counter("x_total").add(1),
        "up_down_counter": lambda: meter.create_up_down_counter("x_total").add(2),
        "histogram": lambda: meter.create_histogram("x_total").record(3),
        "gauge": lambda: meter.create_gauge("x_total").set(4),
    }
    record[first]()
    for create_and_record in record.values():
        create_and_record()

    page = rig.scrape()
    expected = {"counter": "counter", "histogram": "histogram"}.get(first, "gauge")
    assert page.types["x_total"] == expected


def test_l5_exponential_histograms_with_odd_values(rigs: Callable[..., Rig]) -> None:
    """Zeros alone, tiny and huge values, and a negative sum through a view on a counter."""
    aggregation = ExponentialBucketHistogramAggregation(max_size=4, max_scale=2)
    rig = rigs(views=[View(instrument_name="*", aggregation=aggregation)])
    rig.meter().create_histogram("zeros").record(0)
    for value in (1e-300, 1e300):
        rig.meter().create_histogram("wide").record(value)
    rig.meter().create_up_down_counter("below").add(-5)

    samples = rig.samples()
    assert (samples["zeros_count"], samples["below_count"]) == (1, 1)
    assert "wide_count" not in samples  # its buckets are wider than those of any native histogram
    assert samples["below_sum"] == -5
    assert rig.samples() == samples


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi"', 'say "hi"'),
        ("C:\\dir\\", "C:\\dir\\"),
        ("two\nlines", "two\nlines"),
        ("\\n", "\\n"),
        ("a\rb\tc\x00d", "a\rb\tc\x00d"),
        ("größe ☃ 😀", "größe ☃ 😀"),
        ("lone\ud800", "lone\ufffd"),
        (["\udfff", 'q"'], '["\ufffd","q\\""]'),
        ("{}=,#", "{}=,#"),
        (" ", " "),
        ("x" * 10_000, "x" * 10_000),
    ],
)
def test_l5_any_attribute_value_comes_back(rig: Rig, value: Any, text: str) -> None:
    """What UTF-8 can carry is read back as it was, the rest is replaced."""
    if isinstance(value, list) and SDK < THOROUGH_SDK:
        pytest.skip("this SDK takes no lists")
    rig.meter().create_counter("c").add(1, {"v": value})
    rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[]).record(
        1, {"v": value}
    )

    body, _ = render(rig.registry)
    families = text_string_to_metric_families(body.decode())
    assert {sample.labels["v"] for family in families for sample in family.samples} == {text}


@pytest.mark.parametrize(
    "key", ["job", "instance", "__name__", "__x", "le", "quantile", "1", "\ud800", "\n", '"', "ö"]
)
def test_l5_any_attribute_key_comes_out(rig: Rig, key: str) -> None:
    """There is no attribute key that costs a point or a response."""
    rig.meter().create_counter("c").add(1, {key: "v"})
    rig.meter().create_gauge("g").set(2, {key: "v"})
    rig.meter().create_histogram("h", explicit_bucket_boundaries_advisory=[1]).record(3, {key: "v"})

    body, _ = render(rig.registry)
    samples = [
        sample
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    ]
    values = {sample.name: sample.value for sample in samples}
    assert (values["c_total"], values["g"], values["h_count"]) == (1, 2, 1)
    assert all("v" in sample.labels.values() for sample in samples)


@pytest.mark.parametrize("text", ["two\nlines", "back\\slash", '"quotes"', "lone\ud800", " ", "\r"])
def test_l5_any_description_leaves_the_response_whole(rig: Rig, text: str) -> None:
    """Descriptions are escaped too."""
    rig.meter().create_counter("c", description=text).add(1)
    rig.meter().create_counter("d", description="plain").add(2)

    page = rig.scrape()
    assert page.samples == {"c_total": 1, "d_total": 2}
    assert page.helps["d"] == "plain"


def test_l5_an_attribute_beyond_all_bounds_costs_itself(rig: Rig) -> None:
    """An integer that Python refuses to write in digits is no reason to answer nothing."""
    rig.meter().create_counter("c").add(1, {"v": 10**5000})
    rig.meter().create_counter("good").add(2)

    for _ in range(2):
        assert rig.samples()["good_total"] == 2


@pytest.mark.parametrize(
    "value",
    [10**300, 10**5000, -(10**5000), 2**64, "7", None, 1j, True],
    ids=["big", "huge", "negative", "word", "text", "none", "complex", "bool"],
)
def test_l5_odd_values_cost_themselves(rig: Rig, value: Any) -> None:
    """Numbers of any size and what is no number come with data from elsewhere; the rest is served."""
    for number in (1, 2):
        data = export.Gauge([number_point(value, {"n": 1}), number_point(5, {"n": 2})])
        total = export.Sum([number_point(value)], CUMULATIVE, is_monotonic=True)
        odd = export.Histogram([histogram_point(sum=value)], CUMULATIVE)
        good = export.Gauge([number_point(number)])
        hand_over(
            rig.reader,
            metric("g", data),
            metric("t", total),
            metric("h", odd),
            metric("good", good),
        )
        samples = rig.samples()

        assert samples["good"] == number
        assert samples['g{n="2"}'] == 5


@pytest.mark.parametrize(
    "broken_data",
    [
        export.Gauge(None),  # type: ignore[arg-type]
        export.Gauge([None]),  # type: ignore[list-item]
        export.Histogram([histogram_point(bucket_counts=(1, 2, 3))], CUMULATIVE),
        export.Histogram(
            [histogram_point(explicit_bounds=(2.0, 1.0), bucket_counts=(1, 1, 1))], CUMULATIVE
        ),
        export.Histogram([histogram_point(explicit_bounds=(float("nan"),))], CUMULATIVE),
        export.Histogram(
            [histogram_point(attributes={"a": 1}), histogram_point(bucket_counts=None)], CUMULATIVE
        ),
        None,
    ],
    ids=[
        "no points",
        "no point",
        "too many counts",
        "bounds that fall",
        "bound that is no number",
        "second point without counts",
        "no data",
    ],
)
def test_l5_data_of_a_wrong_shape_cost_themselves(rig: Rig, broken_data: Any) -> None:
    """An invalid metric is dropped, before and after valid ones."""
    good = metric("good", export.Gauge([number_point(1)]))
    late = metric("late", export.Gauge([number_point(2)]))
    hand_over(rig.reader, good, metric("bad", broken_data), late)

    for _ in range(2):
        samples = rig.samples()
        assert (samples["good"], samples["late"]) == (1, 2)


def test_l5_histograms_whose_bounds_change(rig: Rig) -> None:
    """Points of one stream with other bounds, in one collection and from one to the next."""
    for bounds in [(1.0,), (2.0,), (1.0, 2.0)]:
        counts = tuple(range(1, len(bounds) + 2))
        attributes: dict[str, Any] = {}
        point = histogram_point(
            explicit_bounds=bounds, bucket_counts=counts, count=sum(counts), attributes=attributes
        )
        other = histogram_point(attributes={"other": "bounds"}, explicit_bounds=(5.0,))
        hand_over(rig.reader, metric("h", export.Histogram([point, other], CUMULATIVE)))
        samples = rig.samples()

        assert samples["h_count"] == samples['h_bucket{le="+Inf"}'] == sum(counts)
        assert samples[f'h_bucket{{le="{bounds[0]:g}"}}'] == 1
        assert samples['h_bucket{le="5",other="bounds"}'] == 1


def test_p4_a_callback_that_renders_costs_itself(rig: Rig) -> None:
    """The SDK would wait for itself for ever if a callback collected it: that is refused instead."""

    def callback(_: CallbackOptions) -> list[Observation]:
        render(rig.registry)
        return [Observation(1)]

    rig.meter().create_observable_gauge("g", [callback])
    rig.meter().create_counter("c").add(2)
    pages: list[dict[str, float]] = []
    thread = threading.Thread(target=lambda: pages.append(rig.samples()), daemon=True)
    thread.start()
    thread.join(5)

    assert not thread.is_alive()
    assert pages[0]["c_total"] == 2
