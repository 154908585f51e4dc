"""What sources give that means harm, or changes afterwards: it costs itself, and falsifies nothing."""

from __future__ import annotations

from typing import Any

import pytest

from client_model import read_delimited
from oracles import FakeSource, family, names_of, number
from otel_aioprom._concurrency.atomic import with_lock
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Gauge
from otel_aioprom.collectors.hooks import Chore
from otel_aioprom.collectors.series.expiry import watched
from otel_aioprom.collectors.series.number import CounterSeries, NumberSeries
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.validation import well_formed
from otel_aioprom.renderer import render

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


@pytest.mark.parametrize(
    "cls", [watched(CounterSeries), with_lock(CounterSeries, ("inc",)), NumberSeries]
)
def test_classes_of_series_that_we_make_are_known(cls: Any) -> None:
    """Those of expiring collectors, and of interpreters without a global lock."""
    assert well_formed(family("x", cls())).series


@pytest.mark.parametrize("first", ["gauge", "counter"])
def test_a_series_of_two_families_is_of_both_types(first: str) -> None:
    """What the protobuf format keeps with it is for one of them, in every response."""
    second = {"gauge": "counter", "counter": "gauge"}[first]
    shared = NumberSeries(value=3)
    registry = CollectorRegistry()
    registry.add_source(
        FakeSource(family("a", shared, kind=first), family("b", shared, kind=second))
    )
    for _ in range(2):
        found = {each.name: each for each in read_delimited(render(registry, [PROTOBUF])[0])}

        assert getattr(found["a"].metric[0], first).value == 3
        assert getattr(found["b"].metric[0], second).value == 3


def test_a_series_that_changes_its_type_has_the_new_one() -> None:
    """From one response to the next."""
    shared = NumberSeries(value=3)
    source = FakeSource(family("a", shared))
    registry = CollectorRegistry()
    registry.add_source(source)
    render(registry, [PROTOBUF])
    source.items = [family("b", shared, kind="counter")]
    found = {each.name: each for each in read_delimited(render(registry, [PROTOBUF])[0])}

    assert found["b"].metric[0].counter.value == 3


def test_a_list_that_grows_later_shows_nothing_unchecked() -> None:
    """The series are those that were looked at."""
    every: list[Any] = [number(1)]
    made = well_formed(MetricFamily("x", "gauge", "", "", every))
    every.append("bad")

    assert len(made.series) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("late", "x", "m", lost="yes"),  # type: ignore[arg-type]
        Fault("late", "x", "m", quiet=1),  # type: ignore[arg-type]
        Fault("late", "x", 5),  # type: ignore[arg-type]
    ],
)
def test_a_fault_that_makes_no_sense_costs_itself(
    registry: CollectorRegistry, fault: Fault
) -> None:
    """It is told that it makes none."""
    registry.add_source(FakeSource(fault, family("fine")))
    gathering = registry.gather()

    assert names_of(gathering) == ["fine"]
    assert [each.cause for each in gathering.faults] == ["untranslatable"]


class Disguised:
    """Nobody learns its class."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        """Fail."""
        raise RuntimeError("no class")


class Unkept(Gauge):
    """A collector that does not tell what is to be done for it."""

    def chores(self) -> list[Chore]:
        """Fail."""
        raise RuntimeError("no chores")


class Broken(Gauge):
    """A collector that has no family."""

    def family(self) -> MetricFamily:
        """Fail."""
        raise KeyError("no family")


def test_items_that_fail_when_they_are_looked_at_cost_themselves(
    registry: CollectorRegistry,
) -> None:
    """Others of the same source are shown."""
    unkept = Unkept("unkept", "What.")
    unkept.set({}, 1)
    items: list[Any] = [Disguised(), unkept, Broken("x", "What."), family("fine")]

    class Source:
        name = "source"

        def collect(self) -> list[Any]:
            return items

    registry.add_source(Source())
    gathering = registry.gather()

    assert names_of(gathering) == ["unkept", "fine"]
    assert [each.lost for each in gathering.faults] == [True, False, True]


class Custom(Gauge):
    """A collector that tells its values itself."""

    def get_all(self) -> list[Any]:
        """Return two."""
        return [({"a": "1"}, 1), ({"a": "2"}, 2)]


def test_a_collector_with_its_own_values_is_asked_for_them(registry: CollectorRegistry) -> None:
    """When a source gives it, as when it is registered."""
    registry.add_source(FakeSource(Custom("x", "What."), family("fine")))  # type: ignore[arg-type]
    body = render(registry)[0]

    assert b'\nx{a="1"} 1\nx{a="2"} 2\n' in body
    assert b"fine 1" in body
