"""The public names of the package root are those of its subpackages."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import otel_aioprom

MODULES = {
    "REGISTRY": "registry",
    "BasicAuth": "_transport.credentials",
    "BearerAuth": "_transport.credentials",
    "BlockingPusher": "pusher",
    "Collector": "collectors",
    "CollectorRegistry": "registry",
    "Counter": "collectors",
    "Enum": "collectors",
    "Gauge": "collectors",
    "Histogram": "collectors",
    "Info": "collectors",
    "MetricsTypes": "collectors",
    "PrometheusMetricReader": "otel.reader",
    "PushMetricExporter": "pusher.otel_exporter",
    "Pusher": "pusher",
    "Registry": "registry",
    "RemoteWriter": "remote_write",
    "Retry": "pusher",
    "Service": "service",
    "StateSet": "collectors",
    "Summary": "collectors",
    "ThreadedService": "service",
    "async_render": "renderer",
    "count_exceptions": "decorators",
    "inprogress": "decorators",
    "job_metrics": "pusher",
    "negotiate": "negotiator",
    "observe_async": "otel.async_callbacks",
    "process_metrics": "instrument",
    "render": "renderer",
    "timer": "decorators",
    "write_textfile": "textfile",
}


def test_the_public_names() -> None:
    """Adding or removing one changes the public interface."""
    assert sorted(otel_aioprom.__all__) == sorted([*MODULES, "formats"])
    assert len(set(otel_aioprom.__all__)) == len(otel_aioprom.__all__)


@pytest.mark.parametrize(("name", "module"), sorted(MODULES.items()))
def test_a_name_is_the_same_object_in_its_module(name: str, module: str) -> None:
    """At the first use and later."""
    expected = getattr(import_module(f"otel_aioprom.{module}"), name)

    assert getattr(otel_aioprom, name) is expected
    assert getattr(otel_aioprom, name) is expected


def test_formats_is_the_package_of_formats() -> None:
    """The only public name of a package."""
    formats = import_module("otel_aioprom.formats")

    assert otel_aioprom.formats is formats
    assert otel_aioprom.__getattr__("formats") is formats


def run(program: str) -> str:
    """Return what a program prints in a new interpreter, in which nothing is imported yet."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=Path(otel_aioprom.__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return result.stdout.strip()


def test_each_name_can_be_imported_first() -> None:
    """None needs another one imported before."""
    program = """
import importlib, sys
names = importlib.import_module("otel_aioprom").__all__
for name in names:
    for module in [key for key in sys.modules if key.startswith("otel_aioprom")]:
        del sys.modules[module]
    assert getattr(importlib.import_module("otel_aioprom"), name) is not None
print(len(names))
"""

    assert run(program) == str(len(otel_aioprom.__all__))


def test_dir_lists_the_public_names() -> None:
    """Imported or not."""
    assert set(dir(otel_aioprom)) >= set(otel_aioprom.__all__)
    assert dir(otel_aioprom) == sorted(dir(otel_aioprom))


@pytest.mark.parametrize("name", ["nothing", "Pushr", "_private", "counter"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    """With the module and the name in the message."""
    with pytest.raises(AttributeError, match=f"module 'otel_aioprom' has no attribute '{name}'"):
        getattr(otel_aioprom, name)


def test_an_unknown_name_cannot_be_imported() -> None:
    """With the usual error."""
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from otel_aioprom import nothing", {})  # noqa: S102 - the statement is what is tested


def test_a_star_import_imports_all_names() -> None:
    """Whether they were used before or not."""
    program = "from otel_aioprom import *; import otel_aioprom; print(set(otel_aioprom.__all__) - set(globals()))"

    assert run(program) == "set()"
