"""Conflicts end to end: names and series that collide; one or more tests per rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics.view import (
    View,
)

from mapping_sdk import Rig, observing, warnings_about
from otel_aioprom.collectors import Counter


def test_m54_of_two_types_the_first_stays(
    rigs: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """A name has one type; the metric that came later is dropped completely and logged once."""
    rig = rigs(scope_info_enabled=True)
    rig.meter("ma").create_counter("evt").add(1)
    rig.meter("mb").create_up_down_counter("evt_total").add(2)

    for _ in range(2):
        page = rig.scrape()
        assert page.types["evt_total"] == "counter"
        assert page.named("evt_total") == {'evt_total{otel_scope_name="ma"}': 1}
    assert len(warnings_about(caplog, "evt_total")) == 1


def test_m54_the_rest_is_served(rig: Rig) -> None:
    """Others than the clashing metric are not touched."""
    rig.meter().create_counter("evt").add(1)
    rig.meter().create_gauge("evt_total").set(2)
    rig.meter().create_counter("other").add(3)

    samples = rig.samples()
    assert (samples["evt_total"], samples["other_total"]) == (1, 3)


def test_m54_the_first_keeps_the_name_while_it_is_absent(rig: Rig) -> None:
    """The name belongs to its first metric as long as the reader lives."""
    rig.meter("ma").create_observable_gauge("evt_total", [observing([(1, {})], [], [(3, {})])])
    first = rig.scrape()
    rig.meter("mb").create_counter("evt").add(2)
    second = rig.scrape()
    third = rig.scrape()

    assert (first.types["evt_total"], first.samples["evt_total"]) == ("gauge", 1)
    assert second.named("evt_total") == {}
    assert (third.types["evt_total"], third.samples["evt_total"]) == ("gauge", 3)


def test_m54_native_metrics_win(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A native metric has the name, whatever its type."""
    Counter("evt_total", "By hand.", registry=rig.registry).add(None, 5)
    rig.meter().create_counter("evt").add(1)
    rig.meter().create_counter("other").add(3)
    rig.scrape()
    samples = rig.samples()

    assert (samples["evt_total"], samples["other_total"]) == (5, 3)
    assert len(warnings_about(caplog, "evt_total")) == 1


def test_m54_native_metrics_win_though_they_come_later(rig: Rig) -> None:
    """A native metric takes the name over from an instrument that already had it."""
    rig.meter().create_counter("evt").add(1)
    rig.scrape()
    Counter("evt_total", "By hand.", registry=rig.registry).add(None, 5)

    for _ in range(2):
        page = rig.scrape()
        assert page.samples["evt_total"] == 5
        assert page.helps["evt"] == "By hand."


def test_m55_the_first_description_stays(rigs: Callable[..., Rig]) -> None:
    """Two descriptions of one name: all points, one HELP."""
    rig = rigs(scope_info_enabled=True)
    rig.meter("ma").create_counter("foo", description="first").add(1)
    rig.meter("mb").create_counter("foo", description="second").add(2)

    page = rig.scrape()
    assert page.text.count("# HELP foo_total") == 1
    assert "# HELP foo_total first\n" in page.text
    assert page.samples == {
        'foo_total{otel_scope_name="ma"}': 1,
        'foo_total{otel_scope_name="mb"}': 2,
    }


@pytest.mark.parametrize("described", ["ma", "mb"])
def test_m55_a_description_is_taken_where_there_was_none(
    rigs: Callable[..., Rig], described: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever scope has it, in the page and in the collector; that is no conflict."""
    rig = rigs(scope_info_enabled=True)
    for scope in ("ma", "mb"):
        description = "words" if scope == described else ""
        rig.meter(scope).create_counter("foo", description=description).add(1)
        page = rig.scrape()

    assert "# HELP foo_total words\n" in page.text
    assert len(page.named("foo_total")) == 2
    collector = rig.registry.get("foo_total")
    assert collector is not None
    assert collector.doc == "words"
    assert warnings_about(caplog, "foo_total") == []


def test_m56_two_units_of_one_name_keep_all_points(rigs: Callable[..., Rig]) -> None:
    """A name that already has its unit is shared with one that gets it."""
    rig = rigs(scope_info_enabled=True)
    rig.meter("ma").create_gauge("x_bytes", "By").set(1)
    rig.meter("mb").create_gauge("x_bytes").set(2)

    assert rig.samples() == {'x_bytes{otel_scope_name="ma"}': 1, 'x_bytes{otel_scope_name="mb"}': 2}


def test_m56_units_distinguish_names(rigs: Callable[..., Rig]) -> None:
    """With suffixes two units are two names."""
    rig = rigs(scope_info_enabled=True)
    rig.meter("ma").create_counter("foo.bar", "By").add(1)
    rig.meter("mb").create_counter("foo.bar", "s").add(2)

    assert rig.samples() == {
        'foo_bar_bytes_total{otel_scope_name="ma"}': 1,
        'foo_bar_seconds_total{otel_scope_name="mb"}': 2,
    }


def test_m57_one_family_with_the_labels_of_each_point(rigs: Callable[..., Rig]) -> None:
    """Points of two scopes stand together, each with its own label names."""
    rig = rigs(scope_info_enabled=True)
    rig.meter("ma").create_counter("foo").add(1, {"a": "1"})
    rig.meter("between").create_counter("other").add(3)
    rig.meter("mb").create_counter("foo").add(2, {"b": "2"})

    page = rig.scrape()
    assert page.text.count("# TYPE foo_total") == 1
    assert page.named("foo_total") == {
        'foo_total{a="1",otel_scope_name="ma"}': 1,
        'foo_total{b="2",otel_scope_name="mb"}': 2,
    }


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ({"a": 1}, {"a": "1"}, 'c_total{a="1"}'),
        ({"a": True}, {"a": "true"}, 'c_total{a="true"}'),
        ({"a": ""}, {}, "c_total"),
        ({"a": None}, {"a": ""}, "c_total"),
        ({"otel_scope_name": ""}, {}, "c_total"),
        ({"a.b": "1"}, {"a_b": "1"}, 'c_total{a_b="1"}'),
    ],
)
def test_m58_equal_series_of_a_counter_add_up(
    rig: Rig,
    caplog: pytest.LogCaptureFixture,
    first: dict[str, Any],
    second: dict[str, Any],
    key: str,
) -> None:
    """Attribute sets that give the same labels are one series, with one warning."""
    counter = rig.meter().create_counter("c")
    counter.add(1, first)
    counter.add(2, second)

    for _ in range(2):
        assert rig.samples() == {key: 3}
    counter.add(4, second)
    assert rig.samples() == {key: 7}
    assert len(warnings_about(caplog, "c_total")) == 1


def test_m58_equal_series_of_other_types(rig: Rig) -> None:
    """Non-monotonic sums add up, of gauges the last stays, equal histograms add up."""
    gauges = []
    for number in (1, 2):
        meter = rig.meter(f"m{number}")
        meter.create_up_down_counter("u").add(number)
        gauges.append(meter.create_gauge("g"))
        meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1]).record(number)

    for _ in range(2):
        for number, gauge in enumerate(gauges):
            gauge.set(number + 1)

        assert rig.samples() == {
            "u": 3,
            "g": 2,
            'h_bucket{le="1"}': 1,
            'h_bucket{le="+Inf"}': 2,
            "h_sum": 3,
            "h_count": 2,
        }


def test_m58_histograms_with_other_bounds_stay_apart(rig: Rig) -> None:
    """Of equal series with unequal bounds the first stays."""
    rig.meter("m1").create_histogram("h", explicit_bucket_boundaries_advisory=[1]).record(1)
    rig.meter("m2").create_histogram("h", explicit_bucket_boundaries_advisory=[2]).record(2)

    for _ in range(2):
        samples = {key: value for key, value in rig.samples().items() if key.startswith("h_")}
        assert samples == {
            'h_bucket{le="1"}': 1,
            'h_bucket{le="+Inf"}': 1,
            "h_sum": 1,
            "h_count": 1,
        }


def test_m58_views_that_give_one_name(rigs: Callable[..., Rig]) -> None:
    """Two instruments that views send to one name are one series."""
    rig = rigs(views=[View(instrument_name="x", name="z"), View(instrument_name="y", name="z")])
    rig.meter().create_counter("x").add(1)
    rig.meter().create_counter("y").add(2)

    assert rig.samples() == {"z_total": 3}


def test_m59_in_text_names_collide_only_as_samples(rig: Rig) -> None:
    """A counter and a gauge of one OpenTelemetry name have two names in the text format."""
    rig.meter("ma").create_counter("foo").add(1)
    rig.meter("mb").create_gauge("foo").set(2)

    page = rig.scrape()
    assert page.samples == {"foo_total": 1, "foo": 2}
    assert page.types == {"foo_total": "counter", "foo": "gauge"}


@pytest.mark.parametrize("suffix", ["count", "sum", "bucket"])
def test_m59_a_sample_name_produced_twice_is_a_clash(rig: Rig, suffix: str) -> None:
    """Where a gauge has the name of a histogram's sample, the first of the two stays."""
    rig.meter("ma").create_histogram("foo", explicit_bucket_boundaries_advisory=[]).record(1)
    rig.meter("mb").create_gauge(f"foo_{suffix}").set(7)

    page = rig.scrape()
    assert page.types["foo"] == "histogram"
    assert f"foo_{suffix}" not in page.types
    assert (page.samples["foo_count"], page.samples["foo_sum"]) == (1, 1)


def test_m60_identical_instruments_add_up(rig: Rig) -> None:
    """The SDK knows one instrument by its identity."""
    rig.meter().create_counter("c").add(1)
    rig.meter().create_counter("c").add(2)

    assert rig.samples() == {"c_total": 3}


def test_m60_instruments_with_other_descriptions(rig: Rig) -> None:
    """Two metrics of one name from one meter are one series with the first description."""
    rig.meter().create_counter("c", description="one").add(1)
    rig.meter().create_counter("c", description="two").add(2)

    page = rig.scrape()
    assert page.samples == {"c_total": 3}
    assert "# HELP c_total one\n" in page.text
