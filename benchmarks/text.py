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
_CONTENDERS = (OURS, PROMETHEUS, AIOPROMETHEUS)
_MILLI = 1e3


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Time the encoding of counters, then of histograms.

    Args:
        rounds: Readings of each contender.
        quick: A twentieth of the series.

    Returns:
        One case a metric kind, in milliseconds.
    """
    divisor = QUICK_DIVISOR if quick else 1
    return [
        _counters(COUNTER_SERIES // divisor, rounds),
        _histograms(HISTOGRAM_SERIES // divisor, rounds),
    ]


def _counters(series: int, rounds: int) -> Case:
    readings = list(zip(label_rows(series), amounts(series), strict=True))
    figures = _figures(COUNTERS, readings, series, rounds)
    return Case(
        TOPIC,
        f"{series:,} counters, 3 labels",
        "ms",
        figures,
        [Goal(0.035, PROMETHEUS)],
        series,
    )


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
        [Goal(0.05, PROMETHEUS)],
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
