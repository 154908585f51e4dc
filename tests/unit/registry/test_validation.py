"""Families of strangers: what makes no sense costs itself."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf
from typing import Any

import pytest

from oracles import FakeSource, family, number
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom.collectors import Counter, Enum, Gauge, Histogram, Info, StateSet, Summary
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.number import CounterSeries, GaugeSeries, NumberSeries
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.validation import well_formed
from otel_aioprom.renderer import render

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Text(str):
    """A text that is another one when it is looked at again."""

    __slots__ = ()


class Own(NumberSeries):
    """A series of a class of others."""

    __slots__ = ()


class OwnExemplar(Exemplar):
    """An exemplar of a class of others."""

    __slots__ = ()


class Strange(Series):
    """A series of no kind."""

    __slots__ = ()
    names = ()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("x", TypeError, "families or collectors"),
        (None, TypeError, "families or collectors"),
        (family(""), ValueError, "needs a name"),
        (family("x", kind="timer"), ValueError, "its type must be one of"),
        (MetricFamily("x", "gauge", "", "", [Strange()]), TypeError, "series of a gauge are"),
        (MetricFamily("x", "histogram", "", "", [number(1)]), TypeError, "series of a histogram"),
        (MetricFamily("x", "summary", "", "", [number(1)]), TypeError, "series of a summary"),
        (family("x", GaugeSeries(("",), ("v",), " ", 1)), ValueError, "a label needs a name"),
    ],
)
def test_what_no_format_can_write_is_refused(
    given: Any, error: type[Exception], message: str
) -> None:
    """By what is wrong."""
    with pytest.raises(error, match=message):
        well_formed(given)


def test_what_is_right_stays_as_it_is() -> None:
    """Of every kind."""
    for collector in (Gauge("x", "X."), Histogram("h", "H."), Summary("s", "S.")):
        collector.labels({"a": 1})
        made = collector.family()
        assert well_formed(made) == replace(made, series=tuple(made.series))


def test_names_that_are_not_classic_are_quoted() -> None:
    """Without the source having said so; the labels' text follows."""
    odd_label = GaugeSeries(("a.b",), ("1",), '{a.b="1"} ', 1)
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("x.y"), family("z", odd_label)))
    text = render(registry, ["text/plain;version=1.0.0;escaping=allow-utf-8"])[0].decode()

    assert '{"x.y"} 1\n' in text
    assert 'z{"a.b"="1"} 1\n' in text
    assert "x_y 1\n" in render(registry, ["text/plain;version=0.0.4"])[0].decode()


def test_the_rest_of_a_source_is_shown() -> None:
    """What is wrong is counted and logged once."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("fine"), "junk", family("x", kind="timer")))  # type: ignore[arg-type]
    text = render(registry)[0].decode()

    assert "fine 1\n" in text
    assert 'dropped_total{cause="untranslatable"} 2\n' in text


def gauge_of(value: Any, **labels: Any) -> MetricFamily:
    """A family of one series whose value nobody has checked."""
    series = NumberSeries(tuple(labels), tuple(labels.values()), " ")
    series.value = value
    return MetricFamily("x", "gauge", "X.", "", [series])


def summary_of(count: Any, total: Any, estimates: Any = ()) -> MetricFamily:
    """A family of one summary."""
    return MetricFamily(
        "x", "summary", "X.", "", [SummaryPoint((), (), " ", count, total, estimates)]
    )


def histogram_of(
    counts: Any, total: Any, bounds: Any = (1.0, inf), names: tuple[str, ...] = ()
) -> MetricFamily:
    """A family of one histogram."""
    series = HistogramSeries(names, names, " ", bounds)
    series.counts, series.total = counts, total
    return MetricFamily("x", "histogram", "X.", "", [series])


def counter_with(exemplar: Any) -> MetricFamily:
    """A family of one counter with an exemplar."""
    series = CounterSeries()
    series.exemplar = exemplar
    return MetricFamily("x_total", "counter", "X.", "", [series])


def begun(at: Any) -> MetricFamily:
    """A family of one counter that began at some time."""
    return MetricFamily("x_total", "counter", "X.", "", [CounterSeries(created=at)])


UNFIT = [
    (gauge_of(None), TypeError, "must be a number"),
    (gauge_of("1"), TypeError, "must be a number"),
    (gauge_of(10**400), ValueError, "double"),
    (gauge_of(1, a=1), TypeError, "must be text"),
    (gauge_of(1, a="\ud800"), TypeError, "must be text"),
    (gauge_of(1, b="1", a="2"), ValueError, "must be sorted"),
    (gauge_of(1, __name__="y"), ValueError, "is none for a gauge"),
    (MetricFamily("x", "gauge", None, "", ()), TypeError, "doc of a metric must be text"),  # type: ignore[arg-type]
    (MetricFamily("x", "gauge", "", 5, ()), TypeError, "unit of a metric must be text"),  # type: ignore[arg-type]
    (MetricFamily(5, "gauge", "", "", ()), TypeError, "name of a metric must be text"),  # type: ignore[arg-type]
    (MetricFamily("x", "gauge", "", "", iter(())), TypeError, "must be a list"),  # type: ignore[arg-type]
    (MetricFamily("x_info", "info", "", "", [NumberSeries(value=2)]), ValueError, "is 1, not 2"),
    (MetricFamily("x", "stateset", "", "", [NumberSeries()]), ValueError, "a state is a label"),
    (summary_of(None, 1), ValueError, "a count must be"),
    (summary_of(-1, 1), ValueError, "a count must be"),
    (summary_of(2**64, 1), ValueError, "a count must be"),
    (summary_of(1, None), TypeError, "int or a float"),
    (summary_of(1, 1, [(0.5, "1")]), TypeError, "int or a float"),
    (summary_of(1, 1, [(50, 1.0)]), ValueError, "between 0 and 1"),
    (histogram_of([1], 1), ValueError, "so many counts"),
    (histogram_of([1, -1], 1), ValueError, "so many counts"),
    (histogram_of([1, 1], "1"), TypeError, "int or a float"),
    (histogram_of([1, 1], 10**400), ValueError, "double"),
    (histogram_of([1, 1], 1, (1.0, 2.0)), ValueError, "up to infinity"),
    (histogram_of([1, 1, 1], 1, (2.0, 1.0, inf)), ValueError, "up to infinity"),
    (histogram_of([1, 1], 1, names=("le",)), ValueError, "is none for a histogram"),
    (counter_with("trace"), TypeError, "must be an Exemplar"),
    (counter_with(Exemplar((("trace", 5),), 1.0)), TypeError, "must be text"),  # type: ignore[arg-type]
    (counter_with(Exemplar((), None)), TypeError, "int or a float"),  # type: ignore[arg-type]
    (begun("now"), TypeError, "int or a float"),
    (histogram_of([1, 1], 1, (10**400, inf)), ValueError, "too large|double"),
    (histogram_of([1, 1], 1, (Fraction(1), inf)), TypeError, "int or a float"),
    (histogram_of([2**64 - 1, 1], 1), ValueError, "observations at most"),
    (summary_of(1, 1, [(0.5, 1.0), (0.5, 2.0)]), ValueError, "once each"),
    (summary_of(1, 1, [(0, 1.0), (0.0, 2.0)]), ValueError, "once each"),
    (summary_of(1, 1, [(Fraction(1, 2), 1.0)]), TypeError, "int or a float"),
    (MetricFamily(Text("x"), "gauge", "", "", ()), TypeError, "name of a metric must be text"),
    (MetricFamily("x", Text("gauge"), "", "", ()), TypeError, "type of a metric must be text"),
    (gauge_of(1, a=Text("1")), TypeError, "must be text"),
    (counter_with(Exemplar((("trace", Text("5")),), 1.0)), TypeError, "must be text"),
    (counter_with(OwnExemplar((), 1.0)), TypeError, "must be an Exemplar"),
    (family("x", Own()), TypeError, "series of a gauge are NumberSeries, not Own"),
]


@pytest.mark.parametrize(("bad", "error", "message"), UNFIT)
def test_what_would_cost_a_response_costs_itself(
    bad: MetricFamily, error: type[Exception], message: str
) -> None:
    """In every format, whatever is wrong in it; the other families are shown."""
    with pytest.raises(error, match=message):
        well_formed(bad)
    registry = CollectorRegistry()
    registry.add_source(FakeSource(bad, family("fine")))
    for accept in (PROTOBUF, OPENMETRICS, "text/plain"):
        assert b"fine" in render(registry, [accept])[0]


def test_numbers_of_other_kinds_become_plain_ones() -> None:
    """A value is what it stands for."""
    for value, wanted in ((True, 1), (Fraction(1, 2), 0.5)):
        made = well_formed(gauge_of(value))
        (series,) = made.series
        assert isinstance(series, NumberSeries)
        assert repr(series.value) == repr(wanted)


def test_the_text_of_labels_is_ours() -> None:
    """A series that was given none, or another one, is shown with the labels that it has."""
    made = well_formed(gauge_of(1, a='"'))

    assert made.series[0].text == '{a="\\""} '


def test_series_that_are_twice_in_a_family_are_one() -> None:
    """Of gauges the last one counts, and that is told."""
    one, two = GaugeSeries(value=1), GaugeSeries(value=2)
    registry = CollectorRegistry()
    registry.add_source(FakeSource(MetricFamily("x", "gauge", "X.", "", [one, two])))
    gathering = registry.gather()

    assert b"\nx 2\n" in render(registry)[0]
    assert [fault.cause for fault in gathering.faults] == ["duplicate_series"]


@pytest.mark.parametrize(
    "collector",
    [
        Counter("x_total", "X."),
        Histogram("x", "X.", native_bucket_factor=1.1, buckets=None),
        Histogram("x", "X.", native_bucket_factor=1.1),
        Summary("x", "X."),
        Info("x", "X."),
        Enum("x", "X.", ["a", "b"]),
        StateSet("x", "X.", ["a"]),
    ],
    ids=repr,
)
def test_all_collectors_are_well_formed(collector: Any) -> None:
    """As they are."""
    if isinstance(collector, Info):
        collector.set({}, {"version": "1"})
    elif isinstance(collector, (Enum, StateSet)):
        collector.set({}, "a")
    elif isinstance(collector, Counter):
        collector.inc({}, exemplar={"trace_id": "1"})
    else:
        collector.observe({}, 1.0)
        collector.observe({}, float("nan"))
    made = collector.family()

    assert well_formed(made) == replace(made, series=tuple(made.series))


@pytest.mark.parametrize("options", [{}, {"expire_after": 60}])
def test_a_collector_with_chores_is_to_be_registered(options: Any) -> None:
    """It is shown, and what is not done for it is told once."""
    gauge = Gauge("x", "X.", **options)
    gauge.set({}, 1)
    if not options:
        gauge.set_function({}, lambda: 2)
    registry = CollectorRegistry()
    registry.add_source(FakeSource(gauge))
    (fault,) = registry.gather().faults

    assert "register it" in fault.message
    assert not fault.lost
    assert b"\nx 1\n" in render(registry)[0]


def test_a_family_that_cannot_be_made_costs_itself() -> None:
    """Whatever its collector raises."""

    class Broken(Gauge):
        def family(self) -> MetricFamily:
            raise RuntimeError("no family")

    registry = CollectorRegistry()
    registry.add_source(FakeSource(Broken("x", "X."), family("fine")))

    assert b"fine 1" in render(registry)[0]
