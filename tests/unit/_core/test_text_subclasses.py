"""Names that are texts of a class of their own: what is written is the text, whatever the class writes."""

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
    """Which writes ``Names.LABEL`` from Python 3.11 on."""

    LABEL = "label"
    METRIC = "metric"


class Formatted(str):
    """Which writes itself in another way."""

    __slots__ = ()

    def __format__(self, _: str) -> str:
        return "wrong"


NAMES = [(Names.LABEL, Names.METRIC), (Formatted("label"), Formatted("metric"))]


def shown(registry: CollectorRegistry) -> str:
    """The registry as OpenMetrics, which another reader has to understand."""
    text = render(registry, [OPENMETRICS])[0].decode()
    assert list(text_string_to_metric_families(text))
    return text


@pytest.mark.parametrize(("label", "_"), NAMES)
def test_labels(registry: CollectorRegistry, label: str, _: str) -> None:
    """Of a series, of all series, and of an exemplar."""
    made = Counter("x_total", "What.", {"const_" + label: "c"}, registry=registry)
    made.inc({label: label}, exemplar={label: "e"})
    made.inc({"label": "label"})

    line = next(line for line in shown(registry).splitlines() if line.startswith("x_total"))
    assert line.startswith('x_total{const_label="c",label="label"} 2 # {label="e"} 1')
    assert [type(name) for labels, _ in made.get_all() for name in labels] == [str]


@pytest.mark.parametrize(("label", "_"), NAMES)
def test_constant_labels(registry: CollectorRegistry, label: str, _: str) -> None:
    """Which every series has."""
    Gauge("x", "What.", {label: "c"}, registry=registry).set({}, 1)

    assert 'x{label="c"} 1\n' in shown(registry)


@pytest.mark.parametrize(("label", "name"), NAMES)
@pytest.mark.parametrize(
    "kind",
    [
        Gauge,
        Histogram,
        Info,
        lambda *given, **options: StateSet(*given, ["a"], **options),
        lambda *given, **options: Enum(*given, ["a"], **options),
    ],
    ids=["Gauge", "Histogram", "Info", "StateSet", "Enum"],
)
def test_names_of_metrics(registry: CollectorRegistry, kind: Any, label: str, name: str) -> None:
    """Of every kind, with facts and states."""
    made: Collector[Any] = kind(name, "What.", registry=registry)
    if isinstance(made, Info):
        made.set({}, {label: "fact"})
    else:
        made.labels({})
    text = shown(registry)

    assert type(made.name) is str
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
    text = shown(registry)

    assert 'metric_total{label="x",' in text or 'metric_total{label="x"}' in text
