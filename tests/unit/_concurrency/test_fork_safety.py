"""What happens in a child process right after a fork, tested without one."""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import export as sdk

from gateway import Gateway
from oracles import DEADLINE, FakeSource, HeldSource, answer_to, family
from otel_aioprom._concurrency import fork_safety
from otel_aioprom._concurrency.daemon_threads import DaemonThreads
from otel_aioprom._concurrency.fork_safety import ForkGate
from otel_aioprom._transport.credentials import BasicAuth, BearerAuth
from otel_aioprom.errors import ServiceNotRunningError
from otel_aioprom.instrument.process import process_metrics
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.pusher.jobs import job_metrics
from otel_aioprom.pusher.otel_exporter import PushMetricExporter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service.messages import ScrapeRequest
from otel_aioprom.service.scrape import Scraper
from otel_aioprom.service.threaded import ThreadedService
from processes import free_port


def start_over() -> None:
    """Do what is done in a child; threads of this process go on, and have to find each other."""
    every = list(fork_safety._registered)
    fork_safety.call_after_fork(each for each in every if not isinstance(each, DaemonThreads))


def test_a_registry_collects_its_sources_anew() -> None:
    """The threads that collected them, or held locks, are gone."""
    registry = CollectorRegistry()
    held = HeldSource(family("y"))
    registry.add_source(held)
    reader = PrometheusMetricReader(registry=registry)
    MeterProvider([reader], shutdown_on_exit=False).get_meter("m").create_counter("c").add(1)
    process_metrics(registry)
    gathering = threading.Thread(target=registry.gather, args=(0.01,))
    gathering.start()
    assert held.begun.acquire(timeout=5)
    gathering.join()
    gone = threading.Thread(target=registry._lock.lock.acquire)
    gone.start()
    gone.join()
    start_over()
    held.go.release()
    held.go.release()

    text = render(registry)[0].decode()
    assert "y 1\n" in text
    assert "c_total" in text


def test_a_lock_of_the_forking_thread_stays_held() -> None:
    """The thread goes on in the child, and releases it there."""
    lock = fork_safety.ForkSafeLock()
    with lock.lock:
        fork_safety.call_after_fork([lock])
        assert not in_thread(lambda: lock.lock.acquire(timeout=0.01))
    assert in_thread(lambda: lock.lock.acquire(timeout=0.01))


def test_an_object_that_cannot_start_over_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """All others start over, also sources of the same registry."""
    done: list[str] = []

    def after_fork(name: str) -> None:
        done.append(name)
        raise ValueError("not today")

    registry = CollectorRegistry()
    for name in ("one", "two"):
        source = FakeSource(name=name)
        source.after_fork = partial(after_fork, name)  # type: ignore[attr-defined]
        registry.add_source(source)
    start_over()

    assert done == ["one", "two"]
    assert [record.getMessage() for record in caplog.records] == [
        "SourceRunner cannot start over in a child process"
    ] * 2


def in_thread(act: Callable[[], bool]) -> bool:
    """Return what a function returns in another thread."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


def test_a_service_does_not_run_in_the_child(caplog: pytest.LogCaptureFixture) -> None:
    """Its copies of the sockets are released, and that is logged once; nothing is logged for one that did not run."""
    service, idle = ThreadedService(), ThreadedService()
    listening = socket.socket()
    number = listening.fileno()
    service._thread = threading.current_thread()
    service._service._runner = SimpleNamespace()  # type: ignore[assignment]
    service._service._server = SimpleNamespace(sockets=list)  # type: ignore[assignment]
    service._service._root = "http://127.0.0.1:9464"
    service._service._sockets = [listening]
    start_over()

    assert stat.S_ISCHR(os.fstat(number).st_mode)  # the null device
    listening.detach()
    os.close(number)
    assert idle._thread is None
    [record] = [each for each in caplog.records if "not served" in each.getMessage()]
    assert record.levelno == logging.WARNING
    with pytest.raises(ServiceNotRunningError):
        _ = service.base_url


def data_of() -> Any:
    """Return what the SDK collects of a counter."""
    reader = sdk.InMemoryMetricReader()
    MeterProvider([reader]).get_meter("m").create_counter("x").add(1)
    return reader.get_metrics_data()


def test_an_exporter_exports_anew() -> None:
    """Though its lock was held by a thread that is gone."""
    with Gateway() as gateway:
        exporter = PushMetricExporter("j", gateway.url)
        assert exporter._lock.acquire(timeout=1)
        start_over()
        assert exporter.export(data_of()) is sdk.MetricExportResult.SUCCESS


async def test_an_export_in_a_coroutine_may_fail() -> None:
    """As the result says."""
    exporter = PushMetricExporter("j", f"http://127.0.0.1:{free_port()}")

    assert exporter.export(data_of(), timeout_millis=100) is sdk.MetricExportResult.FAILURE


def test_checks_of_plain_credentials_need_no_thread() -> None:
    """They are quick."""
    assert BasicAuth("a", "b").remembers(None)
    assert BearerAuth("t").remembers("Bearer x")


async def test_a_job_in_a_script_has_no_session() -> None:
    """A session belongs to an event loop."""
    async with aiohttp.ClientSession() as session:
        job = job_metrics("j", "http://h", session=session)

    errors: list[BaseException] = []

    def run() -> None:
        try:
            with job:
                errors.append(AssertionError("the job runs"))
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "a session belongs to an event loop" in str(errors[0])


async def test_an_incomplete_response_is_refused_with_on_error_fail() -> None:
    """In a thread as on an event loop."""
    registry = CollectorRegistry()
    registry.add_source(HeldSource(family("y")))
    scraper = Scraper(registry, on_error="fail", timeout=0.01, self_metrics=False)
    answer = await answer_to(scraper)
    with scraper.scrape_blocking(ScrapeRequest()) as response:
        assert response.status == answer.status == 500
    for runner in list(registry._runners.values()):
        runner._source.go.release(2)


# --- the gate that forks wait at ----------------------------------------------------------------


class Holder:
    """A thread that holds a gate until it is released."""

    def __init__(self, gate: ForkGate) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._gate = gate
        self.thread = threading.Thread(target=self._hold, daemon=True)
        self.thread.start()

    def _hold(self) -> None:
        with self._gate.held():
            self.begun.set()
            assert self.go.wait(DEADLINE)


def test_a_fork_waits_until_the_gate_is_free() -> None:
    """And whoever comes meanwhile waits for the fork."""
    gate = ForkGate(DEADLINE)
    holder = Holder(gate)
    assert holder.begun.wait(DEADLINE)
    fork = threading.Thread(target=gate._before_fork)
    fork.start()
    while not gate._forks:  # until it has begun
        time.sleep(0.001)
    late = Holder(gate)
    assert not late.begun.wait(0.05)
    assert fork.is_alive()
    holder.go.set()
    fork.join(DEADLINE)
    assert not fork.is_alive()
    assert not late.begun.wait(0.05)
    gate._after_fork()

    assert late.begun.wait(DEADLINE)
    late.go.set()


def test_neither_a_fork_nor_a_holder_waits_for_ever() -> None:
    """A collection may hang, and so may a fork."""
    gate = ForkGate(0.05)
    holder = Holder(gate)
    assert holder.begun.wait(DEADLINE)
    began = time.monotonic()
    gate._before_fork()
    late = Holder(gate)

    assert late.begun.wait(DEADLINE)
    assert time.monotonic() - began < DEADLINE / 2
    for each in (holder, late):
        each.go.set()


def test_a_holder_may_fork_and_hold_the_gate_again() -> None:
    """It does not wait for itself; in the child nobody holds the gate."""
    gate = ForkGate(DEADLINE)
    with gate.held():
        gate._before_fork()
        with gate.held():
            pass
        gate._after_fork_in_child()
    gate._before_fork()

    assert (gate._holders, gate._forks) == ([], 1)
