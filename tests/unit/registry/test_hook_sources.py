"""How long the coroutine functions of a collector get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.hook_sources import AsyncUpkeep, make_upkeep


async def ask() -> float:
    """Give a value."""
    return 1.0


async def never() -> float:
    """Give no value until it is cancelled."""
    await asyncio.Event().wait()
    return 1.0


def awaiting(gauge: Gauge) -> Any:
    """Return what awaits the functions of a gauge."""
    (made,) = [
        each
        for each in (make_upkeep(gauge.name, chore) for chore in gauge.chores())
        if isinstance(each, AsyncUpkeep)
    ]
    return made


@pytest.mark.parametrize("timeouts", [[0.5], [3.0, 0.25], [2.0, 2.0, 7.0]])
def test_all_together_get_a_second_more_than_the_slowest(timeouts: list[float]) -> None:
    """So that each is told of as late by itself, before all of them would be."""
    gauge = Gauge("x", "What.")
    for number, timeout in enumerate(timeouts):
        gauge.set_function({"of": number}, ask, timeout=timeout)

    assert awaiting(gauge).timeout == max(timeouts) + 1


def test_functions_that_are_called_get_nothing_of_it() -> None:
    """Only those that are awaited have a time."""
    gauge = Gauge("x", "What.")
    gauge.set_function({"of": "called"}, lambda: 1, timeout=50)
    gauge.set_function({"of": "awaited"}, ask, timeout=2)

    assert awaiting(gauge).timeout == 3


def test_the_time_is_that_of_the_functions_there_are() -> None:
    """Those that came or went since the last collection count."""
    gauge = Gauge("x", "What.")
    gauge.set_function({"of": 1}, ask, timeout=2)
    upkeep = awaiting(gauge)
    gauge.set_function({"of": 2}, ask, timeout=4)
    assert upkeep.timeout == 5
    gauge.clear()

    assert upkeep.timeout == 1


async def test_a_function_that_is_late_is_told_of_by_itself(registry: CollectorRegistry) -> None:
    """Not all of the collector's: the others have their values."""
    gauge = Gauge("x", "What.", registry=registry)
    gauge.set_function({"of": "late"}, never, timeout=0.05)
    gauge.set_function({"of": "fine"}, ask, timeout=0.05)
    gathering = await registry.async_gather(DEADLINE)

    assert [fault.cause for fault in gathering.faults] == ["late"]
    assert "the function for {'of': 'late'} took more than 0.05 s" in gathering.faults[0].message
    assert gauge.get_all() == [({"of": "fine"}, 1)]
