"""Faults: counted each time, logged once."""

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


def test_the_self_metric_has_no_series_before_the_first_loss() -> None:
    """So that it is not exposed."""
    family = FaultLog().family()

    assert (family.name, family.type) == ("otel_aioprom_dropped_total", "counter")
    assert family.series == []


def test_losses_are_counted_by_cause() -> None:
    """Each time, for any subject; faults that lose nothing are not counted."""
    log = FaultLog()
    log.record(Fault("late", "a", "Late."))
    log.record(Fault("late", "a", "Late."))
    log.record(Fault("late", "b", "Late."))
    log.record(Fault("raised", "a", "Raised."))
    log.record(Fault("help_conflict", "a", "Two.", lost=False))

    assert counts(log) == {"late": 3, "raised": 1}


def test_a_fault_is_logged_once_for_cause_and_subject(caplog: pytest.LogCaptureFixture) -> None:
    """At ERROR if something was lost, else at WARNING."""
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


def test_names_that_clients_make_up_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """After ten thousand subjects, new ones are counted, but neither remembered nor logged."""
    log = FaultLog()
    caplog.set_level(logging.CRITICAL)
    for number in range(10_000):
        log.record(Fault("late", str(number), "Late."))
    caplog.set_level(logging.ERROR)
    log.record(Fault("late", "one more", "Late."))
    log.record(Fault("late", "one more", "Late."))

    assert caplog.messages == []
    assert counts(log) == {"late": 10_002}


def test_fault_logs_are_independent() -> None:
    """One does not count what another counts."""
    first, second = FaultLog(), FaultLog()
    first.record(Fault("late", "a", "Late."))

    assert counts(second) == {}
