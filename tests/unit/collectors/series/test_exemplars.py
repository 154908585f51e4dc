"""Exemplars of native collectors: passed with a measurement, or returned by a function."""

from __future__ import annotations

import logging
import math
import time
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client_model import read_delimited
from interruptions import OnceIn, at_every_call, together
from otel_aioprom.collectors import Counter, Histogram
from otel_aioprom.collectors.series.classic_histogram import Histogram as Store
from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.formats import BinaryFormatter, OpenMetricsFormatter
from otel_aioprom.registry import CollectorRegistry

E = {"trace_id": "abc"}
NATIVE: dict[str, Any] = {"native_bucket_factor": 1.1}


def exposed(collector: Any) -> dict[str, Any]:
    """Sample with its labels → labels of its exemplar, as a foreign parser reads OpenMetrics."""
    registry = CollectorRegistry()
    registry.register(collector)
    text = OpenMetricsFormatter().marshall(registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.exemplar is not None:
                found[f"{sample.name}{sample.labels.get('le', '')}"] = sample.exemplar
    return found


def test_a_counter_keeps_the_latest() -> None:
    """With its amount and its time, on the collector and on a bound child."""
    counter = Counter("c_total", "C.")
    before = time.time()
    counter.inc(exemplar={"trace_id": "first"})
    assert exposed(counter)["c_total"].labels == {"trace_id": "first"}
    counter.add({}, 2.5, exemplar={"trace_id": "second", "span_id": 7})
    found = exposed(counter)["c_total"]
    assert (found.labels, found.value) == ({"trace_id": "second", "span_id": "7"}, 2.5)
    assert before - 1e-3 <= float(found.timestamp) <= time.time() + 1e-3
    child = counter.labels()
    child.inc(exemplar={"trace_id": "third"})
    child.add(1)
    assert exposed(counter)["c_total"].labels == {"trace_id": "third"}
    assert counter.get() == 5.5


def test_a_histogram_keeps_one_for_each_bucket() -> None:
    """The latest whose value lies in it."""
    histogram = Histogram("h", "H.", buckets=[1, 2])
    child = histogram.labels()
    for value in (0.5, 1, 1.5, 7):
        child.observe(value, exemplar={"v": value})
    histogram.observe({}, 9, exemplar={"v": 9})
    histogram.observe({}, 0.1)
    found = exposed(histogram)

    assert {name: each.labels["v"] for name, each in found.items()} == {
        "h_bucket1.0": "1",
        "h_bucket2.0": "1.5",
        "h_bucket+Inf": "9",
    }
    assert histogram.get({})["count"] == 6


def native_exemplars(histogram: Histogram) -> Any:
    """Exemplars of the native buckets, as the protobuf runtime reads them."""
    registry = CollectorRegistry()
    registry.register(histogram)
    [family] = read_delimited(BinaryFormatter().marshall(registry))
    return family.metric[0].histogram


@pytest.mark.parametrize("buckets", [[1, 2], None])
def test_native_buckets_have_ten_in_the_order_of_time(buckets: Any) -> None:
    """In addition to those of the classic buckets, if any."""
    histogram = Histogram("h", "H.", buckets=buckets, **NATIVE)
    values = [512, 1, 256, 2, 128, 4, 64, 8, 32, 16]
    for value in values:
        histogram.observe({}, value, exemplar={"v": value})
    found = native_exemplars(histogram)

    assert [each.value for each in found.exemplars] == values
    assert all(each.timestamp.seconds for each in found.exemplars)
    assert [each.label[0].value for each in found.exemplars][-1] == "16"
    classic = [each.exemplar.value for each in found.bucket if each.HasField("exemplar")]
    assert classic == ([1, 2, 16] if buckets else [])


def test_rare_values_keep_their_exemplars() -> None:
    """However many frequent ones follow."""
    histogram = Histogram("h", "H.", buckets=None, **NATIVE)
    for value in (30, -2, 0, 1e-9, float("inf"), float("nan")):
        histogram.observe({}, value, exemplar=E)
    for number in range(1000):
        histogram.observe({}, 0.1 + number / 1e5, exemplar=E)
    found = [each.value for each in native_exemplars(histogram).exemplars]

    assert len(found) == 10
    assert {30, -2, 0, 1e-9, float("inf")} <= {*found}
    assert sum(math.isnan(value) for value in found) == 1
    assert found[-1] == 0.1 + 999 / 1e5  # the latest one is always kept


def test_a_reset_drops_exemplars() -> None:
    """Their observations do not count any more."""
    histogram = Histogram("h", "H.", native_max_buckets=2, native_min_reset_duration=1e-9, **NATIVE)
    child = histogram.labels()
    child.observe(1, exemplar=E)
    for value in (10, 100, 1000):
        child.observe(value)

    assert exposed(histogram) == {}
    assert child.read()[1].exemplars == ()  # type: ignore[union-attr]


def resetting() -> Histogram:
    """A histogram of 1 and 2 that is reset by the next distinct value."""
    options: dict[str, Any] = {"native_max_buckets": 2, "native_min_reset_duration": 1e-9}
    histogram = Histogram("h", "H.", buckets=[1], native_bucket_factor=2, **options)
    for value in (1, 2):
        histogram.observe({}, value, exemplar={"life": "old"})
    return histogram


def exemplars_of(histogram: Histogram) -> list[str]:
    """Labels of all exemplars: of classic buckets, and of native ones."""
    child = histogram.labels()
    native: Any = child.read()[1]
    every = [*(child.exemplars or ()), *native.exemplars]
    return [each.labels[0][1] for each in every if each is not None]


@pytest.mark.no_cover
@pytest.mark.parametrize("function", ["_keep", "reservoir"])
def test_exemplars_from_before_a_reset_are_dropped(function: str) -> None:
    """If a reset comes between an observation and its exemplar, both are dropped."""
    histogram = resetting()
    interruption = OnceIn(function, lambda: histogram.observe({}, 64, exemplar={"life": "new"}))
    with at_every_call(interruption):
        histogram.observe({}, 2, exemplar={"life": "late"})

    assert interruption.done
    assert histogram.get({})["count"] == 1
    assert exemplars_of(histogram) == ["new", "new"]


def test_the_exemplar_of_the_observation_that_resets_is_kept() -> None:
    """It is the first one after the reset."""
    histogram = resetting()
    histogram.observe({}, 64, exemplar={"life": "new"})

    assert exemplars_of(histogram) == ["new", "new"]


@pytest.mark.no_cover
def test_concurrent_exemplars_are_both_kept() -> None:
    """A thread that finds another exemplar meanwhile retries."""
    histogram = Histogram("h", "H.", buckets=[1], **NATIVE)
    child = histogram.labels()
    interruption = OnceIn("reservoir", lambda: child.observe(0.5, {"v": "inner"}))
    with at_every_call(interruption):
        child.observe(2, {"v": "outer"})

    assert interruption.done
    assert sorted(exemplars_of(histogram)) == ["inner", "inner", "outer", "outer"]


class Interrupted(list[Any]):
    """Calls a function while it is copied, as another thread could."""

    act: Callable[[], object] | None = None

    def __iter__(self) -> Any:
        act, self.act = self.act, None
        if act is not None:
            act()
        return super().__iter__()


def test_concurrent_exemplars_of_two_buckets_are_both_kept() -> None:
    """In a classic histogram too."""
    store = Store(1)
    store.exemplars = interrupted = Interrupted([None, None])
    interrupted.act = lambda: store.observe(0.5, {"v": "inner"})
    store.observe(2, {"v": "outer"})

    assert interrupted.act is None
    assert [each and each.labels for each in store.exemplars] == [
        (("v", "inner"),),
        (("v", "outer"),),
    ]


@pytest.mark.no_cover
def test_a_value_that_is_set_meanwhile_has_no_earlier_exemplar() -> None:
    """The observation of the exemplar was replaced."""
    histogram = Histogram("h", "H.", buckets=[1])
    child = histogram.labels()
    interruption = OnceIn("_keep", lambda: histogram.set_value({}, Store(1)))
    with at_every_call(interruption):
        child.observe(2, E)

    assert interruption.done
    assert (child.observations, child.exemplars) == (0, None)


def test_nan_has_an_exemplar_too() -> None:
    """In the last bucket."""
    histogram = Histogram("h", "H.", buckets=[1])
    histogram.observe({}, float("nan"), exemplar=E)
    native = Histogram("n", "N.", buckets=[1], **NATIVE)
    native.observe({}, float("nan"), exemplar=E)

    for each in (histogram, native):
        assert [one is None for one in each.labels().exemplars or ()] == [True, False]


def test_a_histogram_without_collector_keeps_them_too() -> None:
    """It is the base class of series."""
    store = Store(1, 2)
    assert store.exemplars is None
    store.observe(1.5, E)

    assert [one is None for one in store.exemplars or ()] == [True, False, True]


LONG = {"trace_id": "x" * 120, "y": ""}
CALLS: list[Callable[[Any], Any]] = [
    lambda e: Counter("c_total", "C.").inc(exemplar=e),
    lambda e: Counter("c_total", "C.").add({}, 1, exemplar=e),
    lambda e: Histogram("h", "H.").observe({}, 1, exemplar=e),
    lambda e: Histogram("h", "H.", **NATIVE).observe({}, 1, exemplar=e),
]


@pytest.mark.parametrize("call", CALLS)
def test_the_length_of_an_exemplar_is_limited(call: Callable[[Any], Any]) -> None:
    """128 code points, not bytes: names and values together."""
    call({"trace_id": "é" * 120})
    with pytest.raises(InvalidLabelsError, match="128 code points"):
        call(LONG)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", [{"a.b": "1"}, {"": "1"}, {"1a": "1"}, {"a b": "1"}])
def test_invalid_names_are_refused(call: Callable[[Any], Any], bad: Any) -> None:
    """As every parser does."""
    with pytest.raises(InvalidLabelsError):
        call(bad)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", ["abc", 7, [("a", "b")], True])
def test_what_is_no_mapping_is_refused(call: Callable[[Any], Any], bad: Any) -> None:
    """By a ``TypeError``."""
    with pytest.raises(TypeError, match="an exemplar must be a dict"):
        call(bad)


def test_what_is_refused_changes_nothing() -> None:
    """Neither a value nor the set of series."""
    counter, histogram = Counter("c_total", "C."), Histogram("h", "H.", **NATIVE)
    counter.inc(exemplar=E)
    histogram.observe({}, 1, exemplar=E)
    for labels in ({}, {"new": "1"}):
        with pytest.raises(InvalidLabelsError):
            counter.inc(labels, exemplar=LONG)
        with pytest.raises(ValueError, match="rises"):
            counter.add(labels, -1, exemplar=E)
        with pytest.raises(InvalidLabelsError):
            histogram.observe(labels, 3, exemplar=LONG)

    assert counter.get_all() == [({}, 1)]
    assert [value["count"] for _, value in histogram.get_all()] == [1]
    assert exposed(counter)["c_total"].labels == E


# --- exemplar functions ----------------------------------------------------------------------


def kinds(function: Any) -> list[Any]:
    """Bound children of every kind that has exemplars."""
    return [
        Counter("c_total", "C.", exemplars=function).labels(),
        Histogram("h", "H.", buckets=[1], exemplars=function).labels(),
        Histogram("n", "N.", exemplars=function, **NATIVE).labels(),
    ]


def measure(child: Any, **options: Any) -> None:
    """Record a one."""
    (child.add if hasattr(child, "inc") else child.observe)(1, **options)


def latest(child: Any) -> Any:
    """Labels of the exemplar."""
    if hasattr(child, "inc"):
        found = child.exemplar
    else:
        found = next((each for each in child.exemplars or () if each is not None), None)
    return None if found is None else dict(found.labels)


def test_an_exemplar_function_is_called_for_each_measurement() -> None:
    """An explicit exemplar takes precedence; ``None`` is no exemplar."""
    answers: list[Any] = []
    for child in kinds(answers.pop):
        answers[:] = [None, E]
        measure(child)
        assert latest(child) == E
        measure(child)
        assert latest(child) == E
        measure(child, exemplar={"mine": "1"})
        assert latest(child) == {"mine": "1"}
        assert answers == []


def test_inc_calls_the_exemplar_function_too() -> None:
    """As ``add`` does."""
    counter = Counter("c_total", "C.", exemplars=lambda: E)
    counter.inc()
    counter.labels().inc()

    assert counter.get() == 2
    assert exposed(counter)["c_total"].labels == E


class NamelessError(Exception):
    """An error whose ``repr`` fails."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


@pytest.mark.parametrize(
    "answer",
    ["abc", {"a.b": "1"}, LONG, KeyError("k"), NamelessError(), CancelledError(), GeneratorExit()],
)
def test_a_failing_exemplar_function_loses_no_measurement(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the exemplar is lost; the failure is logged once for each collector."""

    def ask() -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    for child in kinds(ask):
        caplog.clear()
        for _ in range(3):
            measure(child)
        assert latest(child) is None
        assert (child.get() if hasattr(child, "inc") else child.get()["count"]) == 3
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert "no exemplar" in record.getMessage()


def exiting() -> Any:
    """End the program."""
    raise SystemExit(1)


def test_an_exit_in_another_thread_loses_the_exemplar_only() -> None:
    """Only in the main thread it may come from a signal handler."""
    for child in kinds(exiting):
        together(lambda child=child: measure(child))
        assert (child.get() if hasattr(child, "inc") else child.get()["count"]) == 1


def test_an_exit_in_the_main_thread_propagates() -> None:
    """It ends the program."""
    for child in kinds(exiting):
        with pytest.raises(SystemExit):
            measure(child)


class Fleeting(dict[str, object]):
    """Labels that can be read once."""

    looks = 0

    def items(self) -> Any:
        """Return them, or fail."""
        self.looks += 1
        if self.looks > 1:
            raise RuntimeError("dictionary changed size during iteration")
        return super().items()


def test_labels_are_read_once() -> None:
    """Another thread may change them meanwhile."""
    for child in kinds(lambda: Fleeting(E)):
        measure(child)
        assert latest(child) == E
        measure(child, exemplar=Fleeting({"mine": "1"}))
        assert latest(child) == {"mine": "1"}


# --- values that are set ---------------------------------------------------------------------


@pytest.mark.parametrize(("value", "kept"), [(0, {}), (1, E), (2, E)])
def test_a_reset_of_a_counter_drops_its_exemplar(value: int, kept: dict[str, str]) -> None:
    """Its measurement does not count any more."""
    counter = Counter("c_total", "C.")
    counter.inc(exemplar=E)
    counter.set({}, value)

    assert {name: each.labels for name, each in exposed(counter).items()} == (
        {"c_total": kept} if kept else {}
    )


def test_set_value_of_a_histogram_replaces_its_exemplars() -> None:
    """And the start time if it has counted more before."""
    histogram = Histogram("h", "H.", buckets=[1])
    histogram.observe({}, 0.5, exemplar={"of": "old"})
    child = histogram.labels()
    child.created = 1.0
    store = Store(1)
    store.observe(7, {"of": "new"})
    histogram.set_value({}, store)
    found = {name: each.labels for name, each in exposed(histogram).items()}
    assert (found, child.created) == ({"h_bucket+Inf": {"of": "new"}}, 1.0)
    histogram.set_value({}, Store(1))

    assert exposed(histogram) == {}
    assert child.created > 1.0


def test_an_exemplar_function_must_be_callable() -> None:
    """At once."""
    for kind in (Counter, Histogram):
        with pytest.raises(TypeError, match="exemplars must be a function"):
            kind("x_total", "X.", exemplars=E)  # type: ignore[arg-type]


async def awaited() -> dict[str, str]:
    """Labels, later."""
    return E


@pytest.mark.parametrize("function", [awaited, partial(awaited)])
def test_a_coroutine_function_is_refused(function: Any) -> None:
    """At once, for a measurement never blocks."""
    for kind in (Counter, Histogram):
        with pytest.raises(TypeError, match="plain function"):
            kind("x_total", "X.", exemplars=function)


# --- the first measurement of a label set --------------------------------------------------------


class Counted:
    """An object that converts to another number each time, and in the end to none."""

    def __init__(self, *answers: float) -> None:
        self.answers = list(answers)

    def __float__(self) -> float:
        return self.answers.pop(0)


RECORDERS: list[Callable[..., Any]] = [
    Counter("c_total", "C.").add,
    Histogram("h", "H.", buckets=[1.5]).observe,
    Histogram("n", "N.", buckets=[1.5], **NATIVE).observe,
]


@pytest.mark.parametrize("record", RECORDERS)
def test_value_and_labels_of_the_first_measurement_are_read_once(
    record: Callable[..., Any],
) -> None:
    """The checked values are recorded."""
    labels = {"new": "1"}
    record(labels, Counted(1.0), exemplar=Fleeting(E))
    child = record.__self__.labels(labels)  # type: ignore[attr-defined]

    assert latest(child) == E
    assert (child.get() if hasattr(child, "inc") else child.sum) == 1.0


def test_an_exemplar_of_the_first_increment_is_read_once() -> None:
    """As with ``add``."""
    counter = Counter("c_total", "C.")
    counter.inc({"new": "1"}, exemplar=Fleeting(E))

    assert latest(counter.labels({"new": "1"})) == E
