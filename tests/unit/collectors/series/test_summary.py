"""Series of summaries: streaming quantiles, count and sum."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from quantile import Estimator

from clocks import ManualClock
from otel_aioprom.collectors import Summary
from otel_aioprom.collectors.quantiles.ckms import BATCH
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.quantiles.window import WHOLE_LIFE, check_window
from otel_aioprom.collectors.series.summary import (
    SummarySeries,
    check_invariants,
)
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
INVARIANTS = ((0.5, 0.05), (0.9, 0.01))


def series() -> SummarySeries:
    """A series without labels."""
    return SummarySeries((), (), " ", INVARIANTS)


def test_invariants_become_sorted_pairs_of_floats() -> None:
    """Their order is that of the quantiles."""
    assert check_invariants([(0.9, 0.01), [0.5, 0.05]]) == ((0.5, 0.05), (0.9, 0.01))  # type: ignore[list-item]
    assert check_invariants([]) == ()


@pytest.mark.parametrize(
    "invariants",
    [
        [(0, 0.1)],
        [(1, 0.1)],
        [(0.5, 0)],
        [(0.5, 1)],
        [(0.5, 1e-17)],
        [(1e-310, 0.1)],
        [(1 - 1e-13, 0.1)],
        [(math.nan, 0.1)],
        [(0.5, 0.1), (0.5, 0.2)],
    ],
)
def test_invariants_out_of_range_are_refused(invariants: Any) -> None:
    """Quantiles and errors lie between 0 and 1, and quantiles are distinct."""
    with pytest.raises(ValueError, match="quantile"):
        check_invariants(invariants)


@pytest.mark.parametrize("invariants", [None, [(0.5,)], {0.5: 0.05}, [("a", 0.1)], 3, [None]])
def test_malformed_invariants_are_refused(invariants: Any) -> None:
    """The error describes them."""
    with pytest.raises(TypeError, match="invariants must be pairs of a quantile and its allowed"):
        Summary("x", "What.", invariants=invariants)


def test_a_bool_is_no_max_age() -> None:
    """Though it is an ``int`` for Python."""
    with pytest.raises(TypeError, match="max_age must be a number of seconds"):
        Summary("x", "What.", max_age=True)


def test_an_empty_series_has_no_estimates() -> None:
    """The formats require NaN there."""
    found = series().get()

    assert [math.isnan(found[quantile]) for quantile, _ in INVARIANTS] == [True, True]
    assert (found["count"], found["sum"]) == (0, 0)


def test_count_sum_and_estimates_follow_each_value() -> None:
    """``add`` is ``observe``; labels and text are kept."""
    made = SummarySeries(("a",), ("1",), '{a="1"} ', INVARIANTS)
    made.observe(4)
    made.add(Decimal(4))

    assert made.get() == {0.5: 4, 0.9: 4, "count": 2, "sum": 8}
    assert made.quantiles() == [(0.5, 4), (0.9, 4)]
    assert (made.pairs, made.text) == ((("a", "1"),), '{a="1"} ')


def test_nan_affects_count_and_sum_only() -> None:
    """It has no rank, so it affects no quantile."""
    made = series()
    for value in (1, math.nan, 1):
        made.observe(value)
    found = made.get()

    assert (found[0.5], found["count"]) == (1, 3)
    assert math.isnan(found["sum"])


@pytest.mark.parametrize("value", [True, False, "1", None])
def test_what_is_no_number_changes_nothing(value: Any) -> None:
    """A ``bool`` is no number here."""
    made = series()
    with pytest.raises(TypeError, match="number"):
        made.observe(value)

    assert made.get()["count"] == 0


def test_many_values_reach_the_streams() -> None:
    """The buffer is flushed in time, and queries include it."""
    made = series()
    values = [float(value * 777 % 20_000) for value in range(20_000)]  # in no order
    most = 0
    for value in values:
        made.observe(value)
        most = max(most, len(made._buffer))
    estimate = dict(made.quantiles())

    assert most <= BATCH
    assert made.stream().size == made.count == 20_000
    assert 9000 <= estimate[0.5] <= 11_000
    assert 17_800 <= estimate[0.9] <= 18_200


def test_nan_alone_is_flushed_too() -> None:
    """The buffer stays empty."""
    made = series()
    for _ in range(3 * BATCH):
        made.observe(math.nan)

    assert len(made._buffer) == 0
    assert math.isnan(made.get()[0.5])
    assert made.get()["count"] == 3 * BATCH


def test_infinities_are_values() -> None:
    """They are the least and the greatest of all."""
    made = series()
    for value in (math.inf, -math.inf, 1, -math.inf, math.inf):
        made.observe(value)

    assert made.get()[0.5] == 1
    assert made.get()[0.9] == math.inf


def test_whole_numbers_of_any_size_are_observed() -> None:
    """The sum stays exact, the quantiles are floats."""
    made = series()
    made.observe(2**200)
    made.observe(2**200 + 1)
    made.observe(10**300)

    assert made.quantiles()[0] == (0.5, 2.0**200)
    assert made.total == 2**201 + 1 + 1e300


def test_estimates_are_cached_until_something_changes() -> None:
    """Two scrapes without an observation in between compute them once."""
    made = series()
    made.observe(1)
    first = made.quantiles()
    assert made.quantiles() is first
    made.observe(5)
    made.observe(5)
    assert made.quantiles() == [(0.5, 5), (0.9, 5)]


def test_any_quantile_can_be_queried() -> None:
    """A series is an estimator."""
    made = series()
    for value in range(1, 101):
        made.observe(value)

    assert isinstance(made.estimator, Estimator)
    assert 24 <= made.estimator.query(0.25) <= 26
    assert (made.estimator._observations, made.estimator._sum) == (100, 5050)


def test_an_estimator_can_be_loaded() -> None:
    """It replaces everything, including the buffer."""
    made = series()
    made.observe(100)
    estimator = Estimator(*INVARIANTS)
    for value in (1, 2, 3):
        estimator.observe(value)
    made.load(estimator)

    assert made.get() == {0.5: 2, 0.9: 3, "count": 3, "sum": 6}
    made.observe(4)
    assert (made.get()["count"], made.get()["sum"]) == (4, 10)
    assert (estimator._observations, made.query(1)) == (3, 4)


def test_a_series_can_be_loaded() -> None:
    """Also one with NaN among its values, and into itself."""
    made = series()
    for value in (1, 2, math.nan, 3):
        made.observe(value)
    other = series()
    other.load(made)
    made.load(made)

    for one in (made, other):
        assert one.quantiles() == [(0.5, 2), (0.9, 3)]
        assert one.count == 4
        assert math.isnan(one.total)


@pytest.mark.parametrize("value", [Decimal("1.5"), Fraction(3, 2)])
def test_sums_of_quantile_python_become_plain_numbers(value: Any) -> None:
    """Its estimator accepts anything that can be added."""
    estimator = Estimator(*INVARIANTS)
    estimator.observe(value)
    made = series()
    made.load(estimator)
    made.observe(2.5)

    assert made.get() == {0.5: 1.5, 0.9: 2.5, "count": 2, "sum": 4.0}
    assert type(made.total) is float


def test_an_inconsistent_estimator_creates_no_series() -> None:
    """It is checked first."""
    summary = Summary("s", "S.")
    huge, bare = Estimator(*INVARIANTS), Estimator.__new__(Estimator)
    huge.observe(10**400)
    for estimator in (huge, bare):
        with pytest.raises(ValueError, match="cannot be read"):
            summary.set_value({}, estimator)

    assert summary.get_all() == []


def test_cached_estimates_are_those_of_the_current_values() -> None:
    """Not of an equal number of others: after a rotation, a clock that went back, or a load."""
    clock = ManualClock(0.0)
    made = windowed(clock, 10, 1)
    made.observe(1.0)
    assert made.quantiles()[0] == (0.5, 1.0)
    clock.now = 10.0
    made.observe(2.0)
    clock.now = 0.0
    assert made.quantiles()[0] == (0.5, 2.0)

    estimator = Estimator(*INVARIANTS)
    estimator.observe(9.0)
    made.load(estimator)
    assert made.quantiles()[0] == (0.5, 9.0)


def test_a_renamed_series_is_independent() -> None:
    """It has the values of that time."""
    made = windowed(ManualClock(5.0))
    for value in range(100):
        made.observe(value)
    other = made.renamed(("b",), ("2",), '{b="2"} ')
    for value in range(3 * BATCH):
        other.observe(value)
    made.observe(100)

    assert other.pairs == (("b", "2"),)
    assert made.count == made.stream().size == 101
    assert other.count == other.stream().size == 100 + 3 * BATCH


def windowed(clock: ManualClock, max_age: float = 60, age_buckets: int = 3) -> SummarySeries:
    """A series whose quantiles are those of a minute, in steps of 20 seconds."""
    window = check_window(max_age, age_buckets, clock)
    return SummarySeries((), (), " ", INVARIANTS, None, window)


def test_values_count_for_the_window() -> None:
    """They expire with their stream; count and sum stay. Spec: E115."""
    clock = ManualClock(5.0)
    made = windowed(clock)
    made.observe(1)
    clock.now += 59
    assert made.query(0.5) == 1
    made.observe(2)
    made.observe(2)
    clock.now += 1
    assert made.get() == {0.5: 2, 0.9: 2, "count": 3, "sum": 5}
    clock.now += 39
    assert made.query(0.5) == 2
    clock.now += 1
    found = made.get()
    assert math.isnan(found[0.5])
    assert (found["count"], found["sum"]) == (3, 5)


def test_an_expired_head_is_rotated_by_recording() -> None:
    """Without a query in between."""
    clock = ManualClock(5.0)
    made = windowed(clock)
    for value in range(10):
        made.observe(value)
        clock.now += 20

    assert made.quantiles() == [(0.5, 8), (0.9, 9)]  # 40 and 20 seconds old
    assert [stream.size for stream in made._streams] == [2, 1, 0]


def test_a_single_stream_is_emptied_completely() -> None:
    """Then the window is a tumbling one."""
    clock = ManualClock(5.0)
    made = windowed(clock, 10, 1)
    made.observe(1)
    clock.now += 9
    made.observe(2)
    assert made.stream().size == 2
    clock.now += 1
    assert made.stream().size == 0


def test_a_long_silence_empties_everything() -> None:
    """However many steps it lasted; later steps are aligned with earlier ones."""
    clock = ManualClock(5.0)
    made = windowed(clock)
    made.observe(1)
    clock.now += 1e9 + 7
    made.observe(2)

    assert [stream.size for stream in made._streams] == [0, 0, 0]
    assert made.quantiles() == [(0.5, 2), (0.9, 2)]
    assert clock.now < made._turn <= clock.now + 20
    assert (made._turn - 5) % 20 == 0


def test_a_clock_that_goes_back_delays_a_step_at_most() -> None:
    """Values are kept, and no longer than a window and a step from then on."""
    clock = ManualClock(1e6)
    made = windowed(clock)
    made.observe(1)
    clock.now = 0.0
    assert made.query(0.5) == 1
    made.observe(2)
    clock.now = 59.0
    assert made.stream().size == 2
    clock.now = 60.0
    assert made.stream().size == 0


def test_observing_notices_a_clock_that_went_back() -> None:
    """Without a query in between."""
    clock = ManualClock(1e6)
    made = windowed(clock)
    made.observe(1e9)
    clock.now = 0.0
    for second in range(70):
        clock.now = float(second)
        made.observe(second)

    assert made.query(1) == 69
    assert made.stream().size <= 60


@pytest.mark.parametrize("fewer", [True, False])
def test_fewer_values_than_before_are_a_reset(fewer: bool) -> None:
    """The start time changes."""
    summary = Summary("x", "What.")
    for value in range(2):
        summary.observe({}, value)
    child = summary.labels({})
    child.created = 1.0
    other = Estimator()
    for value in range(1 if fewer else 3):
        other.observe(value)
    summary.set_value({}, other)

    assert child.count == (1 if fewer else 3)
    assert (child.created == 1.0) is not fewer


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan, 1e300])
def test_an_erratic_clock_loses_no_count(odd: float) -> None:
    """It may break the window meanwhile."""
    clock = ManualClock(5.0)
    made = windowed(clock)
    made.observe(1)
    clock.now = odd
    for value in range(2 * BATCH):
        made.observe(value)
    made.quantiles()
    clock.now = 5.0
    made.quantiles()
    made.observe(3)

    assert made.count == 2 * BATCH + 2
    assert len(made._buffer) <= BATCH
    assert made.query(1) >= 3


def test_a_clock_that_fails_stands_still(caplog: pytest.LogCaptureFixture) -> None:
    """It fails neither a measurement nor a response, and is logged once; a clock that returns no number is refused."""
    clock = ManualClock(5.0)
    registry = CollectorRegistry()
    summary = Summary("s", "S.", max_age=60, age_buckets=3, clock=clock, registry=registry)
    summary.observe({}, 1)
    clock.now = None  # type: ignore[assignment]
    with caplog.at_level("WARNING", "otel_aioprom.collectors.quantiles.window"):
        summary.observe({}, 3)
        texts = [render(registry, [accept])[0] for accept in ("text/plain", OPEN_METRICS)]
    assert all(b's{quantile="0.99"} 3' in text for text in texts)
    assert len(caplog.records) == 1
    clock.now = 65.0
    assert math.isnan(summary.get({})[0.5])
    assert summary.get({})["count"] == 2

    with pytest.raises(TypeError, match="number"):
        Summary("s", "S.", clock=lambda: "5")  # type: ignore[arg-type, return-value]


def test_without_a_window_values_never_expire() -> None:
    """No clock is called."""
    never: Any = pytest.fail
    for window in (check_window(None, 5, never), check_window(math.inf, 5, never)):
        made = SummarySeries((), (), " ", INVARIANTS, None, window)
        made.observe(1)

        assert window.streams == 1
        assert made.quantiles() == [(0.5, 1), (0.9, 1)]


def test_identical_streams_are_merged_once() -> None:
    """In the first step all are identical."""
    clock = ManualClock(5.0)
    made = windowed(clock)
    for value in range(2 * BATCH):
        made.observe(value)
    assert len({id(stream) for stream in made._streams}) == 1
    clock.now += 20
    for value in range(2 * BATCH):
        made.observe(value)

    assert [stream.size for stream in made._streams] == [4 * BATCH, 4 * BATCH, 2 * BATCH]
    assert made._streams[0] is made._streams[1]


def test_a_load_fills_the_whole_window() -> None:
    """Its values count as observed just now."""
    clock = ManualClock(5.0)
    made = windowed(clock)
    estimator = Estimator(*INVARIANTS)
    estimator.observe(7)
    clock.now += 15
    made.load(estimator)
    clock.now += 59
    assert made.query(0.5) == 7
    clock.now += 1
    assert math.isnan(made.query(0.5))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ((0, 5), ValueError),
        ((-1, 5), ValueError),
        ((math.nan, 5), ValueError),
        (("60", 5), TypeError),
        ((60, 0), ValueError),
        ((60, 1.5), TypeError),
        ((60, True), TypeError),
        ((60, 5, 3), TypeError),
        ((60, 1001), ValueError),
        ((60, 10**400), ValueError),
    ],
)
def test_windows_out_of_range_are_refused(options: Any, error: type[Exception]) -> None:
    """When the summary is created, not when it is used."""
    with pytest.raises(error, match=r"max_age|age_buckets|clock|number"):
        check_window(*options)


def test_the_collector_takes_the_window() -> None:
    """Keyword-only; ten minutes in five steps are the default."""
    clock = ManualClock(5.0)
    plain = Summary("x", "What.").labels()
    short = Summary("x", "What.", max_age=2, age_buckets=2, clock=clock)
    short.observe({}, 3)
    clock.now += 2

    assert plain.window[:2] == (120, 5)
    assert Summary("x", "What.", max_age=None).labels().window == WHOLE_LIFE
    assert math.isnan(short.get({})[0.5])
    assert short.get({})["count"] == 1
    with pytest.raises(ValueError, match="max_age"):
        Summary("x", "What.", max_age=0)


def test_a_summary_point_returns_its_arguments() -> None:
    """A summary that was computed elsewhere is exposed unchanged."""
    point = SummaryPoint(("a",), ("1",), '{a="1"} ', 3, 6.5, [(0.5, 2.0)])

    assert list(point.quantiles()) == [(0.5, 2.0)]
    assert (point.count, point.total, point.pairs) == (3, 6.5, (("a", "1"),))
