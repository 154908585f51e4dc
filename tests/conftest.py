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

# A slow machine, or the examples that happen to be drawn, must not fail a test.
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


# In a background job of a shell interrupts are ignored, also by all programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove ``no_cover`` if no coverage is measured: pytest-cov would fail."""
    if config.getoption("no_cov", default=True):
        for node in {node for item in items for node in item.listchain()}:
            node.own_markers[:] = [mark for mark in node.own_markers if mark.name != "no_cover"]


@pytest.fixture(autouse=True)
def observers_end() -> Iterator[None]:
    """Close observers, so that those of one test do not log in another."""
    yield
    for observer in async_observer.all_observers():
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
    """The clock of expiring series."""
    manual = ManualClock()
    monkeypatch.setattr(expiry, "monotonic", manual)
    return manual


@pytest.fixture
def hostile_switching() -> Iterator[None]:
    """Let the interpreter switch threads as often as possible."""
    with switching():
        yield
