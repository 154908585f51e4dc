"""The registry collects its sources: those that raise or are late, and requests that share a result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

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
    wait_until_no_thread_is,
)
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.errors import GatherError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.renderer import async_render, render


async def test_a_registry_without_sources_waits_for_nothing(registry: CollectorRegistry) -> None:
    """Its collectors are exposed."""
    Gauge("g", "", registry=registry).set({}, 1)

    assert names_of(await registry.async_gather(DEADLINE)) == ["g"]


@pytest.mark.parametrize("error", [ValueError("no"), RecursionError(), StopIteration()])
async def test_a_source_that_raises_is_dropped_alone(
    registry: CollectorRegistry, error: Exception
) -> None:
    """Whatever it raises, with ``gather`` and ``async_gather``."""
    registry.add_source(FakeSource(error, name="bad"))
    registry.add_source(FakeSource(family("x")))
    waited, own_thread = await registry.async_gather(DEADLINE), registry.gather()

    assert names_of(waited) == names_of(own_thread) == ["x"]
    assert dropped(own_thread) == {"raised": 2}


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()])
async def test_a_source_in_its_thread_stops_nobody(
    registry: CollectorRegistry, error: BaseException
) -> None:
    """Its exit or cancellation ends neither the request nor the event loop."""
    registry.add_source(FakeSource(error, name="bad"))
    registry.add_source(FakeSource(family("x")))
    gathering = await registry.async_gather(DEADLINE)

    assert names_of(gathering) == ["x"]
    assert dropped(gathering) == {"raised": 1}


async def test_a_late_source_is_dropped(registry: CollectorRegistry, held: HeldSource) -> None:
    """The others are exposed; it is in the next response if it returns by then."""
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


async def test_a_source_that_hangs_is_collected_once(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """However many requests come while it hangs; each of them is served without it."""
    gatherings = [await registry.async_gather(0.01) for _ in range(5)]

    assert [[fault.cause for fault in each.faults] for each in gatherings] == [["late"]] * 5
    assert dropped(gatherings[-1]) == {"late": 5}
    assert held.runs == 1


async def test_concurrent_requests_share_a_result(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """Ten during a run cost one more run."""
    first = asyncio.create_task(registry.async_gather(DEADLINE))
    await held.wait_begun()
    later = [asyncio.create_task(registry.async_gather(DEADLINE)) for _ in range(10)]
    await asyncio.sleep(0)
    held.go.release(2)
    gatherings = await asyncio.gather(first, *later)

    assert [names_of(each) for each in gatherings] == [["held"]] * 11
    assert held.runs == 2


async def test_a_cancelled_request_cancels_no_other(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """Those that share its result get it."""
    tasks = [asyncio.create_task(registry.async_gather(DEADLINE)) for _ in range(2)]
    await held.wait_begun()
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    held.go.release(2)

    assert names_of(await tasks[1]) == ["held"]


def test_a_source_may_return_after_the_event_loop_has_closed(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged."""
    straggler = HeldSource(family("x"), name="straggler")
    registry.add_source(straggler)
    asyncio.run(async_render(registry, timeout=0.01))
    caplog.clear()
    straggler.go.release()
    wait_until_no_thread_is("collect straggler")

    assert caplog.records == []


def test_a_source_that_renders_its_own_registry_is_refused(registry: CollectorRegistry) -> None:
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


def test_sources_that_render_their_own_registry_do_not_multiply(
    registry: CollectorRegistry,
) -> None:
    """A source that is collected again by itself is refused at once."""
    collected: list[str] = []

    class Selfish:
        def __init__(self, name: str) -> None:
            self.name = name

        def collect(self) -> Iterable[MetricFamily | Fault]:
            collected.append(self.name)
            if len(collected) < 1000:  # or this test would not end
                render(registry)
            return [family(self.name)]

    registry.add_source(Selfish("a"))
    registry.add_source(Selfish("b"))
    body, _ = render(registry)

    assert len(collected) < 20
    assert b'cause="raised"' in body


async def test_gather_error_lists_all_that_is_missing(
    registry: CollectorRegistry, held: HeldSource
) -> None:
    """Late sources, those that raise, and conflicts."""
    registry.add_source(FakeSource(ValueError("no"), name="bad"))
    registry.add_source(FakeSource(family("x"), counter_family("x")))
    with pytest.raises(GatherError) as caught:
        await async_render(registry, on_error="fail", timeout=1)

    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["held", "bad", "x"]


def test_losses_are_counted_by_cause_and_logged_once(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Already in the response in which they are missing."""
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
    """Each of them gets a complete result."""
    registry.add_source(FakeSource(*[family(f"x{number_}") for number_ in range(50)]))
    gatherings = await asyncio.gather(*[registry.async_gather(DEADLINE) for _ in range(20)])

    assert {len(names_of(each)) for each in gatherings} == {50}
