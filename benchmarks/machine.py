"""Where the figures come from: the machine and the versions."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measure import AIOPROMETHEUS, EXPORTER, PROMETHEUS, SDK

_PACKAGES = (
    "otel-aioprom",
    PROMETHEUS,
    AIOPROMETHEUS,
    SDK,
    EXPORTER,
    "aiohttp",
    "quantile-python",
)


def describe() -> dict[str, Any]:
    """Give machine, interpreter and package versions as plain data."""
    return {
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "architecture": platform.machine(),
            "processor": _processor(),
            "cpus": _cpus(),
        },
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _cpus() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """Give the processor's own name; only Linux tells it in a file."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "source tree"
