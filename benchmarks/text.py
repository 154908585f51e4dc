"""Topic text: a registry of native series into text 0.0.4.

Contenders: ``render(registry, [])``, prometheus_client's ``generate_latest``, aioprometheus'
``TextFormatter``. The garbage collector is off while the clock runs; a full collection
before each reading also leaves the processor's caches cold, as a scrape every 15 s finds
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.data import BUCKETS, amounts, label_rows, observations
from benchmarks.measure import (
    AIOPROMETHEUS,
    OURS,
    PROMETHEUS,
    Case,
    Contender,
    Goal,
    interleave,
    seconds,
)
from benchmarks.subjects import COUNTERS, HISTOGRAMS, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOPIC = "text"
COUNTER_SERIES = 100_000
HISTOGRAM_SERIES = 10_000
QUICK_DIVISOR = 20
OBSERVATIONS = 4
"""Observations of each histogram series."""
COUNTER_GOAL = Goal(0.035, PROMETHEUS)
HISTOGRAM_GOAL = Goal(0.05, PROMETHEUS)
_CONTENDERS = (OURS, PROMETHEUS, AIOPROMETHEUS)
_MILLI = 1e3


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Time the encoding of counters, then of histograms.

    Args:
        rounds: Readings of each contender.
        quick: A twentieth of the series.

    Returns:
        Counters that count, counters of which some add up floats, histograms; in milliseconds.
    """
    divisor = QUICK_DIVISOR if quick else 1
    counters, histograms = COUNTER_SERIES // divisor, HISTOGRAM_SERIES // divisor
    mixed = amounts(counters)
    return [
        _counters("whole numbers", [int(value) for value in mixed], rounds, [COUNTER_GOAL]),
        _counters("a quarter with 17 digits", mixed, rounds, []),
        _histograms(histograms, rounds),
    ]


def _counters(words: str, values: Sequence[float], rounds: int, goals: Sequence[Goal]) -> Case:
    """Time counters; writing the digits of a long float costs more than all the rest of its line."""
    series = len(values)
    readings = list(zip(label_rows(series), values, strict=True))
    figures = _figures(COUNTERS, readings, series, rounds)
    name = f"{series:,} counters, 3 labels, {words}"
    return Case(TOPIC, name, "ms", figures, goals, series)


def _histograms(series: int, rounds: int) -> Case:
    readings = list(
        zip(
            label_rows(series) * OBSERVATIONS,
            observations(series * OBSERVATIONS),
            strict=True,
        )
    )
    lines = series * (len(BUCKETS) + 3)  # the bounds, +Inf, the sum, the count
    figures = _figures(HISTOGRAMS, readings, lines, rounds)
    return Case(
        TOPIC,
        f"{series:,} histograms, 2 labels",
        "ms",
        figures,
        [HISTOGRAM_GOAL],
        series,
    )


def _figures(
    makers: dict[str, Callable[[], Subject]],
    readings: Sequence[tuple[tuple[str, str, str], float]],
    lines: int,
    rounds: int,
) -> dict[str, list[float]]:
    contenders = []
    for name in _CONTENDERS:
        subject = makers[name]()
        for row, value in readings:
            subject.record(row, value)
        _check(name, subject, lines)
        contenders.append(Contender(name, _timer(subject)))
    return interleave(contenders, rounds)


def _timer(subject: Subject) -> Callable[[], float]:
    """Give a clock around the encoding of one subject, in milliseconds."""
    return lambda: seconds(subject.text) * _MILLI


def _check(name: str, subject: Subject, lines: int) -> None:
    """Refuse to compare texts of different content.

    Raises:
        AssertionError: The text has more or fewer samples than the data.
    """
    text = subject.text()
    assert isinstance(text, bytes)
    samples = sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))
    assert samples == lines, f"{name} wrote {samples} samples, expected {lines}"
