"""Compatibility with aioprometheus: what each kind records, and the stores (N5 to N12)."""

from __future__ import annotations

import inspect
import math
from collections.abc import MutableMapping
from typing import Any

import pytest
from quantile import Estimator

from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.series.classic_histogram import Histogram as Store
from otel_aioprom.histogram import (
    exponential_buckets,
    exponentialBuckets,
    linear_buckets,
    linearBuckets,
)
from otel_aioprom.metricdict import MetricDict
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

INF, NAN = math.inf, math.nan
USUAL_STEPS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, INF)
USUAL_INVARIANTS = ((0.5, 0.05), (0.9, 0.01), (0.99, 0.001))
LABELS = {"a": "1"}


def test_n05_a_counter_starts_from_zero_and_adds_one() -> None:
    """``inc`` adds 1; the first use of a label set starts from 0, and ints stay ints."""
    counter = Counter("x", "What.")
    counter.inc(LABELS)
    counter.inc(LABELS)
    counter.add({}, 2.5)

    assert (counter.get(LABELS), counter.get({})) == (2, 2.5)
    assert type(counter.get(LABELS)) is int


def test_n05_a_counter_adds_zero_and_more() -> None:
    """Adding 0 creates the series, ints and floats can be mixed."""
    counter = Counter("x", "What.")
    counter.add(LABELS, 0)
    first = counter.get(LABELS)
    counter.add(LABELS, 2)
    counter.add(LABELS, 0.5)

    assert (first, counter.get(LABELS)) == (0, 2.5)


@pytest.mark.parametrize("value", [-1, -0.001, -INF, -(10**100)])
def test_n05_a_negative_amount_raises_and_changes_nothing(value: float) -> None:
    """A refused amount changes no existing series, and creates none."""
    counter = Counter("x", "What.")
    counter.add(LABELS, 3)
    for labels in (LABELS, {"a": "2"}, {}, None):
        with pytest.raises(ValueError, match="only rises"):
            counter.add(labels, value)

    assert counter.get_all() == [(LABELS, 3)]


def test_n05_a_counter_can_be_set() -> None:
    """``set`` replaces the value, for counts from elsewhere."""
    counter = Counter("x", "What.")
    counter.set(LABELS, 10)
    counter.set(LABELS, 5)

    assert counter.get(LABELS) == 5


def test_n06_a_gauge_goes_up_and_down() -> None:
    """All six methods, from 0 on first use; ``add`` and ``sub`` take negative amounts."""
    gauge = Gauge("x", "What.")
    seen = []
    for act in (
        lambda: gauge.inc(LABELS),
        lambda: gauge.add(LABELS, 5),
        lambda: gauge.add(LABELS, -2.5),
        lambda: gauge.sub(LABELS, 1),
        lambda: gauge.sub(LABELS, -2),
        lambda: gauge.dec(LABELS),
        lambda: gauge.set(LABELS, -7),
    ):
        act()
        seen.append(gauge.get(LABELS))
    gauge.dec({})

    assert seen == [1, 6, 3.5, 2.5, 4.5, 3.5, -7]
    assert gauge.get({}) == -1


def test_n07_a_histogram_has_the_known_arguments_and_constants() -> None:
    """Buckets come fourth, with the usual eleven steps and ``inf``; the keys have constants."""
    signature = inspect.signature(Histogram)
    fourth = list(signature.parameters)[3]

    assert fourth == "buckets"
    assert tuple(signature.parameters[fourth].default) == USUAL_STEPS
    assert (Histogram.SUM_KEY, Histogram.COUNT_KEY) == ("sum", "count")
    assert Histogram.REPR_STR == "histogram"


def test_n07_the_class_has_the_default_buckets() -> None:
    """As ``Histogram.DEFAULT_BUCKETS``."""
    assert tuple(Histogram.DEFAULT_BUCKETS) == USUAL_STEPS


def test_n07_get_returns_cumulative_counts() -> None:
    """Bounds are inclusive floats, ``inf`` last, then count and sum; ``add`` is ``observe``."""
    histogram = Histogram("x", "What.", None, [1, 2.5])
    for value in (0.5, 1, 2.5):
        histogram.observe(LABELS, value)
    histogram.add(LABELS, 3)
    found = histogram.get(LABELS)

    assert found == {1.0: 2, 2.5: 3, INF: 4, "count": 4, "sum": 7.0}
    assert list(found) == [1.0, 2.5, INF, "count", "sum"]
    assert all(type(bound) is float for bound in list(found)[:3])


def test_n07_inf_is_added_when_absent() -> None:
    """With and without ``inf`` the buckets are the same."""
    pairs = [(buckets, Histogram("x", "What.", buckets=buckets)) for buckets in ([1], [1, INF])]
    for _, histogram in pairs:
        histogram.observe({}, 5)

    assert [histogram.get({}) for _, histogram in pairs] == [
        {1.0: 0, INF: 1, "count": 1, "sum": 5},
    ] * 2


@pytest.mark.parametrize(
    "buckets", [[], (), [2, 1], [1, 1], [1, 1.0], [NAN], [1, NAN], [NAN, 1], [INF, INF], [INF, 1]]
)
def test_n07_bad_bounds_raise_value_error(buckets: Any) -> None:
    """Empty, unsorted, duplicate and NaN bounds are refused."""
    with pytest.raises(ValueError, match="bound"):
        Histogram("x", "What.", buckets=buckets)


def test_n08_a_summary_has_the_known_arguments_and_constants() -> None:
    """Invariants come fourth, with three usual quantiles; the keys have constants."""
    signature = inspect.signature(Summary)
    fourth = list(signature.parameters)[3]

    assert fourth == "invariants"
    assert tuple(signature.parameters[fourth].default) == USUAL_INVARIANTS
    assert (Summary.SUM_KEY, Summary.COUNT_KEY) == ("sum", "count")
    assert Summary.REPR_STR == "summary"


def test_n08_the_class_has_the_default_invariants() -> None:
    """As ``Summary.DEFAULT_INVARIANTS``, a list to which more can be added; a changed one changes no default."""
    assert [*USUAL_INVARIANTS] == Summary.DEFAULT_INVARIANTS
    more = Summary("x", "What.", None, Summary.DEFAULT_INVARIANTS + [(0.999, 0.0001)])  # noqa: RUF005
    Summary.DEFAULT_INVARIANTS.append((0.1, 0.1))
    try:
        assert len(Summary("y", "What.").invariants) == 3
    finally:
        Summary.DEFAULT_INVARIANTS.pop()

    assert len(more.invariants) == 4


def test_n08_get_returns_quantiles_count_and_sum() -> None:
    """One key a quantile, then count and sum; ``add`` is ``observe``."""
    summary = Summary("x", "What.", None, [(0.9, 0.01), (0.5, 0.05)])
    summary.observe(LABELS, 4)
    summary.add(LABELS, 4.0)

    assert summary.get(LABELS) == {0.5: 4, 0.9: 4, "count": 2, "sum": 8}


@pytest.mark.parametrize("value", ["1", b"1", None, [1], True, False, 1j, object()])
def test_n08_what_is_no_number_raises_type_error(value: Any) -> None:
    """Neither a string nor a ``bool`` is observed."""
    summary = Summary("x", "What.")
    summary.observe(LABELS, 1)
    for call in (summary.observe, summary.add):
        with pytest.raises(TypeError, match="number"):
            call(LABELS, value)

    assert summary.get(LABELS)["count"] == 1


def test_n08_the_stored_value_is_an_estimator() -> None:
    """``get_value`` returns an instance of quantile-python's class, and ``set_value`` takes one."""
    summary = Summary("x", "What.")
    summary.observe({}, 3)
    estimator = summary.get_value({})
    summary.set_value(LABELS, estimator)

    assert isinstance(estimator, Estimator)
    assert summary.get(LABELS) == summary.get({})


def test_n09_numbers_that_are_not_finite_follow_the_format() -> None:
    """NaN and the infinities have one spelling each in the text format."""
    registry = CollectorRegistry()
    gauge = Gauge("x", "What.", registry=registry)
    for name, value in (("a", NAN), ("b", INF), ("c", -INF), ("d", 1), ("e", 0.5)):
        gauge.set({"is": name}, value)
    body, _ = render(registry, [])

    assert body.decode().splitlines()[2:] == [
        'x{is="a"} NaN',
        'x{is="b"} +Inf',
        'x{is="c"} -Inf',
        'x{is="d"} 1',
        'x{is="e"} 0.5',
    ]


@pytest.mark.parametrize(
    ("value", "counts"), [(NAN, [0, 0, 1]), (INF, [0, 0, 1]), (-INF, [1, 1, 1])]
)
def test_n09_no_value_corrupts_a_bucket_count(value: float, counts: list[int]) -> None:
    """NaN is in no finite bucket; buckets stay integers, cumulative, and the last one equals the count."""
    histogram = Histogram("x", "What.", buckets=[1, 2])
    histogram.observe({}, value)
    found = histogram.get({})

    assert [found[bound] for bound in (1.0, 2.0, INF)] == counts
    assert found["count"] == 1
    assert found["sum"] == value or math.isnan(value)


def test_n10_a_store_counts_cumulatively() -> None:
    """``buckets``, ``sum`` and ``observations`` follow each ``observe``."""
    store = Store(1, 2.5)
    for value in (1, 2, 9):
        store.observe(value)

    assert store.buckets == {1.0: 1, 2.5: 2, INF: 3}
    assert (store.sum, store.observations) == (12, 3)


def test_n11_linear_buckets_have_equal_distances() -> None:
    """``count`` floats from ``start`` on, without ``inf``, under both names."""
    for make in (linearBuckets, linear_buckets):
        found = make(1, 0.5, 3)

        assert found == [1.0, 1.5, 2.0]
        assert all(type(bound) is float for bound in found)
    assert linearBuckets(start=-1, width=1, count=2) == [-1.0, 0.0]


def test_n11_exponential_buckets_are_exact_powers() -> None:
    """The k-th bound is ``start * factor**k``, without accumulated rounding errors."""
    for make in (exponentialBuckets, exponential_buckets):
        found = make(start=0.1, factor=1.1, count=50)

        assert found == [0.1 * 1.1**k for k in range(50)]
        assert all(type(bound) is float for bound in make(1, 2, 3))


@pytest.mark.parametrize("count", [0, -1])
def test_n11_a_count_below_one_raises(count: int) -> None:
    """There would be no bounds."""
    with pytest.raises(ValueError, match="count"):
        linearBuckets(1, 1, count)
    with pytest.raises(ValueError, match="count"):
        exponentialBuckets(1, 2, count)


@pytest.mark.parametrize(("start", "factor"), [(0, 2), (-1, 2), (1, 1), (1, 0.5), (1, -2)])
def test_n11_exponential_buckets_must_grow(start: float, factor: float) -> None:
    """A start of 0 or less, and a factor of 1 or less, are refused."""
    with pytest.raises(ValueError, match="must be above"):
        exponentialBuckets(start, factor, 3)


def test_n12_a_metric_dict_is_a_mapping_keyed_by_label_dicts() -> None:
    """Each part of the mapping protocol takes label dicts in any order."""
    store: MetricDict[str] = MetricDict()
    store[{"a": "1", "b": "2"}] = "x"
    store[{}] = "y"
    reverse = {"b": "2", "a": "1"}

    assert isinstance(store, MutableMapping)
    assert store[reverse] == store.get(reverse) == "x"
    assert reverse in store
    assert {"a": "1"} not in store
    assert len(store) == 2
    assert sorted(store.values()) == ["x", "y"]
    assert store.pop(reverse) == "x"
    assert list(store.items()) == [({}, "y")]


def test_n12_equal_metric_dicts_are_equal() -> None:
    """Like all mappings they are compared by their entries."""
    one: MetricDict[int] = MetricDict()
    other: MetricDict[int] = MetricDict()
    one[{"a": "1", "b": "2"}] = other[{"b": 2, "a": 1}] = 1
    equal_first = one == other
    other[{}] = 2

    assert equal_first
    assert one != other
