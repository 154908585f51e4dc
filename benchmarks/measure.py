"""Clocks, rounds and ratios.

A round times every contender once, one after the other; the next round starts with the
next contender. So a noisy neighbour or a changing clock rate hits all of them, and
the ratio within a round stays honest where an absolute figure would not.
"""

from __future__ import annotations

import gc
import statistics
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OURS = "otel_aioprom"
PROMETHEUS = "prometheus_client"
AIOPROMETHEUS = "aioprometheus"
SDK = "opentelemetry-sdk"
EXPORTER = "opentelemetry-exporter-prometheus"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Contender(Generic[_T]):
    """One library in one case.

    Attributes:
        name: The library, one of the names of this module.
        run: Does the work once and gives the reading.
    """

    name: str
    run: Callable[[], _T]


@dataclass(frozen=True)
class Goal:
    """What the project wants of a case.

    Attributes:
        limit: The largest value that meets the goal.
        against: The peer whose ratio is judged; None judges our own figure.
    """

    limit: float
    against: str | None = None


@dataclass(frozen=True)
class Case:
    """The readings of one comparison.

    Attributes:
        topic: The file's topic.
        name: What was done, in words.
        unit: Unit of the figures.
        figures: Contender → one figure a round.
        goals: What is judged.
        series: How many series one figure stands for; 0 if that says nothing.
    """

    topic: str
    name: str
    unit: str
    figures: Mapping[str, Sequence[float]]
    goals: Sequence[Goal] = ()
    series: int = 0
    ratios: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        ours = self.figures[OURS]
        ratios = {
            name: [mine / theirs for mine, theirs in zip(ours, values, strict=True)]
            for name, values in self.figures.items()
            if name != OURS
        }
        object.__setattr__(self, "ratios", ratios)

    def to_json(self) -> dict[str, Any]:
        """Give the case as plain data, medians and verdicts worked out."""
        return {
            "topic": self.topic,
            "case": self.name,
            "unit": self.unit,
            "series": self.series,
            "figures": {name: list(values) for name, values in self.figures.items()},
            "medians": {name: statistics.median(values) for name, values in self.figures.items()},
            "ratios": {
                name: {
                    "median": statistics.median(values),
                    "lowest": min(values),
                    "highest": max(values),
                }
                for name, values in self.ratios.items()
            },
            "goals": [self._judge(goal) for goal in self.goals],
        }

    def _judge(self, goal: Goal) -> dict[str, Any]:
        values = self.figures[OURS] if goal.against is None else self.ratios[goal.against]
        value = statistics.median(values)
        return {
            "against": goal.against,
            "limit": goal.limit,
            "value": value,
            "met": value <= goal.limit,
        }


def interleave(contenders: Sequence[Contender[_T]], rounds: int) -> dict[str, list[_T]]:
    """Run all contenders in turn, several rounds long.

    Each runs once unread before the first round: caches filled, text made, lazy imports
    done.

    Args:
        contenders: The libraries, ours among them.
        rounds: How many readings of each.

    Returns:
        Contender → one reading a round, in the order of the rounds.
    """
    readings: dict[str, list[_T]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.run()
    for number in range(rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            readings[contender.name].append(contender.run())
    return readings


def seconds(action: Callable[[], object], *, collector: bool = False) -> float:
    """Time one call, with the garbage collected before it.

    Args:
        action: What to time; its answer is dropped within the time.
        collector: Whether the garbage collector may run during the call. Off, a
            full collection does not land on whoever happens to be running.

    Returns:
        Seconds on the wall.
    """
    gc.collect()
    if not collector:
        gc.disable()
    try:
        start = perf_counter()
        action()
        return perf_counter() - start
    finally:
        gc.enable()
