"""What a registry does on the event loop: it starts no thread there, waits for no merge, and asks few collectors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from awaited_sources import Awaited, one
from clocks import ManualClock
from oracles import DEADLINE, FakeSource, family, names_of
from otel_aioprom._concurrency import single_flight
from otel_aioprom._concurrency.daemon_threads import DaemonThreads
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.collectors.series import expiry
from otel_aioprom.registry import CollectorRegistry, Fault
from otel_aioprom.registry import registry as registry_module
from otel_aioprom.renderer import async_render

AFTER = 10.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock of series that expire."""
    made = ManualClock(1000.0)
    monkeypatch.setattr(expiry, "monotonic", lambda: made.now)
    return made


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that threads are started for."""
    names: list[str] = []
    threads = DaemonThreads()

    def start(function: Callable[[], object], name: str) -> None:
        names.append(name)
        threads.start(function, name)

    monkeypatch.setattr(single_flight, "start_daemon", start)
    return names


async def test_no_thread_is_started_and_waited_for_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither for expiry, callbacks, sources and user classes, nor for assembling and encoding."""
    starters: set[int] = set()
    start = threading.Thread.start

    def noting(self: threading.Thread) -> None:
        starters.add(threading.get_ident())
        start(self)

    class Custom(Gauge):
        def get_all(self) -> list[Any]:
            return [({}, 1)]

    threads = DaemonThreads()  # without idle threads
    for module in ("single_flight", "thread_pool"):
        monkeypatch.setattr(f"otel_aioprom._concurrency.{module}.start_daemon", threads.start)
    registry = CollectorRegistry()
    for place in range(120):
        Gauge(f"g{place}", "What.", expire_after=AFTER, registry=registry).set({}, 1)
    for place in range(5):
        Gauge(f"called{place}", "What.", registry=registry).set_function({}, lambda: 1)
        registry.register(Custom(f"custom{place}", "What."))
        registry.add_source(FakeSource(family(f"source{place}"), name=f"source{place}"))
    registry.add_source(Awaited(one))
    monkeypatch.setattr(threading.Thread, "start", noting)
    body, _ = await async_render(registry, timeout=DEADLINE)

    assert body.count(b"# TYPE") == 120 + 3 * 5 + 1
    assert starters
    assert threading.get_ident() not in starters


async def test_all_sweeps_are_one_job(
    registry: CollectorRegistry, clock: ManualClock, started: list[str]
) -> None:
    """However many collectors expire series; a thread for each would hold the loop until it runs."""
    collectors = [
        Counter(f"c{place}_total", "What.", expire_after=AFTER, registry=registry)
        for place in range(20)
    ]
    for collector in collectors:
        collector.inc()
    exposed = []
    for _ in range(3):
        exposed.append(len(names_of(await registry.async_gather(DEADLINE))))
        clock.now += AFTER

    assert exposed == [20, 0, 0]
    assert set(started) == {"collect expiry"}  # once a collection, or less if its thread still runs
    assert len(started) <= 3


def test_sweeps_run_in_every_kind_of_collection(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """Blocking, with a deadline or without one."""
    for gather in (registry.gather, lambda: registry.gather(DEADLINE)):
        Counter("c_total", "What.", expire_after=AFTER, registry=registry).inc()
        gather()
        clock.now += AFTER

        assert names_of(gather()) == []
        registry.deregister("c_total")


def test_a_class_that_cannot_expire_its_series_fails_alone(
    clock: ManualClock, registry: CollectorRegistry
) -> None:
    """Those of the others expire."""

    class Failing(Gauge):
        def expire_idle(self) -> None:
            raise ValueError("not today")

    for name, cls in (("failing", Failing), ("idle", Gauge)):
        cls(name, "What.", expire_after=AFTER, registry=registry).set({}, 1)
    registry.gather()
    clock.now += AFTER + 1
    registry.gather()

    assert [each.name for each in registry.get_all() if each.get_all()] == ["failing"]
    failures = registry.endpoint.failures.get({"source": "failing", "cause": "raised"})
    assert failures == 2


def test_series_of_a_users_class_expire_before_it_is_called(
    registry: CollectorRegistry, clock: ManualClock
) -> None:
    """What it returns is what remains."""

    class Custom(Gauge):
        def get_all(self) -> list[Any]:
            return super().get_all()

    Custom("x", "What.", expire_after=AFTER, registry=registry).set({}, 1)
    registry.gather(DEADLINE)
    clock.now += AFTER

    assert names_of(registry.gather(DEADLINE)) == []


def test_collectors_without_callbacks_are_not_asked_for_them(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be tens of thousands."""
    asked: list[str] = []
    hooks = Gauge.pre_collect_hooks

    def noting(self: Gauge) -> Any:
        asked.append(self.name)
        return hooks(self)

    monkeypatch.setattr(Gauge, "pre_collect_hooks", noting)
    for place in range(100):
        Gauge(f"g{place}", "What.", registry=registry).set({}, 1)
    called = Gauge("called", "What.", registry=registry)
    registry.gather()
    assert asked == []
    called.set_function({}, lambda: 1)
    registry.gather()

    assert asked == ["called"]


def test_callbacks_of_a_replaced_set_are_called(registry: CollectorRegistry) -> None:
    """Also if the collector had none before."""
    gauge = Gauge("x", "What.", registry=registry)
    with gauge.replace() as fresh:
        fresh.set_function({}, lambda: 5)
    registry.gather()

    assert gauge.get() == 5


# --- merges ----------------------------------------------------------------------------------


class Merge:
    """A merge of sources that is held."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()


@pytest.fixture
def merge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Merge]:
    """The next merge, in whatever registry, is held until the test releases it."""
    made, merge_sources = Merge(), registry_module.merge_sources

    def held(*given: Any) -> Any:
        if not made.begun.is_set():
            made.begun.set()
            made.go.wait(DEADLINE)
        return merge_sources(*given)

    monkeypatch.setattr(registry_module, "merge_sources", held)
    yield made
    made.go.set()


def in_time(work: Callable[[], object]) -> bool:
    """Return whether a function returns while a merge is held."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(DEADLINE / 4)
    return not thread.is_alive()


def test_nothing_waits_for_a_merge_to_be_registered_or_removed(
    registry: CollectorRegistry, merge: Merge
) -> None:
    """A merge of many families takes hundreds of milliseconds, and an event loop may be registering."""
    source, other = FakeSource(family("x"), name="one"), FakeSource(family("y"), name="other")
    registry.add_source(source)
    Gauge("g", "What.", registry=registry)
    gatherings: list[Any] = []
    scrape = threading.Thread(target=lambda: gatherings.append(registry.gather(DEADLINE)))
    scrape.start()
    assert merge.begun.wait(DEADLINE)

    def change() -> None:
        Gauge("late", "What.", registry=registry).set({}, 1)
        registry.deregister("g")
        registry.add_source(other)
        registry.remove_source(source)
        assert [each.name for each in registry.get_all()] == ["late"]

    assert in_time(change)
    merge.go.set()
    scrape.join(DEADLINE)

    assert names_of(registry.gather()) == ["late", "y"]


def test_a_source_that_is_removed_during_a_merge_owns_no_name_after_it(
    registry: CollectorRegistry, merge: Merge
) -> None:
    """The merge grants it names; they are free when it is done."""
    source = FakeSource(family("x", kind="gauge"), name="one")
    registry.add_source(source)
    scrape = threading.Thread(target=registry.gather, args=(DEADLINE,))
    scrape.start()
    assert merge.begun.wait(DEADLINE)
    registry.remove_source(source)
    merge.go.set()
    scrape.join(DEADLINE)
    with pytest.raises(KeyError):
        registry.get("x")
    registry.add_source(FakeSource(family("x", kind="untyped"), name="other"))

    assert [each.type for each in registry.gather().families] == ["untyped"]


async def test_a_small_collection_does_not_wait_for_a_merge_on_the_loop(
    registry: CollectorRegistry, merge: Merge
) -> None:
    """Another thread waits, and the loop goes on."""
    registry.add_source(FakeSource(family("x"), name="one"))
    scrape = threading.Thread(target=registry.gather, args=(DEADLINE,))
    scrape.start()
    assert await asyncio.to_thread(merge.begun.wait, DEADLINE)
    second = asyncio.create_task(registry.async_gather(DEADLINE))
    await asyncio.wait([second], timeout=0.05)  # while the loop runs
    assert not second.done()
    merge.go.set()

    assert names_of(await second) == ["x"]
    scrape.join(DEADLINE)


def test_a_deregistered_name_is_free_and_those_of_others_are_not(
    registry: CollectorRegistry,
) -> None:
    """Sample names included."""
    Counter("x_total", "What.", registry=registry)
    Gauge("y", "What.", registry=registry)
    registry.deregister("x_total")
    Gauge("x_total", "What.", registry=registry)
    with pytest.raises(ValueError, match="'y'"):
        Gauge("y", "What.", registry=registry)


async def test_many_faults_are_counted_and_logged_in_a_thread(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when each of an OpenTelemetry metric's many series is at fault; few are reported on the loop."""
    reporting: list[bool] = []
    report = registry.report

    def noting(faults: Iterable[Fault]) -> None:
        every = list(faults)
        if every:
            reporting.append(threading.current_thread() is threading.main_thread())
        report(every)

    fault = Fault("label_conflict", "the label a", "Two attributes.", lost=False)
    source = FakeSource(family("x"), fault)
    registry.add_source(source)
    monkeypatch.setattr(registry, "report", noting)
    await registry.async_gather(DEADLINE)
    source.items = (family("x"), *[fault] * 1000)
    await registry.async_gather(DEADLINE)

    assert reporting == [True, False]
    assert registry.endpoint.label_conflicts.get() == 1001
