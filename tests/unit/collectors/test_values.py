"""``collector.values``: the attribute by which code for aioprometheus reads, deletes and resets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from quantile import Estimator

from otel_aioprom.collectors import (
    Collector,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StateSet,
    Summary,
)
from otel_aioprom.histogram import Histogram as HistogramStore
from otel_aioprom.metricdict import MetricDict
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

A, B = {"path": "/a", "code": 200}, {"code": "404", "path": "/b"}


def collectors() -> list[Collector[Any]]:
    """One of each kind, with two series and a constant label."""
    const = {"app": "shop"}
    base: Collector[Any] = Collector("x", "What.", const)
    counter, gauge = Counter("c_total", "What.", const), Gauge("g", "What.", const)
    histogram, summary = Histogram("h", "What.", const), Summary("s", "What.", const)
    info, states = Info("i", "What.", const), StateSet("f", "What.", ["a", "b"], const)
    phase = Enum("e", "What.", ["a", "b"], const)
    for labels in (A, B):
        base.set_value(labels, 1)
        counter.inc(labels)
        gauge.set(labels, 2)
        histogram.observe(labels, 0.1)
        summary.observe(labels, 0.1)
        info.set(labels, {"version": "1"})
        states.set(labels, "b")
        phase.set(labels, "b")
    return [base, counter, gauge, histogram, summary, info, states, phase]


@pytest.fixture(params=range(8), ids=lambda index: type(collectors()[index]).__name__)
def collector(request: pytest.FixtureRequest) -> Collector[Any]:
    """Each kind of collector."""
    return collectors()[request.param]


def test_the_view_reads_what_is_stored(collector: Collector[Any]) -> None:
    """By label set in any order, as ``get_value`` does; unknown ones are a ``KeyError`` and create nothing."""
    values = collector.values

    assert len(values) == 2
    assert A in values
    assert {"path": "/a", "code": "200"} in values
    assert {"path": "/a"} not in values
    assert list(values) == [labels for labels, _ in collector.get_all()]
    assert values.items()
    for labels, value in values.items():
        assert type(value) is type(collector.get_value(labels))
    assert values.get({"path": "/none"}) is None
    with pytest.raises(KeyError):
        values[{"path": "/none"}]
    assert len(values) == 2


def test_what_is_deleted_in_the_view_is_no_longer_exposed(collector: Collector[Any]) -> None:
    """Nothing is done silently to a copy."""
    registry = CollectorRegistry()
    registry.register(collector)
    before = render(registry)[0]
    del collector.values[B]

    assert b'path="/b"' in before
    assert b'path="/b"' not in render(registry)[0]
    assert b'path="/a"' in render(registry)[0]
    assert (len(collector.values), B in collector.values) == (1, False)
    with pytest.raises(KeyError):
        del collector.values[B]
    collector.values.pop(A)
    assert collector.get_all() == []


@pytest.mark.parametrize("empty", [{}, MetricDict()])
def test_an_empty_mapping_resets(collector: Collector[Any], empty: Mapping[Any, Any]) -> None:
    """As ``clear`` does; a view taken before sees it."""
    view = collector.values
    collector.values = empty

    assert collector.get_all() == []
    assert (len(view), list(view), A in view) == (0, [], False)
    assert view == {}
    assert view == MetricDict()


@pytest.mark.parametrize("wrong", [None, 0, "", [], 1, {"a": 1}, [({}, 1)], object()])
def test_anything_else_is_refused(collector: Collector[Any], wrong: Any) -> None:
    """With what to do instead; nothing changes."""
    with pytest.raises(TypeError, match=r"only an empty mapping .*set_value\(labels, value\)"):
        collector.values = wrong
    assert len(collector.values) == 2


def test_values_are_stored_through_the_view() -> None:
    """With the checks of ``set_value``; ``clear`` and ``update`` are there too."""
    base, counter, gauge, histogram, summary, *_ = collectors()
    for number in (base, counter, gauge):
        number.values[A] = 7
        assert number.get(A) == 7
        with pytest.raises(TypeError):
            number.values[A] = "7"
    histogram.values[A] = HistogramStore(*Histogram.DEFAULT_BUCKETS)
    assert histogram.get(A)["count"] == 0
    assert isinstance(summary.values[A], Estimator)
    gauge.values.update({}.items())
    gauge.values.clear()
    assert gauge.get_all() == []
    with pytest.raises(TypeError, match="labels must be"):
        gauge.values["x"] = 1  # type: ignore[index]
    assert gauge.get_all() == []


def test_a_view_follows_its_collector() -> None:
    """Also to a set of series that replaces the old one."""
    gauge = Gauge("g", "What.", max_series=5)
    view = gauge.values
    gauge.set(A, 1)
    with gauge.replace() as fresh:
        fresh.set(B, 2)

    assert [*view.items()] == [({"code": "404", "path": "/b"}, 2)]
    assert repr(view) == "Values({(('code', '404'), ('path', '/b')): 2})"


def test_views_are_compared_by_their_contents() -> None:
    """With each other, and with a ``MetricDict``."""
    one, other = Gauge("a", "What."), Counter("b_total", "What.")
    one.set(A, 1)
    other.inc(A)
    stored: MetricDict[int] = MetricDict()
    stored[A] = 1

    assert one.values == other.values
    assert one.values == stored
    assert one.values != {}
    assert one.values != {"a": 1}
    assert one.values != 1
    other.inc(A)
    assert one.values != other.values


def test_a_reset_drops_callbacks_too() -> None:
    """Else the series would come back at the next collection."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "What.", registry=registry)
    gauge.set_function(A, lambda: 1)
    render(registry)
    gauge.values = {}

    assert b"\ng{" not in render(registry)[0]
