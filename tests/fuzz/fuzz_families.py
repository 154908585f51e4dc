"""Families of every type with unusual names, labels, strings and numbers, in every format, read by other parsers."""

from __future__ import annotations

import math
from collections import Counter as Tally
from typing import Any

from fuzz_inputs import Draw, odd_text, pick
from opentelemetry.sdk.metrics import Exemplar, export

from client_model import is_native, read_delimited
from mapping_sdk import CUMULATIVE, Rig, hand_over, histogram_point, metric, number_point
from otel_aioprom._core.escaping import ESCAPING_SCHEMES
from otel_aioprom._core.labels import label_value
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.negotiator import negotiate
from otel_aioprom.otel.names import STRATEGIES
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from servers import parse_with_prometheus_client

_FAMILY = "io.prometheus.client.MetricFamily"
_OM = "application/openmetrics-text; version="
ACCEPTS = (
    "text/plain;version=0.0.4",
    *(f"text/plain;version=1.0.0;escaping={scheme}" for scheme in ESCAPING_SCHEMES),
    "application/openmetrics-text;version=0.0.1",
    *(f"application/openmetrics-text;version=1.0.0;escaping={scheme}" for scheme in ESCAPING_SCHEMES),
    *(f"application/vnd.google.protobuf;proto={_FAMILY};encoding=delimited;escaping={scheme}" for scheme in ESCAPING_SCHEMES),
)  # fmt: skip
CONTENT_TYPES = frozenset(negotiate([each])().get_headers()["Content-Type"] for each in ACCEPTS)


def native(draw: Draw, reached: Tally[str]) -> None:
    """Labels, descriptions and values of native collectors, in every format, read back by third-party parsers."""
    registry = CollectorRegistry()
    expected: dict[tuple[tuple[str, str], ...], float] = {}
    gauge = Gauge(pick(draw, "g", "a:b", "_"), odd_text(draw), registry=registry)
    for _ in range(draw.below(4)):
        labels = {pick(draw, "a", "b", "le_", "Z9"): odd_text(draw) for _ in range(draw.below(3))}
        value = _number(draw)
        gauge.set(labels, value)
        texts = {name: label_value(text) for name, text in labels.items()}
        expected[tuple(sorted((name, text) for name, text in texts.items() if text))] = float(value)
    _others(draw, registry)
    accept = pick(draw, *ACCEPTS)
    body, headers = render(registry, [accept], created_samples=bool(draw.below(2)))
    check_body(headers["Content-Type"], body)
    reached[f"native: {headers['Content-Type'].partition('; charset')[0]}"] += 1
    if accept.startswith("text/plain"):
        found = {
            tuple(sorted((name, text) for name, text in sample.labels.items() if text)): float(
                sample.value
            )
            for family in parse_with_prometheus_client(body)
            for sample in family.samples
            if sample.name == gauge.name
        }
        assert found.keys() == expected.keys()
        assert all(_same(found[key], value) for key, value in expected.items())


def _others(draw: Draw, registry: CollectorRegistry) -> None:
    labels = {"a": odd_text(draw)} if draw.below(2) else {}
    if draw.below(2):
        Counter(
            pick(draw, "c_total", "c", "c_total_total", "_total"),
            odd_text(draw),
            {"k": odd_text(draw)},
            registry=registry,
        ).add(labels, abs(_number(draw)))
    if draw.below(2):
        bounds = pick(draw, [1, 2], [-1, 0], [1e-300, 1e300], [0.1])
        Histogram("h", odd_text(draw), buckets=bounds, registry=registry).observe(
            labels, _number(draw)
        )
    if not draw.below(4):
        Summary("s", odd_text(draw), registry=registry).observe(labels, _number(draw))
    if not draw.below(4):
        Collector("u", odd_text(draw), registry=registry).set_value(labels, _number(draw))


def opentelemetry(draw: Draw, reached: Tally[str]) -> None:
    """Names, units, attributes and exemplars of OpenTelemetry metrics, in every format."""
    strategy = pick(draw, *STRATEGIES).name
    rig = Rig(translation_strategy=strategy, scope_info_enabled=True, target_info_enabled=True)
    try:
        made = [_any_metric(draw) for _ in range(1 + draw.below(3))]
        resource = {f"r{odd_text(draw)}": _attribute(draw) for _ in range(draw.below(3))}
        hand_over(rig.reader, *made, resource=resource)
        for accept in (pick(draw, *ACCEPTS), pick(draw, *ACCEPTS)):
            body, headers = render(rig.registry, [accept])
            check_body(headers["Content-Type"], body)
            reached[f"opentelemetry: {'with' if b'lib' in body else 'without'} samples"] += 1
    finally:
        rig.provider.shutdown()


# --- checks of bodies ------------------------------------------------------------------


def check_body(content_type: str, body: bytes) -> None:
    """Parse it with a third-party parser, by its content type.

    Raises:
        Exception: It does not.
    """
    if content_type.startswith("application/vnd"):
        families = read_delimited(body)
        # Histograms with native buckets and those without are two messages.
        pairs = {(each.name, is_native(each.metric[0].histogram)) for each in families}
        assert len(pairs) == len(families)
    elif content_type.startswith(_OM):
        assert body.endswith(b"# EOF\n")
        parse_with_prometheus_client(body, openmetrics=True)
    else:
        assert not body or body.endswith(b"\n")
        parse_with_prometheus_client(body)


def _same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _number(draw: Draw) -> float:
    return pick(
        draw,
        0,
        1,
        -1,
        0.1,
        1e300,
        -1e-300,
        5e-324,
        math.nan,
        math.inf,
        -math.inf,
        10**40,
        -0.0,
        2**63,
    )


def _attribute(draw: Draw) -> Any:
    return pick(
        draw,
        odd_text(draw),
        1,
        -0.5,
        math.nan,
        True,
        [odd_text(draw), "x"],
        (),
        b"\xff",
        None,
        {"a": [None]},
        10**40,
    )


def _attributes(draw: Draw) -> dict[str, Any]:
    # A name with two leading underscores is reserved, and the parser rejects it.
    return {
        pick(draw, "k", "a.b", "a_b", f"k{odd_text(draw)}"): _attribute(draw)
        for _ in range(draw.below(3))
    }


def _any_metric(draw: Draw) -> Any:
    name, unit = (
        pick(draw, "m", "http.size", odd_text(draw)),
        pick(draw, "", "s", "By/s", "1", "{x}", "%", odd_text(draw)),
    )
    # The parser fails for quoted names and escaped quotes in exemplars.
    labels = {"k": pick(draw, "v", "ä # ", 1, True, "\ud800", "x" * 300, None)}
    exemplars = [Exemplar(labels, _number(draw), 5_000_000_000, 1, 2) for _ in range(draw.below(2))]
    if not draw.below(3):
        point = histogram_point(
            attributes=_attributes(draw), sum=_number(draw), exemplars=exemplars
        )
        return metric(name, export.Histogram([point], CUMULATIVE), unit)
    points = [number_point(_number(draw), _attributes(draw)) for _ in range(1 + draw.below(2))]
    data = (
        export.Gauge(points)
        if draw.below(2)
        else export.Sum(points, CUMULATIVE, bool(draw.below(2)))
    )
    return metric(name, data, unit)
