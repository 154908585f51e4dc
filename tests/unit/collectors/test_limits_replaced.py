"""Places in the bound of a registry, of sets of series that are replaced while others record or replace them, too."""

from __future__ import annotations

from types import FrameType
from typing import Any

import pytest

from interruptions import AtCall, OnceIn, at_every_call, switching, together
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.series import limits
from otel_aioprom.registry import CollectorRegistry

PLACES = 5


@pytest.fixture
def bounded() -> CollectorRegistry:
    """A registry with a few places."""
    return CollectorRegistry(max_series=PLACES)


def places_left(registry: CollectorRegistry) -> int:
    """How many series of another collector there is a place for."""
    probe = Counter("probe_total", "What.", registry=registry)
    for number in range(PLACES + 1):
        probe.inc({"a": number})
    found = len([1 for labels, _ in probe.get_all() if "a" in labels])
    registry.deregister("probe_total")
    return found


def replaced(gauge: Gauge, **values: float) -> None:
    """Show another set."""
    with gauge.replace() as other:
        for name, value in values.items():
            other.set({"a": name}, value)


@pytest.mark.parametrize("function", ["take", "admit", "adopt", "_adopt", "_add"])
@pytest.mark.parametrize("options", [{}, {"expire_after": 60.0}], ids=["plain", "expiring"])
def test_a_series_that_is_made_while_its_set_is_replaced_keeps_no_place(
    bounded: CollectorRegistry, function: str, options: dict[str, Any]
) -> None:
    """Whatever it was just about to do."""
    gauge = Gauge("x", "What.", registry=bounded, **options)
    act = OnceIn(function, lambda: replaced(gauge))
    with at_every_call(act):
        gauge.set({"a": 1}, 1)
    gauge.clear()

    assert act.done
    assert places_left(bounded) == PLACES


def within_stores(frame: FrameType) -> bool:
    """Tell whether a call is one of bounds, stores or collectors."""
    return "otel_aioprom/collectors" in frame.f_code.co_filename


@pytest.mark.parametrize("options", [{}, {"expire_after": 60.0}], ids=["plain", "expiring"])
def test_of_sets_that_are_replaced_at_once_one_is_shown(
    bounded: CollectorRegistry, options: dict[str, Any]
) -> None:
    """At every step: no place is lost, and none is used twice."""
    for number in range(1000):
        gauge = Gauge("x", "What.", registry=bounded, **options)
        gauge.set({"a": "before"}, 1)
        act = AtCall(number, lambda gauge=gauge: replaced(gauge, inner=1, both=1), within_stores)
        with at_every_call(act):
            replaced(gauge, outer=2, both=2)
        gauge.set({"a": "after"}, 3)
        shown = {labels["a"]: value for labels, value in gauge.get_all()}

        assert shown in ({"inner": 1, "both": 1, "after": 3}, {"outer": 2, "both": 2, "after": 3})
        assert places_left(bounded) == PLACES - 3
        bounded.deregister("x")
        assert places_left(bounded) == PLACES
        if not act.done:
            break
    else:
        raise AssertionError("there are more calls than that")
    assert number > 10


def test_threads_that_replace_and_record_lose_no_places(bounded: CollectorRegistry) -> None:
    """All at once."""
    gauge = Gauge("x", "What.", registry=bounded)

    def replace() -> None:
        for number in range(500):
            replaced(gauge, **{str(number % 7): 1.0})

    def record() -> None:
        for number in range(3000):
            gauge.set({"a": number % 7}, 1)

    with switching():
        together(replace, replace, record, record)
    gauge.clear()

    assert places_left(bounded) == PLACES


@pytest.mark.parametrize("options", [{}, {"expire_after": 0.001}], ids=["plain", "expiring"])
def test_threads_that_register_too_lose_no_places(
    bounded: CollectorRegistry, options: dict[str, Any]
) -> None:
    """Nor are places kept in the bound of a registry that was left."""
    gauge = Gauge("x", "What.", registry=bounded, **options)

    def replace() -> None:
        for number in range(300):
            replaced(gauge, **{str(number % 7): 1.0})

    def record() -> None:
        for number in range(2000):
            gauge.set({"a": number % 7}, 1)

    def remove() -> None:
        for number in range(2000):
            gauge.remove_matching({"a": number % 7})

    def register() -> None:
        for _ in range(200):
            bounded.deregister("x")
            bounded.register(gauge)

    with switching():
        together(replace, record, remove, register)
    bounded.deregister("x")

    assert places_left(bounded) == PLACES


def test_a_series_that_two_adopt_at_once_has_one_place() -> None:
    """The first one's."""
    bound = limits.Bound(2)
    share = limits.Share(bound)
    series: Any = Collector("x", "What.").labels({})
    with at_every_call(OnceIn("insist", lambda: share.adopt(series))):
        share.adopt(series)

    assert bound.take()
    assert not bound.take()


@pytest.mark.parametrize("limit", [2**31, 2**63, 2**200])
def test_a_bound_may_be_of_any_size(limit: int) -> None:
    """Though no machine has room for so many."""
    gauge = Gauge("x", "What.", registry=CollectorRegistry(max_series=limit), max_series=limit)
    gauge.set({"a": 1}, 1)

    assert gauge.get_all() == [({"a": "1"}, 1)]
