"""Buckets of native histograms: spans, differences, sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_model import buckets_of
from format_families import histogram, read
from oracles import family
from otel_aioprom.model import Exemplar
from otel_aioprom.native import NativeBuckets, deltas, spans

EXAMPLE = [(-2, 3), (-1, 5), (2, 1), (4, 3), (5, 2)]


def test_e74_spans_and_deltas() -> None:
    """The rule's example, in its last form: gaps of one or two empty buckets are filled with zeros."""
    runs = spans(EXAMPLE)

    assert [(offset, len(counts)) for offset, counts in runs] == [(-2, 8)]
    assert list(deltas(runs)) == [3, 2, -5, 0, 1, -1, 3, -1]


def test_e74_a_gap_of_three_begins_a_span() -> None:
    """Whose offset is the number of buckets that are skipped."""
    runs = spans([(-2, 3), (1, 4), (5, 1)])

    assert [(offset, len(counts)) for offset, counts in runs] == [(-2, 4), (3, 1)]
    assert list(deltas(runs)) == [3, -3, 0, 4, -3]


@pytest.mark.parametrize(
    ("index", "lower"), [(3, 2), (2, 1), (1, 1), (0, 0), (-1, 0), (-2, -1), (-3, -1)]
)
def test_e77_one_schema_less(index: int, lower: int) -> None:
    """Two buckets become one: the index is halved and rounded up."""
    fine, coarse = NativeBuckets(3, 0.0, 0, [(index, 4)], [(index, 2)]), NativeBuckets(2)

    for merged in (fine.plus(coarse), coarse.plus(fine)):
        assert merged is not None
        assert merged.schema == 2
        assert (list(merged.positive), list(merged.negative)) == ([(lower, 4)], [(lower, 2)])


sparse = st.dictionaries(st.integers(-300, 300), st.integers(0, 2**40), max_size=40).map(
    lambda found: sorted(found.items())
)


@given(sparse)
def test_spans_and_deltas_are_read_back(buckets: list[tuple[int, int]]) -> None:
    """By the rule alone: every count at its index, and zeros where gaps were filled."""
    runs = spans(buckets)
    following, read_back, count, differences = 0, {}, 0, deltas(runs)
    for offset, counts in runs:
        following += offset
        for _ in counts:
            count += next(differences)
            read_back[following] = count
            following += 1

    assert next(differences, None) is None
    assert {index: n for index, n in read_back.items() if index in dict(buckets)} == dict(buckets)
    assert not any(n for index, n in read_back.items() if index not in dict(buckets))
    assert all(offset > 2 for offset, _ in runs[1:])


@given(sparse)
def test_the_runtime_reads_the_same_buckets(buckets: list[tuple[int, int]]) -> None:
    """Through the wire, as negative and as positive ones."""
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
    """In the coarser of two resolutions, whichever side has it; each bucket covers what it did before."""
    one = NativeBuckets(schema, 0.5, 3, first, second)
    two = NativeBuckets(other, 0.5, 4, second, first)
    merged, turned = one.plus(two), two.plus(one)

    assert merged is not None
    assert turned is not None
    assert merged.schema == min(schema, other)
    assert (merged.positive, merged.negative) == (turned.positive, turned.negative)
    assert merged.zero_count == 7
    assert merged.observations == one.observations + two.observations
    covering = {index for parts, own in ((first, schema), (second, other)) for index, _ in parts
                for index in [-(-index // 2 ** (own - merged.schema))]}  # fmt: skip
    assert [index for index, _ in merged.positive] == sorted(covering)


def test_a_sum_of_two_thresholds_there_is_none() -> None:
    """Whoever adds up keeps the classic part alone."""
    assert NativeBuckets(0, 0.5).plus(NativeBuckets(0, 0.25)) is None


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
    """They are handed from a collection to a response that is written later."""
    with pytest.raises(AttributeError):
        NativeBuckets(0).schema = 1  # type: ignore[misc]
