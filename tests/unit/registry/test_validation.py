"""Families from user code: what is invalid is dropped alone."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest

from format_families import histogram, summary
from oracles import FakeSource, dropped, family, number
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.collectors import Counter, Enum, Gauge, Histogram, Info, StateSet, Summary
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.number import GaugeSeries, NumberSeries
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.validation import well_formed
from otel_aioprom.renderer import render

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Text(str):
    """A ``str`` subclass."""

    __slots__ = ()


class Own(NumberSeries):
    """A series of a user's class."""

    __slots__ = ()


class NoKind(Series):
    """A series of no kind."""

    __slots__ = ()
    names = ()


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ("x", TypeError, "families or collectors"),
        (None, TypeError, "families or collectors"),
        (family(""), ValueError, "needs a name"),
        (family("x", kind="timer"), ValueError, "its type must be one of"),
        (MetricFamily(5, "gauge", "", "", ()), TypeError, "name of a metric must be a valid str"),  # type: ignore[arg-type]
        (MetricFamily("x", "gauge", "", "", iter(())), TypeError, "must be a list"),  # type: ignore[arg-type]
        (MetricFamily(Text("x"), "gauge", "", "", ()), TypeError, "name of a metric must be"),
        (MetricFamily("x", Text("gauge"), "", "", ()), TypeError, "type of a metric must be"),
    ],
)
def test_what_no_format_can_write_is_rejected(
    item: Any, error: type[Exception], message: str
) -> None:
    """With a message that says what is wrong."""
    with pytest.raises(error, match=message):
        well_formed(item, [])


def checked(item: MetricFamily) -> MetricFamily:
    """A valid family after its validation."""
    faults: list[Fault] = []
    made = well_formed(item, faults)
    assert faults == []
    return made


def test_valid_families_are_not_changed() -> None:
    """Of every kind."""
    for collector in (Gauge("x", "X."), Histogram("h", "H."), Summary("s", "S.")):
        collector.labels({"a": 1})
        family_ = collector.family()
        assert checked(family_) == replace(family_, series=tuple(family_.series))


def test_utf8_names_are_quoted() -> None:
    """Though the source does not mark the family, and writes the labels without quotes."""
    odd_label = GaugeSeries(("a.b",), ("1",), '{a.b="1"} ', 1)
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("x.y"), family("z", odd_label)))
    text = render(registry, ["text/plain;version=1.0.0;escaping=allow-utf-8"])[0].decode()

    assert '{"x.y"} 1\n' in text
    assert 'z{"a.b"="1"} 1\n' in text
    assert "x_y 1\n" in render(registry, ["text/plain;version=0.0.4"])[0].decode()


def test_the_rest_of_a_source_is_exposed() -> None:
    """What is dropped is counted."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("fine"), "junk", family("x", kind="timer")))  # type: ignore[arg-type]
    text = render(registry)[0].decode()

    assert "fine 1\n" in text
    assert 'dropped_total{cause="untranslatable"} 2\n' in text


def gauge_of(value: Any, **labels: Any) -> MetricFamily:
    """A family of one series with an unchecked value."""
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


class Exploding:
    """A number that raises."""

    def __float__(self) -> float:
        """Fail."""
        raise RuntimeError("no number today")


UNFIT = [
    (MetricFamily("x", "gauge", "", "", [NoKind()]), "series of a gauge must be"),
    (MetricFamily("x", "histogram", "", "", [number(1)]), "series of a histogram"),
    (MetricFamily("x", "summary", "", "", [number(1)]), "series of a summary"),
    (MetricFamily("x", "gauge", "", "", [None]), "series of a gauge must be"),  # type: ignore[list-item]
    (family("x", GaugeSeries(("",), ("v",), " ", 1)), "must not be called"),
    (gauge_of(None), "must be a number"),
    (gauge_of("1"), "must be a number"),
    (gauge_of(10**400), "double"),
    (gauge_of(1, a=1), "must be valid strings"),
    (gauge_of(1, a="\ud800"), "must be valid strings"),
    (gauge_of(1, b="1", a="2"), "must be sorted"),
    (gauge_of(1, __name__="y"), "must not be called"),
    (family("x", NumberSeries(("a", "a"), ("1", "2"))), "must be sorted, each one once"),
    (family("x", NumberSeries(("a",), ())), "two tuples of the same length"),
    (family("x", NumberSeries(["a"], ["1"])), "two tuples of the same length"),  # type: ignore[arg-type]
    (MetricFamily("x_info", "info", "", "", [NumberSeries(value=2)]), "must be 1, not 2"),
    (MetricFamily("x", "stateset", "", "", [NumberSeries()]), "a state must have a label"),
    (summary_of(-1, 1), "a count must be"),
    (summary_of(2**64, 1), "a count must be"),
    (summary_of("1", 1), "a count must be"),
    (summary_of(1, "1"), "int or a float"),
    (summary_of(1, 1, [(0.5, "1")]), "int or a float"),
    (summary_of(1, 1, [(50, 1.0)]), "between 0 and 1"),
    (summary_of(1, 1, [(0.5, 1.0), (0.5, 2.0)]), "must not occur twice"),
    (summary_of(1, 1, [(0, 1.0), (0.0, 2.0)]), "must not occur twice"),
    (summary_of(1, 1, [(Fraction(1, 2), 1.0)]), "int or a float"),
    (summary_of(1, 1, 5), "not iterable"),
    (histogram_of([1], 1), "as many counts"),
    (histogram_of([1, -1], 1), "as many counts"),
    (histogram_of([1, None], 1), "as many counts"),
    (histogram_of(None, 1), "NoneType"),
    (histogram_of([1, 1], "1"), "int or a float"),
    (histogram_of([1, 1], 10**400), "double"),
    (histogram_of([1, 1], 1, (1.0, 2.0)), "up to infinity"),
    (histogram_of([1, 1], 1, (nan, inf)), "up to infinity"),
    (histogram_of([1, 1, 1], 1, (2.0, 1.0, inf)), "up to infinity"),
    (histogram_of([1, 1], 1, names=("le",)), "must not be called"),
    (histogram_of([1, 1], 1, (10**400, inf)), "too large|double"),
    (histogram_of([1, 1], 1, (Fraction(1), inf)), "int or a float"),
    (histogram_of([2**64 - 1, 1], 1), "at most"),
    (gauge_of(1, a=Text("1")), "must be valid strings"),
    (family("x", Own()), "series of a gauge must be NumberSeries, not Own"),
    (gauge_of(Exploding()), "no number today"),
    (family("x", NumberSeries.__new__(NumberSeries)), "names"),
]


@pytest.mark.parametrize(("bad", "message"), UNFIT)
def test_what_would_break_a_response_is_dropped_alone(bad: MetricFamily, message: str) -> None:
    """One of eleven series that is invalid costs itself: ten are exposed in every format, with one fault."""
    (broken,) = bad.series
    good = [good_series(bad, str(place)) for place in range(10)]
    faults: list[Fault] = []
    kept = well_formed(replace(bad, series=[*good[:4], broken, *good[4:]]), faults)

    assert list(kept.series) == good
    assert [(fault.cause, fault.subject, fault.number) for fault in faults] == [
        ("untranslatable", bad.name, 1)
    ]
    assert re.search(message, faults[0].message)

    registry = CollectorRegistry()
    registry.add_source(FakeSource(replace(bad, series=[broken, *good])))
    for accept in (PROTOBUF, OPENMETRICS, "text/plain"):
        assert render(registry, [accept])[0].count(b"place") >= 10
    assert dropped(registry.gather()) == {"untranslatable": 4}


def good_series(bad: MetricFamily, place: str) -> Series:
    """A valid series of the same type."""
    labels = {"place": place, **({"x": "on"} if bad.type == "stateset" else {})}
    if bad.type == "histogram":
        return histogram([1, 1], 2, (1.0,), labels=labels)
    if bad.type == "summary":
        return summary(1, 2, [(0.5, 1.0)], labels)
    return number(1, labels, NumberSeries)


def test_numbers_of_other_types_are_converted() -> None:
    """To plain ``int`` and ``float``."""
    for value, wanted in ((True, 1), (Fraction(1, 2), 0.5)):
        (series,) = checked(gauge_of(value)).series
        assert isinstance(series, NumberSeries)
        assert repr(series.value) == repr(wanted)


def test_the_text_of_labels_is_written_anew() -> None:
    """A wrong one is replaced."""
    made = checked(gauge_of(1, a='"'))

    assert made.series[0].text == '{a="\\""} '


def test_series_with_the_same_labels_in_a_family_are_merged() -> None:
    """The last of two gauges is kept, with a fault."""
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
def test_families_of_native_collectors_are_valid(collector: Any) -> None:
    """They are not changed."""
    if isinstance(collector, Info):
        collector.set({}, {"version": "1"})
    elif isinstance(collector, (Enum, StateSet)):
        collector.set({}, "a")
    elif isinstance(collector, Counter):
        collector.inc({}, exemplar={"trace_id": "1"})
    else:
        collector.observe({}, 1.0)
        collector.observe({}, float("nan"))
    family_ = collector.family()

    assert checked(family_) == replace(family_, series=tuple(family_.series))


@pytest.mark.parametrize("options", [{}, {"expire_after": 60}])
def test_a_collector_with_hooks_is_to_be_registered(options: Any) -> None:
    """It is exposed, and a fault says that its hooks do not run."""
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


def test_a_collector_whose_family_raises_is_dropped_alone() -> None:
    """Whatever it raises."""

    class Broken(Gauge):
        def family(self) -> MetricFamily:
            raise RuntimeError("no family")

    registry = CollectorRegistry()
    registry.add_source(FakeSource(Broken("x", "X."), family("fine")))

    assert b"fine 1" in render(registry)[0]
