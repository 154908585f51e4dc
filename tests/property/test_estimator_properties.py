"""Properties of every stream of values: rank bounds, the guarantee of each invariant, and the window."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clocks import ManualClock
from otel_aioprom.collectors import DEFAULT_INVARIANTS, Summary
from otel_aioprom.collectors.quantiles.ckms import EMPTY, Stream, error_function, estimate, merge
from otel_aioprom.collectors.quantiles.estimator import Estimator

Invariants = tuple[tuple[float, float], ...]
Batches = Iterator[list[float]]

bounded = settings(max_examples=200)

few = st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 1.0, 1.5, math.inf])
floats = st.floats(allow_nan=False) | few
streams = st.lists(st.lists(floats, min_size=1, max_size=60), min_size=1, max_size=12)
long_streams = st.lists(
    st.tuples(
        st.integers(1, 400), st.floats(-1, 1), st.sampled_from(["up", "down", "mixed", "one"])
    ),
    min_size=1,
    max_size=8,
)
shares = st.floats(0.01, 0.99)
invariants_of = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]) | shares, st.sampled_from([0.001, 0.05, 0.3])
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda pair: pair[0],
).map(tuple)


def ranks(values: Sequence[float], value: float) -> tuple[int, int]:
    """The first and the last rank of a value, counted from 1; equal values have all their ranks."""
    return bisect_left(values, value) + 1, bisect_right(values, value)


def check_estimate(values: Sequence[float], answer: float, q: float, error: float) -> None:
    """Check that a rank of the estimate lies within (q ± error) · n, or is the nearest one above q · n."""
    count = len(values)
    first, last = ranks(values, answer)
    target = q * count

    assert first <= last, "an answer is one of the values"
    nearest = max(1, math.ceil(target - 1e-9))
    lowest = math.ceil(target - error * count - 1e-9)
    highest = math.floor(target + error * count + 1e-9)
    within = max(first, lowest) <= min(last, highest)
    assert within or first <= nearest <= last, (q, error, count, first, last)


def check(stream: Stream, values: Sequence[float], invariants: Invariants) -> None:
    """Check that rank bounds are true, no gap is too wide, and each estimate is right."""
    count = len(values)
    assert stream.size == count
    assert list(stream.values) == sorted(stream.values)
    for value, low, high in zip(*stream[1:]):
        first, last = ranks(values, value)
        assert 1 <= low <= high <= count
        assert low <= last
        assert first <= high
    rows = list(zip(*stream[1:]))
    for (value, low, _), (other, _, high) in pairwise(rows):
        if value != other:
            for q, error in invariants:
                width = (
                    2
                    * error
                    * max(
                        count,
                        low / q if q else math.inf,
                        (count - high) / (1 - q) if q < 1 else math.inf,
                    )
                )
                assert high - low <= max(1, width * (1 + 1e-9))
    for q, error in invariants:
        check_estimate(values, estimate(stream, q, error), q, error)


def merge_all(batches: Sequence[Sequence[float]], invariants: Invariants) -> None:
    """Merge batch after batch, and check the stream after each."""
    stream = EMPTY
    values: list[float] = []
    for batch in batches:
        stream = merge(stream, sorted(batch), error_function(invariants))
        values = sorted([*values, *batch])
        check(stream, values, invariants)


@bounded
@given(streams, invariants_of)
def test_each_guarantee_holds_for_short_streams(
    batches: list[list[float]], invariants: Invariants
) -> None:
    """Of any values, including infinities and many equal ones."""
    merge_all(batches, invariants)


@bounded
@given(long_streams, invariants_of, st.integers(0, 2**32))
def test_each_guarantee_holds_while_streams_change(
    parts: list[tuple[int, float, str]], invariants: Invariants, seed: int
) -> None:
    """Parts that ascend, descend, mix or are constant, each around another value."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    shapes: dict[str, Callable[[int, int], float]] = {
        "up": lambda index, size: index / size / 10,
        "down": lambda index, size: -index / size / 10,
        "mixed": lambda _index, _size: chance.gauss(0, 1),
        "one": lambda _index, _size: 0.0,
    }
    merge_all(
        [
            [place + shapes[shape](index, size) for index in range(size)]
            for size, place, shape in parts
        ],
        invariants,
    )


def drawn(draw: Callable[[random.Random, int], float]) -> Callable[[int], list[float]]:
    """Return a generator of reproducible random streams."""

    def make(count: int) -> list[float]:
        chance = random.Random(count)  # noqa: S311 - no secret
        return [draw(chance, index) for index in range(count)]

    return make


KINDS = {
    "uniform": drawn(lambda chance, _: chance.random()),
    "exponential": drawn(lambda chance, _: chance.expovariate(1)),
    "constant": drawn(lambda _, __: 1.5),
    "ascending": drawn(lambda _, index: float(index)),
    "descending": drawn(lambda _, index: float(-index)),
    "bimodal": drawn(lambda chance, _: chance.choice((1.0, 9.0))),
    "noisy bimodal": drawn(lambda chance, _: chance.choice((1.0, 9.0)) + chance.random() / 10),
    "few integers": drawn(lambda chance, _: float(chance.randrange(30))),
    "drifting": drawn(lambda chance, index: chance.gauss(index / 10_000, 1)),
    "from outside to the middle": drawn(lambda _, index: (-1.0) ** index / (index + 1)),
    "from outside to the top": drawn(
        lambda chance, index: (-1 if chance.random() < 0.99 else 1) / (index + 1)
    ),
    "infinite": drawn(lambda chance, _: chance.choice((-math.inf, math.inf, chance.random()))),
    "heavy tail": drawn(lambda chance, _: chance.paretovariate(0.2)),
    "saw": drawn(lambda _, index: float(index % 5000 - index)),
}
INVARIANTS = (*DEFAULT_INVARIANTS, (0.01, 0.002), (0.999, 0.0005))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 400, 2047, 2048, 2049, 10_000, 60_000])
@pytest.mark.parametrize("kind", KINDS)
def test_each_guarantee_holds_for_every_kind_and_length(kind: str, count: int) -> None:
    """Through the estimator, one value after the other."""
    values = KINDS[kind](count)
    estimator = Estimator(*INVARIANTS)
    for value in values:
        estimator.observe(value)
    values.sort()

    check(estimator.stream(), values, INVARIANTS)
    for q, error in INVARIANTS:
        check_estimate(values, estimator.query(q), q, error)


MOST_KEPT = {
    "uniform": 80,
    "exponential": 80,
    "ascending": 80,
    "descending": 80,
    "constant": 2,
    "bimodal": 8,
    "drifting": 1500,
    "from outside to the top": 1500,
    "from outside to the middle": 1500,
}
"""Most samples of a million values; adversarial orders keep many more."""


@pytest.mark.parametrize("kind", MOST_KEPT)
def test_a_million_values_keep_the_guarantee_in_bounded_memory(kind: str) -> None:
    """By exact ranks; the number of samples grows at most with the logarithm of the count."""
    values = KINDS[kind](1_000_000)
    estimator = Estimator(*DEFAULT_INVARIANTS)
    most = []
    for start in range(0, len(values), 100_000):
        for value in values[start : start + 100_000]:
            estimator.observe(value)
        most.append(len(estimator.stream().values))
    values.sort()

    check(estimator.stream(), values, DEFAULT_INVARIANTS)
    for q, error in DEFAULT_INVARIANTS:
        check_estimate(values, estimator.query(q), q, error)
    assert (estimator.query(0), estimator.query(1)) == (values[0], values[-1])
    assert max(most) <= MOST_KEPT[kind]


def widest_gap(stream: Stream, count: int, _chance: random.Random) -> tuple[float, float]:
    """The adjacent samples whose gap is closest to the allowed width."""
    rows = list(zip(*stream[1:]))
    gaps = [
        ((high - low) / (count + 10 * (count - high)), value, other)
        for (value, low, _), (other, _, high) in pairwise(rows)
        if value < other
    ]
    _, value, other = max(gaps)
    return value, other


def gap_at(q: float) -> Callable[[Stream, int, random.Random], tuple[float, float]]:
    """Choose the adjacent samples around a quantile."""

    def choose(stream: Stream, count: int, _chance: random.Random) -> tuple[float, float]:
        index = min(bisect_left(stream.min_ranks, q * count), len(stream.values) - 1)
        return stream.values[max(0, index - 1)], stream.values[max(1, index)]

    return choose


def any_gap(stream: Stream, _count: int, chance: random.Random) -> tuple[float, float]:
    """Choose two adjacent samples at random."""
    index = chance.randrange(1, len(stream.values))
    return stream.values[index - 1], stream.values[index]


@pytest.mark.parametrize(
    "choose",
    [widest_gap, gap_at(0.5), gap_at(0.9), gap_at(0.99), any_gap],
    ids=["widest", "median", "0.9", "0.99", "any"],
)
def test_an_adversary_cannot_break_a_guarantee(
    choose: Callable[[Stream, int, random.Random], tuple[float, float]],
) -> None:
    """Every batch falls into the worst gap."""
    chance = random.Random(5)  # noqa: S311 - no secret
    limit = error_function(DEFAULT_INVARIANTS)
    values = sorted(chance.random() for _ in range(500))
    stream = merge(EMPTY, values, limit)
    for _ in range(120):
        low, high = choose(stream, len(values), chance)
        batch = sorted(
            low + (high - low) * chance.random() for _ in range(chance.randrange(1, 500))
        )
        stream = merge(stream, batch, limit)
        values = sorted([*values, *batch])
        for q, error in DEFAULT_INVARIANTS:
            check_estimate(values, estimate(stream, q, error), q, error)

    check(stream, values, DEFAULT_INVARIANTS)


observations = st.lists(st.floats(width=16) | st.integers(-3, 3), max_size=20)
steps_of = st.lists(
    st.tuples(st.sampled_from([0, 1, 3, 4, 7, 10, 11, 25, 1000]), observations, st.booleans()),
    max_size=25,
)


@bounded
@given(steps_of, st.integers(1, 5))
def test_the_window_is_that_of_a_naive_one(
    steps: list[tuple[int, list[float], bool]], age_buckets: int
) -> None:
    """Every value is added to all streams; each step empties the oldest, and the next becomes the head.

    Spec: E115.
    """
    clock = ManualClock(1000.0)
    invariants = ((0.5, 0.05), (0.9, 0.01))
    summary = Summary(
        "x",
        "What.",
        None,
        invariants,
        max_age=10 * age_buckets,
        age_buckets=age_buckets,
        clock=clock,
    )
    child = summary.labels({})
    naive: list[list[float]] = [[] for _ in range(age_buckets)]
    turn = clock.now + 10
    count = 0
    total: float = 0
    for seconds, values, asked in steps:
        clock.now += seconds
        while clock.now >= turn:
            naive = [*naive[1:], []]
            turn += 10
        for value in values:
            child.observe(value)
            count += 1
            total += value
            if not math.isnan(value):
                for stream in naive:
                    stream.append(value)
        found = child.get() if asked else {}
        if found:
            assert found["count"] == count
            assert found["sum"] == pytest.approx(total, nan_ok=True)
            for q, error in invariants:
                if naive[0]:
                    check_estimate(sorted(naive[0]), found[q], q, error)
                else:
                    assert math.isnan(found[q])
