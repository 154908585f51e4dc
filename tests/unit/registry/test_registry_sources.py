"""The registry's sources: owners of names, and look-up after a collection."""

from __future__ import annotations

import asyncio

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
from otel_aioprom.registry.gathering import Gathering
from otel_aioprom.renderer import render

# --- adding and removing ---------------------------------------------------------------


def test_a_source_is_added_once(registry: CollectorRegistry) -> None:
    """Adding it again is an error, unless it was removed."""
    source = FakeSource(family("x"), name="shop")
    registry.add_source(source)
    with pytest.raises(ValueError, match="shop is a source of this registry already"):
        registry.add_source(source)
    registry.remove_source(source)
    registry.remove_source(source)
    registry.add_source(source)

    assert names_of(registry.gather()) == ["x"]


def test_a_removed_source_is_not_collected(registry: CollectorRegistry) -> None:
    """Its families are not found any more, unless another source has them too."""
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
    """Their series are merged."""
    registry.add_source(FakeSource(counter_family("x_total", 1), family("g", number(1))))
    registry.add_source(FakeSource(counter_family("x_total", 2), family("g", number(2))))
    body, _ = render(registry)

    assert body == b"# TYPE g gauge\ng 2\n# TYPE x_total counter\nx_total 3\n"


# --- the type of a name ------------------------------------------------------------------


def add(registry: CollectorRegistry, *families: MetricFamily) -> list[FakeSource]:
    """Add a source for each family."""
    sources = [FakeSource(each) for each in families]
    for source in sources:
        registry.add_source(source)
    return sources


def types_of_x(gathering: Gathering) -> list[str]:
    """Return the types of the families called x."""
    return [each.type for each in gathering.families if each.name == "x"]


def test_the_first_type_keeps_the_name(registry: CollectorRegistry) -> None:
    """Also in collections without it, until its source is removed."""
    first, _ = add(registry, counter_family("x"), family("x"))
    assert types_of_x(registry.gather()) == ["counter"]
    first.items = []
    gathering = registry.gather()

    assert names_of(gathering) == []
    assert dropped(gathering) == {"type_conflict": 2}


def test_a_name_is_free_when_its_source_is_removed(registry: CollectorRegistry) -> None:
    """The next type gets it."""
    first, _ = add(registry, counter_family("x"), family("x"))
    registry.gather()
    registry.remove_source(first)

    gathering = registry.gather()
    assert types_of_x(gathering) == ["gauge"]
    assert dropped(gathering) == {"type_conflict": 1}


def test_a_type_keeps_its_name_while_another_source_uses_it(registry: CollectorRegistry) -> None:
    """A name is free when its last source is removed."""
    first, _ = add(registry, counter_family("x"), counter_family("x"))
    registry.gather()
    registry.remove_source(first)
    registry.add_source(FakeSource(family("x")))

    gathering = registry.gather()
    assert types_of_x(gathering) == ["counter"]


async def test_a_source_removed_while_it_is_collected_frees_its_names(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """What it returns after that owns nothing."""
    held.items = [counter_family("x")]
    under_way = asyncio.create_task(registry.async_gather(DEADLINE))
    await held.wait_begun()
    registry.remove_source(held)
    held.go.release()
    await under_way
    registry.add_source(FakeSource(family("x", number(2))))

    gathering = registry.gather()
    assert types_of_x(gathering) == ["gauge"]


# --- look-up after a collection ----------------------------------------------------------


def test_families_of_sources_are_found_as_collectors(registry: CollectorRegistry) -> None:
    """After a collection, until one without them."""
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
    """Nor exposed."""
    registry.add_source(FakeSource(MetricFamily("x", "gauge", "", "", [])))

    assert names_of(registry.gather()) == []
    assert registry.get_all() == []


def test_dropped_families_are_not_found(registry: CollectorRegistry) -> None:
    """Look-up and response agree."""
    gauge = Gauge("h", "", registry=registry)
    registry.add_source(FakeSource(counter_family("h"), family("x")))
    registry.gather()

    assert registry.get("h") is gauge
    assert [each.name for each in registry.get_all()] == ["h", "x"]


async def test_families_of_a_late_source_are_still_found(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """They may not be gone."""
    held.go.release()
    await registry.async_gather(DEADLINE)
    await registry.async_gather(0.01)

    assert registry.get("held").get() == 1
