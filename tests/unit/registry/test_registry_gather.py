"""The registry asks its sources: those that raise, that are late, and requests that share an answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Iterator

import pytest

from oracles import (
    DEADLINE,
    OWN,
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
from otel_aioprom.errors import GatherError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.renderer import async_render, render


@pytest.fixture
def held(registry: CollectorRegistry) -> Iterator[HeldSource]:
    """A source of the registry, let go at the end."""
    source = HeldSource(family("held"))
    registry.add_source(source)
    yield source
    source.go.release(100)


async def test_nothing_is_waited_for_where_nobody_is_asked(registry: CollectorRegistry) -> None:
    """A registry without sources answers at once."""
    Gauge("g", "", registry=registry).set({}, 1)

    assert names_of(await registry.async_gather(DEADLINE)) == ["g"]


@pytest.mark.parametrize("error", [ValueError("no"), RecursionError(), StopIteration()])
async def test_a_source_that_raises_costs_itself(
    registry: CollectorRegistry, error: Exception
) -> None:
    """Whatever it raises, in both ways to collect."""
    registry.add_source(FakeSource(error, name="bad"))
    registry.add_source(FakeSource(family("x")))
    waited, own_thread = await registry.async_gather(DEADLINE), registry.gather()

    assert names_of(waited) == names_of(own_thread) == ["x"]
    assert dropped(own_thread) == {"raised": 2}


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()])
async def test_a_source_in_its_thread_stops_nobody(
    registry: CollectorRegistry, error: BaseException
) -> None:
    """Neither the request nor the loop ends because a callback wants an end."""
    registry.add_source(FakeSource(error, name="bad"))
    registry.add_source(FakeSource(family("x")))
    gathering = await registry.async_gather(DEADLINE)

    assert names_of(gathering) == ["x"]
    assert dropped(gathering) == {"raised": 1}


async def test_a_late_source_is_left_out(registry: CollectorRegistry, held: HeldSource) -> None:
    """The others are served; it is in the next response if it answers by then."""
    registry.add_source(FakeSource(family("quick")))
    late = await registry.async_gather(0.5)
    assert names_of(late) == ["quick"]
    assert dropped(late) == {"late": 1}
    held.go.release(2)
    in_time = await registry.async_gather(DEADLINE)

    assert sorted(names_of(in_time)) == ["held", "quick"]
    assert dropped(in_time) == {"late": 1}
    (failures,) = [each for each in in_time.families if each.name == f"{OWN}source_failures_total"]
    assert failures.series[0].pairs == (("cause", "late"), ("source", "held"))


async def test_a_source_that_hangs_is_asked_once(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """However many ask while it hangs; each of them is served without it."""
    gatherings = [await registry.async_gather(0.01) for _ in range(5)]

    assert [[fault.cause for fault in each.faults] for each in gatherings] == [["late"]] * 5
    assert dropped(gatherings[-1]) == {"late": 5}
    assert held.runs == 1


async def test_requests_at_the_same_time_share_a_collection(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """Ten that come while one is under way cost one more."""
    first = asyncio.create_task(registry.async_gather(DEADLINE))
    await held.wait_begun()
    later = [asyncio.create_task(registry.async_gather(DEADLINE)) for _ in range(10)]
    await asyncio.sleep(0)
    held.go.release(2)
    gatherings = await asyncio.gather(first, *later)

    assert [names_of(each) for each in gatherings] == [["held"]] * 11
    assert held.runs == 2


async def test_a_request_that_is_cancelled_takes_nobody_along(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """Those who share its collection get theirs."""
    tasks = [asyncio.create_task(registry.async_gather(DEADLINE)) for _ in range(2)]
    await held.wait_begun()
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    held.go.release(2)

    assert names_of(await tasks[1]) == ["held"]


def test_an_answer_after_the_loop_has_closed_harms_nobody(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """It came too late, and nobody hears of it."""
    straggler = HeldSource(family("x"), name="straggler")
    registry.add_source(straggler)
    asyncio.run(async_render(registry, timeout=0.01))
    (thread,) = [each for each in threading.enumerate() if each.name == "collect straggler"]
    caplog.clear()
    straggler.go.release()
    thread.join(DEADLINE)

    assert not thread.is_alive()
    assert caplog.records == []


def test_a_source_that_renders_its_own_registry_gets_an_end(registry: CollectorRegistry) -> None:
    """Neither a deadlock nor a crash."""

    class Selfish:
        name = "selfish"

        def collect(self) -> Iterable[MetricFamily | Fault]:
            render(registry)
            return [family("x")]

    registry.add_source(Selfish())
    Gauge("g", "", registry=registry).set({}, 1)
    body, _ = render(registry)

    assert b"g 1\n" in body
    assert b'cause="raised"' in body


def test_sources_that_render_their_own_registry_end_soon(registry: CollectorRegistry) -> None:
    """Two of them do not multiply; asked from within itself, a source is refused at once."""
    asked: list[str] = []

    class Selfish:
        def __init__(self, name: str) -> None:
            self.name = name

        def collect(self) -> Iterable[MetricFamily | Fault]:
            asked.append(self.name)
            if len(asked) < 1000:  # or this test would not end
                render(registry)
            return [family(self.name)]

    registry.add_source(Selfish("a"))
    registry.add_source(Selfish("b"))
    body, _ = render(registry)

    assert len(asked) < 20
    assert b'cause="raised"' in body


async def test_fail_says_all_that_is_missing(registry: CollectorRegistry, held: HeldSource) -> None:
    """Late sources, those that raise, and conflicts."""
    registry.add_source(FakeSource(ValueError("no"), name="bad"))
    registry.add_source(FakeSource(family("x"), counter_family("x")))
    with pytest.raises(GatherError) as caught:
        await async_render(registry, on_error="fail", timeout=1)

    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["held", "bad", "x"]


def test_losses_are_counted_by_cause_and_logged_once(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """In the response that lacks them already."""
    registry.add_source(FakeSource(ValueError("no"), name="bad"))
    registry.add_source(FakeSource(family("x"), counter_family("x"), family("g", doc="1")))
    registry.add_source(FakeSource(family("g", number(1, {"a": "1"}), doc="2")))
    registry.add_source(FakeSource(family("i", kind="info"), family("h")))
    registry.add_source(FakeSource(family("i", number(1, {"a": "1"}), kind="info")))
    Counter("h", "", registry=registry)

    causes = {"raised", "type_conflict", "resource_conflict", "name_conflict"}
    assert dropped(registry.gather()) == dict.fromkeys(causes, 1)
    assert dropped(registry.gather()) == dict.fromkeys(causes, 2)
    levels = [record.levelno for record in caplog.records]
    assert levels.count(logging.ERROR) == 4
    assert levels.count(logging.WARNING) == 1


async def test_collections_from_many_tasks_agree(registry: CollectorRegistry) -> None:
    """Whoever asks gets a whole response."""
    registry.add_source(FakeSource(*[family(f"x{number_}") for number_ in range(50)]))
    gatherings = await asyncio.gather(*[registry.async_gather(DEADLINE) for _ in range(20)])

    assert {len(names_of(each)) for each in gatherings} == {50}
