"""Buckets of native histograms: spans, deltas, sums."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_model import buckets_of
from format_families import histogram, read
from oracles import family
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.native_histogram import NativeBuckets, deltas, spans
from otel_aioprom.collectors.series.native_histogram import NativeHistogramSeries
from otel_aioprom.collectors.series.native_resolution import Resolution

EXAMPLE = [(-2, 3), (-1, 5), (2, 1), (4, 3), (5, 2)]


def test_e74_spans_and_deltas() -> None:
    """The rule's last example: gaps of one or two empty buckets are filled with zeros."""
    found = spans(EXAMPLE)

    assert [(offset, len(counts)) for offset, counts in found] == [(-2, 8)]
    assert list(deltas(found)) == [3, 2, -5, 0, 1, -1, 3, -1]


def test_e74_a_gap_of_three_begins_a_span() -> None:
    """Its offset is the number of buckets that are skipped."""
    found = spans([(-2, 3), (1, 4), (5, 1)])

    assert [(offset, len(counts)) for offset, counts in found] == [(-2, 4), (3, 1)]
    assert list(deltas(found)) == [3, -3, 0, 4, -3]


@pytest.mark.parametrize(
    ("index", "lower"), [(3, 2), (2, 1), (1, 1), (0, 0), (-1, 0), (-2, -1), (-3, -1)]
)
def test_e77_one_schema_less(index: int, lower: int) -> None:
    """Two buckets are merged: the index is halved and rounded up."""
    fine, coarse = NativeBuckets(3, 0.0, 0, [(index, 4)], [(index, 2)]), NativeBuckets(2)

    for merged in (fine.plus(coarse), coarse.plus(fine)):
        assert merged.schema == 2
        assert (list(merged.positive), list(merged.negative)) == ([(lower, 4)], [(lower, 2)])


sparse = st.dictionaries(st.integers(-300, 300), st.integers(0, 2**40), max_size=40).map(
    lambda found: sorted(found.items())
)


@given(sparse)
def test_spans_and_deltas_are_read_back(buckets: list[tuple[int, int]]) -> None:
    """Every count at its index, and zeros in filled gaps."""
    found = spans(buckets)
    following, read_back, count, differences = 0, {}, 0, deltas(found)
    for offset, counts in found:
        following += offset
        for _ in counts:
            count += next(differences)
            read_back[following] = count
            following += 1

    assert next(differences, None) is None
    assert {index: n for index, n in read_back.items() if index in dict(buckets)} == dict(buckets)
    assert not any(n for index, n in read_back.items() if index not in dict(buckets))
    assert all(offset > 2 for offset, _ in found[1:])


@given(sparse)
def test_a_protobuf_runtime_reads_the_same_buckets(buckets: list[tuple[int, int]]) -> None:
    """Negative and positive ones."""
    native = NativeBuckets(2, 1e-9, 0, buckets, buckets)
    series = histogram([native.observations], 1.0, (), native)
    (found,) = read(family("h", series, kind="histogram"))
    one = found.metric[0].histogram

    for side in ("positive", "negative"):
        held = buckets_of(getattr(one, f"{side}_span"), getattr(one, f"{side}_delta"))
        assert {index: n for index, n in held.items() if n} == {
            index: n for index, n in buckets if n
        }


@given(sparse, sparse, st.integers(-4, 8), st.integers(-4, 8))
def test_a_sum_keeps_every_observation(
    first: list[tuple[int, int]], second: list[tuple[int, int]], schema: int, other: int
) -> None:
    """In the lower schema, whichever side has it; buckets are where their observations were."""
    one = NativeBuckets(schema, 0.5, 3, first, second)
    two = NativeBuckets(other, 0.5, 4, second, first)
    merged, turned = one.plus(two), two.plus(one)

    assert merged.schema == min(schema, other)
    assert (merged.positive, merged.negative) == (turned.positive, turned.negative)
    assert merged.zero_count == 7
    assert merged.observations == one.observations + two.observations
    covering = {index for parts, own in ((first, schema), (second, other)) for index, _ in parts
                for index in [-(-index // 2 ** (own - merged.schema))]}  # fmt: skip
    assert [index for index, _ in merged.positive] == sorted(covering)


BELOW, CUT, ABOVE = (-1, 4), (0, 8), (1, 16)
"""Buckets up to 0.5, 1 and 2, in the schema 0."""


@pytest.mark.parametrize(
    ("threshold", "buckets", "expected"),
    [
        (0.5, [BELOW, CUT, ABOVE], (0.5, 5, [CUT, ABOVE])),
        (0.6, [BELOW, CUT, ABOVE], (1.0, 13, [ABOVE])),
        (0.6, [BELOW, (0, 0), ABOVE], (0.6, 5, [ABOVE])),
        (0.6, [BELOW, ABOVE], (0.6, 5, [ABOVE])),
        (0.6, [], (0.6, 1, [])),
        (9.0, [BELOW, CUT, ABOVE], (9.0, 29, [])),
    ],
)
def test_e75_the_larger_threshold_wins(threshold: float, buckets: Any, expected: Any) -> None:
    """And is extended to the bound of a non-empty bucket that it cuts, of either sign; values below count as zero."""
    wide = NativeBuckets(0, threshold, 1)
    for one in (NativeBuckets(0, 0.25, 0, buckets), NativeBuckets(0, 0.25, 0, [], buckets)):
        for merged in (one.plus(wide), wide.plus(one)):
            side = merged.positive or merged.negative
            assert (merged.zero_threshold, merged.zero_count, list(side)) == expected


def test_e75_a_threshold_grows_for_either_histogram() -> None:
    """Also if the extended threshold cuts a bucket of the histogram that had the larger one."""
    wide = NativeBuckets(1, 0.6, 1, [(0, 2), (1, 4)])  # above 0.6, up to 1; up to the root of 2
    one = NativeBuckets(0, 0.25, 8, [], [(0, 16), (2, 32)])
    merged = one.plus(wide)

    assert merged == wide.plus(one)
    assert merged == NativeBuckets(0, 1.0, 1 + 2 + 8 + 16, [(1, 4)], [(2, 32)], [])


def test_e75_a_threshold_beside_a_coarser_bucket_of_its_own_stays() -> None:
    """The values of that bucket lie above it."""
    wide = NativeBuckets(1, 0.5**0.5, 1, [(0, 2)])
    coarse = NativeBuckets(0, 0.25, 4, [(-1, 8)])

    assert wide.plus(coarse) == NativeBuckets(0, 0.5**0.5, 1 + 4 + 8, [(0, 2)], [], [])


amounts = st.lists(st.floats(0.01, 100) | st.floats(-100, -0.01) | st.just(0.0), max_size=20)
thresholds = st.floats(0.0, 20) | st.sampled_from([0.0, 0.5, 2.0**-128, 1.0])


def recorded(values: list[float], schema: int, threshold: float) -> NativeBuckets:
    """Return the buckets of a histogram of these values."""
    resolution = Resolution(schema, threshold, max_buckets=0)
    series = NativeHistogramSeries((), (), " ", (math.inf,), None, resolution)
    for value in values:
        series.observe(value)
    found = series.read()[1]
    assert found is not None
    return found


@given(amounts, amounts, st.integers(-4, 8), st.integers(-4, 8), thresholds, thresholds)
def test_e75_a_sum_is_what_one_histogram_would_have_counted(
    values: list[float], others: list[float], schema: int, other: int, low: float, high: float
) -> None:
    """In the lower schema, with the zero bucket of the sum."""
    merged = recorded(values, schema, low).plus(recorded(others, other, high))

    assert merged.zero_threshold >= max(low, high)
    counted = recorded([*values, *others], min(schema, other), merged.zero_threshold)
    assert replace(merged, exemplars=()) == counted


def test_a_sum_has_the_exemplars_of_both_and_changes_neither() -> None:
    """The first one's first."""
    one = NativeBuckets(0, 0.0, 0, [(1, 1)], [], [Exemplar((), 1, 1.0)])
    two = NativeBuckets(1, 0.0, 0, [(2, 1)], [], [Exemplar((), 2, 2.0)])
    merged = one.plus(two)

    assert merged == NativeBuckets(0, 0.0, 0, [(1, 2)], [], [*one.exemplars, *two.exemplars])
    assert (one.positive, two.positive) == ([(1, 1)], [(2, 1)])


def test_observations_are_counted_in_all_buckets() -> None:
    """Of both signs and zero."""
    assert NativeBuckets(0, 0.0, 1, [(0, 2), (9, 4)], [(0, 8)]).observations == 15
    assert NativeBuckets(0).observations == 0


def test_buckets_cannot_be_changed() -> None:
    """A response is written after its collection."""
    with pytest.raises(AttributeError):
        NativeBuckets(0).schema = 1  # type: ignore[misc]
