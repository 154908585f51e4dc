"""What a collector exposes is neither copied nor pickled: a copy would count in vain, and nobody would know."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from otel_aioprom.collectors import Counter, Enum, Gauge, Histogram, Info, StateSet, Summary
from otel_aioprom.collectors.series.number import number_of
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

EVERY = {
    "counter": lambda: Counter("seen_total", "S."),
    "gauge": lambda: Gauge("seen_total", "S.", const_labels={"c": "1"}),
    "histogram": lambda: Histogram("seen_total", "S."),
    "native histogram": lambda: Histogram("seen_total", "S.", native_bucket_factor=1.1),
    "summary": lambda: Summary("seen_total", "S."),
    "info": lambda: Info("seen_total", "S."),
    "stateset": lambda: StateSet("seen_total", "S.", states=["a"]),
    "enum": lambda: Enum("seen_total", "S.", states=["a"]),
    "limited": lambda: Counter("seen_total", "S.", max_series=5),
    "expiring": lambda: Counter("seen_total", "S.", expire_after=60),
}
COPIES = [copy.copy, copy.deepcopy, pickle.dumps]


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("duplicate", COPIES)
def test_bound_children_and_collectors_refuse(
    make: Callable[[], Any], duplicate: Callable[[Any], object]
) -> None:
    """The error names the metric and says what to do."""
    collector = make()
    for each in (collector.labels({"path": "/"}), collector):
        with pytest.raises(TypeError, match=r"seen_total.* create one in each process"):
            duplicate(each)


@pytest.mark.parametrize("duplicate", COPIES)
def test_registries_refuse(duplicate: Callable[[Any], object]) -> None:
    """Likewise."""
    with pytest.raises(TypeError, match="a CollectorRegistry cannot be copied or pickled"):
        duplicate(CollectorRegistry())


def test_a_child_sent_to_another_process_is_refused_at_once() -> None:
    """Where it is sent, not where it is lost."""
    counter = Counter("seen_total", "S.")
    context = multiprocessing.get_context("spawn")
    with pytest.raises(TypeError, match=r'seen_total\{path="/"\}'):
        context.Process(target=counter.labels({"path": "/"}).inc).start()


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_what_the_library_copies_itself(make: Callable[[], Any]) -> None:
    """Series under other labels, and a collector that replaces its series."""
    collector = make()
    child = collector.labels({"path": "/"})
    other = child.renamed(("p",), ("/",), '{p="/"} ')
    with collector.replace() as new:
        new.labels({"path": "/new"})

    assert other is not child
    assert (other.names, child.names[-1]) == (("p",), "path")
    assert len(collector.get_all()) == 1


@pytest.mark.parametrize("duplicate", [copy.copy, lambda each: pickle.loads(pickle.dumps(each))])  # noqa: S301
def test_series_that_no_collector_exposes(duplicate: Callable[[Any], Any]) -> None:
    """Such as those of a source, which may come from another process."""
    series = number_of([("a", "1")], 7)
    same = duplicate(series)
    counter = Counter("seen_total", "S.")
    removed = counter.labels({"a": "1"})
    counter.remove({"a": "1"})

    assert (same is not series, same.pairs, same.value) == (True, series.pairs, 7)
    assert duplicate(removed).value == 0


class Portable(Counter):
    """A collector of a user's class that knows how to be pickled."""

    def __reduce__(self) -> Any:
        return Portable, (self.name, self.doc)


class Stateful(Counter):
    """One that says what is pickled of it, and keeps it in a slot."""

    __slots__ = ("note",)

    def __getstate__(self) -> Any:
        return {"name": self.name}


def test_a_class_that_knows_how() -> None:
    """Is left alone."""
    registry = CollectorRegistry()
    counter = Portable("seen_total", "S.", registry=registry)
    counter.inc({})

    assert copy.copy(counter).get_all() == []
    assert b"seen_total 1\n" in render(registry)[0]


@pytest.mark.parametrize("cls", [Portable, Stateful])
def test_its_series_can_be_replaced(cls: type[Counter]) -> None:
    """By a copy of the library's own, with all attributes."""
    counter = cls("seen_total", "S.")
    counter.note = "n"  # type: ignore[attr-defined]
    with counter.replace() as new:
        new.inc({"path": "/new"})

        assert new.note == "n"  # type: ignore[attr-defined]
    assert counter.get({"path": "/new"}) == 1
