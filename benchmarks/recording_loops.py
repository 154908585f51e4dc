"""The loops of topic recording: contender → function that makes that many calls.

Plain code on purpose. A loop that took the call as an argument would add a Python call,
as long as the thing to be measured, to every contender.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice, repeat
from typing import Any

import aioprometheus
import prometheus_client
from opentelemetry.sdk import metrics as sdk

import otel_aioprom
from benchmarks.data import BUCKETS, SCOPE, amounts, label_rows, observations
from benchmarks.measure import AIOPROMETHEUS, OURS, PROMETHEUS, SDK
from benchmarks.subjects import COUNTER, HISTOGRAM, LABELS, DroppingReader

Loop = Callable[[int], None]

CLASSIC = "classic buckets alone"
OFF = "without asking"

GAUGE = ("bench_queue_depth", "Jobs that wait.")
SUMMARY = ("bench_latency_seconds", "Time to answer a request.")
_FILLED = 4000  # observations in each step of a window
_ROWS = label_rows(100)
_VALUES = observations(1000)
_LEVELS = amounts(1000)
_ONE = dict(zip(LABELS, _ROWS[0], strict=True))
_TWO = dict(zip(LABELS[:2], _ROWS[0][:2], strict=True))


def _meter() -> Any:
    provider = sdk.MeterProvider(metric_readers=[DroppingReader()], shutdown_on_exit=False)
    return provider.get_meter(*SCOPE)


def _prometheus(
    kind: Callable[..., Any], words: tuple[str, str], labels: int, **options: object
) -> Any:
    registry = prometheus_client.CollectorRegistry()
    return kind(*words, LABELS[:labels], registry=registry, **options)


def _aioprometheus(kind: Callable[..., Any], words: tuple[str, str], **options: object) -> Any:
    return kind(*words, registry=aioprometheus.Registry(), **options)


def bound_inc() -> dict[str, Loop]:
    """Make the loops of ``child.inc()``; aioprometheus and the SDK have no child."""

    def loop_over(child: Any) -> Loop:
        def loop(calls: int) -> None:
            for _ in repeat(None, calls):
                child.inc()

        return loop

    return {
        OURS: loop_over(otel_aioprom.Counter(*COUNTER).labels(_ONE)),
        PROMETHEUS: loop_over(_prometheus(prometheus_client.Counter, COUNTER, 3).labels(**_ONE)),
    }


def labelled_inc() -> dict[str, Loop]:
    """Make the loops of ``inc`` with the label values at hand."""

    def dict_loop(counter: Any) -> Loop:
        def loop(calls: int) -> None:
            for method, path, code in islice(cycle(_ROWS), calls):
                counter.inc({"method": method, "path": path, "code": code})

        return loop

    keyword = _prometheus(prometheus_client.Counter, COUNTER, 3)
    attribute = _meter().create_counter("bench.requests")

    def keyword_loop(calls: int) -> None:
        for method, path, code in islice(cycle(_ROWS), calls):
            keyword.labels(method=method, path=path, code=code).inc()

    def attribute_loop(calls: int) -> None:
        for method, path, code in islice(cycle(_ROWS), calls):
            attribute.add(1, {"method": method, "path": path, "code": code})

    return {
        OURS: dict_loop(otel_aioprom.Counter(*COUNTER)),
        PROMETHEUS: keyword_loop,
        AIOPROMETHEUS: dict_loop(_aioprometheus(aioprometheus.Counter, COUNTER)),
        SDK: attribute_loop,
    }


def bound_set() -> dict[str, Loop]:
    """Make the loops of ``child.set(value)``: three integers to one float."""

    def loop_over(child: Any) -> Loop:
        def loop(calls: int) -> None:
            for value in islice(cycle(_LEVELS), calls):
                child.set(value)

        return loop

    return {
        OURS: loop_over(otel_aioprom.Gauge(*GAUGE).labels(_ONE)),
        PROMETHEUS: loop_over(_prometheus(prometheus_client.Gauge, GAUGE, 3).labels(**_ONE)),
    }


def labelled_set() -> dict[str, Loop]:
    """Make the loops of ``set`` with the label values at hand."""

    def dict_loop(gauge: Any) -> Loop:
        def loop(calls: int) -> None:
            for level, (method, path, code) in islice(
                zip(cycle(_LEVELS), cycle(_ROWS), strict=False), calls
            ):
                gauge.set({"method": method, "path": path, "code": code}, level)

        return loop

    keyword = _prometheus(prometheus_client.Gauge, GAUGE, 3)
    attribute = _meter().create_gauge("bench.depth")

    def keyword_loop(calls: int) -> None:
        for level, (method, path, code) in islice(
            zip(cycle(_LEVELS), cycle(_ROWS), strict=False), calls
        ):
            keyword.labels(method=method, path=path, code=code).set(level)

    def attribute_loop(calls: int) -> None:
        for level, (method, path, code) in islice(
            zip(cycle(_LEVELS), cycle(_ROWS), strict=False), calls
        ):
            attribute.set(level, {"method": method, "path": path, "code": code})

    return {
        OURS: dict_loop(otel_aioprom.Gauge(*GAUGE)),
        PROMETHEUS: keyword_loop,
        AIOPROMETHEUS: dict_loop(_aioprometheus(aioprometheus.Gauge, GAUGE)),
        SDK: attribute_loop,
    }


def _observe_child(child: Any) -> Loop:
    def loop(calls: int) -> None:
        for value in islice(cycle(_VALUES), calls):
            child.observe(value)

    return loop


def _observe_dict(collector: Any) -> Loop:
    def loop(calls: int) -> None:
        for value, (method, path, _) in islice(
            zip(cycle(_VALUES), cycle(_ROWS), strict=False), calls
        ):
            collector.observe({"method": method, "path": path}, value)

    return loop


def _observe_keyword(collector: Any) -> Loop:
    def loop(calls: int) -> None:
        for value, (method, path, _) in islice(
            zip(cycle(_VALUES), cycle(_ROWS), strict=False), calls
        ):
            collector.labels(method=method, path=path).observe(value)

    return loop


def bound_observe() -> dict[str, Loop]:
    """Make the loops of a histogram's ``child.observe(value)``."""
    theirs = _prometheus(prometheus_client.Histogram, HISTOGRAM, 2, buckets=BUCKETS)
    return {
        OURS: _observe_child(
            otel_aioprom.Histogram(*HISTOGRAM, buckets=list(BUCKETS)).labels(_TWO)
        ),
        PROMETHEUS: _observe_child(theirs.labels(**_TWO)),
    }


def labelled_observe() -> dict[str, Loop]:
    """Make the loops of a histogram's ``observe`` with the label values at hand."""
    bounds = [*BUCKETS, float("inf")]
    attribute = _meter().create_histogram(
        "bench.duration", explicit_bucket_boundaries_advisory=BUCKETS
    )

    def attribute_loop(calls: int) -> None:
        for value, (method, path, _) in islice(
            zip(cycle(_VALUES), cycle(_ROWS), strict=False), calls
        ):
            attribute.record(value, {"method": method, "path": path})

    return {
        OURS: _observe_dict(otel_aioprom.Histogram(*HISTOGRAM, buckets=list(BUCKETS))),
        PROMETHEUS: _observe_keyword(
            _prometheus(prometheus_client.Histogram, HISTOGRAM, 2, buckets=BUCKETS)
        ),
        AIOPROMETHEUS: _observe_dict(
            _aioprometheus(aioprometheus.Histogram, HISTOGRAM, buckets=bounds)
        ),
        SDK: attribute_loop,
    }


def native_observe() -> dict[str, Loop]:
    """Make the loops of ``child.observe(value)`` with native buckets beside classic ones, and with these alone."""
    bounds = list(BUCKETS)
    native = otel_aioprom.Histogram(*HISTOGRAM, buckets=bounds, native_bucket_factor=1.1)
    classic = otel_aioprom.Histogram(*HISTOGRAM, buckets=bounds)
    return {
        OURS: _observe_child(native.labels(_TWO)),
        CLASSIC: _observe_child(classic.labels(_TWO)),
    }


def timed_block() -> dict[str, Loop]:
    """Make the loops of ``with … .time():`` around nothing."""
    ours = otel_aioprom.Histogram(*HISTOGRAM, buckets=list(BUCKETS))
    theirs = _prometheus(prometheus_client.Histogram, HISTOGRAM, 2, buckets=BUCKETS)
    child = theirs.labels(**_TWO)

    def our_loop(calls: int) -> None:
        for _ in repeat(None, calls):
            with ours.time(_TWO):
                pass

    def their_loop(calls: int) -> None:
        for _ in repeat(None, calls):
            with child.time():
                pass

    return {OURS: our_loop, PROMETHEUS: their_loop}


def exemplar_inc() -> dict[str, Loop]:
    """Make the loops of ``child.inc(exemplar=…)``."""
    exemplar = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}

    def our_loop(calls: int) -> None:
        for _ in repeat(None, calls):
            ours.inc(exemplar=exemplar)

    def their_loop(calls: int) -> None:
        for _ in repeat(None, calls):
            theirs.inc(exemplar=exemplar)

    ours = otel_aioprom.Counter(*COUNTER).labels(_ONE)
    theirs = _prometheus(prometheus_client.Counter, COUNTER, 3).labels(**_ONE)
    return {OURS: our_loop, PROMETHEUS: their_loop}


def asking_inc() -> dict[str, Loop]:
    """Make the loops of ``child.inc()`` of a counter that asks a function each time, and of one that does not."""

    def loop_over(child: Any) -> Loop:
        def loop(calls: int) -> None:
            for _ in repeat(None, calls):
                child.inc()

        return loop

    asking = otel_aioprom.Counter(*COUNTER, exemplars=lambda: None)
    return {
        OURS: loop_over(asking.labels(_ONE)),
        OFF: loop_over(otel_aioprom.Counter(*COUNTER).labels(_ONE)),
    }


def bound_summary() -> dict[str, Loop]:
    """Make the loops of a summary's ``child.observe``; prometheus_client has no quantiles, aioprometheus no child."""
    theirs = _prometheus(prometheus_client.Summary, SUMMARY, 2)
    return {
        OURS: _observe_child(otel_aioprom.Summary(*SUMMARY).labels(_TWO)),
        PROMETHEUS: _observe_child(theirs.labels(**_TWO)),
        AIOPROMETHEUS: _observe_dict(_aioprometheus(aioprometheus.Summary, SUMMARY)),
    }


def steady_summary() -> dict[str, Loop]:
    """Make the loops of a summary's ``child.observe`` when its window has moved so often that each step has a stream of its own."""
    child: Any = otel_aioprom.Summary(*SUMMARY).labels(_TWO)
    for _ in range(child.window.streams):
        _observe_child(child)(_FILLED)
        child._move(child._turn)  # noqa: SLF001 - as after two minutes
    theirs = _aioprometheus(aioprometheus.Summary, SUMMARY)
    _observe_dict(theirs)(_FILLED)
    return {OURS: _observe_child(child), AIOPROMETHEUS: _observe_dict(theirs)}


def labelled_summary() -> dict[str, Loop]:
    """Make the loops of a summary's ``observe`` with the label values at hand."""
    return {
        OURS: _observe_dict(otel_aioprom.Summary(*SUMMARY)),
        PROMETHEUS: _observe_keyword(_prometheus(prometheus_client.Summary, SUMMARY, 2)),
        AIOPROMETHEUS: _observe_dict(_aioprometheus(aioprometheus.Summary, SUMMARY)),
    }
