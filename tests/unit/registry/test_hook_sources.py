"""The timeout of a collector's coroutine callbacks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.hook_sources import AsyncHookSource, make_hook_source


async def callback() -> float:
    """Return a value."""
    return 1.0


async def never() -> float:
    """Never return."""
    await asyncio.Event().wait()
    return 1.0


def async_source_of(gauge: Gauge) -> Any:
    """Return the source that awaits the callbacks of a gauge."""
    sources = [make_hook_source(gauge.name, hook) for hook in gauge.pre_collect_hooks()]
    (source,) = [each for each in sources if isinstance(each, AsyncHookSource)]
    return source


@pytest.mark.parametrize("timeouts", [[0.5], [3.0, 0.25], [2.0, 2.0, 7.0]])
def test_all_together_get_a_second_more_than_the_slowest(timeouts: list[float]) -> None:
    """So that each is late by itself, before all of them are."""
    gauge = Gauge("x", "What.")
    for number, timeout in enumerate(timeouts):
        gauge.set_function({"of": number}, callback, timeout=timeout)

    assert async_source_of(gauge).timeout == max(timeouts) + 1


def test_timeouts_of_plain_callbacks_do_not_count() -> None:
    """Only those of coroutine callbacks."""
    gauge = Gauge("x", "What.")
    gauge.set_function({"of": "called"}, lambda: 1, timeout=50)
    gauge.set_function({"of": "awaited"}, callback, timeout=2)

    assert async_source_of(gauge).timeout == 3


def test_the_timeout_is_that_of_the_current_callbacks() -> None:
    """Also if some were set or removed since the last collection."""
    gauge = Gauge("x", "What.")
    gauge.set_function({"of": 1}, callback, timeout=2)
    source = async_source_of(gauge)
    gauge.set_function({"of": 2}, callback, timeout=4)
    assert source.timeout == 5
    gauge.clear()

    assert source.timeout == 1


async def test_a_late_callback_is_a_fault_by_itself(registry: CollectorRegistry) -> None:
    """The collector's other callbacks have their values."""
    gauge = Gauge("x", "What.", registry=registry)
    gauge.set_function({"of": "late"}, never, timeout=0.05)
    gauge.set_function({"of": "fine"}, callback, timeout=0.05)
    gathering = await registry.async_gather(DEADLINE)

    assert [fault.cause for fault in gathering.faults] == ["late"]
    assert "for {'of': 'late'} took more than 0.05 s" in gathering.faults[0].message
    assert gauge.get_all() == [({"of": "fine"}, 1)]
