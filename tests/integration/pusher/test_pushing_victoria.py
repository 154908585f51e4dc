"""Pushes to a real VictoriaMetrics: its import understands the gateway's addresses, and labels in the query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otel_aioprom.collectors import Counter, Histogram
from otel_aioprom.pusher import Pusher
from otel_aioprom.registry import CollectorRegistry
from processes import wait_until
from victoria import VictoriaMetricsServer

pytestmark = pytest.mark.integration
IMPORT = "/api/v1/import/prometheus"


@pytest.fixture(scope="module")
def victoria() -> Iterator[VictoriaMetricsServer]:
    """One that scrapes nothing."""
    with VictoriaMetricsServer([]) as running:
        yield running


@pytest.mark.parametrize(
    ("job", "front", "options"),
    [
        ("front", IMPORT, {}),
        ("with blank/slash", IMPORT, {}),
        ("path", "", {"path": f"{IMPORT}/metrics/job/{{0}}"}),
        ("query & more", "", {"path": IMPORT}),
        ("packed", IMPORT, {"compression": "gzip", "max_batch_bytes": 100}),
    ],
)
async def test_every_sample_is_found_again(
    victoria: VictoriaMetricsServer, job: str, front: str, options: dict[str, Any]
) -> None:
    """By query, with its value; 200 and 204 are both success."""
    registry = CollectorRegistry()
    Counter("orders_total", "Orders.", registry=registry).add({"kind": 'a"b'}, 3)
    Histogram("seconds", "Time.", buckets=[1], registry=registry).observe({}, 0.5)
    pusher = Pusher(
        job, victoria.url + front, grouping_key={"zone": "é/1"}, raise_for_status=True, **options
    )
    response = await pusher.replace(registry)
    deleted = await pusher.delete() if "path" not in options else response
    labels = f'job="{job}",zone="é/1"'

    assert response.status in {200, 204}
    assert deleted.status in {200, 202, 204}
    wait_until(lambda: victoria.value(f'orders_total{{{labels},kind="a\\"b"}}') == 3)
    assert victoria.value(f"seconds_sum{{{labels}}}") == 0.5
    assert victoria.value(f'seconds_bucket{{{labels},le="+Inf"}}') == 1
