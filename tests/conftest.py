"""Fixtures that many tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from clocks import ManualClock
from interruptions import switching
from otel_aioprom.collectors import Gauge
from otel_aioprom.collectors.series import expiry
from otel_aioprom.otel import async_observer
from otel_aioprom.registry import CollectorRegistry

# How fast the machine is, and which examples happen to be drawn, is no reason to fail.
settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)
settings.load_profile("suite")


# A shell that begins this in the background has it ignore interrupts, and then all programs that tests begin do.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where no coverage is measured, pytest-cov has nothing to pause, and fails when it is asked to."""
    if config.getoption("no_cov", default=True):
        for node in {node for item in items for node in item.listchain()}:
            node.own_markers[:] = [mark for mark in node.own_markers if mark.name != "no_cover"]


@pytest.fixture(autouse=True)
def observers_end() -> Iterator[None]:
    """What a test has left asking is not heard in the log of another."""
    yield
    for observer in async_observer.living():
        observer.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    """An empty registry."""
    return CollectorRegistry()


@pytest.fixture
def gauge(registry: CollectorRegistry) -> Gauge:
    """A gauge of that registry."""
    return Gauge("x", "What.", registry=registry)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock by which series age."""
    made = ManualClock()
    monkeypatch.setattr(expiry, "monotonic", made)
    return made


@pytest.fixture
def hostile_switching() -> Iterator[None]:
    """Threads change as often as the interpreter can."""
    with switching():
        yield
