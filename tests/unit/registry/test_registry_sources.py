"""The registry's sources: who owns a name, and what is found after a collection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from oracles import (
    DEADLINE,
    FakeSource,
    HeldSource,
    counter_family,
    dropped,
    family,
    names_of,
    number,
)
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render


@pytest.fixture
def held(registry: CollectorRegistry) -> Iterator[HeldSource]:
    """A source of the registry, let go at the end."""
    source = HeldSource(family("held"))
    registry.add_source(source)
    yield source
    source.go.release(100)


# --- adding and removing ---------------------------------------------------------------


def test_a_source_is_added_once(registry: CollectorRegistry) -> None:
    """The second time is an error, unless it was removed between."""
    source = FakeSource(family("x"), name="shop")
    registry.add_source(source)
    with pytest.raises(ValueError, match="shop is a source of this registry already"):
        registry.add_source(source)
    registry.remove_source(source)
    registry.remove_source(source)
    registry.add_source(source)

    assert names_of(registry.gather()) == ["x"]


def test_a_removed_source_is_asked_no_more(registry: CollectorRegistry) -> None:
    """And what it brought is forgotten at once; what another one brings as well stays."""
    first = FakeSource(family("mine"), family("both", number(1, {"a": "1"})))
    second = FakeSource(family("both", number(2, {"a": "2"})))
    registry.add_source(first)
    registry.add_source(second)
    registry.gather()
    registry.remove_source(first)

    with pytest.raises(KeyError):
        registry.get("mine")
    assert registry.get("both").get({"a": "2"}) == 2
    assert names_of(registry.gather()) == ["both"]


def test_two_sources_share_names(registry: CollectorRegistry) -> None:
    """Their series stand together; equal ones become one."""
    registry.add_source(FakeSource(counter_family("x_total", 1), family("g", number(1))))
    registry.add_source(FakeSource(counter_family("x_total", 2), family("g", number(2))))
    body, _ = render(registry)

    assert body == b"# TYPE g gauge\ng 2\n# TYPE x_total counter\nx_total 3\n"


# --- whose type a name has -------------------------------------------------------------


def test_the_first_type_keeps_the_name_for_life(registry: CollectorRegistry) -> None:
    """Also in collections without it, until its source goes."""
    first, second = FakeSource(counter_family("x")), FakeSource(family("x"))
    registry.add_source(first)
    registry.add_source(second)
    assert [each.type for each in registry.gather().families if each.name == "x"] == ["counter"]
    first.items = []
    gathering = registry.gather()

    assert names_of(gathering) == []
    assert dropped(gathering) == {"type_conflict": 2}


def test_a_type_is_free_when_its_source_is_gone(registry: CollectorRegistry) -> None:
    """The next one to come gets the name."""
    first, second = FakeSource(counter_family("x")), FakeSource(family("x"))
    registry.add_source(first)
    registry.add_source(second)
    registry.gather()
    registry.remove_source(first)

    gathering = registry.gather()
    assert [each.type for each in gathering.families if each.name == "x"] == ["gauge"]
    assert dropped(gathering) == {"type_conflict": 1}


def test_a_type_stays_while_another_source_uses_it(registry: CollectorRegistry) -> None:
    """Names are free when the last one of those that used them goes."""
    first, second = FakeSource(counter_family("x")), FakeSource(counter_family("x"))
    registry.add_source(first)
    registry.add_source(second)
    registry.gather()
    registry.remove_source(first)
    registry.add_source(FakeSource(family("x")))

    gathering = registry.gather()
    assert [each.type for each in gathering.families if each.name == "x"] == ["counter"]


async def test_a_source_removed_while_it_is_asked_frees_its_names(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """What it answers after that owns nothing."""
    held.items = [counter_family("x")]
    under_way = asyncio.create_task(registry.async_gather(DEADLINE))
    await held.wait_begun()
    registry.remove_source(held)
    held.go.release()
    await under_way
    registry.add_source(FakeSource(family("x", number(2))))

    gathering = registry.gather()
    assert [each.type for each in gathering.families if each.name == "x"] == ["gauge"]


# --- what is found after a collection --------------------------------------------------


def test_what_a_source_brought_is_found(registry: CollectorRegistry) -> None:
    """As a collector, after a collection, until it comes no more."""
    source = FakeSource(counter_family("x_total", 3), family("g", number(1, {"a": "1"})))
    registry.add_source(source)
    with pytest.raises(KeyError):
        registry.get("x_total")
    registry.gather()
    found = registry.get("x_total")

    assert type(found) is Counter
    assert found.get() == 3
    assert [each.name for each in registry.get_all()] == ["x_total", "g"]
    source.items = [family("g", number(2, {"a": "2"}))]
    registry.gather()
    assert registry.get("g").get_all() == [({"a": "2"}, 2)]
    with pytest.raises(KeyError):
        registry.get("x_total")


def test_families_without_series_are_not_found(registry: CollectorRegistry) -> None:
    """There is nothing to see."""
    registry.add_source(FakeSource(MetricFamily("x", "gauge", "", "", [])))

    assert names_of(registry.gather()) == []
    assert registry.get_all() == []


def test_what_was_left_out_is_not_found(registry: CollectorRegistry) -> None:
    """The look-up and the response agree."""
    gauge = Gauge("h", "", registry=registry)
    registry.add_source(FakeSource(counter_family("h"), family("x")))
    registry.gather()

    assert registry.get("h") is gauge
    assert [each.name for each in registry.get_all()] == ["h", "x"]


async def test_names_of_a_late_source_stay_found(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """It has not said that they are gone."""
    held.go.release()
    await registry.async_gather(DEADLINE)
    await registry.async_gather(0.01)

    assert registry.get("held").get() == 1
