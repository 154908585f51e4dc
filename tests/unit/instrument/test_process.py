"""Process metrics."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.instrument import process
from otel_aioprom.instrument.process import process_metrics
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

LINUX = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
}


def values(registry: CollectorRegistry) -> dict[str, float]:
    """Sample → value."""
    lines = render(registry)[0].decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_e113_what_the_system_tells() -> None:
    """Each value is what the system reports elsewhere."""
    registry = CollectorRegistry()
    process_metrics(registry)
    found = values(registry)

    assert set(found) - {"process_virtual_memory_max_bytes"} == LINUX
    assert 0 < found["process_cpu_seconds_total"] <= time.process_time()
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert found["process_threads"] == threads >= threading.active_count()
    assert 0 < found["process_resident_memory_bytes"] < found["process_virtual_memory_bytes"]
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    resident = int(status["VmRSS"].split()[0]) * 1024
    assert found["process_resident_memory_bytes"] == pytest.approx(resident, rel=0.2)
    assert time.time() - 7200 < found["process_start_time_seconds"] < time.time()
    with Path("/dev/null").open() as opened:
        assert values(registry)["process_open_fds"] == found["process_open_fds"] + 1, opened


def test_e113_the_texts_are_those_of_other_clients() -> None:
    """Types and help; nothing is exposed before the call."""
    registry = CollectorRegistry()
    assert values(registry) == {}
    process_metrics(registry)
    text = render(registry)[0].decode()

    assert (
        "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n"
        in text
    )
    assert "# TYPE process_cpu_seconds_total counter\n" in text
    assert "# HELP process_open_fds Number of open file descriptors.\n" in text


def test_e113_what_cannot_be_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without ``/proc`` and resource limits, only the times are exposed."""
    monkeypatch.setattr(process, "_PROC", tmp_path)
    monkeypatch.setattr(process, "resource", None)
    registry = CollectorRegistry()
    registry.add_source(process.ProcessMetrics())
    found = values(registry)

    assert set(found) == {"process_cpu_seconds_total", "process_start_time_seconds"}
    assert abs(found["process_start_time_seconds"] - time.time()) < DEADLINE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_name_may_be_cut_inside_a_character(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernel keeps its first 15 bytes."""
    (tmp_path / "self").mkdir()
    stat = Path("/proc/self/stat").read_bytes()
    pid, rest = stat[: stat.index(b"(")], stat[stat.rindex(b")") :]
    (tmp_path / "self/stat").write_bytes(pid + b"(a) b\xc3" + rest)
    (tmp_path / "stat").write_bytes(b"cpu \xff\n" + Path("/proc/stat").read_bytes())
    began = process._start_time()
    monkeypatch.setattr(process, "_PROC", tmp_path)
    registry = CollectorRegistry()
    registry.add_source(process.ProcessMetrics())
    found = values(registry)

    assert found["process_threads"] >= 1
    assert found["process_resident_memory_bytes"] > 0
    assert found["process_start_time_seconds"] == began


def test_process_metrics_may_be_called_twice() -> None:
    """By an application and by its framework."""
    registry = CollectorRegistry()
    assert process_metrics(registry) is process_metrics(registry)
    found = values(registry)

    assert 0 < found["process_cpu_seconds_total"] <= time.process_time()
    other = CollectorRegistry()
    process_metrics(other)
    assert {name for name in values(other) if name.startswith("process_")} == {
        name for name in found if name.startswith("process_")
    }


def test_e35_the_time_is_counted_from_the_start() -> None:
    """Of the process, not from the first response."""
    source = process.ProcessMetrics()
    (cpu,) = [each for each in source.collect() if each.name == "process_cpu_seconds_total"]

    assert cpu.labels().created == source._start()
    cpu.set({}, 1e9)
    assert next(iter(source.collect())).labels().created == source._start()


def test_the_source_can_be_removed() -> None:
    """And native collectors of the same names override it."""
    registry = CollectorRegistry()
    Gauge("process_threads", "Mine.", registry=registry).set({}, -1)
    source = process_metrics(registry)
    assert values(registry)["process_threads"] == -1
    registry.remove_source(source)
    assert [name for name in values(registry) if not name.startswith("otel_")] == [
        "process_threads"
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_process_reports_itself() -> None:
    """With its own start time."""
    source = process.ProcessMetrics()
    before = source._start()
    source._began = 0.0
    source.after_fork()

    assert source._start() == pytest.approx(before, abs=1)
