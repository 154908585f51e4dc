"""What an import loads, seen from a fresh interpreter."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import otel_aioprom

ROOT = Path(__file__).parent.parent
HOME = Path(otel_aioprom.__file__).resolve().parents[1]
PACKAGE = ROOT / "otel_aioprom"
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
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


def test_the_drawn_rooms_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """What contributors read is what import-linter checks: `python tools/rooms.py` draws it anew."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    rooms = import_module("rooms")

    assert rooms.main(["--check"]) == 0


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_can_be_taken_in_at_a_glance(folder: Path) -> None:
    """It has 16 files at most, the package's root 14."""
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc"]

    assert len(files) <= (14 if folder == PACKAGE else 16)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_says_what_lives_there(folder: Path) -> None:
    """In its docstring, and each of its modules does."""
    for path in folder.glob("*.py"):
        doc = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        assert doc, path
        assert doc[0].isupper() or not doc[0].isalpha(), path


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("asgi", "MetricsApp MetricsMiddleware"),
        ("autoconfigure", "AutoPrometheusMetricReader"),
        ("collectors", "Collector Counter Gauge Histogram Summary Info StateSet Enum MetricsTypes"),
        ("collectors", "DEFAULT_BUCKETS DEFAULT_INVARIANTS POS_INF"),
        ("collectors", "REGISTRY Registry"),
        ("decorators", "timer inprogress count_exceptions"),
        ("errors", "MetricsError ServiceStartError PushError"),
        ("formats", "IFormatter TextFormatter BinaryFormatter OpenMetricsFormatter with_escaping"),
        ("formats.base", "IFormatter"),
        ("formats", "binary text"),
        ("formats.binary", "BinaryFormatter BINARY_CONTENT_TYPE BINARY_ACCEPTS"),
        ("formats.text", "TextFormatter TEXT_CONTENT_TYPE TEXT_ACCEPTS"),
        ("histogram", "Histogram linearBuckets exponentialBuckets POS_INF"),
        ("histogram", "linear_buckets exponential_buckets"),
        ("instrument", "process_metrics"),
        ("metricdict", "MetricDict"),
        ("negotiator", "negotiate parse_accepts"),
        ("otel.reader", "PrometheusMetricReader"),
        ("otel.tracing", "trace_exemplar"),
        ("pusher", "Pusher BlockingPusher PushResult Retry job_metrics"),
        ("registry", "CollectorRegistry Registry REGISTRY MetricFamily Fault"),
        ("registry", "CounterSeries HistogramSeries NumberSeries SummaryPoint"),
        ("registry", "SupportsCollect SupportsAsyncCollect"),
        ("remote_write", "RemoteWriter"),
        ("renderer", "render async_render"),
        ("service", "Service ThreadedService DEFAULT_METRICS_PATH"),
        ("service.web_config", "WebConfig"),
        ("textfile", "write_textfile"),
        ("wsgi", "MetricsApp MetricsMiddleware"),
    ],
)
def test_paths_that_users_know_stay(module: str, names: str) -> None:
    """Those of aioprometheus, of the documents, and of the folders."""
    found = import_module(f"otel_aioprom.{module}")

    for name in names.split():
        assert getattr(found, name) is not None


def test_a_facade_that_loads_late_knows_only_its_names() -> None:
    """Another name is the usual error."""
    service = import_module("otel_aioprom.service")

    with pytest.raises(AttributeError, match=r"'otel_aioprom\.service' has no attribute 'Servant'"):
        service.Servant  # noqa: B018 - looking is the test


def test_entry_points_lead_to_the_reader() -> None:
    """Those that the SDK looks for."""
    groups = ("opentelemetry_metrics_exporter", "opentelemetry_pull_metric_exporter")
    found = [entry for group in groups for entry in entry_points(group=group, name="otel_aioprom")]

    assert [entry.load().__name__ for entry in found] == ["AutoPrometheusMetricReader"] * 2
