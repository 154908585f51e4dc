"""The mapping end to end: a real SDK provider, a reader, and parsed responses.

Every response is read by the parser of prometheus_client, which also compares numbers as
numbers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.view import (
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

DEADLINE = 30.0
SDK = tuple(int(part) for part in version("opentelemetry-sdk").split(".")[:2])
THOROUGH_SDK = (1, 45)
"""From this version on the SDK keeps gauges, accepts lists as attribute values and tolerates invalid data."""
DROPPED = "otel_aioprom_dropped_total"
LABEL_CONFLICTS = "otel_aioprom_label_conflicts_total"
CUMULATIVE = export.AggregationTemporality.CUMULATIVE
DELTA = export.AggregationTemporality.DELTA
SHOP = {"service.name": "shop"}


@dataclass(frozen=True)
class Page:
    """One parsed response.

    Attributes:
        text: The body.
        samples: Value of each sample by name and labels, ``c_total{a="1",b="2"}``: labels sorted,
            the empty ones left out, bounds in their shortest form. The library's own metric of
            what was left out is not among them.
        dropped: How many things were left out so far, by cause.
        types: Type by name, as the TYPE lines have them.
        helps: Description by name, as the parser reads the HELP lines.
    """

    text: str
    samples: dict[str, float]
    types: dict[str, str]
    helps: dict[str, str]
    dropped: dict[str, float]

    def named(self, name: str) -> dict[str, float]:
        """Samples of exactly this name."""
        return {key: value for key, value in self.samples.items() if key.partition("{")[0] == name}


def sample_key(sample: Sample) -> str:
    """Name and labels of a sample as ``Page.samples`` has them."""
    labels = {name: value for name, value in sample.labels.items() if value}
    if sample.name.endswith("_bucket"):
        labels["le"] = f"{float(labels['le']):g}".replace("inf", "+Inf")
    text = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{sample.name}{{{text}}}" if text else sample.name


def read(body: bytes) -> Page:
    """Parse a response, and fail for anything that a server would reject."""
    text = body.decode()
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    values = {sample_key(sample): sample.value for sample in samples}
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    described = re.findall(r"^# HELP (\S+) ", text, re.MULTILINE)

    assert len(values) == len(samples), f"a series twice:\n{text}"
    assert len(dict(types)) == len(types) == len(families), f"a family twice:\n{text}"
    assert len(set(described)) == len(described), f"two descriptions:\n{text}"
    assert all(sample.timestamp is None for sample in samples)
    helps = {family.name: family.documentation for family in families}
    of_causes = {key: value for key, value in values.items() if key.startswith(DROPPED)}
    return Page(
        text,
        samples={
            key: value
            for key, value in values.items()
            if key not in of_causes and key != LABEL_CONFLICTS
        },
        types={name: kind for name, kind in types if name not in (DROPPED, LABEL_CONFLICTS)},
        helps=helps,
        dropped={key.split('"')[1]: value for key, value in of_causes.items()},
    )


def scrape(registry: CollectorRegistry) -> Page:
    """Render a registry as for a request without an Accept header."""
    body, _ = render(registry)
    return read(body)


class Rig:
    """A provider whose one reader fills a registry of its own."""

    def __init__(
        self,
        *,
        resource: dict[str, Any] | None = None,
        views: Sequence[View] = (),
        registry: CollectorRegistry | None = None,
        **options: Any,
    ) -> None:
        off = {"scope_info_enabled": False, "target_info_enabled": False}
        self.registry = CollectorRegistry() if registry is None else registry
        self.reader = PrometheusMetricReader(registry=self.registry, **{**off, **options})
        self.provider = sdk.MeterProvider(
            metric_readers=[self.reader],
            resource=Resource.create({}) if resource is None else Resource(resource),
            views=views,
            shutdown_on_exit=False,
        )

    def meter(self, name: str = "lib", **details: Any) -> Meter:
        """Get a meter of the provider."""
        return self.provider.get_meter(name, **details)

    def scrape(self) -> Page:
        """Render the registry."""
        return scrape(self.registry)

    def samples(self) -> dict[str, float]:
        """Samples of a new response."""
        return self.scrape().samples


def observing(*rounds: Iterable[tuple[float, dict[str, Any]]]) -> Callable[[CallbackOptions], Any]:
    """Return a callback that observes the next round at each call, and the last one from then on."""
    left = list(rounds)

    def callback(_: CallbackOptions) -> list[Observation]:
        current = left.pop(0) if len(left) > 1 else left[0]
        return [Observation(value, labels) for value, labels in current]

    return callback


def number_point(value: float, attributes: dict[str, Any] | None = None) -> export.NumberDataPoint:
    """A point as the SDK creates them."""
    return export.NumberDataPoint(attributes or {}, 1, 2, value)


def metric(name: str, data: Any, unit: str = "") -> export.Metric:
    """A metric as the SDK creates them."""
    return export.Metric(name, "", unit, data)


def hand_over(
    reader: PrometheusMetricReader, *metrics: export.Metric, resource: dict[str, Any] | None = None
) -> None:
    """Let the reader's next collections yield these metrics, which no instrument can produce."""
    scope, origin = InstrumentationScope("lib"), Resource(resource or {})

    def collect(*_: Any, **__: Any) -> export.MetricsData:
        # New ones each time, as from the SDK, because the receiver may consume the data.
        scopes = [export.ScopeMetrics(scope, deepcopy(list(metrics)), "")]
        return export.MetricsData([export.ResourceMetrics(origin, scopes, "")])

    reader._set_collect_callback(collect)


def histogram_point(**changes: Any) -> export.HistogramDataPoint:
    """A point of three observations around the bound 1, with changes."""
    point: dict[str, Any] = {
        "attributes": {},
        "start_time_unix_nano": 1,
        "time_unix_nano": 2,
        "count": 3,
        "sum": 6.0,
        "bucket_counts": (1, 2),
        "explicit_bounds": (1.0,),
        "min": 0.5,
        "max": 3.0,
    }
    return export.HistogramDataPoint(**{**point, **changes})


def warnings_about(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """Log messages of the library, warnings or worse, that contain a name."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("otel_aioprom")
        and record.levelno >= logging.WARNING
        and name in record.getMessage()
    ]


def refuse(key: str, error: Exception) -> None:
    """An error callback for tests in which no attribute may be dropped."""
    raise AssertionError(key) from error
