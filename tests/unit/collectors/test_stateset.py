"""Info, StateSet and Enum."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client_model import read_delimited
from oracles import OWN
from otel_aioprom.collectors import Enum, Info, StateSet
from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.formats import BinaryFormatter, OpenMetricsFormatter, TextFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render


def lines(*collectors: Any) -> list[str]:
    """Samples in the text format."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    text = TextFormatter().marshall(registry).decode()
    return [line for line in text.splitlines() if not line.startswith(("#", OWN))]


def test_info_labels_are_labels_of_a_one() -> None:
    """``set`` replaces them; each label set has its own."""
    info = Info("build", "Build.", {"app": "shop"})
    info.set({}, {"version": "1", "commit": 7})
    info.set({}, {"version": "2"})
    info.set({"part": "db"}, {"version": 3})

    assert info.name == "build_info"
    assert lines(info) == [
        'build_info{app="shop",version="2"} 1',
        'build_info{app="shop",part="db",version="3"} 1',
    ]
    assert info.get({"part": "db"}) == {"version": "3"}
    assert info.get_all() == [({}, {"version": "2"}), ({"part": "db"}, {"version": "3"})]
    assert Info("x_info", "X.").name == "x_info"


def test_invalid_info_labels_are_refused() -> None:
    """And create no series."""
    info = Info("build", "Build.", {"app": "shop"})
    for labels, facts in (
        ({"a": 1}, {"a": 2}),
        ({}, {"app": 1}),
        ({}, {"a.b": 1}),
        ({}, {"__x": 1}),
    ):
        with pytest.raises(InvalidLabelsError):
            info.set(labels, facts)
    with pytest.raises(TypeError):
        info.set({}, "version")  # type: ignore[arg-type]
    assert info.get_all() == []

    info.set({}, {"version": 1})
    with pytest.raises(InvalidLabelsError):
        info.set({}, {"app": 1})
    with pytest.raises(InvalidLabelsError):
        info.set_value({}, {"a.b": 1})
    info.set_value({}, {"version": 2})
    assert info.get() == {"version": "2"}


def test_any_number_of_states_may_be_on() -> None:
    """Each is a series."""
    states = StateSet("features", "On.", ["search", "chat"])
    states.set({"of": "shop"}, "chat")

    assert lines(states) == [
        'features{features="search",of="shop"} 0',
        'features{features="chat",of="shop"} 1',
    ]
    states.set({"of": "shop"}, "search", on=True)
    states.set({"of": "shop"}, "chat", on=False)
    assert states.get({"of": "shop"}) == {"search": True, "chat": False}
    assert lines(states)[0].endswith("1")
    assert lines(states) == lines(states)


def test_one_state_of_an_enumeration_is_on() -> None:
    """The first until another is set."""
    phase = Enum("phase", "Phase.", ["starting", "running"])
    child = phase.labels()
    assert phase.get() == "starting"
    child.set("running")
    assert phase.get() == "running"
    assert lines(phase) == ['phase{phase="starting"} 0', 'phase{phase="running"} 1']
    phase.set_value({}, "starting")
    assert phase.get_value() == "starting"


@pytest.mark.parametrize("states", [[], ["a", "a"], [""], ["1", 1]])
def test_states_are_distinct_strings(states: Any) -> None:
    """At least one."""
    for kind in (StateSet, Enum):
        with pytest.raises(ValueError, match="states must be distinct strings"):
            kind("x", "X.", states)


def test_states_are_several() -> None:
    """What is no list is refused; the error names the argument."""
    for kind in (StateSet, Enum):
        for wrong in ("abc", b"abc", 5, None):
            with pytest.raises(TypeError, match="states must be a list of strings, not"):
                kind("x", "X.", wrong)


def test_unknown_states_are_refused() -> None:
    """And create no series; an enumeration is always in a state."""
    for made in (StateSet("x", "X.", ["a"]), Enum("x", "X.", ["a"])):
        with pytest.raises(ValueError, match="the states are a, not 'b'"):
            made.set({}, "b")
        with pytest.raises(InvalidLabelsError):
            made.set({"x": "1"}, "a")
        assert made.get_all() == []
    with pytest.raises(ValueError, match="always in a state"):
        Enum("x", "X.", ["a"]).set({}, "a", on=False)


def test_types_in_each_format() -> None:
    """OpenMetrics has types of their own, protobuf has gauges."""
    registry = CollectorRegistry()
    Info("build", "B.", registry=registry).set({}, {"v": "1"})
    StateSet("on", "O.", ["a", "b"], registry=registry).set({}, "a")
    Enum("phase", "P.", ["x", "y"], registry=registry).set({}, "y")
    text = OpenMetricsFormatter().marshall(registry).decode()
    found = {each.name: each for each in text_string_to_metric_families(text)}
    binary = read_delimited(BinaryFormatter().marshall(registry))

    assert {name: each.type for name, each in found.items()} == {
        "build": "info",
        "on": "stateset",
        "phase": "stateset",
    }
    assert [each.name for each in binary] == ["build_info", "on", "phase"]
    assert [one.gauge.value for each in binary for one in each.metric] == [1, 1, 0, 0, 1]


def test_threads_that_set_other_states_lose_no_update() -> None:
    """Each thread sets its own."""
    names = [f"s{number}" for number in range(8)]
    states = StateSet("x", "X.", names)
    child = states.labels()

    def work(name: str) -> None:
        for turn in range(2001):
            child.set(name, turn % 2 == 0)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert states.get() == dict.fromkeys(names, True)


def test_equality_removal_and_limits_are_those_of_all_collectors() -> None:
    """A label set counts as one series."""
    first, second = Enum("x", "X.", ["a", "b"], max_series=1), Enum("x", "X.", ["a", "b"])
    first.set({"k": 1}, "b")
    second.set({"k": 1}, "b")
    assert first == second
    first.set({"k": 2}, "a")
    assert [labels for labels, _ in first.get_all()] == [{"k": "1"}]
    assert first.count_overflows() == 1
    assert first.remove_matching({"k": "1"}) == 1
    first.clear()
    assert lines(first) == []
    with first.replace() as fresh:
        fresh.set({}, "b")
    assert first.get() == "b"


@pytest.mark.parametrize("name", ["app:phase", "__phase", "job"])
def test_a_name_that_no_label_can_have_is_refused(name: str) -> None:
    """Nothing is registered."""
    registry = CollectorRegistry()
    with pytest.raises(InvalidLabelsError):
        Enum(name, "What it is at.", ["a", "b"], registry=registry)
    with pytest.raises(InvalidLabelsError):
        StateSet(name, "What is on.", ["a", "b"], registry=registry)

    assert registry.get_all() == []


def test_an_info_label_with_an_empty_value_counts_as_absent() -> None:
    """As with other labels; duplicates are exposed once."""
    info = Info("build", "What runs.")
    info.set({"host": "a"}, {"version": "1", "commit": ""})
    info.set({}, {"host": "a", "version": "1"})

    assert [series.text for series in info.family().series] == ['{host="a",version="1"} ']


def test_refused_info_labels_create_no_series() -> None:
    """By ``set`` and by ``set_value``."""
    info = Info("build", "What runs.", {"app": "x"})
    for facts in ({"host": "b"}, {"app": "y"}, {"1st": "x"}):
        with pytest.raises(InvalidLabelsError):
            info.set({"host": "a"}, facts)
        with pytest.raises(InvalidLabelsError):
            info.set_value({"host": "a"}, facts)
    with pytest.raises(TypeError):
        info.set_value({"host": "a"}, "facts")
    assert info.get_all() == []
    info.set_value({"host": "a"}, {"version": "1"})
    assert info.get_value({"host": "a"}) == {"version": "1"}


def test_states_are_compared_as_strings() -> None:
    """Like label values; a single string is not several states."""
    level = Enum("level", "How loud.", [1, 2])  # type: ignore[list-item]
    level.set({}, 2)  # type: ignore[arg-type]
    assert level.get() == "2"
    for kind in (Enum, StateSet):
        with pytest.raises(TypeError, match="a list of strings, not 'abc'"):
            kind("level", "How loud.", "abc")


def test_two_label_sets_of_an_info_may_be_exposed_as_one() -> None:
    """Duplicates are exposed once."""
    info = Info("build", "What runs.")
    info.set({"version": "1"}, {"commit": "c"})
    info.set({"commit": "c"}, {"version": "1"})

    assert [series.text for series in info.family().series] == ['{commit="c",version="1"} ']


def test_threads_that_set_info_labels_are_consistent() -> None:
    """What is exposed and what ``get`` returns are from one call."""
    info = Info("build", "Build.")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            threads = [
                threading.Thread(target=info.set, args=({}, {"version": text})) for text in "ab"
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            version = info.get()["version"]
            assert lines(info) == [f'build_info{{version="{version}"}} 1']
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("kind", [Enum, StateSet])
def test_labels_of_states_are_encoded_once(kind: type[Enum]) -> None:
    """Changes choose among existing series."""
    states = kind("phase", "Phase.", ["a", "b"])
    states.set({"of": "x"}, "a")
    first = states.family().series
    assert all(one is another for one, another in zip(first, states.family().series))
    states.set({"of": "x"}, "b")
    states.set({"of": "x"}, "a")
    if kind is StateSet:
        states.set({"of": "x"}, "b", on=False)

    assert [id(one) for one in states.family().series] == [id(one) for one in first]


def test_states_are_stored_as_they_are_read() -> None:
    """All of them at once, or the current one."""
    states = StateSet("features", "On.", ["a", "b", "c"])
    states.set({}, "b")
    states.set_value({"of": "copy"}, states.get_value({}))
    assert states.get({"of": "copy"}) == {"a": False, "b": True, "c": False}
    states.set_value({}, {"b": False, "c": True})
    assert states.get({}) == {"a": False, "b": False, "c": True}
    with pytest.raises(ValueError, match="the states are"):
        states.set_value({"of": "none"}, {"d": True})
    phase = Enum("phase", "Phase.", ["a", "b"])
    phase.set_value({}, "b")
    phase.set_value({"of": "copy"}, phase.get_value({}))

    assert phase.get({"of": "copy"}) == "b"
    assert [labels for labels, _ in states.get_all()] == [{}, {"of": "copy"}]


def test_n13_get_all_of_subclasses_is_exposed() -> None:
    """With the type of the class; an invalid item is dropped alone."""

    class Facts(Info):
        def get_all(self) -> list[tuple[dict[str, str], Any]]:
            return [({"of": "x"}, {"version": 2}), ({}, 7), ({"of": "y"}, {"of": "z"})]

    class Phase(Enum):
        def get_all(self) -> list[tuple[dict[str, str], Any]]:
            self.set({}, "b")
            return [*super().get_all(), ({"of": "x"}, "none")]

    class Features(StateSet):
        def get_all(self) -> list[tuple[dict[str, str], Any]]:
            return [({}, {"a": True}), ({"of": "x"}, "b")]

    states = ["a", "b"]
    assert lines(
        Facts("f", "F."), Features("features", "F.", states), Phase("phase", "P.", states)
    ) == [
        'f_info{of="x",version="2"} 1',
        'features{features="a"} 1',
        'features{features="b"} 0',
        'features{features="a",of="x"} 0',
        'features{features="b",of="x"} 1',
        'phase{phase="a"} 0',
        'phase{phase="b"} 1',
    ]


@pytest.mark.parametrize(("count", "apart"), [(250, False), (251, True)])
async def test_many_label_sets_do_not_block_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, count: int, apart: bool
) -> None:
    """Each state of each takes some microseconds."""
    threads = []

    family_of = Enum.family_of

    def seen(self: Enum, series: Any) -> Any:
        threads.append(threading.current_thread())
        return family_of(self, series)

    monkeypatch.setattr(Enum, "family_of", seen)
    registry = CollectorRegistry()
    phase = Enum("phase", "Phase.", ["a", "b"], registry=registry)
    for number in range(count):
        phase.set({"of": number}, "b")
    await async_render(registry)

    assert [thread is not threading.main_thread() for thread in threads] == [apart]
