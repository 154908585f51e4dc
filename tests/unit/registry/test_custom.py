"""Collectors of user classes with their own ``get_all``."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from oracles import sample_lines
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.formats import TextFormatter
from otel_aioprom.registry.custom import CustomCollector, is_custom
from otel_aioprom.registry.faults import Fault

INF = math.inf


class _Own:
    """Returns what the test sets."""

    items: Any = ()

    def get_all(self) -> Any:
        return self.items


class OwnUntyped(_Own, Collector[Any]):
    """A bare collector."""


class OwnCounter(_Own, Counter):
    """A counter."""


class OwnGauge(_Own, Gauge):
    """A gauge."""


class OwnHistogram(_Own, Histogram):
    """A histogram."""


class OwnSummary(_Own, Summary):
    """A summary."""


def collect(
    kind: Any, items: Any, const_labels: dict[str, object] | None = None
) -> tuple[list[str], list[Fault]]:
    """Return the sample lines of a collector with these items, and its faults."""
    collector = kind("x", "What.", const_labels)
    collector.items = items
    found = list(CustomCollector(collector).collect())
    faults = [item for item in found if isinstance(item, Fault)]
    families = [item for item in found if isinstance(item, MetricFamily)]
    assert [(each.name, each.type, each.doc) for each in families] == [
        ("x", collector.kind.name, "What.")
    ]
    return sample_lines(b"".join(TextFormatter().encode(families)).decode()), faults


def test_custom_collectors_override_get_all() -> None:
    """A subclass that does not is no custom collector."""

    class Plain(Gauge):
        """Nothing is overridden."""

    assert is_custom(OwnGauge("x", ""))
    assert not is_custom(Plain("x", ""))
    assert not is_custom(Gauge("x", ""))


@pytest.mark.parametrize("kind", [OwnUntyped, OwnCounter, OwnGauge])
def test_numbers(kind: Any) -> None:
    """Of any numeric type, with the constant labels."""
    items = [({}, 1), ({"b": 2, "a": 1}, True), ({"c": "call"}, Decimal("0.5"))]

    assert collect(kind, items, {"c": "const"}) == (
        ['x{c="const"} 1', 'x{a="1",b="2",c="const"} 1', 'x{c="call"} 0.5'],
        [],
    )


def test_get_all_may_be_a_generator() -> None:
    """Any iterable of pairs."""
    assert collect(OwnGauge, ((labels, 1) for labels in ({"a": 1}, {"a": 2}))) == (
        ['x{a="1"} 1', 'x{a="2"} 1'],
        [],
    )


def test_what_get_all_raises_propagates() -> None:
    """The source runner handles it."""
    collector = OwnGauge("x", "")
    collector.items = None
    with pytest.raises(TypeError):
        list(CustomCollector(collector).collect())


@pytest.mark.parametrize("value", ["high", None, 10**400, {}])
def test_an_invalid_item_is_dropped_alone(value: Any) -> None:
    """Others are exposed."""
    lines, faults = collect(OwnGauge, [({"a": 1}, value), ({"a": 2}, 2)])

    assert lines == ['x{a="2"} 2']
    assert [(fault.cause, fault.subject, fault.lost) for fault in faults] == [
        ("untranslatable", "x", True)
    ]
    assert faults[0].message.startswith("an item of get_all() is dropped: ")


@pytest.mark.parametrize(
    "item", [5, (), ({},), ({}, 1, 2), ({"a-b": 1}, 1), ("a", 1), ({"job": 1}, 1)]
)
def test_what_is_no_pair_of_labels_and_value_is_dropped_alone(item: Any) -> None:
    """Label names are checked as for other native collectors."""
    lines, faults = collect(OwnGauge, [item, ({"a": 2}, 2)])

    assert lines == ['x{a="2"} 2']
    assert [fault.cause for fault in faults] == ["untranslatable"]


@pytest.mark.parametrize(
    ("first", "second"),
    [({"a": 1, "b": 2}, {"b": "2", "a": "1"}), ({}, {"a": ""}), ({"a": ""}, {})],
)
def test_of_items_of_the_same_series_the_first_is_kept(first: Any, second: Any) -> None:
    """The others are reported as lost."""
    lines, faults = collect(OwnGauge, [(first, 1), (second, 2)])

    assert [line.split(" ")[1] for line in lines] == ["1"]
    assert [(fault.cause, fault.lost) for fault in faults] == [("duplicate_series", True)]


def test_histograms() -> None:
    """As ``get`` of a histogram returns them, with or without ``inf``, in any order."""
    whole = {2: 3, 1: 1, INF: 4, "count": 4, "sum": 6.5}
    short = {1: 1, 2: 3, "count": 4, "sum": 6.5}
    lines, faults = collect(OwnHistogram, [({"a": 1}, whole), ({"a": 2}, short)])

    expected = [
        'x_bucket{a="1",le="1.0"} 1',
        'x_bucket{a="1",le="2.0"} 3',
        'x_bucket{a="1",le="+Inf"} 4',
        'x_sum{a="1"} 6.5',
        'x_count{a="1"} 4',
    ]
    assert lines == [*expected, *[line.replace('a="1"', 'a="2"') for line in expected]]
    assert faults == []


def test_get_all_may_return_what_the_base_class_returns() -> None:
    """A subclass may pass on what was recorded."""

    class Relay(Histogram):
        def get_all(self) -> Any:
            return super().get_all()

    relay, plain = Relay("x", "", buckets=[1, 2]), Histogram("x", "", buckets=[1, 2])
    for each in (relay, plain):
        each.observe({"a": 1}, 1.5)
        each.observe({}, 3)
    (family,) = CustomCollector(relay).collect()
    assert isinstance(family, MetricFamily)
    text = b"".join(TextFormatter().encode([family]))

    assert text == b"".join(TextFormatter().encode([plain.family()]))


@pytest.mark.parametrize(
    "value",
    [
        {1: 2, 2: 1, "count": 3, "sum": 1},
        {1: -1, "count": 3, "sum": 1},
        {1: 1, INF: 2, "count": 3, "sum": 1},
        {1: 4, "count": 3, "sum": 1},
        {math.nan: 1, "count": 1, "sum": 1},
        {"count": 1, "sum": 1},
        {1: 1, "count": 1},
        {1: 1, "sum": 1},
        {1: 1, "count": 1, "sum": "1"},
        {1: 1, "count": INF, "sum": 1},
        {1: 0.5, "count": 1, "sum": 1},
        {1: 1, "count": 1.5, "sum": 1},
        7,
    ],
)
def test_invalid_histograms(value: Any) -> None:
    """Counts that fall, that disagree, or are missing."""
    lines, faults = collect(OwnHistogram, [({}, value)])

    assert lines == []
    assert [fault.cause for fault in faults] == ["untranslatable"]


def test_summaries() -> None:
    """As ``get`` of a summary returns them; quantiles are sorted."""
    value = {0.9: 3, 0.5: math.nan, "count": 2, "sum": 4.5}
    lines, faults = collect(OwnSummary, [({"a": 1}, value), ({}, {"count": 0, "sum": 0})])

    assert lines == [
        'x{a="1",quantile="0.5"} NaN',
        'x{a="1",quantile="0.9"} 3',
        'x_sum{a="1"} 4.5',
        'x_count{a="1"} 2',
        "x_sum 0",
        "x_count 0",
    ]
    assert faults == []


def test_summaries_may_lack_their_count_or_sum() -> None:
    """What is missing is not written."""
    value = {0.5: 1, "count": 3}
    lines, faults = collect(OwnSummary, [({"a": 1}, value), ({}, {0.9: 2}), ({"a": 2}, {"sum": 4})])

    assert lines == [
        'x{a="1",quantile="0.5"} 1',
        'x_count{a="1"} 3',
        'x{quantile="0.9"} 2',
        'x_sum{a="2"} 4',
    ]
    assert faults == []


@pytest.mark.parametrize(
    "value",
    [
        {0.5: "1", "count": 1, "sum": 1},
        {0.5: 1, "count": 1.5, "sum": 1},
        {0.5: 1, "count": -1},
        {0.5: 1, "count": None},
        {},
        7,
    ],
)
def test_invalid_summaries(value: Any) -> None:
    """Everything is missing, or something is not a number."""
    lines, faults = collect(OwnSummary, [({}, value)])

    assert lines == []
    assert [fault.cause for fault in faults] == ["untranslatable"]


def test_reserved_labels_are_rejected() -> None:
    """``le`` and ``quantile``, each by its kind alone."""
    histogram = {1: 1, "count": 1, "sum": 1}

    assert [len(collect(OwnHistogram, [({"le": 1}, histogram)])[1])] == [1]
    assert [len(collect(OwnSummary, [({"quantile": 1}, {"count": 1, "sum": 1})])[1])] == [1]
    assert collect(OwnGauge, [({"le": 1, "quantile": 2}, 1)]) == (['x{le="1",quantile="2"} 1'], [])
