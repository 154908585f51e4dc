"""Summaries with a sliding time window (E115)."""

from __future__ import annotations

import math

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render


def test_e115_ten_minutes_in_five_steps() -> None:
    """By default an observation counts for eight to ten minutes: until the oldest stream at its time is rotated out."""
    clock = ManualClock(0.0)
    summary = Summary("s", "Seconds.", clock=clock)
    summary.observe({}, 1)  # at the very beginning of a step
    clock.now = 599.9
    assert summary.get({})[0.5] == 1
    clock.now = 600
    assert math.isnan(summary.get({})[0.5])

    summary.observe({}, 2)
    clock.now = 600 + 119.9  # at the end of a step
    summary.observe({}, 3)
    clock.now = 600 + 599.9
    assert summary.get({})[0.99] == 3
    clock.now = 600 + 600
    assert math.isnan(summary.get({})[0.99])


def test_e115_every_observation_goes_into_all_streams() -> None:
    """So that each head stream has those of the whole window."""
    clock = ManualClock(0.0)
    summary = Summary("s", "Seconds.", max_age=50, age_buckets=5, clock=clock)
    for step in range(20):
        summary.observe({}, step)
        clock.now += 10
        if step >= 4:
            assert summary.get({})[0.5] == pytest.approx(step - 1.5, abs=0.5)


def test_e115_an_empty_head_is_nan_and_count_and_sum_stay() -> None:
    """Also as it is exposed."""
    clock = ManualClock(0.0)
    registry = CollectorRegistry()
    summary = Summary("s", "Seconds.", max_age=10, clock=clock, registry=registry)
    summary.observe({}, 4)
    clock.now = 11

    lines = render(registry)[0].decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        's{quantile="0.5"} NaN',
        's{quantile="0.9"} NaN',
        's{quantile="0.99"} NaN',
        "s_sum 4",
        "s_count 1",
    ]


def test_e115_objectives_are_quantiles_with_their_errors() -> None:
    """The rank of an estimate is within the error."""
    summary = Summary("s", "Seconds.", invariants=[(0.25, 0.05), (0.999, 0.0001)])
    for value in range(100_000):
        summary.observe({}, value * 7919 % 100_000)

    found = summary.get({})
    assert 20_000 <= found[0.25] <= 30_000
    assert 99_889 <= found[0.999] <= 99_911


def test_e115_without_max_age_nothing_expires() -> None:
    """Then quantiles cover the whole life."""
    clock = ManualClock(0.0)
    summary = Summary("s", "Seconds.", max_age=None, clock=clock)
    summary.observe({}, 1)
    clock.now = 1e9

    assert summary.get({})[0.5] == 1
