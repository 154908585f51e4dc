"""Generations of series: only bound children keep an earlier one alive."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest

from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry


@pytest.mark.parametrize(
    "options", [{}, {"expire_after": 60.0}, {"max_series": 9}], ids=["plain", "expiring", "limited"]
)
def test_earlier_generations_are_freed(options: dict[str, Any]) -> None:
    """Though there is a bound child of the first one."""
    gauge = Gauge("x", "What.", registry=CollectorRegistry(max_series=9), **options)
    held = gauge.labels({"a": "held"})
    seen = []
    for number in range(5):
        with gauge.replace() as other:
            seen.append(ref(other._store))
            other.set({"a": number}, number)
        del other
    gc.collect()

    assert [store() is None for store in seen] == [True] * 4 + [False]
    assert gauge.get_all() == [({"a": "4"}, 4)]
    held.set(7)
    assert gauge.get_all() == [({"a": "4"}, 4)]
