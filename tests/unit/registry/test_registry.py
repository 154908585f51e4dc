"""The registry: registration, look-up, and the owners of names."""

from __future__ import annotations

from typing import Any

import pytest

from oracles import FakeSource, family, number, sample_lines
from otel_aioprom import collectors
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.series.number import CounterSeries
from otel_aioprom.errors import DuplicateCollectorError, GatherError
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.gathering import Gathering
from otel_aioprom.registry.registry import REGISTRY, CollectorRegistry, Registry
from otel_aioprom.renderer import render

DROPPED = "otel_aioprom_dropped_total"


def text_of(registry: CollectorRegistry) -> str:
    """A response."""
    return render(registry)[0].decode()


def names_of(registry: CollectorRegistry) -> list[str]:
    """Names of the families of a collection, the library's own not among them."""
    return [each.name for each in registry.gather().families if each.name != DROPPED]


# --- registered collectors -------------------------------------------------------------


def test_the_default_registry_is_empty() -> None:
    """And its class has an alias."""
    assert type(REGISTRY) is CollectorRegistry is Registry
    assert REGISTRY.get_all() == []


def test_a_registered_collector_is_found_until_it_is_deregistered(
    registry: CollectorRegistry,
) -> None:
    """By name, in the list, and in the response."""
    gauge = Gauge("g", "Level.")
    gauge.set({}, 1)
    registry.register(gauge)

    assert registry.get("g") is gauge
    assert registry.get_all() == [gauge]
    assert names_of(registry) == ["g"]
    registry.deregister("g")
    assert registry.get_all() == []
    assert names_of(registry) == []
    with pytest.raises(KeyError):
        registry.get("g")


@pytest.mark.parametrize("name", ["x", DROPPED, "h_count", ""])
def test_what_is_not_registered_is_a_key_error(registry: CollectorRegistry, name: str) -> None:
    """For ``deregister`` and ``get``; names of samples and of self-metrics are no collectors."""
    Histogram("h", "", registry=registry)
    with pytest.raises(KeyError):
        registry.deregister(name)
    with pytest.raises(KeyError):
        registry.get(name)

    assert [each.name for each in registry.get_all()] == ["h"]


@pytest.mark.parametrize("what", [None, "g", 1, Gauge, family("x"), FakeSource()])
def test_only_collectors_can_be_registered(registry: CollectorRegistry, what: Any) -> None:
    """Nothing else, whatever its attributes."""
    with pytest.raises(TypeError, match="only collectors"):
        registry.register(what)


def test_a_collector_may_be_in_several_registries() -> None:
    """Both expose the same series."""
    first, second, gauge = CollectorRegistry(), CollectorRegistry(), Gauge("g", "")
    first.register(gauge)
    second.register(gauge)
    gauge.set({}, 2)

    assert text_of(first) == text_of(second) == "# TYPE g gauge\ng 2\n"


def test_families_come_in_order_of_precedence(registry: CollectorRegistry) -> None:
    """Native collectors first, then by who was first to use a name, also in later collections."""
    for name in ("b", "d", "a"):
        Gauge(name, "", registry=registry).set({}, 1)
    source = FakeSource(family("c"), family("B"))
    registry.add_source(source)

    assert names_of(registry) == ["b", "d", "a", "c", "B"]
    source.items = [family("B"), family("A"), family("c")]
    assert names_of(registry) == ["b", "d", "a", "c", "B", "A"]


def test_responses_are_sorted_by_name(registry: CollectorRegistry) -> None:
    """Whatever the order of registration, and whether they come from collectors or sources."""
    for name in ("b", "d", "a"):
        Gauge(name, "", registry=registry).set({}, 1)
    registry.add_source(FakeSource(family("c"), family("B")))

    assert sample_lines(text_of(registry)) == ["B 1", "a 1", "b 1", "c 1", "d 1"]


# --- names of native collectors ----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        (Counter, ["x"]),
        (Gauge, ["x"]),
        (Collector, ["x"]),
        (Histogram, ["x", "x_bucket", "x_sum", "x_count"]),
        (Summary, ["x", "x_sum", "x_count"]),
    ],
)
def test_a_collector_takes_its_samples_names(kind: Any, taken: list[str]) -> None:
    """All of them, no more, and frees them when it is deregistered."""
    candidates = ["x", "x_bucket", "x_sum", "x_count", "x_total", "x_created"]
    registry = CollectorRegistry()
    kind("x", "", registry=registry)
    refused: list[tuple[str, str]] = []
    for name in candidates:
        try:
            registry.register(Gauge(name, ""))
        except DuplicateCollectorError as error:
            refused.append((error.name, error.existing))

    assert refused == [(name, "x") for name in taken]
    registry.deregister("x")
    for name in taken:
        registry.register(Gauge(name, ""))


def test_a_collector_is_refused_for_its_samples_names(registry: CollectorRegistry) -> None:
    """A histogram whose count is another collector; nothing of it stays registered."""
    Gauge("h_count", "", registry=registry)
    with pytest.raises(DuplicateCollectorError) as caught:
        Histogram("h", "", registry=registry)

    assert (caught.value.name, caught.value.existing) == ("h_count", "h_count")
    Gauge("h", "", registry=registry)
    Gauge("h_sum", "", registry=registry)


def test_the_message_names_the_collector_that_is_registered_twice(
    registry: CollectorRegistry,
) -> None:
    """And none of its samples."""
    histogram = Histogram("h", "", registry=registry)
    with pytest.raises(DuplicateCollectorError, match="'h' is taken by another collector"):
        registry.register(histogram)


def test_the_librarys_own_name_is_taken(registry: CollectorRegistry) -> None:
    """From the start."""
    with pytest.raises(DuplicateCollectorError):
        Counter(DROPPED, "", registry=registry)


def test_deregistering_frees_no_names_of_others(registry: CollectorRegistry) -> None:
    """Only what the collector itself had taken."""
    Histogram("a", "", registry=registry)
    Histogram("b", "", registry=registry)
    registry.deregister("a")

    registry.register(Gauge("a_sum", ""))
    with pytest.raises(DuplicateCollectorError):
        registry.register(Gauge("b_sum", ""))


# --- native collectors and sources --------------------------------------------------------


def test_a_native_collector_overrides_a_source(registry: CollectorRegistry) -> None:
    """Whichever was first; the source's family is counted as lost."""
    registry.add_source(FakeSource(family("x", number(9)), family("y", number(8))))
    assert "x 9\n" in text_of(registry)
    assert registry.get("x").get() == 9
    gauge = Gauge("x", "", registry=registry)
    gauge.set({}, 1)
    text = text_of(registry)

    assert "x 1\n" in text
    assert "x 9\n" not in text
    assert "y 8\n" in text
    assert f'{DROPPED}{{cause="name_conflict"}} 1\n' in text
    assert registry.get("x") is gauge
    assert [each.name for each in registry.get_all()] == ["x", "y"]


def test_a_native_collector_without_series_keeps_its_name(registry: CollectorRegistry) -> None:
    """It may get a series at any time."""
    Gauge("x", "", registry=registry)
    registry.add_source(FakeSource(family("x")))

    assert names_of(registry) == []


def test_a_source_gets_the_name_of_a_deregistered_collector(registry: CollectorRegistry) -> None:
    """In the next collection."""
    registry.add_source(FakeSource(family("x", number(9))))
    Gauge("x", "", registry=registry)
    registry.gather()
    registry.deregister("x")

    assert names_of(registry) == ["x"]


@pytest.mark.parametrize("name", ["h", "h_bucket", "h_sum", "h_count"])
def test_a_source_cannot_take_derived_names(registry: CollectorRegistry, name: str) -> None:
    """Of a native histogram."""
    Histogram("h", "", registry=registry).observe({}, 1)
    registry.add_source(FakeSource(family(name), family("h_max")))
    gathering = registry.gather()

    assert [each.name for each in gathering.families] == ["h", DROPPED, "h_max"]
    (fault,) = gathering.faults
    assert (fault.cause, fault.subject) == ("name_conflict", name)
    assert fault.message == f"dropped: the sample name {name!r} belongs to 'h'"


def test_derived_names_are_taken_between_sources_too(registry: CollectorRegistry) -> None:
    """The first family keeps them, within a source and between two."""
    histogram = Histogram("h", "")
    histogram.observe({}, 1)
    registry.add_source(FakeSource(histogram.family(), family("h_sum")))
    registry.add_source(FakeSource(family("h_count"), family("h_max")))

    assert names_of(registry) == ["h", "h_max"]
    assert f'{DROPPED}{{cause="name_conflict"}} 4\n' in text_of(registry)


def test_a_source_may_not_use_the_librarys_own_name(registry: CollectorRegistry) -> None:
    """Its family is lost, and counted."""
    fake = family(DROPPED, number(99, kind=CounterSeries), kind="counter")
    registry.add_source(FakeSource(fake))

    assert f'{DROPPED}{{cause="name_conflict"}} 1\n' in text_of(registry)
    assert "99" not in text_of(registry)


# --- custom collectors ----------------------------------------------------------------------


class Own(Gauge):
    """A collector that overrides ``get_all``."""

    answer: Any = (({"a": 1}, 5),)

    def get_all(self) -> Any:
        """Return what the test has set."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_custom_collectors_are_collected(registry: CollectorRegistry) -> None:
    """And found by name as others."""
    own = Own("own", "Own.", registry=registry)

    assert text_of(registry) == '# HELP own Own.\n# TYPE own gauge\nown{a="1"} 5\n'
    assert registry.get("own") is own
    assert registry.get_all() == [own]
    registry.deregister("own")
    assert text_of(registry) == ""


def test_a_custom_collector_that_raises_is_dropped_alone(registry: CollectorRegistry) -> None:
    """It keeps its name."""
    own = Own("own", "", registry=registry)
    own.answer = RuntimeError("no")
    Gauge("g", "", registry=registry).set({}, 1)
    registry.add_source(FakeSource(family("own", number(9))))
    text = text_of(registry)

    assert "own 9" not in text
    assert "g 1\n" in text
    assert f'{DROPPED}{{cause="name_conflict"}} 1\n' in text
    assert f'{DROPPED}{{cause="raised"}} 1\n' in text


async def test_async_gather_collects_custom_collectors(registry: CollectorRegistry) -> None:
    """In a thread, as sources."""
    Own("own", "", registry=registry)
    gathering = await registry.async_gather(10)

    assert [each.name for each in gathering.families] == ["own"]


# --- gatherings ------------------------------------------------------------------------


def test_raise_if_lost() -> None:
    """Faults that lost nothing are not in the message."""
    odd = Fault("help_conflict", "x", "Two.", lost=False)
    Gathering([], [odd]).raise_if_lost()
    lost = [Fault("late", "a", "Late."), odd, Fault("raised", "b", "No.")]
    with pytest.raises(GatherError) as caught:
        Gathering([], lost).raise_if_lost()

    assert caught.value.faults == ("a: Late.", "b: No.")


def test_clear_deregisters_all_collectors() -> None:
    """As aioprometheus' registry; their names are free again, and sources stay."""
    registry = CollectorRegistry(max_series=2)
    for name in ("x_total", "y_total"):
        Counter(name, "What.", registry=registry).inc()
    registry.add_source(FakeSource(family("z", number(1))))
    registry.clear()
    Counter("x_total", "What.", registry=registry).inc({"again": 1})

    assert [each.name for each in registry.get_all()] == ["x_total"]
    assert render(registry)[0].count(b"# TYPE") == 2
    registry.clear()
    registry.clear()
    assert b"z 1\n" in render(registry)[0]


def test_collectors_hand_on_the_registry_of_aioprometheus() -> None:
    """Its versions 21 to 23 have it there; other names are the usual error."""
    assert collectors.REGISTRY is REGISTRY
    assert collectors.Registry is CollectorRegistry
    with pytest.raises(AttributeError, match=r"'otel_aioprom\.collectors' has no attribute 'Rest'"):
        collectors.Rest  # type: ignore[attr-defined]  # noqa: B018 - looking is the test
