"""Native collectors that stand for families of sources."""

from __future__ import annotations

import math

import pytest

from oracles import family, number
from otel_aioprom._core.model import MetricFamily, Series
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.number import CounterSeries, NumberSeries
from otel_aioprom.registry.source_collectors import SourceCollectors

INF = math.inf


def histogram_series(*counts: int, bounds: tuple[float, ...] = (1.0, INF)) -> HistogramSeries:
    """A histogram's series without labels."""
    series = HistogramSeries((), (), " ", bounds)
    series.load(counts, 2.5)
    return series


def updated(*families: MetricFamily) -> SourceCollectors:
    """Source collectors after one collection."""
    collectors = SourceCollectors()
    collectors.update(families, keep_others=False)
    return collectors


@pytest.mark.parametrize(
    ("kind", "series", "collector", "value"),
    [
        ("counter", number(2, kind=CounterSeries), Counter, 2),
        ("gauge", number(-1), Gauge, -1),
        ("info", number(1, kind=NumberSeries), Gauge, 1),
        ("untyped", number(3, kind=NumberSeries), Collector, 3),
        ("foreign", number(4, kind=NumberSeries), Collector, 4),
        ("histogram", histogram_series(1, 2), Histogram, {1.0: 1, INF: 3, "count": 3, "sum": 2.5}),
        (
            "summary",
            SummaryPoint((), (), " ", 2, 3.0, [(0.5, 1.0)]),
            Summary,
            {0.5: 1.0, "count": 2, "sum": 3.0},
        ),
    ],
)
def test_each_type_has_its_collector(
    kind: str, series: Series, collector: type[Collector[object]], value: object
) -> None:
    """Filled with the series of the collection."""
    found = updated(family("x", series, kind=kind, doc="What.")).get("x")

    assert type(found) is collector
    assert (found.name, found.doc) == ("x", "What.")
    assert found.get({}) == value
    assert found.get_all() == [({}, value)]


def test_series_are_found_by_their_exposed_labels() -> None:
    """In any order."""
    found = updated(family("x", number(1, {"a": "1", "b": "2"}), number(2))).get("x")

    assert found is not None
    assert found.get({"b": 2, "a": 1}) == 1
    assert found.get() == 2
    with pytest.raises(KeyError):
        found.get({"a": "1"})


def test_a_histogram_has_the_bounds_of_its_series() -> None:
    """Or some, if they are no histogram series."""
    found = updated(
        family("h", histogram_series(1, 2, 3, bounds=(1.0, 2.0, INF)), kind="histogram")
    )
    odd = updated(family("h", number(1), kind="histogram"))
    both = found.get("h"), odd.get("h")

    assert [each.upper_bounds for each in both if isinstance(each, Histogram)] == [
        (1.0, 2.0, INF),
        (1.0, INF),
    ]


def test_collectors_stay_the_same_objects() -> None:
    """With the values of the last collection."""
    collectors, first = SourceCollectors(), family("x", number(1))
    collectors.update([first], keep_others=False)
    collector = collectors.get("x")
    collectors.update([first], keep_others=False)
    same = collectors.get("x")
    collectors.update([family("x", number(2))], keep_others=False)

    assert collector is same is collectors.get("x")
    assert collector is not None
    assert collector.get() == 2


def test_series_that_vanished_are_not_found() -> None:
    """Those that came back are found again."""
    collectors = updated(family("x", number(1, {"a": "1"}), number(2, {"a": "2"})))
    collectors.update([family("x", number(3, {"a": "2"}))], keep_others=False)
    collector = collectors.get("x")

    assert collector is not None
    assert collector.get_all() == [({"a": "2"}, 3)]
    collectors.update([family("x", number(1, {"a": "1"}))], keep_others=False)
    assert collector.get_all() == [({"a": "1"}, 1)]


def test_names_that_vanished_are_not_found() -> None:
    """Unless some sources have not returned."""
    collectors = updated(family("x"), family("y"))
    collectors.update([family("y")], keep_others=True)

    assert [each.name for each in collectors.get_all()] == ["x", "y"]
    collectors.update([family("y")], keep_others=False)
    assert [each.name for each in collectors.get_all()] == ["y"]
    assert collectors.get("x") is None


def test_a_name_of_another_type_is_another_collector() -> None:
    """An info is a gauge, and stays one."""
    collectors = updated(family("x", kind="info"))
    info = collectors.get("x")
    collectors.update([family("x", kind="gauge")], keep_others=False)
    gauge = collectors.get("x")
    collectors.update(
        [family("x", number(1, kind=CounterSeries), kind="counter")], keep_others=False
    )

    assert info is gauge
    assert type(collectors.get("x")) is Counter


def test_names_can_be_removed() -> None:
    """At once; unknown ones are ignored."""
    collectors = updated(family("x"), family("y"))
    collectors.remove(["x", "z"])

    assert collectors.get("x") is None
    assert [each.name for each in collectors.get_all()] == ["y"]
