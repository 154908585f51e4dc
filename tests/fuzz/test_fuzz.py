"""A short run of ``python -m tests.fuzz``, and regression tests of its findings."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest
from fuzz_exchange import Connection, responses
from fuzz_inputs import ByBytes, ByChance
from fuzz_targets import PLAIN, Fuzzer
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Exemplar, export

from mapping_sdk import CUMULATIVE, Rig, hand_over, histogram_point, metric
from oracles import all_kinds
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service import Service
from servers import parse_with_prometheus_client

SHARES = {
    "connection": 400,
    "headers": 400,
    "asgi, wsgi": 300,
    "native": 200,
    "opentelemetry": 30,
    "credentials": 400,
    "web configuration": 60,
}
# Before 3.14, aiohttp fails for invalid URLs: the connection ends, and the event loop logs the error.
if tuple(map(int, aiohttp.__version__.split(".")[:2])) < (3, 14):
    del SHARES["connection"]
REACHED = (
    "asgi, wsgi: 200",
    "connection: scrapes with None",
    "connection: scrapes with gzip",
    "connection: scrapes with zstd",
    "connection: 400",
    "credentials: True",
    "headers: PrometheusProto",
    "headers: OpenMetricsText1.0.0",
    "headers: gzip",
    "headers: zstd",
    "opentelemetry: with samples",
    "web configuration: taken",
)
"""The coverage that inputs must reach."""
OPENMETRICS = "application/openmetrics-text;version=1.0.0;escaping="


@pytest.fixture
def fuzzer() -> Iterator[Fuzzer]:
    """All fuzz targets."""
    made = Fuzzer()
    yield made
    made.close()


def test_random_inputs(fuzzer: Fuzzer) -> None:
    """No exception, no 500, no logged error, valid bodies; and inputs reach enough code."""
    assert set(SHARES) | {"connection"} == set(fuzzer.targets)
    for target, count in SHARES.items():
        for number in range(count):
            fuzzer.run(target, ByChance(f"test {target} {number}"))
    fuzzer.still_serves()

    tried = [what for what in REACHED if what.partition(":")[0] in SHARES]
    assert [what for what in tried if not fuzzer.reached[what]] == []


def test_inputs_of_hypothesis(fuzzer: Fuzzer) -> None:
    """Choices from its bytes, so that failures shrink."""

    @settings(max_examples=40)
    @given(st.binary(max_size=200))
    def run(data: bytes) -> None:
        for target in SHARES:
            fuzzer.run(target, ByBytes(data))

    run()


# --- findings --------------------------------------------------------------------------


async def test_a_request_body_that_cannot_be_decoded_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client cannot cause errors in the log."""
    body = b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    async with Service(all_kinds()).running(addr="127.0.0.1") as service:
        runner = service._runner
        assert runner is not None
        assert runner.server is not None
        connection = Connection(runner.server())
        connection.receive(PLAIN[:-2] + body)
        await connection.settle()
        await connection.end()

    assert [answer.status for answer in responses(bytes(connection.written))] == [200]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_e29_a_unit_with_a_line_break_is_dropped() -> None:
    """The SDK accepts it; the response must stay valid."""
    rig = Rig(translation_strategy="NoUTF8EscapingWithSuffixes")
    rig.meter().create_counter("requests", unit="x\nup 0\n# TYPE y").add(1)
    body, _ = render(rig.registry, [f"{OPENMETRICS}allow-utf-8"])
    rig.provider.shutdown()

    assert b"\nup 0\n" not in body
    parse_with_prometheus_client(body, openmetrics=True)


def test_e30_a_counter_whose_name_is_only_a_suffix() -> None:
    """Its name without the suffix would be empty, and the response invalid."""
    registry = CollectorRegistry()
    Counter("_total", "All of it.", registry=registry).inc()
    Gauge("level", "Another one.", registry=registry).set({}, 1)
    body, _ = render(registry, [f"{OPENMETRICS}underscores"])

    assert b"level 1\n" in body
    assert b'# TYPE "" ' not in body
    parse_with_prometheus_client(body, openmetrics=True)


@pytest.mark.parametrize("scheme", ["underscores", "dots", "values"])
def test_e38_escaped_labels_of_exemplars_are_short_enough(scheme: str) -> None:
    """Escaping lengthens names; the limit applies to escaped ones."""
    rig = Rig(translation_strategy="NoTranslation")
    exemplar = Exemplar({"k.\U0001f600" * 6: "v"}, 1.5, 5_000_000_000, 1, 2)
    point = histogram_point(exemplars=[exemplar])
    hand_over(rig.reader, metric("m", export.Histogram([point], CUMULATIVE)))
    body, _ = render(rig.registry, [f"{OPENMETRICS}{scheme}"])
    rig.provider.shutdown()

    assert b"# {trace_id=" in body
    parse_with_prometheus_client(body, openmetrics=True)  # it checks the length
