"""Families without series do not own their names."""

from __future__ import annotations

from oracles import FakeSource, dropped, family, names_of, number
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Gauge
from otel_aioprom.collectors.series.number import CounterSeries
from otel_aioprom.registry import CollectorRegistry

EMPTY = MetricFamily("x", "gauge", "One.", "", ())


def counting() -> MetricFamily:
    """A family of the same name, of another type, with a series."""
    return family("x", number(1, kind=CounterSeries), kind="counter", doc="Another.")


def test_a_family_without_series_takes_no_name_from_another_source(
    registry: CollectorRegistry,
) -> None:
    """In the same collection, or in the next one."""
    registry.add_source(FakeSource(EMPTY, name="first"))
    late = FakeSource(name="second")
    registry.add_source(late)
    registry.gather()
    late.items = [counting()]
    gathering = registry.gather()

    assert names_of(gathering) == ["x"]
    assert [each.type for each in gathering.families if each.name == "x"] == ["counter"]
    assert (gathering.faults, dropped(gathering)) == ([], {})


def test_a_family_without_series_takes_no_name_within_its_source(
    registry: CollectorRegistry,
) -> None:
    """Neither in the same collection, nor in the next one."""
    source = FakeSource(EMPTY, counting())
    registry.add_source(source)
    for items in ([EMPTY, counting()], [EMPTY], [counting()]):
        source.items = items
        gathering = registry.gather()

        assert gathering.faults == []
        assert names_of(gathering) == ["x"] * (items != [EMPTY])


def test_a_family_without_series_hides_no_collector(registry: CollectorRegistry) -> None:
    """And is no fault."""
    registry.add_source(FakeSource(EMPTY))
    gauge = Gauge("x", "Mine.", registry=registry)
    gauge.set({}, 1)
    gathering = registry.gather()

    assert names_of(gathering) == ["x"]
    assert gathering.faults == []


def test_a_family_that_was_exposed_keeps_its_name_without_series(
    registry: CollectorRegistry,
) -> None:
    """Since a server knows its type by then."""
    first, second = FakeSource(counting(), name="first"), FakeSource(name="second")
    registry.add_source(first)
    registry.add_source(second)
    registry.gather()
    first.items, second.items = [], [family("x")]
    gathering = registry.gather()

    assert names_of(gathering) == []
    assert dropped(gathering) == {"type_conflict": 1}
