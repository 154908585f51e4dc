"""Kind: metrics that a server stores under other names or with other values by one protocol than by another (M24, M59, E30).

Pages of the kind that real servers have, written for this test, are served as they are and by collectors that show the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from canned import Answer, CannedTarget
from dump_pages import PAGES, registry_of
from oracles import OWN
from prometheus import PROTOCOLS, PrometheusServer
from scraper import ScrapeJob
from served import served
from servers import free_port

pytestmark = pytest.mark.integration

FEATURES = ("", "native-histograms", "created-timestamp-zero-ingestion")
"""With the last two, the server asks for protobuf first, and reads more of it."""
_TARGET = ("job", "instance")

Stored = dict[tuple[str, tuple[tuple[str, str], ...]], str]


def jobs(page: str, target: str, port: int) -> list[ScrapeJob]:
    """One job for the page itself, and one for each protocol of the endpoint; for all, names are escaped."""
    settings: dict[str, Any] = {"metric_name_escaping_scheme": "underscores"}
    text = {**settings, "scrape_protocols": PROTOCOLS[-1:], "metrics_path": f"/{page}"}
    return [
        ScrapeJob(page, target, text),
        *[
            ScrapeJob(f"{page} {each}", f"127.0.0.1:{port}", {**settings, "scrape_protocols": [each]})
            for each in PROTOCOLS
        ],
    ]  # fmt: skip


def stored(server: PrometheusServer, job: str) -> Stored:
    """Name and labels → value as the API spells it, of all series of a job."""
    server.wait_for_scrape(job)
    mine = f'{{job="{job}",__name__!~"{OWN}.*|scrape_.*|up"}}'
    return {
        (
            labels["__name__"],
            tuple(sorted((name, text) for name, text in labels.items() if name not in _TARGET)),
        ): each["value"][1]
        for each in server._api("query", query=mine)["result"]
        for labels in [each["metric"]]
    }


@pytest.fixture(scope="module", params=FEATURES, ids=lambda each: each or "plain")
def server(request: pytest.FixtureRequest) -> Iterator[PrometheusServer]:
    """One server that scrapes each page and each protocol of its endpoint."""
    answers = {f"/{page}": Answer(text.lstrip().encode()) for page, text in PAGES.items()}
    found: list[ScrapeJob] = []
    with ExitStack() as stack:
        target = stack.enter_context(CannedTarget(answers)).target
        for page, text in PAGES.items():
            port = free_port()
            stack.enter_context(served(registry_of(text), port))
            found += jobs(page, target, port)
        features = [request.param] if request.param else []
        yield stack.enter_context(
            PrometheusServer("prometheus3", found, interval="500ms", features=features)
        )


@pytest.mark.parametrize("page", PAGES)
def test_m24_m59_each_protocol_stores_what_the_page_has(
    server: PrometheusServer, page: str
) -> None:
    """No name, label or value differs, and nothing is missing or more.

    There is no exception to list: start times are no ``_created`` series unless asked for, bounds are spelled
    as the server spells them, and a counter without ``_total`` goes without its type in OpenMetrics.
    """
    expected = stored(server, page)
    samples = [line for line in PAGES[page].splitlines() if line and not line.startswith("#")]

    assert len(expected) == len(samples)
    for protocol in PROTOCOLS:
        found = stored(server, f"{page} {protocol}")
        assert found == expected, protocol
    # Metrics of the endpoint itself may begin while it is scraped: the server ignores a start time after that.
    assert [line for line in server.warnings() if f'series="{OWN}' not in line] == []
