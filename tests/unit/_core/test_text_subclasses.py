"""Names of ``str`` subclasses: their value is written, however the class formats itself."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_aioprom.collectors import Collector, Counter, Enum, Gauge, Histogram, Info, StateSet
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Names(str, enum.Enum):
    """Which is formatted as ``Names.LABEL`` from Python 3.11 on."""

    LABEL = "label"
    METRIC = "metric"


class Formatted(str):
    """Which formats itself in another way."""

    __slots__ = ()

    def __format__(self, _: str) -> str:
        return "wrong"


NAMES = [(Names.LABEL, Names.METRIC), (Formatted("label"), Formatted("metric"))]


def exposed(registry: CollectorRegistry) -> str:
    """Render a registry as OpenMetrics, and check that another parser reads it."""
    text = render(registry, [OPENMETRICS])[0].decode()
    assert list(text_string_to_metric_families(text))
    return text


@pytest.mark.parametrize(("label", "_"), NAMES)
def test_labels(registry: CollectorRegistry, label: str, _: str) -> None:
    """Of a series, of all series, and of an exemplar."""
    counter = Counter("x_total", "What.", {"const_" + label: "c"}, registry=registry)
    counter.inc({label: label}, exemplar={label: "e"})
    counter.inc({"label": "label"})

    line = next(line for line in exposed(registry).splitlines() if line.startswith("x_total"))
    assert line.startswith('x_total{const_label="c",label="label"} 2 # {label="e"} 1')
    assert [type(name) for labels, _ in counter.get_all() for name in labels] == [str]


@pytest.mark.parametrize(("label", "_"), NAMES)
def test_constant_labels(registry: CollectorRegistry, label: str, _: str) -> None:
    """Of every series."""
    Gauge("x", "What.", {label: "c"}, registry=registry).set({}, 1)

    assert 'x{label="c"} 1\n' in exposed(registry)


@pytest.mark.parametrize(("label", "name"), NAMES)
@pytest.mark.parametrize(
    "kind",
    [
        Gauge,
        Histogram,
        Info,
        lambda *args, **options: StateSet(*args, ["a"], **options),
        lambda *args, **options: Enum(*args, ["a"], **options),
    ],
    ids=["Gauge", "Histogram", "Info", "StateSet", "Enum"],
)
def test_names_of_metrics(registry: CollectorRegistry, kind: Any, label: str, name: str) -> None:
    """Of every kind, with info labels and states."""
    collector: Collector[Any] = kind(name, "What.", registry=registry)
    if isinstance(collector, Info):
        collector.set({}, {label: "value"})
    else:
        collector.labels({})
    text = exposed(registry)

    assert type(collector.name) is str
    assert "Names." not in text
    assert "wrong" not in text
    assert all(line.startswith(("metric", "# ")) for line in text.splitlines())


@pytest.mark.parametrize(("label", "name"), NAMES)
def test_attributes_and_instruments(label: str, name: str) -> None:
    """Of OpenTelemetry."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("m")
    meter.create_counter(name).add(1, {label: "x"})
    text = exposed(registry)

    assert 'metric_total{label="x",' in text or 'metric_total{label="x"}' in text
