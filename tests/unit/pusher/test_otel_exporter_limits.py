"""The exporter in bad times: too little of it, odd answers, loops, threads and forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import export as sdk

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE
from otel_aioprom.pusher.otel_exporter import PushMetricExporter
from pushed import families_in

SUCCESS, FAILURE = sdk.MetricExportResult.SUCCESS, sdk.MetricExportResult.FAILURE


def data_of(name: str = "x") -> Any:
    """What the SDK collects of a counter."""
    reader = sdk.InMemoryMetricReader()
    MeterProvider([reader]).get_meter("m").create_counter(name).add(1)
    return reader.get_metrics_data()


# --- time ------------------------------------------------------------------------------------


def seconds_of(gateway: Gateway, call: Any, **arguments: Any) -> float:
    """How long a call takes; delayed responses are released long before the deadline of a test."""
    end = threading.Timer(DEADLINE / 2, lambda: [hold.let_go() for hold in gateway._holds])
    end.start()
    began = time.monotonic()
    try:
        call(**arguments)
    finally:
        end.cancel()
    return time.monotonic() - began


def test_an_export_to_a_silent_gateway_ends_in_its_time() -> None:
    """However long the pusher itself would wait."""
    with Gateway(default=Answer(hold=Hold())) as gateway:
        exporter = PushMetricExporter("j", gateway.url)
        data = data_of()
        assert seconds_of(gateway, lambda: exporter.export(data, timeout_millis=100)) < 2


def test_an_export_in_batches_ends_in_its_time() -> None:
    """The requests share it: it is that of the push."""
    with Gateway(default=Answer(503, headers={"Retry-After": "1"})) as gateway:
        exporter = PushMetricExporter("j", gateway.url, method="add", max_batch_bytes=1)
        data = data_of()
        assert seconds_of(gateway, lambda: exporter.export(data, timeout_millis=1100)) < 1.9


def test_a_shutdown_does_not_wait_for_ever_for_an_export() -> None:
    """But as long as its timeout; the export is abandoned then."""
    with Gateway(default=Answer(hold=Hold())) as gateway:
        exporter = PushMetricExporter("j", gateway.url)
        exporting = threading.Thread(target=exporter.export, args=(data_of(),))
        exporting.start()
        gateway.wait_for(1)
        taken = seconds_of(gateway, exporter.shutdown, timeout_millis=100)
        gateway._holds[0].let_go()
        exporting.join(DEADLINE)

    assert taken < 2


@pytest.mark.parametrize("name", ["timeout_millis", "timeout"])
def test_deleting_the_group_ends_in_the_time_of_the_shutdown(name: str) -> None:
    """Which the SDK's periodic reader gives under a name of its own."""
    with Gateway(default=Answer(hold=Hold())) as gateway:
        exporter = PushMetricExporter("j", gateway.url, delete_on_shutdown=True)
        assert seconds_of(gateway, exporter.shutdown, **{name: 500}) < 2

    assert set(gateway.methods) == {"DELETE"}


@pytest.mark.parametrize("milliseconds", [0, -5])
def test_no_time_is_no_error(milliseconds: int) -> None:
    """The SDK subtracts what it has used up."""
    with Gateway() as gateway:
        exporter = PushMetricExporter("j", gateway.url, delete_on_shutdown=True)
        exporter.export(data_of(), timeout_millis=milliseconds)
        exporter.force_flush(timeout_millis=milliseconds)
        exporter.shutdown(timeout_millis=milliseconds)


# --- what goes wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("charset", ["none-such", "hex", "undefined"])
def test_any_answer_is_a_result(charset: str) -> None:
    """An odd charset does not hide that the gateway refuses."""
    answer = Answer(400, "refused", {"Content-Type": f"text/plain; charset={charset}"})
    with Gateway(answer) as gateway:
        assert PushMetricExporter("j", gateway.url).export(data_of()) is FAILURE


def test_what_cannot_be_translated_at_all_is_no_success() -> None:
    """And the group keeps what it has."""
    broken: Any = SimpleNamespace(resource_metrics=[object()])
    with Gateway() as gateway:
        assert PushMetricExporter("j", gateway.url).export(broken) is FAILURE

    assert gateway.requests == []


async def test_a_flush_in_a_coroutine_arrives(caplog: pytest.LogCaptureFixture) -> None:
    """Services flush and shut down where their event loop runs."""
    with Gateway() as gateway:
        exporter = PushMetricExporter("j", gateway.url, delete_on_shutdown=True)
        reader = sdk.PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter("m").create_counter("x").add(1)
        provider.force_flush()
        flushed = gateway.methods
        provider.shutdown()

    assert flushed == ["PUT"]
    assert gateway.methods[-1] == "DELETE"
    assert not caplog.records


# --- threads and processes --------------------------------------------------------------------


def test_threads_export_what_is_theirs() -> None:
    """Though the exporter has one registry."""
    names = [f"thread_{number}" for number in range(16)]
    every = [data_of(name) for name in names]
    with Gateway() as gateway:
        exporter = PushMetricExporter("j", gateway.url)
        with ThreadPoolExecutor(len(names)) as pool:
            results = list(pool.map(exporter.export, every))

    assert results == [SUCCESS] * len(names)
    pushed = [families_in(each) - {"target_info"} for each in gateway.requests]
    assert sorted(pushed, key=sorted) == sorted([{f"{name}_total"} for name in names], key=sorted)


def test_shutdowns_at_once_delete_once() -> None:
    """From however many threads."""
    threads = 8
    everybody = threading.Barrier(threads)

    def end() -> None:
        everybody.wait(DEADLINE)
        exporter.shutdown()

    with Gateway(default=Answer(202)) as gateway:
        exporter = PushMetricExporter("j", gateway.url, delete_on_shutdown=True)
        with ThreadPoolExecutor(threads) as pool:
            for each in [pool.submit(end) for _ in range(threads)]:
                each.result()

    assert gateway.methods == ["DELETE"]


FORKING = """
import os, sys, threading, warnings
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import export as sdk
from otel_aioprom import PushMetricExporter

reader = sdk.InMemoryMetricReader()
MeterProvider([reader]).get_meter("m").create_counter("x").add(1)
data = reader.get_metrics_data()
exporter = PushMetricExporter("j", sys.argv[1], timeout=20)
threading.Thread(target=exporter.export, args=(data,), daemon=True).start()
sys.stdin.readline()
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    print(exporter.export(data).name, flush=True)
    exporter.shutdown()
    os._exit(0)
os.waitpid(child, 0)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_does_not_wait_for_an_export_of_its_parent() -> None:
    """The thread that exports is not there any more."""
    with Gateway(Answer(hold=Hold())) as gateway:
        program = subprocess.Popen(
            [sys.executable, "-c", FORKING, gateway.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            gateway.wait_for(1)
            output, _ = program.communicate("go\n", timeout=DEADLINE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.communicate()

    assert output == "SUCCESS\n"
