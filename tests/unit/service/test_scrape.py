"""The scrape handler without a web framework."""

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
    """Body and headers are those of ``render``."""
    response = await answer_to(registry)
    body, headers = render(registry)

    assert response.status == 200
    assert response.body == body
    assert response.headers == {**headers, "Vary": "Accept, Accept-Encoding"}


async def test_e60_head_answers_with_headers_only(registry: CollectorRegistry) -> None:
    """Without a collection."""
    registry.add_source(FakeSource(ValueError("collected")))
    response = await answer_to(registry, ScrapeRequest("HEAD"), on_error="fail")

    assert (response.status, response.body) == (200, b"")
    assert response.headers["Content-Type"] == render(registry)[1]["Content-Type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", ""])
async def test_e60_other_methods_are_405(registry: CollectorRegistry, method: str) -> None:
    """With the allowed methods in ``Allow``."""
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
async def test_e57_gzip_if_the_client_accepts_it(
    registry: CollectorRegistry, encodings: list[str], compressed: bool
) -> None:
    """``Content-Encoding`` is in lower case."""
    request = ScrapeRequest(accept_encoding=encodings)
    response = await answer_to(registry, request)
    body = response.body

    assert response.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(body) if compressed else body) == render(registry)[0]


async def test_e61_a_failed_source_is_a_500_only_with_on_error_fail(
    registry: CollectorRegistry,
) -> None:
    """By default the rest is served."""
    registry.add_source(FakeSource(ValueError("bad callback"), name="bad"))
    served = await answer_to(registry)
    refused = await answer_to(registry, on_error="fail")

    assert (served.status, refused.status) == (200, 500)
    assert b"x_total 1" in served.body
    assert b"bad callback" in refused.body


async def test_an_empty_registry_is_an_empty_body() -> None:
    """With the status 200."""
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
def test_invalid_options_raise(options: dict[str, object]) -> None:
    """In the constructor, not at the first scrape."""
    with pytest.raises(ValueError, match="must be"):
        Scraper(CollectorRegistry(), **options)  # type: ignore[arg-type]


async def test_on_error_fail_serves_complete_responses(registry: CollectorRegistry) -> None:
    """If every source succeeds."""
    registry.add_source(FakeSource(family("y")))
    response = await answer_to(registry, on_error="fail")

    assert response.status == 200
