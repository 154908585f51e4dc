"""Process metrics, under the names that all Prometheus clients use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from otel_aioprom.collectors import Collector, Counter, Gauge
from otel_aioprom.registry.registry import CollectorRegistry, check_registry

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Read = Callable[[], float]

_PROC = Path("/proc")


class ProcessMetrics:
    """A source of the process metrics that the system provides; those that cannot be read are skipped.

    Attributes:
        name: Its name in logs.
    """

    name = "process"
    well_formed = True

    def __init__(self) -> None:
        self._began = _start_time()
        self._cpu = Counter(
            "process_cpu_seconds_total", "Total user and system CPU time spent in seconds."
        )
        vm_max = "Maximum amount of virtual memory available in bytes."
        start = "Start time of the process since unix epoch in seconds."
        self._read: list[tuple[Counter | Gauge, Read]] = [
            (self._cpu, time.process_time),
            (Gauge("process_open_fds", "Number of open file descriptors."), _open_files),
            (Gauge("process_max_fds", "Maximum number of open file descriptors."), _max_files),
            (Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes."), _virtual),
            (Gauge("process_virtual_memory_max_bytes", vm_max), _max_virtual),
            (Gauge("process_resident_memory_bytes", "Resident memory size in bytes."), _resident),
            (Gauge("process_start_time_seconds", start), self._start),
            (Gauge("process_threads", "Number of OS threads in the process."), _threads),
        ]

    def collect(self) -> Iterator[Collector]:  # type: ignore[type-arg]
        """Read all values; see ``SupportsCollect``."""
        for metric, read in self._read:
            try:
                metric.set({}, read())
            except (OSError, ValueError, IndexError):  # not available on this system
                continue
            if metric is self._cpu:
                self._cpu.labels().created = self._began
            yield metric

    def after_fork(self) -> None:
        """Report the child process from now on."""
        self._began = _start_time()

    def _start(self) -> float:
        return self._began


def _stat(field: int) -> float:
    """Read a field of Linux' ``/proc/self/stat``, numbered as in ``man 5 proc``."""
    # Bytes, because the program's name, in parentheses before these fields, may be cut inside a character.
    return float((_PROC / "self/stat").read_bytes().rpartition(b")")[2].split()[field - 3])


def _virtual() -> float:
    return _stat(23)


def _resident() -> float:
    return _stat(24) * os.sysconf("SC_PAGE_SIZE")


def _threads() -> float:
    return _stat(20)


def _open_files() -> float:
    return len(os.listdir(_PROC / "self/fd"))  # noqa: PTH208 - makes no Path of each


def _max_files() -> float:
    return _limit("RLIMIT_NOFILE")


def _max_virtual() -> float:
    return _limit("RLIMIT_AS")


def _limit(name: str) -> float:
    if resource is None:
        raise OSError("this system has no resource limits")
    soft, _ = resource.getrlimit(getattr(resource, name))
    if soft == resource.RLIM_INFINITY:
        raise ValueError("unlimited")
    return float(soft)


def _start_time() -> float:
    """Return the start time of this process; the current time, soon after, if the system does not provide it."""
    try:
        ticks = _stat(22)
        for line in (_PROC / "stat").read_bytes().splitlines():
            if line.startswith(b"btime "):
                return float(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        pass
    return time.time()


def process_metrics(registry: CollectorRegistry) -> ProcessMetrics:
    """Expose metrics of this process: CPU time, memory, file descriptors, threads, start time.

    Does nothing if the registry exposes them already.

    Args:
        registry: Where to expose them.

    Returns:
        The source, the same for all registries; ``registry.remove_source`` stops exposing it.

    Raises:
        TypeError: ``registry`` is no registry.

    Spec:
        E113.

    Examples:
        >>> source = process_metrics(CollectorRegistry())
    """
    source = _of_this_process()
    with suppress(ValueError):  # it is exposed already
        check_registry(registry).add_source(source)
    return source


@cache
def _of_this_process() -> ProcessMetrics:
    return ProcessMetrics()
