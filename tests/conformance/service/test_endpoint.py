"""Requests to an endpoint: timeouts, names, methods, errors, concurrency (E58 to E62)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from oracles import FakeSource, HeldSource, answer_to, counter_family, dropped, family, until
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service.messages import ScrapeRequest
from otel_aioprom.service.scrape import Scraper, source_timeout

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("10", 9.5), ("1.5", 1.0), ("1", 0.5), ("0.5", 0.25), ("0.002", 0.001)],
)
def test_e58_the_timeout_of_the_client_limits_sources(header: str, seconds: float) -> None:
    """Less half a second for the response, at most half of the timeout."""
    assert source_timeout(header) == pytest.approx(seconds)


@pytest.mark.parametrize("header", [None, "", "soon", "0", "-1", "nan", "-inf", "1,5", "10s"])
def test_e58_a_malformed_timeout_is_ignored(header: str | None) -> None:
    """Then the endpoint's own timeout applies."""
    assert source_timeout(header) == float("inf")


async def test_e58_late_sources_are_dropped_and_counted() -> None:
    """The others are served before the client times out."""
    registry = CollectorRegistry()
    held = HeldSource(family("slow"))
    registry.add_source(held)
    registry.add_source(FakeSource(family("quick")))
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await answer_to(registry, ScrapeRequest(timeout="0.2"), timeout=30)
    took = loop.time() - began
    held.go.release(2)

    assert b"quick 1\n" in answer.body
    assert b"slow" not in answer.body.replace(b"held", b"")
    assert dropped(registry.gather()) == {"late": 1}
    assert took < 10


@pytest.fixture
def registry() -> CollectorRegistry:
    """Families of several types, one with a UTF-8 name."""
    registry = CollectorRegistry()
    registry.add_source(
        FakeSource(counter_family("a_total"), family("b"), replace(family("my.c"), utf8=True))
    )
    Histogram("h", "", buckets=[1], registry=registry).observe({}, 1)
    Summary("s", "", registry=registry).observe({}, 1)
    return registry


@pytest.mark.parametrize(
    ("names", "exposed"),
    [
        (["a_total", "h_bucket"], ["a_total", "h"]),
        (["a"], ["a_total"]),
        (["h"], ["h"]),
        (["h_count"], ["h"]),
        (["h_created"], ["h"]),
        (["s_sum"], ["s"]),
        (["my.c"], ["my_c"]),
        (["my_c"], ["my_c"]),
        (["nothing"], []),
        (["", "b"], ["b"]),
        ([], ["a_total", "b", "h", "my_c", "s"]),
    ],
)
async def test_e59_names_select_whole_families(
    registry: CollectorRegistry, names: list[str], exposed: list[str]
) -> None:
    """By the name of the family or of a sample, original or escaped."""
    answer = await answer_to(registry, ScrapeRequest(names=names))
    types = [line.split()[2] for line in answer.body.decode().splitlines() if "# TYPE" in line]

    assert answer.status == 200
    assert types == exposed
    if "h" in exposed and len(names) == 1:
        assert answer.body.count(b"\nh_") == 4


@pytest.mark.parametrize(
    ("names", "exposed"),
    [
        (["rq_total"], ["rq_total 500"]),
        (["mem_total"], ["mem_total 2"]),
        (["events"], ["events 3"]),
        (["events_total"], []),
    ],
)
async def test_e59_m24_names_select_as_they_are_written(
    names: list[str], exposed: list[str]
) -> None:
    """In OpenMetrics too, where some counters have no suffix, and some have to give up their type for it."""
    registry = CollectorRegistry()
    for name, value in {"rq": 1, "rq_total": 500, "mem_total": 2, "events": 3}.items():
        Counter(name, "", registry=registry).add({}, value)
    Gauge("mem", "", registry=registry).set({}, 4)
    request = ScrapeRequest(names=names, accept=[OPENMETRICS])
    body = (await answer_to(registry, request)).body.decode()

    assert [line for line in body.splitlines() if line[0] != "#"] == exposed


async def test_e59_unknown_names_are_an_empty_response(registry: CollectorRegistry) -> None:
    """In OpenMetrics, with its ``# EOF``."""
    request = ScrapeRequest(names=["nothing"], accept=[OPENMETRICS])

    assert (await answer_to(registry, request)).body == b"# EOF\n"


async def test_e62_concurrent_scrapes(registry: CollectorRegistry) -> None:
    """Each gets a complete response."""
    answers = await asyncio.gather(*[answer_to(registry) for _ in range(20)])

    assert len({answer.body for answer in answers}) == 1


async def test_e61_e62_scrapes_above_the_limit_are_503(registry: CollectorRegistry) -> None:
    """With ``Retry-After``."""
    held = HeldSource(family("slow"))
    registry.add_source(held)
    scraper = Scraper(registry, max_concurrent=1)
    first = asyncio.create_task(answer_to(scraper))
    await held.wait_begun()
    refused = await answer_to(scraper)
    held.go.release(3)
    served = await first
    await until(lambda: scraper._busy.value == 0)

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert served.status == (await answer_to(scraper)).status == 200
