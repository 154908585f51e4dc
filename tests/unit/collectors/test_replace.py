"""Replace all series at once, or remove those with a label."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import (
    Collector,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StateSet,
    Summary,
)
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

KINDS: list[tuple[type[Any], tuple[Any, ...], str, tuple[Any, ...]]] = [
    (Collector, (), "set_value", (1,)),
    (Counter, (), "inc", ()),
    (Gauge, (), "set", (1,)),
    (Histogram, (), "observe", (1,)),
    (Summary, (), "observe", (1,)),
    (Info, (), "set", ({"version": "1"},)),
    (StateSet, (["on"],), "set", ("on",)),
    (Enum, (["a", "b"],), "set", ("b",)),
]


class WrongError(Exception):
    """What the tests raise in a block."""


def replace_and_fail(gauge: Gauge, act: Callable[[Gauge], object]) -> None:
    """Do something with a new set, and raise."""
    with gauge.replace() as fresh:
        act(fresh)
        raise WrongError


@pytest.fixture
def gauge() -> Gauge:
    """A gauge of three tenants."""
    made = Gauge("x", "What.", {"app": "shop"})
    made.set({"tenant": "a", "path": "/"}, 1)
    made.set({"tenant": "b"}, 2)
    made.set({}, 3)
    return made


@pytest.mark.parametrize(("kind", "given", "method", "value"), KINDS)
def test_a_new_set_replaces_the_old_one(kind: Any, given: Any, method: str, value: Any) -> None:
    """In collectors of every kind: all at once, at the end of the block."""
    registry = CollectorRegistry()
    collector = kind("x", "What.", *given, registry=registry)
    getattr(collector, method)({"a": "old"}, *value)
    before = render(registry)[0]
    with collector.replace() as fresh:
        assert type(fresh) is kind
        assert fresh.get_all() == []
        getattr(fresh, method)({"a": "new"}, *value)
        assert render(registry)[0] == before

    assert [labels for labels, _ in collector.get_all()] == [{"a": "new"}]
    assert render(registry)[0] == before.replace(b'a="old"', b'a="new"')


def test_a_block_that_raises_changes_nothing(gauge: Gauge) -> None:
    """What it has recorded is dropped."""
    before = gauge.get_all()
    with pytest.raises(WrongError):
        replace_and_fail(gauge, lambda fresh: fresh.set({"tenant": "c"}, 9))

    assert gauge.get_all() == before


def test_a_child_of_the_old_set_is_not_exposed(gauge: Gauge) -> None:
    """A child of the new set is."""
    old = gauge.labels({"tenant": "b"})
    with gauge.replace() as fresh:
        new = fresh.labels({"tenant": "b"})
    old.set(7)
    new.set(8)

    assert gauge.get_all() == [({"tenant": "b"}, 8)]
    assert gauge.labels({"tenant": "b"}) is new


def test_what_is_recorded_after_the_block_is_exposed(gauge: Gauge) -> None:
    """By the labels of old series, of new ones, and of others."""
    with gauge.replace() as fresh:
        fresh.set({"tenant": "b"}, 5)
    gauge.inc({"tenant": "b"})
    gauge.inc({"tenant": "a"})

    assert gauge.get_all() == [({"tenant": "b"}, 6), ({"tenant": "a"}, 1)]


def test_constant_labels_and_options_hold_for_the_new_set() -> None:
    """It is a collector like the old one."""
    histogram = Histogram("x", "What.", {"app": "shop"}, buckets=[2], max_series=1)
    with histogram.replace() as fresh:
        fresh.observe({"a": 1}, 1)
        fresh.observe({"a": 2}, 3)
        with pytest.raises(ValueError, match="le"):
            fresh.observe({"le": 1}, 1)
    histogram.observe({"a": 3}, 3)

    assert histogram.get({"a": 1})[2.0] == 1
    assert histogram.get({"otel_metric_overflow": "true"})["count"] == 2
    assert histogram.count_overflows() == 2
    assert {series.values[0] for series in histogram.family().series} == {"1", "shop"}


def test_the_limit_of_a_registry_holds_after_the_block() -> None:
    """The new series count, the old ones do not."""
    registry = CollectorRegistry(max_series=2)
    gauge = Gauge("x", "What.", registry=registry)
    other = Gauge("y", "What.", registry=registry)
    gauge.set({"a": 1}, 1)
    gauge.set({"a": 2}, 1)
    with gauge.replace() as fresh:
        fresh.set({"a": 3}, 1)
    for number in range(2):
        other.inc({"a": number})

    assert [labels for labels, _ in other.get_all()] == [
        {"a": "0"},
        {"otel_metric_overflow": "true"},
    ]


def test_of_concurrent_blocks_the_last_one_to_end_wins(gauge: Gauge) -> None:
    """Completely."""
    with gauge.replace() as outer:
        outer.set({"n": 1}, 1)
        with gauge.replace() as inner:
            inner.set({"n": 2}, 2)
        assert gauge.get_all() == [({"n": "2"}, 2)]

    assert gauge.get_all() == [({"n": "1"}, 1)]


def test_responses_expose_one_set_or_the_other() -> None:
    """Never a part of one, with any number of threads."""
    registry = CollectorRegistry()
    gauge = Gauge("x", "What.", registry=registry)
    ended = threading.Event()

    def refill() -> None:
        for size in range(300):
            with gauge.replace() as fresh:
                for number in range(1 + size % 20):
                    fresh.set({"n": number}, 1 + size % 20)
        ended.set()

    thread = threading.Thread(target=refill, daemon=True)
    thread.start()
    torn = []
    while not ended.is_set() or not gauge.get_all():
        values = [value for _, value in gauge.get_all()]
        if values and values != [len(values)] * len(values):
            torn.append(values)
    thread.join(DEADLINE)

    assert torn == []


@pytest.mark.parametrize(
    "act",
    [
        lambda fresh: fresh.clear(),
        lambda fresh: fresh.remove_matching({"tenant": "f"}),
        lambda fresh: fresh.set_function({"tenant": "f"}, lambda: 99),
    ],
    ids=["clear", "remove_matching", "set_function"],
)
def test_a_block_that_raises_does_not_change_callbacks(act: Callable[[Gauge], object]) -> None:
    """Those of the collector are called as before, and no others."""
    registry = CollectorRegistry()
    gauge = Gauge("x", "What.", registry=registry)
    gauge.set_function({"tenant": "f"}, lambda: 1)
    registry.gather()
    with pytest.raises(WrongError):
        replace_and_fail(gauge, act)
    gauge.set({"tenant": "f"}, 0)
    registry.gather()

    assert gauge.get_all() == [({"tenant": "f"}, 1)]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"tenant": "a"}, [2, 3]),
        ({"tenant": "a", "path": "/"}, [2, 3]),
        ({"tenant": "a", "path": "/other"}, [1, 2, 3]),
        ({"tenant": ""}, [1, 2]),
        ({"tenant": "", "app": "shop"}, [1, 2]),
        ({"path": None}, [1, 2, 3]),
        ({"app": "shop"}, []),
        ({"app": "other"}, [1, 2, 3]),
        ({}, []),
    ],
)
def test_series_with_a_label_are_removed(
    gauge: Gauge, wanted: dict[str, object], left: list[int]
) -> None:
    """All labels must match; an empty value matches an absent label, and constant labels count."""
    assert gauge.remove_matching(wanted) == 3 - len(left)

    assert sorted(value for _, value in gauge.get_all()) == left


def test_values_match_as_strings() -> None:
    """As they are exposed."""
    counter = Counter("x_total", "What.")
    counter.inc({"code": "404"})

    assert counter.remove_matching({"code": 404}) == 1
    assert counter.remove_matching({"code": 404}) == 0


@pytest.mark.parametrize("bad", ["tenant", 5, None, ["tenant"]])
def test_what_is_no_mapping_removes_nothing(gauge: Gauge, bad: Any) -> None:
    """It is refused."""
    with pytest.raises(TypeError, match="labels must be a dict"):
        gauge.remove_matching(bad)

    assert len(gauge.get_all()) == 3


@pytest.mark.parametrize(("kind", "given", "method", "value"), KINDS)
def test_series_of_every_kind_match(kind: Any, given: Any, method: str, value: Any) -> None:
    """A removed label set starts from 0."""
    collector = kind("x", "What.", *given)
    getattr(collector, method)({"a": "1"}, *value)
    getattr(collector, method)({"a": "2"}, *value)

    assert collector.remove_matching({"a": "1"}) == 1
    assert [labels for labels, _ in collector.get_all()] == [{"a": "2"}]
