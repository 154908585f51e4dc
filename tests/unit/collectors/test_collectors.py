"""The native collectors and their base."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from quantile import Estimator

from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.series import classic_histogram
from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.errors import InvalidLabelsError, InvalidNameError

KINDS = (Collector, Counter, Gauge, Histogram, Summary)
INF = math.inf


class Listing:
    """A registry that only records names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def register(self, collector: Any, /) -> None:
        """Record the name."""
        self.names.append(collector.name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_collector_registers_when_it_is_complete(kind: type[Collector[Any]]) -> None:
    """Anything with ``register`` is a registry; what is refused is not registered."""
    registry = Listing()
    kind("x", "What.", registry=registry)
    with pytest.raises(InvalidNameError):
        kind("", "What.", registry=registry)
    with pytest.raises(InvalidLabelsError):
        kind("x", "What.", {"job": "1"}, registry=registry)
    with pytest.raises(TypeError, match="doc"):
        kind("x", b"What.", registry=registry)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="registry must be a CollectorRegistry, not 5"):
        kind("x", "What.", registry=5)  # type: ignore[arg-type]
    with pytest.raises(InvalidNameError):
        kind(5, "What.", registry=registry)  # type: ignore[arg-type]

    assert registry.names == ["x"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_child_is_the_series_that_calls_use(kind: type[Collector[Any]]) -> None:
    """``labels`` finds or creates it, in any order of names, and it is always the same object."""
    collector = kind("x", "What.", {"c": 3})
    child = collector.labels({"a": "1", "b": "2"})

    assert collector.labels({"b": 2, "a": 1}) is child
    assert collector.labels() is collector.labels({}) is collector.labels(None)
    assert child.pairs == (("a", "1"), ("b", "2"), ("c", "3"))
    assert child.text == '{a="1",b="2",c="3"} '
    assert collector.labels().text == '{c="3"} '


def test_a_label_with_an_empty_value_is_the_series_without_it() -> None:
    """Both spellings find one series, whichever comes first."""
    counter = Counter("x", "What.")
    counter.inc({"a": "", "b": "1"})
    counter.inc({"b": "1"})

    assert counter.get_all() == [({"b": "1"}, 2)]


def test_labels_must_be_a_mapping() -> None:
    """Whatever was recorded before, other things are refused."""
    counter = Counter("x", "What.")
    for _ in range(2):
        for labels in ("a", 5, [("a", "1")]):
            with pytest.raises(TypeError, match="must be a dict"):
                counter.inc(labels)  # type: ignore[arg-type]
        counter.inc()

    assert counter.get_all() == [({}, 2)]


@pytest.mark.parametrize("labels", [[], (), "", set()])
def test_nothing_of_another_type_stands_for_no_labels(labels: Any) -> None:
    """Also where there is a series without labels that could be found."""
    counter = Counter("x", "What.")
    counter.inc()
    with pytest.raises(TypeError, match="must be a dict"):
        counter.inc(labels)

    assert counter.get() == 1


def test_names_of_mixed_types_are_invalid_labels() -> None:
    """They cannot be sorted, but the error is not about sorting."""
    counter = Counter("x", "What.")
    with pytest.raises(InvalidLabelsError):
        counter.inc({1: "a", "b": "c"})  # type: ignore[dict-item]

    assert counter.get_all() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_series_is_not_exposed(kind: type[Collector[Any]]) -> None:
    """A second removal is a KeyError, and recording creates a new series."""
    collector = kind("x", "What.")
    old = collector.labels({"a": "1"})
    collector.labels({})
    collector.remove({"a": "1"})
    left = [labels for labels, _ in collector.get_all()]
    for labels in ({"a": "1"}, {"b": "1"}):
        with pytest.raises(KeyError):
            collector.remove(labels)
    collector.remove(None)

    assert left == [{}]
    assert collector.labels({"a": "1"}) is not old


@pytest.mark.parametrize("kind", KINDS)
def test_clear_removes_all_series(kind: type[Collector[Any]]) -> None:
    """The collector can be used again."""
    collector = kind("x", "What.")
    collector.labels({"a": "1"})
    collector.clear()

    assert collector.get_all() == []
    assert collector.labels({"a": "1"}).pairs == (("a", "1"),)


def test_a_family_has_the_series_live() -> None:
    """What is recorded later is seen in it."""
    gauge = Gauge("x", "What.")
    gauge.set({"a": "1"}, 1)
    family = gauge.family()
    gauge.set({"a": "1"}, 2)
    gauge.set({"a": "2"}, 3)
    (series,) = family.series

    assert (family.name, family.type, family.doc, family.unit) == ("x", "gauge", "What.", "")
    assert isinstance(series, NumberSeries)
    assert series.value == 2


def test_filling_replaces_all_series() -> None:
    """Look-ups, listing and the family have the new ones at once."""
    gauge = Gauge("x", "What.")
    gauge.set({"old": "1"}, 1)
    gauge.fill([NumberSeries(("a",), ("1",), '{a="1"} ', 7)])  # type: ignore[list-item]

    assert [series.text for series in gauge.family().series] == ['{a="1"} ']
    assert gauge.get({"a": 1}) == 7
    assert gauge.get_all() == [({"a": "1"}, 7)]


def test_repr_of_a_collector() -> None:
    """Kind, name and number of series."""
    counter = Counter("x_total", "What.")
    counter.inc()

    assert repr(counter) == "<Counter x_total: 1 series>"


def test_collectors_are_unhashable() -> None:
    """They are mutable, and compare by value."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(Counter("x", "What."))


@pytest.mark.parametrize("kind", [Collector, Counter, Gauge])
def test_numbers_are_stored_and_compared(kind: type[Collector[Any]]) -> None:
    """``set_value`` stores, ``get_value`` returns, and equality compares what is stored."""
    one, other = kind("x", "What."), kind("x", "What.")
    one.set_value({"a": "1"}, 2)
    differ = one != other
    other.set_value({"a": 1}, 2.0)

    assert differ
    assert one == other
    assert one.get_value({"a": 1}) == one.labels({"a": 1}).get() == 2
    assert kind("x", "Other.") != kind("x", "What.")


def test_summaries_observe_and_return_their_estimator() -> None:
    """``add`` is ``observe``."""
    summary = Summary("x", "What.")
    summary.observe({}, 2)
    summary.add({}, 2)

    assert summary.get()["sum"] == 4
    assert isinstance(summary.get_value(), Estimator)


def test_comparison_with_other_classes_is_not_implemented() -> None:
    """The other operand decides."""
    counter = Counter("x", "What.")

    assert counter.__eq__("x") is NotImplemented
    assert counter.__eq__(Gauge("x", "What.")) is NotImplemented


def test_an_unknown_label_set_is_named_in_the_error() -> None:
    """Both the collector and the labels."""
    with pytest.raises(KeyError, match=r"x_total has no series with the labels \{'a': 1\}"):
        Counter("x_total", "What.").get({"a": 1})
    with pytest.raises(KeyError, match=r"the labels \{\}"):
        Counter("x_total", "What.").get()


@pytest.mark.parametrize("value", ["1", None, [1]])
def test_a_counter_refuses_what_is_no_number_and_creates_no_series(value: Any) -> None:
    """As with negative amounts."""
    counter = Counter("x", "What.")
    with pytest.raises(TypeError, match="number"):
        counter.add({}, value)

    assert counter.get_all() == []


def test_a_histogram_stores_only_its_own_bounds() -> None:
    """Other bounds could not be exposed in one family."""
    collector = Histogram("x", "What.", buckets=[1])
    for value in (classic_histogram.Histogram(2), 5, None):
        with pytest.raises(TypeError, match="bounds"):
            collector.set_value({}, value)

    assert collector.upper_bounds == (1.0, INF)


def test_what_a_histogram_stores_is_a_copy() -> None:
    """Later observations of the original do not count; the stored one is live."""
    collector = Histogram("x", "What.", buckets=[1])
    original = classic_histogram.Histogram(1, INF)
    original.observe(0.5)
    collector.set_value({}, original)
    original.observe(0.5)
    collector.observe({}, 0.5)

    assert collector.get({}) == {1.0: 2, INF: 2, "count": 2, "sum": 1.0}
    assert collector.get_value({}).observations == 2


def test_a_summary_stores_only_estimators() -> None:
    """Numbers are observed, not stored."""
    summary = Summary("x", "What.", invariants=[(0.5, 0.1)])
    for value in (5, None, "x"):
        with pytest.raises(TypeError, match="Estimator"):
            summary.set_value({}, value)
    summary.set_value({}, Estimator((0.5, 0.1)))

    assert summary.get({})["count"] == 0
    assert summary.invariants == ((0.5, 0.1),)


def test_recording_methods_take_labels_first_or_none_at_all() -> None:
    """``inc`` and ``dec`` may be called without arguments; bound children take no labels."""
    gauge, counter = Gauge("x", "What."), Counter("y", "What.")
    gauge.inc()
    gauge.inc(None)
    gauge.dec()
    gauge.add(None, 5)
    gauge.sub({}, 1)
    counter.inc()
    counter.labels().inc()
    counter.add(None, 2)
    counter.add({"b": "1"}, 0.5)
    counter.set({"a": "1"}, 3)

    assert gauge.get_all() == [({}, 5)]
    assert counter.get_all() == [({}, 4), ({"b": "1"}, 0.5), ({"a": "1"}, 3)]


@pytest.mark.parametrize(
    ("collector", "method", "value"),
    [
        (Counter("c_total", "d"), "add", -1),
        (Counter("c_total", "d"), "set", "x"),
        (Gauge("g", "d"), "set", "x"),
        (Gauge("g", "d"), "sub", None),
        (Histogram("h", "d"), "observe", "x"),
        (Histogram("h", "d"), "set_value", 3),
        (Summary("s", "d"), "observe", True),
        (Summary("s", "d"), "set_value", 3),
        (Collector("u", "d"), "set_value", "x"),
    ],
)
def test_refused_values_create_no_series(collector: Any, method: str, value: object) -> None:
    """Also on the first use of a label set."""
    with pytest.raises((TypeError, ValueError)):
        getattr(collector, method)({"a": "1"}, value)

    assert collector.get_all() == []


def test_e35_a_count_from_elsewhere_has_no_start_time() -> None:
    """It is unknown; a count that starts from 0 starts now."""
    counter = Counter("c_total", "C.")
    before = time.time()
    counter.set({"of": "elsewhere"}, 1_000_000)
    counter.set({"of": "nothing"}, 0)
    counter.inc({"of": "here"})
    counter.set({"of": "here"}, 7)
    starts = {one.values[0]: one.created for one in counter.family().series}

    assert starts["elsewhere"] is None
    assert before <= starts["nothing"] <= starts["here"] <= time.time()  # type: ignore[operator]
    counter.set({"of": "elsewhere"}, 5)  # a reset
    assert before <= (counter.labels({"of": "elsewhere"}).created or 0) <= time.time()
