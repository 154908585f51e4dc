"""Topic formats: a registry of native series in each exposition format.

The peer is prometheus_client's OpenMetrics, the best that it has. The garbage collector is off while
the clock runs. The first encoding in protobuf makes what each series repeats in all later ones, so
it is timed by itself.
"""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks.data import amounts, label_rows, observations
from benchmarks.measure import OURS, PROMETHEUS, Case, Contender, Goal, interleave, seconds
from benchmarks.subjects import ACCEPT, COUNTERS, HISTOGRAMS, in_format, prometheus_openmetrics
from otel_aioprom.formats import BinaryFormatter, OpenMetricsFormatter, TextFormatter

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "formats"
COUNTER_SERIES = 100_000
HISTOGRAM_SERIES = 10_000
QUICK_DIVISOR = 20
TEXT = "otel_aioprom text"
PEAK_GOAL_MIB = 4.0
_MILLI = 1e3
_MIB = 1 << 20
_FORMATTERS = {
    "text 0.0.4": TextFormatter,
    "openmetrics": OpenMetricsFormatter,
    "protobuf": BinaryFormatter,
}


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Time each format, and count the memory that a response takes while it is made.

    Args:
        rounds: Readings of each contender.
        quick: A twentieth of the series.

    Returns:
        For each format a case of counters and one of histograms, then the peaks of memory.
    """
    divisor = QUICK_DIVISOR if quick else 1
    counters = [int(value) for value in amounts(COUNTER_SERIES // divisor)]
    ours, theirs = COUNTERS[OURS](), COUNTERS[PROMETHEUS]()
    for row, value in zip(label_rows(len(counters)), counters, strict=True):
        ours.record(row, value)
        theirs.record(row, value)
    histograms = HISTOGRAM_SERIES // divisor
    ours_h, theirs_h = HISTOGRAMS[OURS](), HISTOGRAMS[PROMETHEUS]()
    rows = label_rows(histograms) * 4
    for row, value in zip(rows, observations(len(rows)), strict=True):
        ours_h.record(row, value)
        theirs_h.record(row, value)
    words = f"{len(counters):,} counters, 3 labels, whole numbers"
    goals = {"openmetrics": [Goal(0.05, PROMETHEUS)], "protobuf": _PROTOBUF_GOALS}
    cases = [
        _case(f"{words}, {name}", name, ours.registry, theirs.registry, rounds, goals.get(name, []))
        for name in ACCEPT
    ]
    words = f"{histograms:,} histograms, 2 labels"
    cases += [
        _case(f"{words}, {name}", name, ours_h.registry, theirs_h.registry, rounds, [])
        for name in ACCEPT
    ]
    return [*cases, *[_peak(name, len(counters), ours.registry) for name in _FORMATTERS]]


_PROTOBUF_GOALS = [Goal(0.03, PROMETHEUS), Goal(1.0, TEXT)]


def _case(words: str, name: str, ours: Any, theirs: Any, rounds: int, goals: list[Goal]) -> Case:
    contenders = [
        Contender(OURS, _timer(in_format(ours, name))),
        Contender(TEXT, _timer(in_format(ours, "text 0.0.4"))),
        Contender(PROMETHEUS, _timer(prometheus_openmetrics(theirs))),
    ]
    return Case(TOPIC, words, "ms", interleave(contenders, rounds), goals)


def _timer(action: Callable[[], object]) -> Callable[[], float]:
    return lambda: seconds(action) * _MILLI


def _peak(name: str, series: int, registry: Any) -> Case:
    """Count what a response takes while it is made, nothing of it being kept."""

    def stream() -> None:
        formatter = _FORMATTERS[name](False)
        families, _ = formatter.prepare(registry.gather().families)
        for _ in formatter.encode(families):
            pass

    def peak() -> float:
        tracemalloc.start(1)
        try:
            before = tracemalloc.get_traced_memory()[0]
            stream()
            return (tracemalloc.get_traced_memory()[1] - before) / _MIB
        finally:
            tracemalloc.stop()

    figures = {OURS: [peak() for _ in range(3)]}
    return Case(
        TOPIC,
        f"peak memory of a response, {series:,} counters, {name}",
        "MiB",
        figures,
        [Goal(PEAK_GOAL_MIB)],
    )
