"""Slots in the limit of a registry, while sets of series are replaced concurrently."""

from __future__ import annotations

from functools import partial
from types import FrameType
from typing import Any

import pytest

from interruptions import AtCall, OnceIn, at_every_call, switching, together
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.series import limits
from otel_aioprom.registry import CollectorRegistry

SLOTS = 5


@pytest.fixture
def limited() -> CollectorRegistry:
    """A registry with a few slots."""
    return CollectorRegistry(max_series=SLOTS)


def free_slots(registry: CollectorRegistry) -> int:
    """Number of series of another collector for which there are slots."""
    probe = Counter("probe_total", "What.", registry=registry)
    for number in range(SLOTS + 1):
        probe.inc({"a": number})
    found = len([1 for labels, _ in probe.get_all() if "a" in labels])
    registry.deregister("probe_total")
    return found


def replaced(gauge: Gauge, **values: float) -> None:
    """Replace the set of series."""
    with gauge.replace() as other:
        for name, value in values.items():
            other.set({"a": name}, value)


@pytest.mark.parametrize("function", ["acquire", "admit", "adopt", "_adopt", "_add"])
@pytest.mark.parametrize("options", [{}, {"expire_after": 60.0}], ids=["plain", "expiring"])
def test_a_series_that_is_created_while_its_set_is_replaced_keeps_no_slot(
    limited: CollectorRegistry, function: str, options: dict[str, Any]
) -> None:
    """At any step of its creation."""
    gauge = Gauge("x", "What.", registry=limited, **options)
    act = OnceIn(function, lambda: replaced(gauge))
    with at_every_call(act):
        gauge.set({"a": 1}, 1)
    gauge.clear()

    assert act.done
    assert free_slots(limited) == SLOTS


def within_stores(frame: FrameType) -> bool:
    """Return whether a call is one of limits, stores or collectors."""
    return "otel_aioprom/collectors" in frame.f_code.co_filename


@pytest.mark.parametrize("options", [{}, {"expire_after": 60.0}], ids=["plain", "expiring"])
def test_of_concurrent_replacements_one_is_exposed(
    limited: CollectorRegistry, options: dict[str, Any]
) -> None:
    """At every step, no slot is lost, and none is used twice."""
    for number in range(1000):
        gauge = Gauge("x", "What.", registry=limited, **options)
        gauge.set({"a": "before"}, 1)
        act = AtCall(number, lambda gauge=gauge: replaced(gauge, inner=1, both=1), within_stores)
        with at_every_call(act):
            replaced(gauge, outer=2, both=2)
        gauge.set({"a": "after"}, 3)
        shown = {labels["a"]: value for labels, value in gauge.get_all()}

        assert shown in ({"inner": 1, "both": 1, "after": 3}, {"outer": 2, "both": 2, "after": 3})
        assert free_slots(limited) == SLOTS - 3
        limited.deregister("x")
        assert free_slots(limited) == SLOTS
        if not act.done:
            break
    else:
        raise AssertionError("there are more calls than that")
    assert number > 10


def replace_often(gauge: Gauge) -> None:
    """Replace the set of series many times."""
    for number in range(400):
        replaced(gauge, **{str(number % 7): 1.0})


def record_often(gauge: Gauge) -> None:
    """Record on a few series many times."""
    for number in range(2500):
        gauge.set({"a": number % 7}, 1)


def test_threads_that_replace_and_record_lose_no_slots(limited: CollectorRegistry) -> None:
    """Concurrently."""
    gauge = Gauge("x", "What.", registry=limited)

    with switching():
        replace, record = partial(replace_often, gauge), partial(record_often, gauge)
        together(replace, replace, record, record)
    gauge.clear()

    assert free_slots(limited) == SLOTS


@pytest.mark.parametrize("options", [{}, {"expire_after": 0.001}], ids=["plain", "expiring"])
def test_threads_that_register_too_lose_no_slots(
    limited: CollectorRegistry, options: dict[str, Any]
) -> None:
    """Nor are slots kept in the limit of a registry after deregistration."""
    gauge = Gauge("x", "What.", registry=limited, **options)

    def remove() -> None:
        for number in range(2000):
            gauge.remove_matching({"a": number % 7})

    def register() -> None:
        for _ in range(200):
            limited.deregister("x")
            limited.register(gauge)

    with switching():
        together(partial(replace_often, gauge), partial(record_often, gauge), remove, register)
    limited.deregister("x")

    assert free_slots(limited) == SLOTS


def test_a_series_that_is_adopted_twice_at_once_has_one_slot() -> None:
    """The first one's."""
    bound = limits.SeriesLimit(2)
    share = limits.SlotShare(bound)
    series: Any = Collector("x", "What.").labels({})
    with at_every_call(OnceIn("acquire_or_owe", lambda: share.adopt(series))):
        share.adopt(series)

    assert bound.acquire()
    assert not bound.acquire()


@pytest.mark.parametrize("limit", [2**31, 2**63, 2**200])
def test_a_limit_may_be_of_any_size(limit: int) -> None:
    """Also beyond ``sys.maxsize``."""
    gauge = Gauge("x", "What.", registry=CollectorRegistry(max_series=limit), max_series=limit)
    gauge.set({"a": 1}, 1)

    assert gauge.get_all() == [({"a": "1"}, 1)]
