"""Series that hold one number."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any

import pytest

from otel_aioprom._core.numbers import INT_LIMIT
from otel_aioprom.collectors.series.number import (
    CounterSeries,
    GaugeSeries,
    NumberSeries,
    UpDownSeries,
)

CLASSES = (NumberSeries, CounterSeries, GaugeSeries, UpDownSeries)


class Level(enum.IntEnum):
    """An integer whose ``str`` is its name."""

    HIGH = 3


@pytest.mark.parametrize("kind", CLASSES)
def test_a_series_starts_from_zero_without_labels(kind: type[NumberSeries]) -> None:
    """All arguments are optional."""
    made = kind()

    assert (made.get(), made.names, made.values, made.text) == (0, (), (), " ")
    assert kind(("a",), ("1",), '{a="1"} ', 5).pairs == (("a", "1"),)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    ("value", "number"),
    [(1.5, 1.5), (3, 3), (True, 1), (Level.HIGH, 3), (Decimal("0.5"), 0.5), (-1, -1)],
)
def test_set_keeps_plain_numbers(kind: type[NumberSeries], value: Any, number: float) -> None:
    """The type is exactly int or float."""
    made = kind()
    made.set(value)

    assert made.get() == number
    assert type(made.get()) is type(number)


def test_set_refuses_what_is_no_number() -> None:
    """The value does not change."""
    made = NumberSeries(value=3)
    with pytest.raises(TypeError, match="number"):
        made.set("1")  # type: ignore[arg-type]

    assert made.get() == 3


AMOUNTS = [
    (1, 1),
    (0, 0),
    (0.5, 0.5),
    (True, 1),
    (Level.HIGH, 3),
    (Decimal("0.5"), 0.5),
    (INT_LIMIT, INT_LIMIT),
    (INT_LIMIT * 4, float(INT_LIMIT * 4)),
]


@pytest.mark.parametrize(("amount", "number"), AMOUNTS)
def test_a_counter_adds_plain_numbers(amount: Any, number: float) -> None:
    """Whatever is passed, the value stays an int or a float."""
    made = CounterSeries()
    made.add(amount)

    assert made.get() == number
    assert type(made.get()) is type(number)


@pytest.mark.parametrize("amount", [-1, -0.5, Decimal(-1), -INT_LIMIT * 4, float("-inf")])
def test_a_counter_refuses_negative_amounts(amount: Any) -> None:
    """The value does not change."""
    made = CounterSeries(value=2)
    with pytest.raises(ValueError, match="only rises"):
        made.add(amount)

    assert made.get() == 2


def test_a_counter_goes_up_by_one() -> None:
    """``inc`` keeps ints."""
    made = CounterSeries(value=2)
    made.inc()

    assert made.get() == 3


@pytest.mark.parametrize("kind", [GaugeSeries, UpDownSeries])
def test_a_gauge_goes_both_ways(kind: type[GaugeSeries]) -> None:
    """By one and by amounts of either sign."""
    made, seen = kind(value=10), []
    for act in (made.inc, made.dec, lambda: made.add(-3), lambda: made.sub(-0.5)):
        act()
        seen.append(made.get())

    assert seen == [11, 10, 7, 7.5]


@pytest.mark.parametrize(
    ("amount", "number"),
    [*AMOUNTS, (-INT_LIMIT * 4, float(-INT_LIMIT * 4)), (-INT_LIMIT, -INT_LIMIT)],
)
def test_a_gauge_adds_and_subtracts_plain_numbers(amount: Any, number: float) -> None:
    """Whatever is passed, the value stays an int or a float."""
    up, down = GaugeSeries(), GaugeSeries()
    up.add(amount)
    down.sub(amount)

    assert (up.get(), down.get()) == (number, -number)
    assert type(up.get()) is type(down.get()) is type(number)


@pytest.mark.parametrize("amount", ["1", None, [1], 1j])
def test_no_series_adds_what_is_no_number(amount: Any) -> None:
    """The value does not change."""
    for act in (made := CounterSeries()).add, (gauge := GaugeSeries()).add, gauge.sub:
        with pytest.raises(TypeError, match="number"):
            act(amount)

    assert (made.get(), gauge.get()) == (0, 0)
