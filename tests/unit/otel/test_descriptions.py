"""Descriptions that differ among OpenTelemetry scopes: usual, and no reason for a warning."""

from __future__ import annotations

import logging
import re

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter
from otel_aioprom.otel.descriptions import Descriptions
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.renderer import render


def helps(registry: CollectorRegistry) -> dict[str, str]:
    """Scrape; name → help text."""
    page = render(registry)[0].decode()
    return dict(re.findall(r"^# HELP (\S+) (.*)$", page, re.MULTILINE))


def test_m55_m60_scopes_that_describe_metrics_differently(caplog: pytest.LogCaptureFixture) -> None:
    """One line at INFO names all of them, once; another one only what is new."""
    caplog.set_level(logging.INFO, "otel_aioprom")
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    for scope, words in {"ma": "Requests served.", "mb": "requests served.", "mc": ""}.items():
        for number in range(7):
            provider.get_meter(scope).create_counter(f"c{number}", description=words).add(1)
    first, again = helps(registry), helps(registry)
    provider.get_meter("mb").create_counter("late", description="One.").add(1)
    provider.get_meter("ma").create_counter("late", description="Two.").add(1)
    later = helps(registry)
    lines = [record.getMessage() for record in caplog.records if "describe" in record.getMessage()]

    assert first == again
    assert {first[f"c{number}_total"] for number in range(7)} == {"Requests served."}
    assert later["late_total"] in {"One.", "Two."}
    assert [re.findall(r"\w+_total", line) for line in lines] == [
        [f"c{number}_total" for number in range(7)],
        ["late_total"],
    ]
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_m55_words_come_before_none() -> None:
    """Whichever scope comes first."""
    described = Descriptions()
    docs = ["", "Words.", "", "Others."]
    families = [MetricFamily("x", "gauge", doc, "", ()) for doc in docs]
    fault = Fault("untranslatable", "x", "Left out.")
    found = list(described.unify([*families, fault]))

    assert [each.doc for each in found[:4] if isinstance(each, MetricFamily)] == ["Words."] * 4
    assert found[4] is fault


def test_other_sources_still_warn(caplog: pytest.LogCaptureFixture) -> None:
    """Of two sources of one registry, and of two readers."""
    registry = CollectorRegistry()
    for words in ("One.", "Two."):
        reader = PrometheusMetricReader(registry=registry, target_info_enabled=False)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter(words).create_counter("c", description=words).add(1)
    Counter("n_total", "N.", registry=registry).inc({})
    render(registry)
    [record] = caplog.records

    assert record.levelno == logging.WARNING
    assert "two help texts" in record.getMessage()
