"""Callbacks that are removed by some of their labels, including constant labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oracles import sample_lines
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render


def collector_with_callbacks(registry: CollectorRegistry, kind: Callable[..., Any] = Gauge) -> Any:
    """A collector with a constant label and callbacks; each returns its label value."""
    collector = kind("x", "What.", {"host": "a"}, registry=registry)
    collector.set_function({"of": 1}, lambda: 1)
    collector.set_function({"of": 2}, lambda: 2)
    collector.set_function({"of": 3, "host": "b"}, lambda: 3)  # overrides the constant label
    return collector


def exposed(registry: CollectorRegistry) -> list[str]:
    """The samples of a response, by the value of ``of``."""
    lines = sample_lines(render(registry)[0].decode())
    return [line.rpartition("of=")[2][1] for line in lines if line.startswith("x{")]


@pytest.mark.parametrize("kind", [Gauge, Counter])
@pytest.mark.parametrize("called_before", [True, False])
@pytest.mark.parametrize(
    ("labels", "left"),
    [
        ({"host": "a"}, ["3"]),
        ({"host": "b"}, ["1", "2"]),
        ({"host": "c"}, ["1", "2", "3"]),
        ({"host": "a", "of": 1}, ["2", "3"]),
        ({"host": "b", "of": 1}, ["1", "2", "3"]),
        ({"of": "2"}, ["1", "3"]),
        ({}, []),
    ],
    ids=str,
)
def test_callbacks_are_removed_by_constant_labels_too(
    registry: CollectorRegistry,
    kind: Callable[..., Any],
    labels: dict[str, object],
    left: list[str],
    called_before: bool,
) -> None:
    """With their series, or before there is one; the others are still called."""
    collector = collector_with_callbacks(registry, kind)
    if called_before:
        assert exposed(registry) == ["1", "2", "3"]
    removed = collector.remove_matching(labels)

    assert removed == (3 - len(left)) * called_before
    assert exposed(registry) == left
