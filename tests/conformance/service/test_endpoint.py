"""What an endpoint does with a request beside its headers of content (E58 to E62)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from oracles import FakeSource, HeldSource, answer_to, counter_family, dropped, family, until
from otel_aioprom.collectors import Histogram, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.service.messages import ScrapeRequest
from otel_aioprom.service.scrape import Scraper, patience

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("10", 9.5), ("1.5", 1.0), ("1", 0.5), ("0.5", 0.25), ("0.002", 0.001)],
)
def test_e58_the_client_waits_only_so_long(header: str, seconds: float) -> None:
    """Half a second is left for the way back, at most half of the time."""
    assert patience(header) == pytest.approx(seconds)


@pytest.mark.parametrize("header", [None, "", "soon", "0", "-1", "nan", "-inf", "1,5", "10s"])
def test_e58_what_cannot_be_read_does_not_count(header: str | None) -> None:
    """Then the endpoint's own limit holds."""
    assert patience(header) == float("inf")


async def test_e58_what_is_late_is_left_out_and_counted() -> None:
    """The others are served before the client gives up."""
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
    """Families of several kinds, one with a name that is not classic."""
    registry = CollectorRegistry()
    registry.add_source(
        FakeSource(counter_family("a_total"), family("b"), replace(family("my.c"), utf8=True))
    )
    Histogram("h", "", buckets=[1], registry=registry).observe({}, 1)
    Summary("s", "", registry=registry).observe({}, 1)
    return registry


@pytest.mark.parametrize(
    ("names", "shown"),
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
    registry: CollectorRegistry, names: list[str], shown: list[str]
) -> None:
    """By the family's name or by one of its samples', as written or escaped."""
    answer = await answer_to(registry, ScrapeRequest(names=names))
    types = [line.split()[2] for line in answer.body.decode().splitlines() if "# TYPE" in line]

    assert answer.status == 200
    assert types == shown
    if "h" in shown and len(names) == 1:
        assert answer.body.count(b"\nh_") == 4


async def test_e59_unknown_names_are_an_empty_response(registry: CollectorRegistry) -> None:
    """Which in OpenMetrics has its end."""
    request = ScrapeRequest(names=["nothing"], accept=[OPENMETRICS])

    assert (await answer_to(registry, request)).body == b"# EOF\n"


async def test_e62_several_scrapers_at_once(registry: CollectorRegistry) -> None:
    """Each gets a whole response."""
    answers = await asyncio.gather(*[answer_to(registry) for _ in range(20)])

    assert len({answer.body for answer in answers}) == 1


async def test_e61_e62_too_many_at_once_are_sent_away(registry: CollectorRegistry) -> None:
    """With 503, and when to come again."""
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
