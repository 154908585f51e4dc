"""Fixtures that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clocks import ManualClock
from interruptions import switching
from otel_aioprom.collectors import Gauge
from otel_aioprom.kinds import ageing
from otel_aioprom.registry import CollectorRegistry


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
    monkeypatch.setattr(ageing, "monotonic", made)
    return made


@pytest.fixture
def hostile_switching() -> Iterator[None]:
    """Threads change as often as the interpreter can."""
    with switching():
        yield
