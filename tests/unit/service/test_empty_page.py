"""An empty page says why: once in the log, and in a comment for the person who looks at it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from oracles import FakeSource, all_kinds, answer_to, family
from otel_aioprom.collectors import Counter
from otel_aioprom.formats import TextFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service.messages import ScrapeRequest
from otel_aioprom.service.scrape import Scraper

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize("collect", [render, TextFormatter().marshall, CollectorRegistry.gather])
def test_a_registry_without_collectors_is_logged_once(
    collect: Callable[[CollectorRegistry], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Code that relies on collectors that register themselves learns what to write."""
    registry = CollectorRegistry()
    Counter("x_total", "What.").inc()
    for _ in range(3):
        collect(registry)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "registry=" in record.message
    assert "register()" in record.message
    assert b"dropped" not in render(registry)[0]


@pytest.mark.parametrize("registry", [all_kinds(), CollectorRegistry()])
def test_a_registry_with_collectors_or_sources_is_not_logged(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing has been measured yet: that is no mistake."""
    registry.add_source(FakeSource(family("x")))
    render(registry)

    assert not caplog.records


@pytest.mark.parametrize("accept", [[BROWSER], ["*/*"]])
async def test_a_person_reads_why_a_page_is_empty(accept: list[str]) -> None:
    """In a comment, which parsers ignore; also when the page has the library's own metrics."""
    registry = CollectorRegistry()
    scraper = Scraper(registry)
    first = await answer_to(scraper, ScrapeRequest(accept=accept))
    second = await answer_to(scraper, ScrapeRequest(accept=accept))
    Counter("x_total", "What.", registry=registry)
    registered = await answer_to(registry, ScrapeRequest(accept=accept))

    for page in (first, second):
        assert page.body.startswith(b"# no metrics are registered")
    assert b"registry=" in first.body
    assert list(text_string_to_metric_families(first.body.decode())) == []
    assert b"otel_aioprom_scrapes_total" in second.body
    assert registered.body.startswith(b"# nothing is measured yet: 1 collectors and 0 sources")
    registry.get("x_total").labels()
    assert b"yet" not in (await answer_to(registry, ScrapeRequest(accept=accept))).body


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ([], b""),
        ([PROMETHEUS], b"# EOF\n"),
        (["text/plain;version=0.0.4;q=0.5,*/*;q=0.1"], b""),
        (
            [
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            ],
            b"",
        ),
        (["application/openmetrics-text,text/html"], b"# EOF\n"),
    ],
)
async def test_e04_an_empty_page_has_no_comment_for_a_scraper(
    accept: list[str], body: bytes
) -> None:
    """Its body is empty, or the end mark of OpenMetrics."""
    page = await answer_to(CollectorRegistry(), ScrapeRequest(accept=accept))

    assert (page.status, page.body) == (200, body)
