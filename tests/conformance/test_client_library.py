"""What every client library should offer (E109, E110, E112, E116), as far as the API has it."""

from __future__ import annotations

import pytest

from otel_aioprom.collectors import DEFAULT_BUCKETS, Counter, Gauge, Histogram, Summary
from otel_aioprom.errors import DuplicateCollectorError, InvalidLabelsError
from otel_aioprom.registry import REGISTRY, CollectorRegistry
from otel_aioprom.renderer import render


def test_e109_a_collector_may_be_in_several_registries() -> None:
    """There is a default one, and a way around it; a description is required."""
    first, second = CollectorRegistry(), CollectorRegistry()
    counter = Counter("x_total", "What.")
    for registry in (first, second):
        registry.register(counter)
    counter.inc()

    assert render(first) == render(second)
    assert "x_total" not in {each.name for each in REGISTRY.get_all()}
    with pytest.raises(TypeError):
        Counter("y_total")  # type: ignore[call-arg]


def test_e110_methods_start_at_nought_and_counters_never_fall() -> None:
    """Nor are the labels of a collector's own samples to be had."""
    counter, gauge = Counter("c_total", ""), Gauge("g", "")
    counter.inc()
    gauge.dec()

    assert (counter.get(), gauge.get()) == (1, -1)
    with pytest.raises(ValueError, match="only rises"):
        counter.add({}, -1)
    for collector, label in ((Histogram("h", ""), "le"), (Summary("s", ""), "quantile")):
        with pytest.raises(InvalidLabelsError):
            collector.observe({label: "x"}, 1)


def test_e112_default_buckets() -> None:
    """Those of client_golang."""
    bounds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

    assert DEFAULT_BUCKETS[:-1] == bounds


@pytest.mark.parametrize("name", ["h", "h_bucket", "h_sum", "h_count"])
def test_e116_names_of_samples_are_reserved(name: str) -> None:
    """A second collector of such a name is refused."""
    registry = CollectorRegistry()
    Histogram("h", "", registry=registry)

    with pytest.raises(DuplicateCollectorError):
        Gauge(name, "", registry=registry)
