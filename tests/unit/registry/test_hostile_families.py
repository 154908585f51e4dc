"""Hostile items of sources, and items that change later: they are dropped alone, and falsify nothing."""

from __future__ import annotations

from typing import Any

import pytest

from client_model import read_delimited
from oracles import FakeSource, family, names_of, number
from otel_aioprom._concurrency.atomic import with_lock
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Gauge
from otel_aioprom.collectors.hooks import PreCollectHook
from otel_aioprom.collectors.series.expiry import expiring_class
from otel_aioprom.collectors.series.number import CounterSeries, NumberSeries
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.validation import well_formed
from otel_aioprom.renderer import render

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


@pytest.mark.parametrize(
    "cls", [expiring_class(CounterSeries), with_lock(CounterSeries, ("inc",)), NumberSeries]
)
def test_generated_classes_of_series_are_valid(cls: Any) -> None:
    """Those of expiring collectors, and of interpreters without a GIL."""
    assert well_formed(family("x", cls()), []).series


@pytest.mark.parametrize("first", ["gauge", "counter"])
def test_a_series_of_two_families_has_both_types(first: str) -> None:
    """In every response, though the protobuf format keeps bytes with it."""
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


def test_a_list_that_grows_later_exposes_nothing_unchecked() -> None:
    """The series are those that were checked."""
    every: list[Any] = [number(1)]
    checked = well_formed(MetricFamily("x", "gauge", "", "", every), [])
    every.append("bad")

    assert len(checked.series) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("late", "x", "m", lost="yes"),  # type: ignore[arg-type]
        Fault("late", "x", "m", quiet=1),  # type: ignore[arg-type]
        Fault("late", "x", 5),  # type: ignore[arg-type]
    ],
)
def test_an_invalid_fault_is_dropped_alone(registry: CollectorRegistry, fault: Fault) -> None:
    """And is a fault itself."""
    registry.add_source(FakeSource(fault, family("fine")))
    gathering = registry.gather()

    assert names_of(gathering) == ["fine"]
    assert [each.cause for each in gathering.faults] == ["untranslatable"]


class Disguised:
    """An object whose class cannot be read."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        """Fail."""
        raise RuntimeError("no class")


class NoHooks(Gauge):
    """A collector whose hooks raise."""

    def pre_collect_hooks(self) -> list[PreCollectHook]:
        """Fail."""
        raise RuntimeError("no hooks")


class Broken(Gauge):
    """A collector whose family raises."""

    def family(self) -> MetricFamily:
        """Fail."""
        raise KeyError("no family")


def test_items_that_raise_are_dropped_alone(registry: CollectorRegistry) -> None:
    """Others of the same source are exposed."""
    gauge = NoHooks("no_hooks", "What.")
    gauge.set({}, 1)
    items: list[Any] = [Disguised(), gauge, Broken("x", "What."), family("fine")]

    class Source:
        name = "source"

        def collect(self) -> list[Any]:
            return items

    registry.add_source(Source())
    gathering = registry.gather()

    assert names_of(gathering) == ["no_hooks", "fine"]
    assert [each.lost for each in gathering.faults] == [True, False, True]


class Custom(Gauge):
    """A collector that overrides ``get_all``."""

    def get_all(self) -> list[Any]:
        """Return two."""
        return [({"a": "1"}, 1), ({"a": "2"}, 2)]


def test_get_all_of_a_custom_collector_is_called(registry: CollectorRegistry) -> None:
    """If a source returns it, as if it were registered."""
    registry.add_source(FakeSource(Custom("x", "What."), family("fine")))  # type: ignore[arg-type]
    body = render(registry)[0]

    assert b'\nx{a="1"} 1\nx{a="2"} 2\n' in body
    assert b"fine 1" in body
