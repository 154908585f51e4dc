"""Signal handlers and finalizers record on collectors of every kind: no deadlock, no lost update."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import pytest

from interruptions import (
    DEADLINE,
    alarms,
    garbage_collections,
    meanwhile,
    needs_alarms,
    switching,
    together,
)
from otel_aioprom._concurrency.atomic import has_gil
from otel_aioprom.collectors import Collector, Gauge, Histogram, Info, StateSet, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

HANDLED = 200
ROUNDS = 200
THREADS = 3
HELD = {"a": "held"}


class Kind(NamedTuple):
    """A kind of collector.

    Attributes:
        make: Creates one.
        record: Records on a child; counts as one.
        count: Returns the number of recordings from what ``get`` returns.
    """

    make: Callable[[CollectorRegistry], Collector[Any]]
    record: Callable[[Any, int], object]
    count: Callable[[Any], float]


def up_and_down(child: Any, _number: int) -> None:
    """Add one in the end."""
    child.add(2.5)
    child.inc()
    child.dec()
    child.sub(1.5)


def observe(child: Any, number: int) -> None:
    """Observe values that need many native buckets."""
    child.observe(2.0 ** (number % 40))


def count_of(found: Any) -> float:
    """Return the number of observations."""
    number: float = found["count"]
    return number


KINDS = {
    "gauge": Kind(lambda registry: Gauge("x", "What.", registry=registry), up_and_down, float),
    "classic": Kind(
        lambda registry: Histogram("x", "What.", buckets=[1, 2**20], registry=registry),
        observe,
        count_of,
    ),
    "native": Kind(
        lambda registry: Histogram(
            "x",
            "What.",
            buckets=None,
            native_bucket_factor=1.1,
            native_max_buckets=20,  # so that the resolution changes repeatedly
            native_min_reset_duration=0,
            registry=registry,
        ),
        observe,
        count_of,
    ),
    "summary": Kind(lambda registry: Summary("x", "What.", registry=registry), observe, count_of),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


class Recorder:
    """Records on existing series of one collector, and creates others.

    Args:
        kind: The kind of collector.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.registry = CollectorRegistry()
        self.collector = kind.make(self.registry)
        self._held = self.collector.labels(HELD)
        self._numbers = count()
        self.calls: list[str] = []

    def __call__(self, by: str) -> None:
        """Record, bound and by labels, and on a series that may be new, or in creation by the interrupted code."""
        number = next(self._numbers)
        self.calls.append(by)
        self._kind.record(self._held, number)
        self._kind.record(self.collector.labels(HELD), number)
        self._kind.record(self.collector.labels({"n": number // 3}), number)

    def check(self) -> None:
        """Check that all recordings are counted and exposed."""
        found = self.collector.get_all()
        amounts = {tuple(labels.items()): self._kind.count(value) for labels, value in found}
        held = amounts.pop(tuple(HELD.items()))

        assert held == 2 * len(self.calls)
        assert sum(amounts.values()) == len(self.calls)
        for one in self.collector.family().series:
            if isinstance(self.collector, Histogram) and (read := getattr(one, "read", None)):
                (*counts, _), native = read()
                assert native is None or native.observations == sum(counts)
        assert b'x{a="held"' in render(self.registry)[0].replace(b"_count{", b"{")


@pytest.mark.no_cover
@needs_alarms
@every_kind
def test_signal_handlers_record(kind: Kind) -> None:
    """During measurements, the creation of series, and responses."""
    if kind is KINDS["summary"] and not has_gil():
        pytest.skip("series have locks of their own")
    record = Recorder(kind)
    with alarms(lambda: record("handler")) as seen:
        end = time.monotonic() + DEADLINE
        for step in count():
            record("main")
            if step % 500 == 0:
                render(record.registry)
            if len(seen) >= HANDLED or time.monotonic() > end:
                break

    assert record.calls.count("handler") == len(seen) >= HANDLED
    record.check()


@contextmanager
def finalizers(record: Callable[[str], object]) -> Iterator[Callable[[], object]]:
    """Collect garbage repeatedly, which records; yield a function that creates garbage whose finalizer records."""

    class Dying:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            record("finalizer")

    def collected(_phase: str, _info: dict[str, int]) -> None:
        record("collection")

    with garbage_collections(collected):
        yield Dying
    gc.collect()


@pytest.mark.no_cover
@every_kind
def test_finalizers_record(kind: Kind) -> None:
    """And callbacks of the garbage collector, in all threads, while responses are rendered."""
    record = Recorder(kind)
    with finalizers(record) as die:

        def work() -> None:
            for _ in range(ROUNDS):
                die()
                record("main")

        with switching(1e-4), meanwhile(lambda: render(record.registry)):
            together(*[work] * THREADS)

    assert record.calls.count("main") == record.calls.count("finalizer") == THREADS * ROUNDS
    assert "collection" in record.calls
    record.check()


# --- info labels and states ------------------------------------------------------------------


class Setter:
    """Sets info labels and states; each caller has label sets and states of its own.

    Attributes:
        last: What was set last, by caller and number.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._states = [f"{by}{n}" for by in ("main", "handler", "finalizer") for n in range(4)]
        self._info = Info("facts", "What.", registry=self.registry)
        self._set = StateSet("states", "What.", self._states, registry=self.registry)
        self._shared = self._set.labels()
        self._numbers = count()
        self.last: dict[tuple[str, int], int] = {}

    def __call__(self, by: str) -> None:
        """Set info labels and states."""
        number = next(self._numbers)
        which = number % 4
        self._info.set({"by": by, "which": which}, {"number": number})
        self._shared.set(f"{by}{which}", bool(number & 4))
        self._set.set({"by": by, "which": which}, f"{by}{which}", bool(number & 4))
        self.last[by, which] = number

    def wrong(self) -> list[tuple[str, int]]:
        """Callers whose last values are not stored."""
        shared = self._shared.get()
        found = []
        for (by, which), number in self.last.copy().items():
            labels, state, on = {"by": by, "which": which}, f"{by}{which}", bool(number & 4)
            states = dict.fromkeys(self._states, False) | {state: on}
            said = (self._info.get(labels), shared[state], self._set.get(labels))
            if said != ({"number": str(number)}, on, states):
                found.append((by, which))
        return found

    def check_exposed(self) -> None:
        """Check that a response has the same values."""
        lines = render(self.registry)[0].decode().splitlines()
        facts = [line for line in lines if line.startswith("facts_info{")]
        states = [line for line in lines if line.startswith("states{")]

        assert len(facts) == len(self.last)
        assert len(states) == len(self._states) * (1 + len(self.last))
        on = sum(bool(number & 4) for number in self.last.values())
        assert sum(line.endswith(" 1") for line in states) == 2 * on


@pytest.mark.no_cover
@needs_alarms
def test_signal_handlers_set_info_labels_and_states() -> None:
    """Their values are stored, whatever they have interrupted."""
    say = Setter()
    with alarms(lambda: say("handler")) as seen:
        end = time.monotonic() + DEADLINE
        for step in count():
            say("main")
            before, wrong = len(seen), say.wrong()
            assert wrong == [] or len(seen) > before  # else a handler set other values meanwhile
            if step % 50 == 0:
                render(say.registry)
            if len(seen) >= HANDLED or time.monotonic() > end:
                break

    assert len(seen) >= HANDLED
    assert say.wrong() == []
    say.check_exposed()


@pytest.mark.no_cover
def test_finalizers_set_info_labels_and_states() -> None:
    """Their values are stored, whatever they have interrupted."""
    say = Setter()
    with finalizers(lambda _: say("finalizer")) as die:
        for _ in range(3 * ROUNDS):
            die()
            say("main")

    assert {by for by, _ in say.last} == {"main", "finalizer"}
    assert say.wrong() == []
    say.check_exposed()


# --- the alarms of the tests -----------------------------------------------------------------


@pytest.mark.no_cover
@needs_alarms
def test_no_alarm_interrupts_a_handler() -> None:
    """However slow it is; and none comes after the block."""
    pause = 0.0005
    inside: list[int] = []
    depths: list[int] = []

    def slow() -> None:
        inside.append(1)
        depths.append(len(inside))
        end = time.monotonic() + 4 * pause
        while time.monotonic() < end:
            pass
        inside.pop()

    with alarms(slow, pause) as seen:
        end = time.monotonic() + DEADLINE
        while len(seen) < 20 and time.monotonic() < end:
            pass
    handled = len(seen)
    end = time.monotonic() + 10 * pause
    while time.monotonic() < end:
        pass

    assert depths == [1] * handled
    assert len(seen) == handled >= 20
