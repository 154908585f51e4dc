"""Fixtures for tests of registries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oracles import FakeSource, HeldSource, family
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry


@pytest.fixture
def held(registry: CollectorRegistry) -> Iterator[HeldSource]:
    """A source of the registry, released at the end."""
    source = HeldSource(family("held"))
    registry.add_source(source)
    yield source
    source.go.release(100)


@pytest.fixture
def others(registry: CollectorRegistry) -> None:
    """Families that the registry exposes besides those of the test."""
    Gauge("g", "What.", registry=registry).set({}, 1)
    registry.add_source(FakeSource(family("other"), name="other"))
