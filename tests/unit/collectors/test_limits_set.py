"""Values that are set beyond a series limit: none is exposed, rather than the last one as if it were all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import Collector, Counter, Enum, Gauge, Histogram, Info, StateSet
from otel_aioprom.histogram import Histogram as HistogramStore
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

OVERFLOW = {"otel_metric_overflow": "true"}


def store_of(*values: float) -> HistogramStore:
    """A histogram without a collector."""
    store = HistogramStore(1.0)
    for value in values:
        store.observe(value)
    return store


SETS: dict[str, tuple[Callable[[], Any], Callable[[Any, dict[str, Any]], Any]]] = {
    "untyped": (
        lambda: Collector("x", "What.", max_series=1),
        lambda metric, labels: metric.set_value(labels, 7),
    ),
    "counter": (
        lambda: Counter("x_total", "What.", max_series=1),
        lambda metric, labels: metric.set(labels, 7),
    ),
    "gauge": (
        lambda: Gauge("x", "What.", max_series=1),
        lambda metric, labels: metric.set(labels, 7),
    ),
    "bound gauge": (
        lambda: Gauge("x", "What.", max_series=1),
        lambda metric, labels: metric.labels(labels).set(7),
    ),
    "current time": (
        lambda: Gauge("x", "What.", max_series=1),
        lambda metric, labels: metric.set_to_current_time(labels),
    ),
    "duration": (
        lambda: Gauge("x", "What.", max_series=1),
        lambda metric, labels: metric.time(labels)(lambda: None)(),
    ),
    "expiring gauge": (
        lambda: Gauge("x", "What.", max_series=1, expire_after=60),
        lambda metric, labels: metric.set(labels, 7),
    ),
    "constant labels": (
        lambda: Gauge("x", "What.", {"app": "shop"}, max_series=1),
        lambda metric, labels: metric.set(labels, 7),
    ),
    "histogram": (
        lambda: Histogram("x", "What.", buckets=[1.0], max_series=1),
        lambda metric, labels: metric.set_value(labels, store_of(0.5)),
    ),
    "info": (
        lambda: Info("x", "What.", max_series=1),
        lambda metric, labels: metric.set(labels, {"fact": 1}),
    ),
    "states": (
        lambda: StateSet("x", "What.", ["a", "b"], max_series=1),
        lambda metric, labels: metric.set(labels, "a"),
    ),
    "enum": (
        lambda: Enum("x", "What.", ["a", "b"], max_series=1),
        lambda metric, labels: metric.set(labels, "b"),
    ),
}


def exposed(metric: Any) -> list[dict[str, str]]:
    """Label sets of what is exposed, without constant labels."""
    return [labels for labels, _ in metric.get_all()]


@pytest.mark.parametrize(("make", "put"), SETS.values(), ids=SETS)
def test_values_set_beyond_the_limit_are_not_exposed(
    make: Callable[[], Any],
    put: Callable[[Any, dict[str, Any]], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the last one nor another; they are counted, and logged once with what to do."""
    metric = make()
    registry = CollectorRegistry()
    registry.register(metric)
    for _ in range(3):
        for number in range(4):
            put(metric, {"n": number})
        assert exposed(metric) == [{"n": "0"}]
        text = render(registry)[0].decode()
        assert "otel_metric_overflow" not in text

    name = metric.name
    assert f'otel_aioprom_series_overflows_total{{metric="{name}"}} 9' in text
    assert metric.count_overflows() == 9
    (record,) = caplog.records
    assert "max_series=" in record.message
    metric.clear()
    put(metric, {"n": 5})
    assert exposed(metric) == [{"n": "5"}]


def test_amounts_beyond_the_limit_still_add_up() -> None:
    """Of a gauge too, whose blocks in progress are counted up and down."""
    gauge = Gauge("x", "What.", max_series=1)
    for number in range(4):
        gauge.inc({"n": number})
    gauge.add({"n": 9}, 2.5)
    gauge.sub({"n": 8}, 0.5)
    with gauge.track_inprogress({"n": 7}):
        assert gauge.get(OVERFLOW) == 6
    assert gauge.get(OVERFLOW) == 5
    bound = gauge.labels({"n": 6})
    gauge.set({"n": 5}, 100)  # from here on, nobody knows the sum
    bound.inc()
    gauge.inc({"n": 4})

    assert exposed(gauge) == [{"n": "0"}]


def test_callbacks_beyond_the_limit_are_not_exposed() -> None:
    """Each would overwrite the one before."""
    registry = CollectorRegistry()
    gauge = Gauge("x", "What.", max_series=1, registry=registry)
    for number in range(3):
        gauge.set_function({"n": number}, lambda number=number: number)
    text = [render(registry)[0].decode() for _ in range(2)][-1]

    assert 'x{n="0"} 0' in text
    assert "otel_metric_overflow" not in text


def test_a_free_slot_is_used_again_after_that() -> None:
    """And what a new set of series holds does not depend on the old one."""
    gauge = Gauge("x", "What.", max_series=1)
    for number in range(3):
        gauge.set({"n": number}, 1)
    gauge.remove({"n": 0})
    gauge.set({"n": 2}, 5)
    assert gauge.get_all() == [({"n": "2"}, 5)]
    with gauge.replace() as fresh:
        fresh.inc({"n": 1})
        fresh.inc({"n": 2})
    assert gauge.get_all() == [({"n": "1"}, 1), (OVERFLOW, 1)]


def test_a_bound_child_beyond_the_limit_stays_hidden_when_it_is_revived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Expiry must not bring it back."""
    clock = ManualClock()
    monkeypatch.setattr("otel_aioprom.collectors.series.expiry.monotonic", clock)
    registry = CollectorRegistry()
    gauge = Gauge("x", "What.", max_series=1, expire_after=60, registry=registry)
    gauge.inc({"n": 0})
    child = gauge.labels({"n": 1})
    child.inc()
    for _ in range(2):
        render(registry)
        clock.now += 100
    render(registry)
    child.set(3)
    child.inc()

    assert exposed(gauge) == []
    assert b"otel_metric_overflow" not in render(registry)[0]


def test_the_overflow_labels_of_user_code_are_a_label_set() -> None:
    """A value set for them by name is that of another exporter's overflow series: it is exposed."""
    registry = CollectorRegistry()
    gauge = Gauge("x", "What.", registry=registry)
    gauge.set(OVERFLOW, 4)
    gauge.labels(OVERFLOW).set(5)

    assert b'x{otel_metric_overflow="true"} 5\n' in render(registry)[0]
