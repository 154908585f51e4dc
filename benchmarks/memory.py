"""Topic memory: traced bytes that one series keeps allocated.

Label values and the label dict of a call are made inside the traced part and let go
by the caller before the reading, for every contender alike: what a library keeps of
them counts as its own, the rest is gone. Read after recording, and again after one
scrape, so that text made late is not overlooked. The metric and its registry
are made before tracing starts.
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.data import observations
from benchmarks.measure import Case, Contender, Goal, interleave
from benchmarks.subjects import COUNTERS, HISTOGRAMS, NATIVE_HISTOGRAMS, SUMMARIES, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "memory"
SERIES = 10_000
QUICK_SERIES = 2_000
FEW = 20
MANY = 3_500
"""Observations that fill what waits to be merged, most of the time."""
COUNTER_GOAL = 550
HISTOGRAM_GOAL = 750
MOST_ROUNDS = 3
"""Allocation is no matter of luck: more rounds give the same bytes."""


class Kept(NamedTuple):
    """Bytes a series.

    Attributes:
        recorded: After the series was recorded.
        scraped: After one scrape on top of it.
    """

    recorded: float
    scraped: float


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Count the bytes of a series of each kind.

    Args:
        rounds: Readings of each contender, three at most.
        quick: Fewer series.

    Returns:
        Two cases a kind: after recording, after a scrape.
    """
    series = QUICK_SERIES if quick else SERIES
    rounds = min(rounds, MOST_ROUNDS)
    return [
        *_cases("counter series, 3 labels", COUNTERS, COUNTER_GOAL, series, rounds),
        *_cases("histogram series, 2 labels", HISTOGRAMS, HISTOGRAM_GOAL, series, rounds),
        *_cases("native histogram series, 2 labels", NATIVE_HISTOGRAMS, None, series, rounds),
        *_cases("summary series, 2 labels", SUMMARIES, None, series, rounds),
        *_cases(
            f"summary series, 2 labels, {MANY:,} observations", SUMMARIES, None, FEW, rounds, MANY
        ),
    ]


def _cases(
    words: str,
    makers: dict[str, Callable[[], Subject]],
    goal: float | None,
    series: int,
    rounds: int,
    times: int = 1,
) -> list[Case]:
    contenders = [Contender(name, counter_of(make, series, times)) for name, make in makers.items()]
    goals = [] if goal is None else [Goal(goal)]
    readings = interleave(contenders, rounds)
    recorded = {name: [kept.recorded for kept in values] for name, values in readings.items()}
    scraped = {name: [kept.scraped for kept in values] for name, values in readings.items()}
    return [
        Case(TOPIC, f"{words}, recorded", "bytes", recorded, goals),
        Case(TOPIC, f"{words}, scraped", "bytes", scraped, goals),
    ]


def counter_of(make: Callable[[], Subject], series: int, times: int) -> Callable[[], Kept]:
    """Give what counts the bytes of a series, each recorded so many times, in a fresh subject."""
    values = observations(series)
    more = observations(times)[1:]

    def count() -> Kept:
        subject = make()
        gc.collect()
        tracemalloc.start(1)
        try:
            for index, value in enumerate(values):
                # Method and code are words of the program, the path came in with a request.
                subject.record(("GET", f"/api/v1/users/{index}", "200"), value)
                for another in more:
                    subject.record(("GET", f"/api/v1/users/{index}", "200"), another)
            recorded = _traced()
            subject.text()
            return Kept(recorded / series, _traced() / series)
        finally:
            tracemalloc.stop()

    return count


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
