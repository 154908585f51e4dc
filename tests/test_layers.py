"""What an import loads, seen from a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import otel_aioprom

HOME = Path(otel_aioprom.__file__).resolve().parents[1]
PROGRAM = "import json, sys; {}; print(json.dumps(sorted(sys.modules)))"


def loaded(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after a statement."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(statement)],
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(result.stdout))


def of_package(modules: set[str], package: str) -> list[str]:
    """Those of the modules that belong to a package."""
    return sorted(name for name in modules if name.partition(".")[0] == package)


@pytest.mark.parametrize(
    "statement",
    [
        "from otel_aioprom.collectors import Counter; Counter('x', 'What.').inc()",
        "from otel_aioprom import Counter, Gauge, Histogram, Summary",
        "from otel_aioprom import timer",
    ],
)
def test_recording_needs_no_framework(statement: str) -> None:
    """Neither aiohttp nor OpenTelemetry is loaded, nor what they stand on."""
    modules = loaded(statement)

    for package in ("aiohttp", "yarl", "multidict", "opentelemetry", "ssl", "socket"):
        assert of_package(modules, package) == []
    assert "otel_aioprom.collectors" in modules


def test_recording_needs_no_event_loop() -> None:
    """Collectors alone do not load asyncio."""
    modules = loaded("from otel_aioprom.collectors import Counter; Counter('x', 'What.').inc()")

    assert of_package(modules, "asyncio") == []


@pytest.mark.parametrize(
    "statement",
    [
        "from otel_aioprom import REGISTRY, render; render(REGISTRY, [])",
        "from otel_aioprom import formats, negotiate",
        "import otel_aioprom.service.scrape",
    ],
)
def test_responses_need_no_framework(statement: str) -> None:
    """What encodes them runs under any server."""
    modules = loaded(statement)

    for package in ("aiohttp", "opentelemetry"):
        assert of_package(modules, package) == []


def test_the_root_alone_loads_nothing() -> None:
    """Each name is loaded when it is first asked for."""
    assert of_package(loaded("import otel_aioprom"), "otel_aioprom") == ["otel_aioprom"]


def test_the_reader_and_the_service_do_not_know_each_other() -> None:
    """Each brings the framework that it is for, and only that."""
    reader = loaded("from otel_aioprom import PrometheusMetricReader")
    service = loaded("from otel_aioprom import Service")

    assert of_package(reader, "opentelemetry")
    assert of_package(reader, "aiohttp") == []
    assert of_package(service, "aiohttp")
    assert of_package(service, "opentelemetry") == []
