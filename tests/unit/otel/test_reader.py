"""The reader's options, and the points that the SDK does not make but others may."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors.series.number import GaugeSeries
from otel_aioprom.otel import reader as module
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.otel.streams import NumberStream
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render


def test_a_registry_must_be_one() -> None:
    """Not the options of another exporter."""
    with pytest.raises(TypeError, match="must be a CollectorRegistry"):
        PrometheusMetricReader(registry="my_prefix")  # type: ignore[arg-type]


def test_a_new_reader_without_provider_yields_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """And warns of nothing: the provider may come."""
    registry = CollectorRegistry()
    PrometheusMetricReader(registry=registry)

    assert render(registry)[0] == b""
    assert not caplog.records


def test_a_reader_that_never_gets_a_provider_is_a_fault(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted at each collection, logged once with the way out, and over when a provider comes."""
    monkeypatch.setattr(module, "_GRACE", -1.0)
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    bodies = [render(registry)[0] for _ in range(2)]
    MeterProvider(metric_readers=[reader]).get_meter("m").create_counter("c").add(1)
    gathering = registry.gather()
    [record] = caplog.records

    assert b'otel_aioprom_dropped_total{cause="no_provider"} 2\n' in bodies[1]
    assert f"process {os.getpid()} has the reader" in record.getMessage()
    assert "MeterProvider(metric_readers=[...])" in record.getMessage()
    assert gathering.faults == []
    assert any(each.name == "c_total" for each in gathering.families)


def test_limits_that_the_sdk_does_not_know_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than ignored."""

    class Old(MetricReader):
        def __init__(self, preferred_aggregation: Any = None) -> None:
            super().__init__(preferred_aggregation=preferred_aggregation)

    monkeypatch.setattr(module.sdk, "MetricReader", Old)
    with pytest.raises(TypeError, match="need a newer opentelemetry-sdk"):
        PrometheusMetricReader(registry=CollectorRegistry(), cardinality_limits={Counter: 1})


def test_an_unrequested_delivery_is_dropped() -> None:
    """A flush delivers into nothing, and costs nothing."""
    registry = CollectorRegistry()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)])
    provider.get_meter("m").create_counter("c").add(1)
    provider.force_flush()

    assert registry.get_all() == []


def point(value: Any, attributes: dict[str, str]) -> Any:
    """A point as the SDK makes it."""
    return SimpleNamespace(value=value, attributes=attributes)


def test_points_are_let_go_and_values_taken() -> None:
    """Series stay the same while the attribute dicts do; a list of points is emptied."""
    texts: dict[str, Any] = {"1": (("a",), ("1",), '{a="1"} '), "2": (("a",), ("2",), '{a="2"} ')}
    stream = NumberStream(
        MetricFamily("g", "gauge", "", "", ()),
        lambda labels: texts[(labels or {})["a"]],
        GaugeSeries,
    )
    one, two = {"a": "1"}, {"a": "2"}
    points = [point(1, one), point(True, two)]
    first = list(stream.update(points))
    second = list(stream.update((point(3, two), point("x", one))))

    assert points == []
    assert [series.value for series in first if series is not second[0]] == [1]
    assert [(series, series.value) for series in second] == [(first[1], 3)]
    assert [fault.cause for fault in stream.faults] == ["untranslatable"]
