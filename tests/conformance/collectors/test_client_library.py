"""Requirements for client libraries (E109 to E112, E114, E116)."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import FrameType
from typing import Any

import pytest

from clocks import ManualClock
from interruptions import DEADLINE, at_every_call, switching, together
from oracles import sample_lines
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import (
    DEFAULT_BUCKETS,
    Collector,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StateSet,
    Summary,
    context_managers,
)
from otel_aioprom.collectors.series.classic_histogram import Histogram as HistogramStore
from otel_aioprom.errors import DuplicateCollectorError, InvalidLabelsError
from otel_aioprom.histogram import (
    exponential_buckets,
    exponentialBuckets,
    linear_buckets,
    linearBuckets,
)
from otel_aioprom.instrument.process import process_metrics
from otel_aioprom.registry import REGISTRY, CollectorRegistry
from otel_aioprom.renderer import render

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
EVERY_KIND: list[Callable[..., Collector[Any]]] = [
    Collector,
    Counter,
    Gauge,
    Histogram,
    Summary,
    Info,
    lambda name, *doc, **options: StateSet(name, *doc, states=["a"], **options),
    lambda name, *doc, **options: Enum(name, *doc, states=["a"], **options),
]


def samples(registry: CollectorRegistry, accept: str = "text/plain") -> list[str]:
    """The samples of a response, without the library's own."""
    body, _ = render(registry, [accept])
    return [line for line in sample_lines(body.decode()) if not line.startswith("otel_aioprom_")]


# --- E109: collectors and registries ---------------------------------------------------------


def test_e109_a_collector_may_be_in_several_registries() -> None:
    """Both expose its series."""
    first, second = CollectorRegistry(), CollectorRegistry()
    counter = Counter("x_total", "What.")
    for registry in (first, second):
        registry.register(counter)
    counter.inc()

    assert samples(first) == samples(second) == ["x_total 1"]


def test_e109_a_collector_can_be_unregistered(registry: CollectorRegistry) -> None:
    """It is no longer exposed, and its name is free; its other registry still exposes it."""
    other = CollectorRegistry()
    gauge = Gauge("x", "What.", registry=registry)
    other.register(gauge)
    gauge.set({}, 1)
    registry.deregister("x")

    assert samples(registry) == []
    assert samples(other) == ["x 1"]
    Gauge("x", "What else.", registry=registry).set({}, 2)
    assert samples(registry) == ["x 2"]
    with pytest.raises(KeyError):
        registry.deregister("y")


def test_e109_there_is_a_default_registry_and_a_way_around_it() -> None:
    """Only collectors that are registered there explicitly are in it."""
    Counter("around_total", "What.").inc()
    Counter("elsewhere_total", "What.", registry=CollectorRegistry()).inc()
    inside = Gauge("inside", "What.", registry=REGISTRY)
    try:
        inside.set({}, 1)

        assert [each for each in REGISTRY.get_all() if each.name == "inside"] == [inside]
        assert "inside 1" in samples(REGISTRY)
        assert not [line for line in samples(REGISTRY) if line.startswith(("around", "elsewhere"))]
    finally:
        REGISTRY.deregister("inside")


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_e109_help_is_required(kind: Callable[..., Collector[Any]]) -> None:
    """For every kind; an empty string must be explicit."""
    with pytest.raises(TypeError, match="doc"):
        kind("x")
    with pytest.raises(TypeError, match="doc"):
        kind("x", None)

    assert kind("x", "").doc == ""


def test_e109_registries_are_safe_for_threads() -> None:
    """Of many threads that register one name, one succeeds; no other name is lost, and responses are complete."""
    registry = CollectorRegistry()
    refused: list[str] = []

    def work(mine: str) -> None:
        for number in range(30):
            Gauge(f"{mine}{number}", "What.", registry=registry).set({}, 1)
            try:
                Gauge(f"shared{number}", "What.", registry=registry).set({}, 1)
            except DuplicateCollectorError:
                refused.append(mine)
            render(registry)
            registry.deregister(f"{mine}{number}")
            Gauge(f"{mine}{number}", "What.", registry=registry).set({}, 2)

    with switching():
        together(*[lambda mine=mine: work(mine) for mine in ("a", "b", "c")])  # type: ignore[misc]

    assert len(refused) == 2 * 30
    own = [f"{mine}{number} 2" for mine in ("a", "b", "c") for number in range(30)]
    assert sorted(samples(registry)) == sorted([*own, *(f"shared{n} 1" for n in range(30))])


def test_e109_of_two_threads_that_register_one_name_one_succeeds() -> None:
    """At whatever step of the one the other thread registers."""
    for step in count():
        registry = CollectorRegistry()
        succeeded: list[str] = []
        steps = count()

        def register(who: str) -> None:
            with suppress(DuplicateCollectorError):
                Gauge("x", "What.", registry=registry)  # noqa: B023 - used before the next step
                succeeded.append(who)  # noqa: B023

        other = threading.Thread(target=register, args=("other",), daemon=True)

        def interrupt(frame: FrameType, _event: str) -> None:
            if frame.f_code.co_name == "register" and next(steps) == step:  # noqa: B023
                other.start()  # noqa: B023
                other.join(0.05)  # noqa: B023 - it may have to wait for this one

        with at_every_call(interrupt):
            register("first")
        if other.ident is None:
            break
        other.join(DEADLINE)

        assert not other.is_alive()
        assert len(succeeded) == 1
    assert step > 5


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: Counter("x_total", "What.").labels(), lambda child: child.get()),
        (lambda: Gauge("x", "What.").labels(), lambda child: child.get()),
        (lambda: Histogram("x", "What.").labels(), lambda child: child.get()["count"]),
        (lambda: Summary("x", "What.").labels(), lambda child: child.get()["count"]),
    ],
    ids=["counter", "gauge", "histogram", "summary"],
)
def test_e109_collectors_are_safe_for_threads(
    make: Callable[[], Any], value: Callable[[Any], float]
) -> None:
    """No update is lost."""
    child = make()
    record = getattr(child, "inc", None) or (lambda: child.observe(1))

    def work() -> None:
        for _ in range(5000):
            record()

    with switching():
        together(*[work] * 4)

    assert value(child) == 4 * 5000


# --- E110: the kinds -------------------------------------------------------------------------


def test_e110_a_counter_starts_at_zero_and_never_falls(registry: CollectorRegistry) -> None:
    """It rises by one, or by an amount that is checked."""
    counter = Counter("c_total", "What.", registry=registry)
    child = counter.labels()
    assert (child.get(), samples(registry)) == (0, ["c_total 0"])
    counter.inc()
    counter.add({}, 2.5)
    counter.add({}, 0)
    for bad in (-1, -0.001, -math.inf):
        with pytest.raises(ValueError, match="only rises"):
            counter.add({}, bad)
        with pytest.raises(ValueError, match="only rises"):
            child.add(bad)

    assert counter.get() == 3.5


def test_e110_an_amount_that_is_refused_creates_no_series() -> None:
    """For a new label set."""
    counter = Counter("c_total", "What.")
    with pytest.raises(ValueError, match="only rises"):
        counter.add({"a": "1"}, -1)

    assert counter.get_all() == []


def test_e110_a_gauge_starts_at_zero_and_goes_both_ways(registry: CollectorRegistry) -> None:
    """By one or by an amount, and it can be set."""
    gauge = Gauge("g", "What.", registry=registry)
    assert (gauge.labels().get(), samples(registry)) == (0, ["g 0"])
    gauge.inc()
    assert gauge.get() == 1
    for _ in range(3):
        gauge.dec()
    assert gauge.get() == -2
    gauge.add({}, 5)
    gauge.sub({}, 0.5)
    assert gauge.get() == 2.5
    gauge.set({}, -7)
    assert gauge.get() == -7


def test_e110_a_gauge_can_be_set_to_the_current_time() -> None:
    """In seconds since the epoch."""
    gauge = Gauge("last_run_timestamp_seconds", "When it ran last.")
    before = time.time()
    gauge.set_to_current_time({"job_name": "backup"})

    assert before <= gauge.get({"job_name": "backup"}) <= time.time()


def test_e110_a_gauge_tracks_what_is_in_progress() -> None:
    """Up at the beginning, down at the end."""
    gauge = Gauge("busy", "What.")
    with gauge.track_inprogress():
        assert gauge.get() == 1

    assert gauge.get() == 0


def test_e110_exceptions_can_be_counted() -> None:
    """All that leave a block, or those of some classes."""
    counter = Counter("failures_total", "What.")
    for types in (Exception, (ValueError, LookupError)):
        with pytest.raises(KeyError), counter.count_exceptions({}, types):
            raise KeyError
    with pytest.raises(KeyError), counter.count_exceptions({}, OSError):
        raise KeyError

    assert counter.get() == 2


@pytest.mark.parametrize(
    "measure",
    [
        lambda: Histogram("x", "What.", buckets=[1]),
        lambda: Summary("x", "What.", invariants=[]),
        lambda: Gauge("x", "What."),
    ],
    ids=["histogram", "summary", "gauge"],
)
def test_e110_times_are_in_seconds(
    measure: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in other units that a clock may have."""
    clock = ManualClock(1e6)
    monkeypatch.setattr(context_managers, "perf_counter", clock)
    metric = measure()
    with metric.time():
        clock.now += 1.75

    found = metric.get()
    assert (found if isinstance(metric, Gauge) else found["sum"]) == 1.75


def test_e110_a_summary_without_invariants_has_no_quantiles(registry: CollectorRegistry) -> None:
    """But count and sum."""
    summary = Summary("s", "What.", invariants=[], registry=registry)
    summary.observe({}, 3)
    summary.observe({}, 4)

    assert summary.get() == {"count": 2, "sum": 7}
    assert sorted(samples(registry)) == ["s_count 2", "s_sum 7"]


@pytest.mark.parametrize(("kind", "label"), [(Histogram, "le"), (Summary, "quantile")])
def test_e110_the_label_of_a_kind_s_own_samples_is_refused(kind: type[Any], label: str) -> None:
    """In calls, in ``labels`` and among constant labels; other kinds may have it."""
    collector = kind("x", "What.")
    with pytest.raises(InvalidLabelsError):
        collector.observe({label: "1"}, 1)
    with pytest.raises(InvalidLabelsError):
        collector.labels({"a": "1", label: "1"})
    with pytest.raises(InvalidLabelsError):
        collector.time({label: "1"})
    with pytest.raises(InvalidLabelsError):
        kind("x", "What.", {label: "1"})

    assert collector.get_all() == []
    gauge = Gauge("g", "What.")
    gauge.set({label: "1"}, 1)
    assert gauge.get({label: "1"}) == 1


def test_e110_buckets_can_be_chosen_and_are_fixed_from_then_on() -> None:
    """Later changes of the list do not matter; a histogram with other bounds is refused."""
    bounds: list[float] = [1, 2]
    histogram = Histogram("h", "What.", buckets=bounds)
    histogram.observe({"a": "before"}, 1.5)
    bounds[:] = [10, 20, 30]
    histogram.observe({"a": "after"}, 1.5)

    wanted = {1.0: 0, 2.0: 1, math.inf: 1, "count": 1, "sum": 1.5}
    assert histogram.get({"a": "before"}) == histogram.get({"a": "after"}) == wanted
    with pytest.raises(TypeError, match="bounds"):
        histogram.set_value({"a": "before"}, HistogramStore(10, 20, 30))
    assert histogram.get({"a": "before"}) == wanted
    with pytest.raises(TypeError):
        histogram.upper_bounds[0] = 5  # type: ignore[index]


@pytest.mark.parametrize("make", [linear_buckets, linearBuckets])
def test_e110_buckets_can_be_linear(make: Callable[..., list[float]]) -> None:
    """``count`` bounds, without the infinite one, which the histogram adds. Spec: N11."""
    bounds = make(0.5, 0.25, 3)

    assert bounds == [0.5, 0.75, 1.0]
    assert Histogram("h", "What.", buckets=bounds).upper_bounds == (0.5, 0.75, 1.0, math.inf)


@pytest.mark.parametrize("make", [exponential_buckets, exponentialBuckets])
def test_e110_buckets_can_be_exponential(make: Callable[..., list[float]]) -> None:
    """``count`` bounds, without the infinite one, which the histogram adds. Spec: N11."""
    bounds = make(0.25, 2, 4)

    assert bounds == [0.25, 0.5, 1.0, 2.0]
    assert Histogram("h", "What.", buckets=bounds).upper_bounds == (0.25, 0.5, 1, 2, math.inf)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (linear_buckets, (1, 1, 0)),
        (linear_buckets, (1, 0, 3)),
        (exponential_buckets, (1, 2, 0)),
        (exponential_buckets, (0, 2, 3)),
        (exponential_buckets, (1, 1, 3)),
    ],
)
def test_e110_helpers_refuse_invalid_arguments(
    make: Callable[..., list[float]], arguments: tuple[float, float, int]
) -> None:
    """With which there would be no bounds, or none that ascend."""
    with pytest.raises(ValueError, match="must be"):
        make(*arguments)


# --- E111: labels ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_e111_children_can_be_kept(kind: Callable[..., Collector[Any]]) -> None:
    """``labels`` returns the same object, however the labels are spelled."""
    collector = kind("x", "What.")
    child = collector.labels({"a": "1", "b": "2"})

    assert collector.labels({"b": 2, "a": 1}) is child
    assert collector.labels({"a": "1", "b": "2", "c": ""}) is child
    assert collector.labels({"a": "1"}) is not child
    assert collector.labels() is collector.labels({})


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda registry: Counter("x_total", "What.", registry=registry), ["x_total 0"]),
        (lambda registry: Gauge("x", "What.", registry=registry), ["x 0"]),
        (
            lambda registry: Histogram("x", "What.", buckets=[1], registry=registry),
            ['x_bucket{le="1.0"} 0', 'x_bucket{le="+Inf"} 0', "x_count 0", "x_sum 0"],
        ),
        (
            lambda registry: Summary("x", "What.", invariants=[], registry=registry),
            ["x_count 0", "x_sum 0"],
        ),
    ],
    ids=["counter", "gauge", "histogram", "summary"],
)
def test_e111_a_child_is_exposed_before_its_first_value(
    make: Callable[[CollectorRegistry], Collector[Any]],
    shown: list[str],
    registry: CollectorRegistry,
) -> None:
    """With 0, for rates: label names are not declared, so binding initializes a series."""
    make(registry).labels()

    assert sorted(samples(registry)) == sorted(shown)


def test_e111_children_can_be_removed(registry: CollectorRegistry) -> None:
    """One, some, or all; recording on a bound child is not exposed any more."""
    counter = Counter("x_total", "What.", registry=registry)
    for a, b in (("1", "1"), ("1", "2"), ("2", "1"), ("3", "1")):
        counter.inc({"a": a, "b": b})
    held = counter.labels({"a": "2", "b": "1"})
    counter.remove({"b": "1", "a": "2"})
    held.inc()
    assert [labels["a"] for labels, _ in counter.get_all()] == ["1", "1", "3"]
    with pytest.raises(KeyError):
        counter.remove({"a": "2", "b": "1"})
    assert counter.remove_matching({"a": "1"}) == 2
    assert samples(registry) == ['x_total{a="3",b="1"} 1']
    counter.clear()

    assert samples(registry) == []
    assert counter.labels({"a": "2", "b": "1"}).get() == 0


# --- E112: buckets ---------------------------------------------------------------------------


def test_e112_default_buckets() -> None:
    """Those of client_golang."""
    bounds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

    assert DEFAULT_BUCKETS[:-1] == bounds


# --- E114: names -----------------------------------------------------------------------------

WITHOUT_UNIT = {  # they count things
    "otel_aioprom_dropped_total",
    "otel_aioprom_label_conflicts_total",
    "otel_aioprom_pushes_total",
    "otel_aioprom_remote_write_samples_total",
    "otel_aioprom_scrapes_total",
    "otel_aioprom_series_overflows_total",
    "otel_aioprom_source_failures_total",
    "process_max_fds",
    "process_open_fds",
    "process_threads",
}
BASE_UNITS = ("seconds", "bytes")


def own_families() -> dict[str, MetricFamily]:
    """All families that the library exposes about itself and the process, including those without series."""
    registry = CollectorRegistry()
    found = registry._own_families()
    process_metrics(registry)
    found += [each for each in registry.gather().families if each.name.startswith("process_")]
    return {each.name: each for each in found}


def test_e114_every_metric_of_the_library_s_own_is_checked() -> None:
    """By the tests below."""
    registry = CollectorRegistry()
    names = own_families().keys()
    shown = {
        each.name
        for part in (registry.endpoint, registry.pushes)
        for each in vars(part).values()
        if isinstance(each, Collector)
    }

    assert len(shown) == 12
    assert shown | {"otel_aioprom_dropped_total"} <= names
    assert {"process_cpu_seconds_total", "process_start_time_seconds"} <= names
    assert {name for name in WITHOUT_UNIT if not name.startswith("process_")} <= names


@pytest.mark.parametrize("name", sorted(own_families()))
def test_e114_names_of_the_library_s_own_metrics(name: str) -> None:
    """A prefix, classic characters, the base unit if any, ``_total`` for counters only."""
    family = own_families()[name]
    words = name.split("_")

    assert all(word.isalnum() and word == word.lower() and word.isascii() for word in words)
    assert name.startswith(("otel_aioprom_", "process_"))
    assert (words[-1] == "total") is (family.type == "counter")
    unit = words[-2] if family.type == "counter" else words[-1]
    assert (unit in BASE_UNITS) is (name not in WITHOUT_UNIT)
    assert not {"bucket", "sum", "count", "created", "info"} & {words[-1]}
    if "timestamp" in words:
        assert name.endswith("_timestamp_seconds")
    assert family.doc.endswith(".")


def test_e114_the_time_of_a_push_is_a_timestamp(registry: CollectorRegistry) -> None:
    """So its name ends accordingly."""
    assert registry.pushes.last.name.endswith("_timestamp_seconds")


def test_e114_infos_end_in_info(registry: CollectorRegistry) -> None:
    """Whether the argument ends so or not."""
    for name in ("build", "start_info"):
        Info(name, "What.", registry=registry).set({}, {"version": "1"})

    assert samples(registry) == ['build_info{version="1"} 1', 'start_info{version="1"} 1']


# --- E116: what a registry refuses -----------------------------------------------------------

TAKEN = {
    Counter: ["x"],
    Gauge: ["x"],
    Histogram: ["x", "x_bucket", "x_sum", "x_count"],
    Summary: ["x", "x_sum", "x_count"],
}
RESERVED = [(kind, name) for kind, names in TAKEN.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), RESERVED)
def test_e116_names_of_samples_are_reserved(
    kind: type[Any], name: str, registry: CollectorRegistry
) -> None:
    """A second collector with such a name is refused, with the owner in the message; the first one stays."""
    first = kind("x", "What.", registry=registry)
    with pytest.raises(DuplicateCollectorError, match="'x'"):
        Gauge(name, "What.", registry=registry)

    assert registry.get_all() == [first]


@pytest.mark.parametrize(("kind", "name"), RESERVED)
def test_e116_a_reserved_name_cannot_be_that_of_a_sample(
    kind: type[Any], name: str, registry: CollectorRegistry
) -> None:
    """The reverse case; the refused collector has reserved no name."""
    Gauge(name, "What.", registry=registry)
    with pytest.raises(DuplicateCollectorError, match=f"'{name}'"):
        kind("x", "What.", registry=registry)
    for free in {*TAKEN[kind]} - {name}:
        Gauge(free, "What.", registry=registry)

    assert sorted(each.name for each in registry.get_all()) == sorted(TAKEN[kind])


@pytest.mark.parametrize("kind", TAKEN)
def test_e116_names_are_free_after_deregistration(
    kind: type[Any], registry: CollectorRegistry
) -> None:
    """All of them."""
    kind("x", "What.", registry=registry)
    registry.deregister("x")
    for name in TAKEN[kind]:
        Gauge(name, "What.", registry=registry)

    assert [each.name for each in registry.get_all()] == TAKEN[kind]


def test_e116_the_same_collector_is_registered_once(registry: CollectorRegistry) -> None:
    """A second registration is an error without effect."""
    gauge = Gauge("x", "What.", registry=registry)
    gauge.set({}, 1)
    with pytest.raises(DuplicateCollectorError):
        registry.register(gauge)

    assert samples(registry) == ["x 1"]


@pytest.mark.parametrize("name", ["x_total", "x_created"])
def test_e116_names_of_samples_that_openmetrics_adds(
    name: str, registry: CollectorRegistry
) -> None:
    """In OpenMetrics they would collide with those of another family, so they are not added; nothing is lost."""
    counter = Counter("x" if name == "x_total" else "x_total", "What.", registry=registry)
    counter.inc()
    Gauge(name, "What.", registry=registry).set({}, 5)

    both = sorted([f"{counter.name} 1", f"{name} 5"])
    assert samples(registry) == samples(registry, OPENMETRICS) == both
    shown = sample_lines(render(registry)[0].decode())
    assert not any("name_conflict" in line for line in shown)


@pytest.mark.parametrize(
    ("collector", "name"),
    [(Histogram("h", "H."), "upper_bounds"), (Summary("s", "S."), "invariants")],
)
def test_e110_buckets_and_quantiles_cannot_be_set_later(collector: Any, name: str) -> None:
    """All series of a collector have the same."""
    with pytest.raises(AttributeError):
        setattr(collector, name, (1.0,))
