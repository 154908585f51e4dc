"""A child process has the values of its parent, and no lock that other threads held."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider

from oracles import DEADLINE, HeldSource, family
from otel_aioprom.collectors import Counter
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

pytestmark = [
    pytest.mark.no_cover,  # the coverage tracer has a lock that a child may never acquire
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]


def in_child(check: Callable[[], bool]) -> int:
    """Run a check in a child, and return 0 if it holds; 1 if not, less than 0 if it does not end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that other threads run is the point
        child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if check() else 1
        finally:
            sys.stdout.flush()
            os._exit(status)
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)  # between two polls
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def test_a_child_does_not_wait_for_a_collection_of_its_parent() -> None:
    """Neither a synchronous nor an asynchronous one; its counters continue from the parent's."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "", registry=registry)
    counter.add({}, 5)
    held = HeldSource(family("y"))
    registry.add_source(held)
    scrape = threading.Thread(target=registry.gather, args=(DEADLINE,))
    scrape.start()
    assert held.begun.acquire(timeout=DEADLINE)

    def check() -> bool:
        counter.inc()
        held.go.release()
        held.go.release()
        late = {fault.cause for fault in registry.gather(DEADLINE / 2).faults}
        return not late and b"x_total 6\n" in render(registry)[0]

    status = in_child(check)
    held.go.release()
    scrape.join(DEADLINE)

    assert status == 0


def test_m51_p8_a_child_has_an_identity_of_its_own() -> None:
    """It is another target, and its counters continue."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    requests = provider.get_meter("m").create_counter("c")
    requests.add(5)
    before = [line for line in render(registry)[0].split(b"\n") if line.startswith(b"target_info")]

    def check() -> bool:
        requests.add(1)
        body = render(registry)[0]
        now = [line for line in body.split(b"\n") if line.startswith(b"target_info")]
        return b"} 6\n" in body and len(now) == 1 and now != before

    status = in_child(check)
    provider.shutdown()

    assert status == 0


def test_p7_p18_a_late_reader_starts_at_zero_and_no_deadline_counts_twice() -> None:
    """A reader that is added later sees later measurements; observations are counted once."""
    registry, later = CollectorRegistry(), CollectorRegistry()
    first = PrometheusMetricReader(registry=registry, scope_info_enabled=False)
    provider = MeterProvider(metric_readers=[first], shutdown_on_exit=False)
    meter = provider.get_meter("m")
    counter = meter.create_counter("c")
    counter.add(5)

    def observe(_: CallbackOptions) -> list[Observation]:
        time.sleep(0.01)
        return [Observation(100)]

    meter.create_observable_counter("o", [observe])
    second = PrometheusMetricReader(registry=later, scope_info_enabled=False)
    provider.add_metric_reader(second)
    counter.add(1)
    bodies = [render(each)[0] for each in (registry, later, registry)]
    second.shutdown()
    provider.shutdown()

    assert b"c_total 6\n" in bodies[0]
    assert b"c_total 1\n" in bodies[1]
    assert all(b"o_total 100\n" in body for body in bodies)


def started(registry: CollectorRegistry, end: threading.Event) -> threading.Thread:
    """Collect a registry again and again in a thread, until the event is set."""

    def collect() -> None:
        registry.gather(DEADLINE)
        while not end.is_set():
            registry.gather(DEADLINE)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    return thread


def collects(registry: CollectorRegistry) -> bool:
    """Return whether OpenTelemetry's metrics are collected in time."""
    return "c_total" in {each.name for each in registry.gather(DEADLINE / 2).families}


def test_a_fork_waits_for_a_collection_of_the_sdk() -> None:
    """Whose lock the child would inherit, and never see released."""
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=registry)], shutdown_on_exit=False)
    provider.get_meter("m").create_counter("c").add(1)
    begun, forking, end = threading.Event(), threading.Event(), threading.Event()

    def observe(_: CallbackOptions) -> list[Observation]:
        begun.set()
        assert forking.wait(DEADLINE)
        time.sleep(0.1)  # the work of a callback
        return [Observation(1)]

    provider.get_meter("m").create_observable_gauge("o", [observe])
    os.register_at_fork(before=forking.set)
    end.set()
    scrape = started(registry, end)
    assert begun.wait(DEADLINE)
    status = in_child(lambda: collects(registry))
    scrape.join(DEADLINE)
    provider.shutdown()

    assert status == 0


def test_children_that_are_forked_between_constant_scrapes_collect() -> None:
    """Each of them, and the scrapes of the parent go on."""
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=registry)], shutdown_on_exit=False)
    counter = provider.get_meter("m").create_counter("c")
    for number in range(200):
        counter.add(1, {"number": number})
    end = threading.Event()
    scrapes = [started(registry, end) for _ in range(2)]
    statuses = [in_child(lambda: collects(registry)) for _ in range(20)]
    end.set()
    for scrape in scrapes:
        scrape.join(DEADLINE)
    provider.shutdown()

    assert statuses == [0] * 20


def test_a_callback_of_the_sdk_may_fork() -> None:
    """Its process does not wait for itself, and the child goes on."""
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=registry)], shutdown_on_exit=False)
    provider.get_meter("m").create_counter("c").add(1)
    seconds: list[float] = []

    def observe(_: CallbackOptions) -> list[Observation]:
        began = time.monotonic()
        status = in_child(lambda: True)
        seconds.append(time.monotonic() - began)
        return [Observation(status)]

    provider.get_meter("m").create_observable_gauge("o", [observe])
    registry.gather()
    provider.shutdown()

    assert seconds[0] < 0.9  # a fork waits for one second at most
