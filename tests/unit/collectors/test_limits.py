"""Series limits, and the number of series that recording sweeps."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clocks import ManualClock
from otel_aioprom.collectors import Collector, Counter, Enum, Gauge, Histogram, Info, Summary
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

OVERFLOW = {"otel_metric_overflow": "true"}


def record(metric: Any, labels: dict[str, object]) -> None:
    """Record something."""
    if isinstance(metric, Enum):
        metric.set(labels, "b")
    elif isinstance(metric, Info):
        metric.set(labels, {"fact": 1})
    elif hasattr(metric, "observe"):
        metric.observe(labels, 1)
    elif hasattr(metric, "inc"):
        metric.inc(labels)
    else:
        metric.set_value(labels, 1)


def make(kind: type[Any], **options: Any) -> Any:
    """A collector of any kind."""
    arguments: list[Any] = [["a", "b"]] if kind is Enum else []
    return kind("x", "X.", *arguments, **options)


KINDS = [Collector, Counter, Gauge, Histogram, Summary, Info, Enum]


def names(metric: Any) -> list[dict[str, str]]:
    """Its label sets."""
    return [labels for labels, _ in metric.get_all()]


@pytest.mark.parametrize("kind", KINDS)
def test_series_beyond_the_limit_overflow(kind: type[Any]) -> None:
    """Into one overflow series, if they add up; existing series are not affected."""
    metric = make(kind, max_series=2)
    for number in (1, 2, 3, 1, 4):
        record(metric, {"n": number})

    overflow = [] if kind in (Collector, Info, Enum) else [OVERFLOW]
    assert names(metric) == [{"n": "1"}, {"n": "2"}, *overflow]
    assert metric.count_overflows() == 2


def test_overflowing_measurements_are_summed() -> None:
    """Only their labels are lost; a slot that is released is used again."""
    counter = Counter("x_total", "X.", max_series=1)
    for number in range(10):
        counter.inc({"n": number})
    assert (counter.get({"n": 0}), counter.get(OVERFLOW)) == (1, 9)
    counter.clear()
    counter.inc({"n": 7})
    assert names(counter) == [{"n": "7"}]


def test_another_spelling_is_no_other_series() -> None:
    """Of one that exists."""
    counter = Counter("x_total", "X.", {"app": "a"}, max_series=1)
    counter.inc({"b": 1, "a": "2"})
    counter.inc({"a": 2, "b": "1", "c": ""})
    counter.inc({"a": 2, "b": "1", "app": "a"})

    assert counter.get({"a": 2, "b": 1}) == 3


def test_a_limit_is_exact_with_threads() -> None:
    """However many create series at once."""
    counter = Counter("x_total", "X.", max_series=50)
    barrier = threading.Barrier(8)

    def work(first: int) -> None:
        barrier.wait()
        for number in range(200):
            counter.inc({"n": (first * 7 + number) % 300})

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(names(counter)) == 51
    assert sum(value for _, value in counter.get_all()) == 1600


def test_a_registry_limits_its_collectors_together() -> None:
    """In addition to their own limits; a deregistered collector releases its slots."""
    registry = CollectorRegistry(max_series=3)
    first = Counter("a_total", "A.", registry=registry)
    second = Gauge("b", "B.", registry=registry)
    first.inc({"n": 1})
    first.inc({"n": 2})
    second.inc({"n": 1})
    second.inc({"n": 2})
    first.inc({"n": 3})
    assert (names(first)[2:], names(second)) == ([OVERFLOW], [{"n": "1"}, OVERFLOW])
    registry.deregister("a_total")
    second.inc({"n": 3})
    first.inc({"n": 4})
    assert names(second) == [{"n": "1"}, {"n": "3"}, OVERFLOW]
    assert {"n": "4"} in names(first)


def test_overflows_are_counted() -> None:
    """By metric, in the registry's own metrics."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "X.", max_series=1, registry=registry)
    for number in range(4):
        counter.inc({"n": number})

    text = render(registry)[0].decode()
    assert 'otel_aioprom_series_overflows_total{metric="x_total"} 3\n' in text


def test_many_series_are_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the label with the most values; with a limit there is none."""
    monkeypatch.setattr("otel_aioprom.collectors.series.limits.MANY", 20)
    free, limited = Counter("x_total", "X."), Counter("y_total", "Y.", max_series=1000)
    for number in range(60):
        for metric in (free, limited):
            metric.inc({"code": number % 3, "user": number})

    [message] = caplog.messages
    assert message.startswith("x_total has 20 series: its label 'user' has 20 values")


def test_many_series_are_logged_once_though_sets_are_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Repeatedly, as by a refresh."""
    monkeypatch.setattr("otel_aioprom.collectors.series.limits.MANY", 20)
    counter = Counter("x_total", "X.", {"app": "a"})
    for turn in range(3):
        with counter.replace() as fresh:
            for number in range(30):
                fresh.inc({"code": turn, "user": number})

    [message] = caplog.messages
    assert "its label 'user' has 20 values" in message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_series": 0}, ValueError),
        ({"max_series": 1.5}, TypeError),
        ({"max_series": True}, TypeError),
    ],
)
def test_invalid_limits_are_refused(options: Any, error: type[Exception]) -> None:
    """The error names the option."""
    with pytest.raises(error, match=next(iter(options))):
        Counter("x_total", "X.", **options)


# --- expiry ----------------------------------------------------------------------------------


def test_creating_a_series_sweeps_a_hundred_others(clock: ManualClock) -> None:
    """So that recording does not block the event loop; in the end all of them, and then none for a while."""
    counter = Counter("x_total", "X.", expire_after=60)
    for number in range(1000):
        counter.inc({"n": number})
    counter._store.sweep()
    clock.now += 61
    left = []
    for number in range(12):
        counter.inc({"new": number})
        left.append(sum("n" in labels for labels in names(counter)))

    assert left == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, 0, 0]


def test_collectors_without_expiry_have_no_hooks() -> None:
    """And their series track nothing."""
    counter = Counter("x_total", "X.")
    assert counter.pre_collect_hooks() == []
    assert not hasattr(counter.labels(), "recorded")
