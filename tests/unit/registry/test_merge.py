"""Families of the same name are merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from oracles import family, number
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.collectors.series.number import (
    CounterSeries,
    GaugeSeries,
    NumberSeries,
    UpDownSeries,
)
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.merge import Owners, merge_families, merge_pair, merge_series

INF = math.inf


def histogram(
    counts: Sequence[int],
    total: float | None,
    bounds: tuple[float, ...] = (1.0, INF),
    labels: tuple[tuple[str, str], ...] = (),
) -> HistogramSeries:
    """A histogram's series."""
    names, values = tuple(name for name, _ in labels), tuple(value for _, value in labels)
    series = HistogramSeries(names, values, labels_text(labels), bounds)
    series.load(counts, total)
    return series


def exposed(families: list[MetricFamily]) -> dict[str, list[tuple[str, object]]]:
    """Name → text and value of each series."""
    return {one.name: [(each.text, each.get()) for each in one.series] for one in families}  # type: ignore[attr-defined]


def causes(faults: list[Fault]) -> list[tuple[str, str, bool]]:
    """Cause and subject, and whether something was lost."""
    return [(fault.cause, fault.subject, fault.lost) for fault in faults]


def test_different_names_are_not_merged() -> None:
    """The families are the same objects, in their order, and their owners are kept without series."""
    one, two = family("b", doc="B.", unit="s"), family("a", kind="counter")
    owners: Owners = {}
    families, faults = merge_families([one, two], owners)

    assert families[0] is one
    assert families[1] is two
    assert faults == []
    assert owners["b"] == MetricFamily("b", "gauge", "B.", "s", ())
    assert [owner.series for owner in owners.values()] == [(), ()]


def test_series_of_one_name_are_put_together() -> None:
    """In order, in one family."""
    parts = [family("x", number(value, {"from": str(value)}), doc="X.") for value in (2, 1)]
    families, faults = merge_families([parts[0], family("y"), parts[1]], {})

    assert exposed(families) == {
        "x": [('{from="2"} ', 2), ('{from="1"} ', 1)],
        "y": [(" ", 1)],
    }
    assert faults == []


def test_of_two_types_the_first_keeps_the_name() -> None:
    """The whole other family is dropped."""
    owners: Owners = {}
    both = [family("x", number(1)), family("x", number(2, kind=CounterSeries), kind="counter")]
    families, faults = merge_families(both, owners)

    assert exposed(families) == {"x": [(" ", 1)]}
    assert causes(faults) == [("type_conflict", "x", True)]
    assert faults[0].message == "a counter of this name is dropped: the name belongs to a gauge"


def test_the_first_keeps_the_name_in_later_collections() -> None:
    """Even if only the other family is there."""
    owners: Owners = {}
    merge_families([family("x")], owners)
    families, faults = merge_families([family("x", kind="counter")], owners)

    assert families == []
    assert causes(faults) == [("type_conflict", "x", True)]


def test_of_two_help_texts_the_first_is_kept() -> None:
    """With all series, and also when the first family is gone."""
    owners: Owners = {}
    first, second = number(1, {"a": "1"}), number(2, {"a": "2"})
    both, faults = merge_families(
        [family("x", first, doc="One.", unit="s"), family("x", second, doc="Two.")], owners
    )
    alone, again = merge_families([family("x", second, doc="Two.")], owners)

    assert both == [MetricFamily("x", "gauge", "One.", "s", [first, second])]
    assert alone == [MetricFamily("x", "gauge", "One.", "s", [second])]
    assert causes(faults) == causes(again) == [("help_conflict", "x", False)]
    assert faults[0].message == "two help texts: 'One.' is kept, 'Two.' is not"


@pytest.mark.parametrize("order", [1, -1])
def test_m55_m56_words_are_taken_where_there_were_none(order: int) -> None:
    """Help text and unit, each from the first family that has one; no fault, and they stay when that family is gone."""
    owners: Owners = {}
    bare = number(1, {"a": "1"})
    described, measured = number(2, {"a": "2"}), number(3, {"a": "3"})
    families = [
        family("x", bare),
        family("x", described, doc="Words."),
        family("x", measured, unit="s"),
    ][::order]
    for _ in range(2):
        [both], faults = merge_families(families, owners)
        assert (both.doc, both.unit, len(both.series), faults) == ("Words.", "s", 3, [])
    [alone], faults = merge_families([family("x", bare)], owners)

    assert alone == MetricFamily("x", "gauge", "Words.", "s", [bare])
    assert faults == []
    _, faults = merge_families([family("x", bare, doc="Others.")], owners)
    assert faults[0].message == "two help texts: 'Words.' is kept, 'Others.' is not"


def test_m55_words_of_another_type_are_not_taken() -> None:
    """That family is not exposed."""
    families, _ = merge_families(
        [family("x"), family("x", kind="untyped", doc="Words.", unit="s")], {}
    )

    assert [(each.doc, each.unit) for each in families] == [("", "")]


def test_of_two_units_the_first_is_kept() -> None:
    """Without a fault, because the text format does not expose units."""
    owners: Owners = {}
    merge_families([family("x", unit="s")], owners)
    families, faults = merge_families([family("x", unit="m")], owners)

    assert [one.unit for one in families] == ["s"]
    assert faults == []


def test_series_with_the_same_labels_are_merged() -> None:
    """With one fault, however many there are; other families are not changed."""
    parts = [family("x", number(value, kind=CounterSeries), kind="counter") for value in (1, 2, 3)]
    families, faults = merge_families([*parts, family("y")], {})

    assert exposed(families) == {"x": [(" ", 6)], "y": [(" ", 1)]}
    assert causes(faults) == [("duplicate_series", "x", False)]


def test_the_same_labels_within_one_family() -> None:
    """``merge_series`` merges them, and returns the same list if there are none."""
    different = [number(1), number(2, {"a": "1"})]
    faults: list[Fault] = []

    assert merge_series("x", different, faults) is different
    assert faults == []
    merged = merge_series("x", [*different, number(5)], faults)
    assert [series.text for series in merged] == [" ", '{a="1"} ']
    assert causes(faults) == [("duplicate_series", "x", False)]


@pytest.mark.parametrize("kind", [CounterSeries, UpDownSeries])
def test_sums_add_up(kind: type[NumberSeries]) -> None:
    """In a new series; the two are not changed."""
    first, second = number(1, {"a": "1"}, kind), number(2.5, {"a": "1"}, kind)
    merged = merge_pair(first, second)

    assert isinstance(merged, kind)
    assert (merged.value, merged.pairs, merged.text) == (3.5, first.pairs, first.text)
    assert (first.value, second.value) == (1, 2.5)


def test_of_gauges_the_last_is_kept() -> None:
    """As the same object."""
    first, second = number(1), number(2)

    assert merge_pair(first, second) is second


def test_equal_histograms_add_up() -> None:
    """Counts and sums, in a new series with the same labels."""
    first = histogram([1, 2], 3.5, labels=(("a", "1"),))
    second = histogram([10, 20], 1, labels=(("a", "1"),))
    merged = merge_pair(first, second)

    assert isinstance(merged, HistogramSeries)
    assert merged.get() == {1.0: 11, INF: 33, "count": 33, "sum": 4.5}
    assert (merged.text, merged.pairs) == ('{a="1"} ', (("a", "1"),))
    assert first.observations == 3


@pytest.mark.parametrize("totals", [(None, 1.0), (1.0, None), (None, None)])
def test_an_unknown_sum_makes_the_sum_unknown(totals: tuple[float | None, float | None]) -> None:
    """Counts add up all the same."""
    merged = merge_pair(histogram([1, 0], totals[0]), histogram([0, 1], totals[1]))

    assert isinstance(merged, HistogramSeries)
    assert (merged.sum, merged.observations) == (None, 2)


def test_histograms_with_other_bounds_are_not_added_up() -> None:
    """The first is kept."""
    first, second = histogram([1, 2], 3), histogram([3], 3, (INF,))

    assert merge_pair(first, second) is first


def test_of_other_series_the_first_is_kept() -> None:
    """Summaries, and series of different kinds."""
    first = SummaryPoint((), (), " ", 1, 2.0, [])
    second = SummaryPoint((), (), " ", 3, 4.0, [])
    odd: Series = histogram([1, 2], 3)

    assert merge_pair(first, second) is first
    assert merge_pair(odd, second) is odd
    assert merge_pair(number(1, kind=CounterSeries), odd).text == " "


def test_of_two_resources_the_first_is_kept() -> None:
    """A target has one; the same one twice is no conflict."""
    one, two = number(1, {"service": "a"}), number(1, {"service": "b"})
    infos = [family("target_info", each, kind="info") for each in (one, two)]
    families, faults = merge_families(infos, {})
    alike, silence = merge_families([infos[0], infos[0]], {})

    assert exposed(families) == exposed(alike) == {"target_info": [('{service="a"} ', 1)]}
    assert causes(faults) == [("resource_conflict", "target_info", True)]
    assert silence == []


def test_of_a_gauge_and_an_up_down_counter_the_second_is_kept() -> None:
    """They are not added up."""
    gauge, up_down = number(5, kind=GaugeSeries), number(1, kind=UpDownSeries)

    assert merge_pair(gauge, up_down) is up_down


# --- start times, exemplars and native buckets -------------------------------------------


def counter(value: float, created: float | None, timestamp: float | None) -> CounterSeries:
    """A counter with a start time, and an exemplar with a timestamp."""
    series = CounterSeries((), (), " ", value, created)
    series.exemplar = None if timestamp is None else Exemplar((), value, timestamp)
    return series


@pytest.mark.parametrize(
    ("first", "second", "created", "timestamp"),
    [
        ((1.0, 5.0), (2.0, 6.0), 1.0, 6.0),
        ((2.0, 7.0), (1.0, 6.0), 1.0, 7.0),
        ((None, None), (1.0, 6.0), None, 6.0),
        ((1.0, 5.0), (None, None), None, 5.0),
        ((1.0, None), (1.0, None), 1.0, None),
    ],
)
def test_counters_keep_the_earlier_start_and_the_later_exemplar(
    first: Any, second: Any, created: float | None, timestamp: float | None
) -> None:
    """If one start time is unknown, that of both is."""
    merged = merge_pair(counter(3, *first), counter(4, *second))

    assert isinstance(merged, CounterSeries)
    assert (merged.value, merged.created) == (7, created)
    assert (merged.exemplar and merged.exemplar.timestamp) == timestamp


def rich(native: NativeBuckets | None, *timestamps: float | None) -> HistogramSeries:
    """A histogram of two buckets with one observation in the first."""
    series = HistogramSeries((), (), " ", (1.0, math.inf), 1.0)
    series.load([1, 0], 0.5, native)
    if timestamps:
        series.exemplars = [None if at is None else Exemplar((), 0.5, at) for at in timestamps]
    return series


def test_native_buckets_are_added_up_in_the_lower_schema() -> None:
    """Indexes are halved until both have one schema."""
    fine = NativeBuckets(2, 0.5, 0, [(-3, 1)])
    coarse = NativeBuckets(1, 0.5, 1)
    merged = merge_pair(rich(fine), rich(coarse))

    assert isinstance(merged, HistogramSeries)
    assert merged.native == NativeBuckets(1, 0.5, 1, [(-1, 1)], [], [])
    assert merged.snapshot() == [2, 0, 1.0]


def test_native_buckets_with_different_zero_buckets_are_added_up() -> None:
    """The sum has the wider one."""
    merged = merge_pair(rich(NativeBuckets(2, 0.5, 1)), rich(NativeBuckets(2, 0.25, 0, [(-5, 1)])))

    assert isinstance(merged, HistogramSeries)
    assert merged.native == NativeBuckets(2, 0.5, 2, [], [], [])


def test_native_buckets_of_only_one_histogram_are_dropped() -> None:
    """The classic buckets are added up."""
    merged = merge_pair(rich(NativeBuckets(2, 0.5, 1)), rich(None))

    assert isinstance(merged, HistogramSeries)
    assert merged.native is None
    assert merged.observations == 2


def test_histograms_keep_the_later_exemplar_of_each_bucket() -> None:
    """Also if only one histogram has any."""
    merged = merge_pair(rich(None, 5.0, 8.0), rich(None, 6.0, None))
    alone = merge_pair(rich(None), rich(None, 6.0, None))

    assert isinstance(merged, HistogramSeries)
    assert isinstance(alone, HistogramSeries)
    assert [each and each.timestamp for each in merged.exemplars or ()] == [6.0, 8.0]
    assert [each and each.timestamp for each in alone.exemplars or ()] == [6.0, None]
