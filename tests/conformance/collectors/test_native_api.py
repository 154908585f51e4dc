"""Compatibility with aioprometheus: collectors, labels, stores (N1 to N4)."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
from quantile import Estimator

from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, MetricsTypes, Summary
from otel_aioprom.collectors.series import classic_histogram
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

KINDS = (Collector, Counter, Gauge, Histogram, Summary)
INF = math.inf


def record(collector: Collector[Any], labels: Any, value: float = 1) -> None:
    """Record by the method that the kind of collector has."""
    if type(collector) is Collector:
        collector.set_value(labels, value)
    else:
        collector.add(labels, value)  # type: ignore[attr-defined]


def lines(*collectors: Collector[Any]) -> list[str]:
    """The sample lines of a response with these collectors."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    body, _ = render(registry, [])
    return [line for line in body.decode().splitlines() if not line.startswith("#")]


def arguments(call: Any) -> list[tuple[str, Any]]:
    """Names and defaults of the positional arguments, without ``self``."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    every = inspect.signature(call).parameters.values()
    return [(each.name, each.default) for each in every if each.kind in positional]


@pytest.mark.parametrize("kind", KINDS)
def test_n01_a_collector_takes_name_doc_and_constant_labels(kind: type[Collector[Any]]) -> None:
    """All kinds start with the same three arguments and keep them as attributes."""
    empty = inspect.Parameter.empty
    collector = kind("x", "What.", {"app": "shop"})

    assert arguments(kind)[:3] == [("name", empty), ("doc", empty), ("const_labels", None)]
    assert (collector.name, collector.doc) == ("x", "What.")
    assert collector.const_labels == {"app": "shop"}
    assert kind("x", "What.").const_labels == {}


def test_n01_the_base_is_untyped_and_each_kind_is_its_own() -> None:
    """``kind`` is a member of MetricsTypes, on the class."""
    names = ["untyped", "counter", "gauge", "histogram", "summary"]

    assert [kind.kind for kind in KINDS] == [MetricsTypes[name] for name in names]


@pytest.mark.parametrize("kind", KINDS)
def test_n01_nothing_registers_itself_but_by_the_keyword(kind: type[Collector[Any]]) -> None:
    """``registry=`` registers on creation, and is keyword-only."""
    registry = CollectorRegistry()
    kind("x", "What.")
    collector = kind("y", "What.", registry=registry)

    assert registry.get_all() == [collector]
    assert inspect.signature(kind).parameters["registry"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "9x", "a-b", "a b", "ä", "x\n", "{x}", "a.b"])
def test_n01_a_bad_name_raises_value_error(kind: type[Collector[Any]], name: str) -> None:
    """Names that Prometheus formats do not allow unquoted are refused on creation."""
    with pytest.raises(ValueError, match="metric name"):
        kind(name, "What.")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [(), ("x",)])
def test_n01_a_missing_argument_raises_type_error(
    kind: type[Collector[Any]], given: tuple[str, ...]
) -> None:
    """Name and doc are required."""
    with pytest.raises(TypeError, match="missing"):
        kind(*given)


def test_n01_an_argument_of_a_wrong_type_raises_type_error() -> None:
    """A doc that is no string and constant labels that are no dict are refused at once."""
    with pytest.raises(TypeError, match="doc"):
        Counter("x", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="labels"):
        Counter("x", "What.", [("a", "1")])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_n01_equality_compares_name_doc_and_values(kind: type[Collector[Any]]) -> None:
    """Two collectors are equal if these are, in whatever order they were recorded."""
    one, other = kind("x", "What."), kind("x", "What.")
    empty_ones_equal = one == other
    for collector, order in ((one, "ab"), (other, "ba")):
        for name in order:
            record(collector, {name: "1", "z": "2"})

    assert empty_ones_equal
    assert one == other
    assert one not in (kind("y", "What."), kind("x", "Other."), kind("x", "What."))


def test_n01_equality_needs_the_same_class() -> None:
    """A gauge does not equal a counter, nor another object."""
    assert Counter("x", "What.") != Gauge("x", "What.")
    assert Counter("x", "What.") != "x"


def test_n02_metrics_types_have_the_known_numbers() -> None:
    """The enumeration has lower-case members, numbered as the protobuf format numbers them."""
    assert {member.name: member.value for member in MetricsTypes} == {
        "counter": 0,
        "gauge": 1,
        "summary": 2,
        "untyped": 3,
        "histogram": 4,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_n03_the_order_of_labels_does_not_matter(kind: type[Collector[Any]]) -> None:
    """A label set and its reverse are one series."""
    collector = kind("x", "What.")
    record(collector, {"a": "1", "b": "2"})
    record(collector, {"b": "2", "a": "1"})
    record(collector, {"a": "2", "b": "1"})

    assert [labels for labels, _ in collector.get_all()] == [
        {"a": "1", "b": "2"},
        {"a": "2", "b": "1"},
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_n03_no_labels_are_the_empty_dict_or_none(kind: type[Collector[Any]]) -> None:
    """``{}`` and ``None`` are the one series without labels."""
    collector = kind("x", "What.")
    record(collector, {})
    record(collector, None)

    assert [labels for labels, _ in collector.get_all()] == [{}]
    assert collector.get({}) == collector.get(None)


BAD_NAMES: tuple[Any, ...] = (
    "",
    "9a",
    "a-b",
    "a:b",
    "a b",
    "ä",
    "a\n",
    "__a",
    "__name__",
    "job",
    5,
)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[(kind, name) for kind in KINDS for name in BAD_NAMES],
        (Histogram, "le"),
        (Summary, "quantile"),
    ],
)
def test_n03_bad_label_names_raise_and_store_nothing(kind: type[Collector[Any]], name: Any) -> None:
    """Malformed and reserved names raise ValueError, in calls and in constant labels."""
    collector = kind("x", "What.")
    with pytest.raises(ValueError, match="labels"):
        record(collector, {"ok": "1", name: "2"})
    with pytest.raises(ValueError, match="labels"):
        kind("x", "What.", {"ok": "1", name: "2"})

    assert collector.get_all() == []


@pytest.mark.parametrize("name", ["a", "_", "_a", "A9", "a__b", "a" * 500, "instance"])
def test_n03_valid_label_names_are_accepted(name: str) -> None:
    """Names that match the pattern and are not reserved."""
    counter = Counter("x", "What.", {"const": "1"})
    counter.inc({name: "1"})

    assert counter.get({name: "1"}) == 1


def test_n03_le_and_quantile_are_reserved_only_where_they_collide() -> None:
    """A counter may have a label ``le``, a histogram one called ``quantile``, a summary ``le``."""
    for collector, name in ((Counter, "le"), (Histogram, "quantile"), (Summary, "le")):
        made = collector("x", "What.", {name: "1"})
        record(made, {name: "2"})

        assert len(made.get_all()) == 1


@pytest.mark.parametrize("value", [1, True, 1.5, None, b"a", [1], ("x",)])
def test_n03_values_of_other_types_become_strings(value: Any) -> None:
    """A value and its ``str()`` are one series, and ``get_all`` returns the string."""
    counter = Counter("x", "What.")
    counter.inc({"a": value})
    counter.inc({"a": str(value)})

    assert counter.get_all() == [({"a": str(value)}, 2)]
    assert counter.get({"a": value}) == 2


def test_n03_the_calls_value_wins_over_a_constant_one() -> None:
    """A label of the call replaces the constant one of its name, which appears once."""
    counter = Counter("x_total", "What.", {"app": "shop", "zone": 1})
    counter.inc({"app": "mail"})
    counter.inc({"app": "shop"})
    counter.inc({})

    assert sorted(lines(counter)) == [
        'x_total{app="mail",zone="1"} 1',
        'x_total{app="shop",zone="1"} 2',
    ]


def test_n03_a_lone_surrogate_fails_no_response() -> None:
    """It is replaced, and later calls find the same series."""
    counter = Counter("x_total", "What \ud800.")
    counter.inc({"a": "\udcff"})
    counter.inc({"a": "\udcff"})

    assert lines(counter) == ['x_total{a="\ufffd"} 2']
    assert counter.get({"a": "\udcff"}) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_n04_an_unknown_series_raises_and_is_not_created(kind: type[Collector[Any]]) -> None:
    """``get`` and its like raise KeyError."""
    collector = kind("x", "What.")
    record(collector, {"a": "1"})
    for labels in ({"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"}, {}, None):
        with pytest.raises(KeyError):
            collector.get(labels)
        with pytest.raises(KeyError):
            collector.get_value(labels)

    assert [labels for labels, _ in collector.get_all()] == [{"a": "1"}]


@pytest.mark.parametrize("kind", [Collector, Counter, Gauge])
def test_n04_numbers_are_stored_and_returned(kind: type[Collector[Any]]) -> None:
    """``set_value`` and all ``get`` methods of plain collectors deal in numbers."""
    collector = kind("x", "What.")
    collector.set_value({"b": "1", "a": 2}, 1.5)
    collector.set_value({"b": "1", "a": 2}, 2.5)

    assert collector.get_value({"a": "2", "b": "1"}) == collector.get({"a": "2", "b": "1"}) == 2.5
    assert collector.get_all() == [({"a": "2", "b": "1"}, 2.5)]


def test_n04_a_histogram_stores_histogram_objects() -> None:
    """``set_value`` takes and ``get_value`` returns a ``histogram.Histogram``; ``get`` returns a dict."""
    stored = classic_histogram.Histogram(1, 2)
    stored.observe(1.5)
    collector = Histogram("x", "What.", buckets=[1, 2])
    collector.set_value({"a": "1"}, stored)
    found = collector.get_value({"a": "1"})

    assert isinstance(found, classic_histogram.Histogram)
    assert (found.buckets, found.sum, found.observations) == ({1: 0, 2: 1, INF: 1}, 1.5, 1)
    assert collector.get_all() == [
        ({"a": "1"}, {1.0: 0, 2.0: 1, INF: 1, "count": 1, "sum": 1.5}),
    ]


def test_n04_a_summary_stores_estimators() -> None:
    """``set_value`` takes and ``get_value`` returns an estimator; ``get`` returns a dict."""
    estimator = Estimator((0.5, 0.05))
    for value in (1, 2, 3):
        estimator.observe(value)
    collector = Summary("x", "What.", invariants=[(0.5, 0.05)])
    collector.set_value(None, estimator)

    assert isinstance(collector.get_value({}), Estimator)
    assert collector.get_all() == [({}, {0.5: collector.get({})[0.5], "count": 3, "sum": 6})]
