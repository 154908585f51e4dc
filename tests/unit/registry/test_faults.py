"""What was left out: counted each time, logged once."""

from __future__ import annotations

import logging

import pytest

from otel_aioprom.collectors.series.number import NumberSeries
from otel_aioprom.registry.faults import Fault, FaultLog


def counts(log: FaultLog) -> dict[str, float]:
    """The self-metric: cause → count."""
    series = log.family().series
    assert all(isinstance(one, NumberSeries) for one in series)
    return {dict(one.pairs)["cause"]: one.value for one in series if isinstance(one, NumberSeries)}


def test_the_self_metric_is_silent_while_all_is_well() -> None:
    """It has no series before the first loss."""
    family = FaultLog().family()

    assert (family.name, family.type) == ("otel_aioprom_dropped_total", "counter")
    assert family.series == []


def test_losses_are_counted_by_cause() -> None:
    """Each time, whatever they are about; what lost nothing does not count."""
    log = FaultLog()
    log.record(Fault("late", "a", "Late."))
    log.record(Fault("late", "a", "Late."))
    log.record(Fault("late", "b", "Late."))
    log.record(Fault("raised", "a", "Raised."))
    log.record(Fault("help_conflict", "a", "Two.", lost=False))

    assert counts(log) == {"late": 3, "raised": 1}


def test_a_fault_is_logged_once_for_cause_and_subject(caplog: pytest.LogCaptureFixture) -> None:
    """Losses as errors, oddities as warnings."""
    log = FaultLog()
    for _ in range(3):
        log.record(Fault("late", "a", "Late."))
        log.record(Fault("late", "b", "Late."))
        log.record(Fault("help_conflict", "a", "Two.", lost=False))

    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "a: Late. (logged once)"),
        (logging.ERROR, "b: Late. (logged once)"),
        (logging.WARNING, "a: Two. (logged once)"),
    ]


def test_names_that_strangers_make_up_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """After ten thousand subjects new ones are counted, and neither remembered nor logged."""
    log = FaultLog()
    caplog.set_level(logging.CRITICAL)
    for number in range(10_000):
        log.record(Fault("late", str(number), "Late."))
    caplog.set_level(logging.ERROR)
    log.record(Fault("late", "one more", "Late."))
    log.record(Fault("late", "one more", "Late."))

    assert caplog.messages == []
    assert counts(log) == {"late": 10_002}


def test_logs_of_two_registries_are_their_own() -> None:
    """What one has counted, another has not."""
    first, second = FaultLog(), FaultLog()
    first.record(Fault("late", "a", "Late."))

    assert counts(second) == {}
