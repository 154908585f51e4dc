"""Resets of native histograms with reduced resolution (E77), and which readers expose them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from client_model import read_delimited
from clocks import ManualTime
from interruptions import OnceIn, at_every_call
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Histogram
from otel_aioprom.collectors.series import native_histogram
from otel_aioprom.formats import BinaryFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.merge import merge_families, merge_pair
from otel_aioprom.registry.validation import well_formed
from otel_aioprom.remote_write.encoder import WriteEncoder
from otel_aioprom.renderer import render

T = 1_700_000_000_000
OPTIONS: dict[str, Any] = {"buckets": [1], "native_bucket_factor": 2, "native_max_buckets": 2}


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> Histogram:
    """A histogram of 1, 2 and 4 with reduced resolution, whose reset is due."""
    clock = ManualTime()
    monkeypatch.setattr(native_histogram, "time", clock)
    histogram = Histogram("h", "H.", **OPTIONS)
    for value in (1, 2, 4):
        histogram.observe({}, value)
    clock.now += 3600
    return histogram


def count(histogram: Histogram) -> int:
    """Number of observations."""
    return histogram.labels({}).observations


def respond(*families: MetricFamily) -> list[Any]:
    """The histograms of a protobuf response."""
    formatter = BinaryFormatter(False)
    ready, _ = formatter.prepare(families)
    read = read_delimited(b"".join(formatter.encode(ready)))
    return [metric.histogram for family in read for metric in family.metric]


def write(histogram: Histogram, **options: Any) -> None:
    """Remote-write it."""
    list(WriteEncoder("2.0", **options).messages([histogram.family()], T))


def text(histogram: Histogram) -> None:
    """Encode it as text."""
    registry = CollectorRegistry()
    registry.register(histogram)
    render(registry)
    render(registry, ["application/openmetrics-text;version=1.0.0"])


def one_of(*values: float) -> Histogram:
    """Another histogram with some values."""
    histogram = Histogram("h", "H.", **OPTIONS)
    for value in values:
        histogram.observe({}, value)
    return histogram


def colliding(histogram: Histogram) -> MetricFamily:
    """A family in which two escaped label names collide."""
    first = one_of(5).labels({}).renamed(("a.b",), ("1",), '{"a.b"="1"} ')
    second = one_of(5).labels({}).renamed(("a_b",), ("1",), '{a_b="1"} ')
    return replace(
        histogram.family(), series=[*histogram.family().series, first, second], utf8=True
    )


LOOKS: list[Callable[[Histogram], object]] = [
    text,
    lambda histogram: histogram.labels({}).read(),
    lambda histogram: histogram.get({}),
    lambda histogram: well_formed(histogram.family(), []),
    lambda histogram: merge_pair(histogram.labels({}), histogram.labels({})),
    lambda histogram: histogram.labels({}).renamed((), (), " "),
    lambda histogram: write(histogram, native_histograms=False),
]
SHOWS: list[Callable[[Histogram], object]] = [
    lambda histogram: respond(histogram.family()),
    lambda histogram: respond(replace(histogram.family(), name="h.h", utf8=True)),
    lambda histogram: respond(colliding(histogram)),
    lambda histogram: respond(*merge_families([histogram.family(), one_of(5).family()], {})[0]),
    write,
]


@pytest.mark.parametrize("look", LOOKS)
def test_e77_only_reading_a_histogram_exposes_nothing(
    coarse: Histogram, look: Callable[[Histogram], object]
) -> None:
    """The next observation is added to the others, which no server has seen."""
    look(coarse)
    coarse.observe({}, 1)

    assert count(coarse) == 4


@pytest.mark.parametrize("show", SHOWS)
def test_e77_encoding_native_buckets_exposes_them(
    coarse: Histogram, show: Callable[[Histogram], object]
) -> None:
    """So that the next observation resets."""
    show(coarse)
    assert count(coarse) == 3
    coarse.observe({}, 1)

    assert count(coarse) == 1


def test_e77_a_series_that_is_not_sent_is_not_exposed(coarse: Histogram) -> None:
    """Remote write drops the duplicate of a name and labels."""
    every = [one_of(1).family(), coarse.family()]
    messages = list(WriteEncoder("2.0").messages(every, T))
    coarse.observe({}, 1)

    assert any(messages)
    assert count(coarse) == 4


def test_e77_a_reading_from_before_a_reset_exposes_nothing(coarse: Histogram) -> None:
    """An equal number of later observations are others, which no server has seen."""
    coarse.labels({}).mark_exposed(3, 1.0)
    coarse.observe({}, 1)

    assert count(coarse) == 4


def test_e77_nan_does_not_reset(coarse: Histogram) -> None:
    """It has no bucket; the others wait for another response."""
    respond(coarse.family())
    coarse.observe({}, math.nan)
    coarse.observe({}, 1)
    assert count(coarse) == 5
    respond(coarse.family())
    coarse.observe({}, 1)

    assert count(coarse) == 1


@pytest.mark.no_cover
@pytest.mark.parametrize(("other", "observed"), [(8, 2), (math.nan, 5)])
def test_e77_an_observation_during_a_reset_is_counted(
    coarse: Histogram, other: float, observed: int
) -> None:
    """After the reset if it was faster to reset, else both are added without a reset."""
    respond(coarse.family())
    interruption = OnceIn("_fresh", lambda: coarse.observe({}, other))
    with at_every_call(interruption):
        coarse.observe({}, 2)

    assert interruption.done
    assert count(coarse) == observed
