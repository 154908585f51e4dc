"""Whatever is measured through OpenTelemetry, every format stays readable and nothing is lost in silence."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider, export
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client.metrics_core import Metric

from mapping_sdk import CUMULATIVE, Rig, hand_over, metric, number_point
from otel_aioprom._core.escaping import escape_label_name
from otel_aioprom.otel.names import STRATEGIES
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from servers import parse_with_prometheus_client

TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text;version=1.0.0;escaping=underscores"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

TEXTS = st.text(max_size=6) | st.sampled_from(
    [
        "a.b",
        "a_b",
        "a-b",
        "le",
        "quantile",
        "__name__",
        "total",
        "x_total",
        "job",
        "ä",
        "\ud800",
        "1",
        "",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
# A key that begins with two such characters gives, escaped, a name that is reserved; the parser refuses it.
KEYS = TEXTS.filter(lambda key: not escape_label_name(key, "underscores").startswith("__"))
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=3)
UNITS = st.sampled_from([None, "", "1", "s", "By/s", "{x}", "total", "ratio", "custom unit", "%"])
NUMBERS = st.integers(-(2**70), 2**70) | st.floats()
POINTS = st.lists(st.tuples(NUMBERS, ATTRIBUTES), min_size=1, max_size=3)
KINDS = st.sampled_from(["counter", "updown", "gauge"])
METRICS = st.lists(st.tuples(KINDS, TEXTS, UNITS, POINTS), max_size=5)
SCOPES = st.dictionaries(KEYS, VALUES, max_size=2)


def data_of(kind: str, points: list[Any]) -> Any:
    """Points as the SDK would deliver them."""
    made = [number_point(value, attributes) for value, attributes in points]
    if kind == "gauge":
        return export.Gauge(made)
    return export.Sum(made, CUMULATIVE, kind == "counter")


def check_text(body: bytes) -> list[Metric]:
    """Parse a response in the text format, and fail for a repeated family."""
    families = parse_with_prometheus_client(body)
    heads = re.findall(r"^# (?:TYPE|HELP) (\S+)", body.decode(), re.MULTILINE)
    assert all(heads.count(name) <= 2 for name in heads)
    return families


def samples_of(families: list[Metric]) -> set[str]:
    """Names of samples, but for the library's own."""
    names = {sample.name for family in families for sample in family.samples}
    return {name for name in names if not name.startswith("otel_aioprom_")}


@settings(max_examples=60)
@given(
    metrics=METRICS,
    resource=ATTRIBUTES,
    strategy=st.sampled_from([strategy.name for strategy in STRATEGIES]),
)
def test_any_data_give_readable_responses(
    metrics: list[Any], resource: dict[str, Any], strategy: str
) -> None:
    """In every format; what is not exposed is counted."""
    rig = Rig(translation_strategy=strategy, target_info_enabled=True, scope_info_enabled=True)
    made = [metric(name, data_of(kind, points), unit or "") for kind, name, unit, points in metrics]
    hand_over(
        rig.reader, *made, resource={k: v for k, v in resource.items() if k and v is not None}
    )
    text, _ = render(rig.registry, [TEXT])
    families = check_text(text)
    openmetrics, _ = render(rig.registry, [OPENMETRICS])
    try:
        parse_with_prometheus_client(openmetrics, openmetrics=True)
        assert openmetrics.endswith(b"# EOF\n")
        assert render(rig.registry, [PROTOBUF])[0] or not families
    finally:
        rig.reader.shutdown()

    if metrics and not samples_of(families) - {"target_info"}:
        assert b"otel_aioprom_dropped_total" in text


NAMES = st.from_regex(r"[a-z][a-z0-9._/-]{0,6}", fullmatch=True)
PLAIN = st.dictionaries(
    st.sampled_from(["k", "http.method", "code"]), st.integers(0, 3), max_size=2
)
INSTRUMENTS = st.lists(
    st.tuples(
        st.sampled_from(["counter", "up_down_counter", "histogram", "gauge", "exponential"]),
        NAMES,
        st.lists(st.tuples(st.integers(1, 1000), PLAIN), min_size=1, max_size=4),
    ),
    max_size=5,
    unique_by=lambda item: item[1],
)


@settings(max_examples=40)
@given(instruments=INSTRUMENTS, scope=SCOPES)
def test_every_point_of_real_instruments_is_found_again(
    instruments: list[Any], scope: dict[str, Any]
) -> None:
    """As many series as the SDK delivers points, unless something was merged or dropped, which is said."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry, scope_info_enabled=True)
    views = [
        View(instrument_name="exponential*", aggregation=ExponentialBucketHistogramAggregation())
    ]
    provider = MeterProvider(
        metric_readers=[reader], resource=Resource({"a": "b"}), views=views, shutdown_on_exit=False
    )
    meter = provider.get_meter(
        "lib", attributes={k: v for k, v in scope.items() if k and v is not None}
    )
    recorded: dict[str, set[str]] = {}
    for kind, name, measurements in instruments:
        exponential = kind == "exponential"
        full = f"{kind}.{name}"
        create = meter.create_histogram if exponential else getattr(meter, f"create_{kind}")
        instrument = create(full)
        record = getattr(
            instrument,
            {"histogram": "record", "exponential": "record", "gauge": "set"}.get(kind, "add"),
        )
        for value, attributes in measurements:
            record(value, attributes)
            recorded.setdefault(full, set()).add(str(sorted(attributes.items())))
    body, _ = render(registry)
    families = [
        family for family in check_text(body) if family.name.split("_")[0] not in ("otel", "target")
    ]
    provider.shutdown()

    shown = sum(
        len(
            {
                tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
                for sample in family.samples
            }
        )
        for family in families
    )
    if b"dropped_total" not in body:
        names = {re.sub(r"[^a-z0-9]+", "_", name) for name in recorded}
        expected = sum(map(len, recorded.values()))
        assert shown == expected or len(names) < len(recorded)
