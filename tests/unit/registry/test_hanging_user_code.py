"""User code that hangs costs itself: its metrics, and one thread; never other scrapes, registries or the exit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from awaited_sources import Awaited
from oracles import DEADLINE, answer_to, dropped, names_of, number, until
from otel_aioprom._concurrency.thread_pool import ThreadPool, own_threads
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render

SOON = 0.5
SCRAPES = 8  # more than the library has threads of its own


class Hang:
    """What user code calls, and what never returns during the test."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: set[threading.Thread] = set()

    def __call__(self) -> None:
        """Hang."""
        self.threads.add(threading.current_thread())
        self.go.wait(DEADLINE * 3)


@pytest.fixture
def hang() -> Iterator[Hang]:
    """A call that hangs until the end of the test."""
    made = Hang()
    yield made
    made.go.set()


def collector_that_hangs(method: str, hang: Hang) -> Gauge:
    """A collector of a user's class; one of its methods hangs."""

    def user_code(self: Gauge, *given: Any) -> Any:
        hang()
        return getattr(super(cls, self), method)(*given)

    cls: Any = type("Hanging", (Gauge,), {method: user_code})
    made: Gauge = cls("hanging", "What.")
    return made


METHODS = ["get_all", "family", "family_of"]


def filled(many: bool) -> CollectorRegistry:
    """A registry that is assembled and encoded in a thread, or on the event loop."""
    registry = CollectorRegistry()
    for place in range(150 if many else 1):
        Gauge(f"g{place}", "What.", registry=registry).set({}, 1)
    return registry


async def check(registry: CollectorRegistry, hang: Hang) -> None:
    """Scrape until all threads would hang, and check that all other metrics are exposed each time."""
    for count in range(1, SCRAPES + 1):
        gathering = await registry.async_gather(SOON)
        assert "g0" in names_of(gathering)
        assert "hanging" not in names_of(gathering)
        assert dropped(gathering) == {"late": count}
    assert len(hang.threads) == 1
    other = filled(many=True)
    assert b"g149 1" in (await async_render(other, timeout=DEADLINE))[0]
    assert (await answer_to(other)).status == 200


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_a_collector_of_an_asynchronous_source_hangs_alone(
    method: str, many: bool, hang: Hang
) -> None:
    """What it returns is read in a thread of its own: one, however often it is scraped."""
    registry = filled(many)

    async def answer() -> list[Any]:
        return [collector_that_hangs(method, hang)]

    registry.add_source(Awaited(answer, timeout=SOON))
    await check(registry, hang)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_a_registered_collector_of_a_users_class_hangs_alone(
    method: str, many: bool, hang: Hang
) -> None:
    """Whatever method of a collection it overrides: neither on the event loop, nor in a thread of the library."""
    registry = filled(many)
    registry.register(collector_that_hangs(method, hang))
    gauge: Any = registry.get("hanging")
    gauge.set({}, 1)
    await check(registry, hang)

    assert threading.current_thread() not in hang.threads


@pytest.mark.parametrize("method", METHODS)
def test_what_a_users_class_overrides_is_exposed(method: str) -> None:
    """Once it returns."""
    hang = Hang()
    hang.go.set()
    registry = CollectorRegistry()
    collector = collector_that_hangs(method, hang)
    registry.register(collector)
    collector.set({"a": 1}, 2)
    (family,) = [each for each in registry.gather().families if each.name == "hanging"]

    assert [(each.names, each.get()) for each in family.series] == [(("a",), 2)]  # type: ignore[attr-defined]


def test_user_code_makes_the_series_of_its_collector() -> None:
    """A class that overrides ``_make`` is one of those whose families are checked, in a thread."""

    class Odd(Gauge):
        def _make(self, *_given: Any) -> Any:
            return number(1, {"\ud800": "x"})

    registry = CollectorRegistry()
    Odd("odd", "What.", registry=registry).set({}, 1)
    gathering = registry.gather()

    assert names_of(gathering) == []
    assert dropped(gathering) == {"untranslatable": 1}


def test_user_code_that_counts_overflows_is_not_called() -> None:
    """It would be called by the library's own threads."""

    class Counting(Counter):
        def count_overflows(self) -> int:
            raise AssertionError("called")

    registry = CollectorRegistry()
    counter = Counting("x_total", "What.", max_series=1, registry=registry)
    counter.inc({"a": 1})
    counter.inc({"a": 2})
    registry.gather()

    assert registry.endpoint.overflows.get({"metric": "x_total"}) == 1


# --- the library's own threads ------------------------------------------------------------------


@pytest.fixture
def busy_pool(hang: Hang) -> Iterator[None]:
    """All threads of the library hang, as a finalizer in them may."""

    async def occupy() -> None:
        for _ in range(own_threads._threads):
            asyncio.create_task(own_threads.call(hang))  # noqa: RUF006 - cancelled with the loop
        await until(lambda: len(hang.threads) == own_threads._threads)

    asyncio.run(occupy())
    yield
    own_threads.after_fork()


@pytest.mark.usefixtures("busy_pool")
def test_a_scrape_does_not_wait_for_ever_for_the_librarys_threads() -> None:
    """It waits as long as the endpoint's timeout, and is answered with 503; that is logged and counted."""
    registry = filled(many=True)
    answer = asyncio.run(answer_to(registry, timeout=SOON))

    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert f"busy for more than {SOON} s" in answer.body.decode()
    assert dropped(registry.gather()) == {"late": 1}


@pytest.mark.usefixtures("busy_pool")
def test_no_other_part_of_the_library_waits_for_them() -> None:
    """Files and credentials, for example, have threads of their own, and so has each pool."""
    assert asyncio.run(ThreadPool(1, "other").call_within(DEADLINE, lambda: 1)) == 1


PROGRAM = """
import asyncio, threading
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry

class Hanging(Gauge):
    def get_all(self):
        threading.Event().wait()

class Source:
    name = "source"
    timeout = 0.1
    async def collect(self):
        return [Hanging("x", "What.")]

registry = CollectorRegistry()
registry.add_source(Source())
asyncio.run(registry.async_gather(0.2))
print("ends")
"""


def test_a_process_whose_user_code_hangs_can_end() -> None:
    """Its threads are daemons."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr.count("Traceback")) == (0, "ends\n", 0)


def test_a_family_that_is_none_is_dropped_alone(registry: CollectorRegistry) -> None:
    """The log says what it is."""

    class Wrong(Gauge):
        def family(self) -> MetricFamily:
            return 5  # type: ignore[return-value]

    registry.register(Wrong("x", "What."))
    Gauge("good", "What.", registry=registry).set({}, 1)
    gathering = registry.gather()

    assert names_of(gathering) == ["good"]
    assert "not 5" in gathering.faults[0].message
