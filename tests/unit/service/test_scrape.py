"""One request, one response, without a framework."""

from __future__ import annotations

import gzip

import pytest

from oracles import FakeSource, answer_to, family
from otel_aioprom.collectors import Counter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service.messages import ScrapeRequest
from otel_aioprom.service.scrape import Scraper


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with one counter."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    return registry


async def test_e04_get_answers_200_with_all_metrics(registry: CollectorRegistry) -> None:
    """The body is what render gives, the headers say what it is."""
    response = await answer_to(registry)
    body, headers = render(registry)

    assert response.status == 200
    assert response.body == body
    assert response.headers == {**headers, "Vary": "Accept, Accept-Encoding"}


async def test_e60_head_answers_with_headers_only(registry: CollectorRegistry) -> None:
    """Nothing is collected for it."""
    registry.add_source(FakeSource(ValueError("asked")))
    response = await answer_to(registry, ScrapeRequest("HEAD"), on_error="fail")

    assert (response.status, response.body) == (200, b"")
    assert response.headers["Content-Type"] == render(registry)[1]["Content-Type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", ""])
async def test_e60_other_methods_are_refused(registry: CollectorRegistry, method: str) -> None:
    """With the methods that are allowed."""
    response = await answer_to(registry, ScrapeRequest(method))

    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert b"GET" in response.body


@pytest.mark.parametrize(
    ("encodings", "compressed"),
    [
        (["gzip"], True),
        (["GZIP"], True),
        (["deflate", "gzip;q=0.5"], True),
        (["*"], True),
        (["identity;q=0.5, gzip;q=0.5"], True),
        (["gzip;q=nonsense"], True),
        ([], False),
        (["gzip;q=0"], False),
        (["identity, gzip;q=0.5"], False),
        (["br"], False),
        ([";;,,"], False),
    ],
)
async def test_e57_gzip_when_it_is_asked_for(
    registry: CollectorRegistry, encodings: list[str], compressed: bool
) -> None:
    """And named exactly so, in small letters."""
    request = ScrapeRequest(accept_encoding=encodings)
    response = await answer_to(registry, request)
    body = response.body

    assert response.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(body) if compressed else body) == render(registry)[0]


async def test_e61_what_is_missing_is_a_500_only_on_request(registry: CollectorRegistry) -> None:
    """By default the rest is served."""
    registry.add_source(FakeSource(ValueError("bad callback"), name="bad"))
    served = await answer_to(registry)
    refused = await answer_to(registry, on_error="fail")

    assert (served.status, refused.status) == (200, 500)
    assert b"x_total 1" in served.body
    assert b"bad callback" in refused.body


async def test_an_empty_registry_is_an_empty_body() -> None:
    """Not an error."""
    response = await answer_to(CollectorRegistry())

    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    "options",
    [
        {"on_error": "ignore"},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"send_timeout": 0},
        {"max_concurrent": 0},
        {"protobuf_escaping": "none"},
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, object]) -> None:
    """When the scraper is made, not at the first scrape."""
    with pytest.raises(ValueError, match="must be"):
        Scraper(CollectorRegistry(), **options)  # type: ignore[arg-type]


async def test_on_error_fail_serves_what_is_whole(registry: CollectorRegistry) -> None:
    """Faults that lose nothing are none."""
    registry.add_source(FakeSource(family("y")))
    response = await answer_to(registry, on_error="fail")

    assert response.status == 200
