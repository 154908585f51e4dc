"""Numbers: which values can be recorded, and how floats are written."""

from __future__ import annotations

import enum
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from otel_aioprom._core.numbers import (
    INT_LIMIT,
    canonical_float,
    check_seconds,
    coerce_number,
    float_text,
)

INF, NAN = math.inf, math.nan


class Level(enum.IntEnum):
    """An integer with a name."""

    HIGH = 3


class Odd(float):
    """A float with its own ``repr``, as NumPy's."""

    def __repr__(self) -> str:
        return "odd"


class Index:
    """An integer of another library."""

    def __index__(self) -> int:
        return 7


class Half:
    """A number of another library."""

    def __float__(self) -> float:
        return 0.5


class Only(Half):
    """A NumPy array of one value that is no whole number."""

    def __index__(self) -> int:
        raise TypeError("only integer arrays can be converted to an index")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (Only(), 0.5),
        (3, 3),
        (-3, -3),
        (0.5, 0.5),
        (True, 1),
        (Level.HIGH, 3),
        (Odd(0.5), 0.5),
        (Index(), 7),
        (Half(), 0.5),
        (Decimal("0.1"), 0.1),
        (Fraction(1, 4), 0.25),
        (INF, INF),
        (INT_LIMIT, INT_LIMIT),
        (-INT_LIMIT, -INT_LIMIT),
        (INT_LIMIT * 2, float(INT_LIMIT * 2)),
        (-INT_LIMIT * 2, float(-INT_LIMIT * 2)),
    ],
)
def test_numbers_of_all_types_are_converted(value: Any, number: float) -> None:
    """The type is exactly int or float, so that the ``repr`` is the builtin one."""
    found = coerce_number(value)

    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize("value", ["1", b"1", None, [1], 1j, object(), {}])
def test_what_is_no_number_raises_type_error(value: Any) -> None:
    """A string is not parsed."""
    with pytest.raises(TypeError, match="must be a number"):
        coerce_number(value)


@pytest.mark.parametrize("value", [10**400, -(10**400), Fraction(10**400)])
def test_what_lies_beyond_a_double_raises_value_error(value: Any) -> None:
    """No server could read it (E8)."""
    with pytest.raises(ValueError, match="range of a double"):
        coerce_number(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (-7, "-7"),
        (10**20, "100000000000000000000"),
        (0.1, "0.1"),
        (1e-05, "1e-05"),
        (1e16, "1e+16"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (-2.5, "-2.5"),
        (NAN, "NaN"),
        (-NAN, "NaN"),
        (INF, "+Inf"),
        (-INF, "-Inf"),
    ],
)
def test_e08_values_are_written_as_servers_read_them(value: float, text: str) -> None:
    """Integers as digits, floats in their shortest form, special values as Prometheus writes them."""
    assert float_text(value) == text


def test_e08_minus_zero_has_a_legal_spelling() -> None:
    """Both ``0`` and ``-0.0`` may be written."""
    assert float(float_text(-0.0)) == 0


@pytest.mark.parametrize(
    ("value", "go_form"),
    [
        (0, "0"),
        (-0.0, "0"),
        (100000, "100000"),
        (123456, "123456"),
        (999999.5, "999999.5"),
        (1000000, "1e+06"),
        (-1234567, "-1.234567e+06"),
        (12345678.9, "1.23456789e+07"),
        (2**53 + 1, "9.007199254740992e+15"),
        (0.0001, "0.0001"),
        (0.00012345, "0.00012345"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_e09_bounds_have_gos_form(value: float, go_form: str) -> None:
    """The shortest digits, an exponent only outside 1e-4 to 1e6, and ``.0`` after whole numbers."""
    whole = "." not in go_form and "e" not in go_form

    assert canonical_float(value) == (f"{go_form}.0" if whole else go_form)


@pytest.mark.parametrize(
    "text",
    [
        "0.0",
        "0.001",
        "0.01",
        "0.5",
        "0.95",
        "1.0",
        "1.7",
        "10.0",
        "100000.0",
        "1e+06",
        "1e+10",
        "1e+23",
        "1e-05",
        "1e-10",
        "0.0001",
        "+Inf",
        "-Inf",
        "NaN",
        "-1.0",
        "-0.5",
        "-1e+06",
        "-1e-05",
        "123456.7",
        "0.005",
        "0.025",
    ],
)
def test_e10_the_canonical_spelling_is_stable(text: str) -> None:
    """A bound that is parsed is written as it was."""
    assert canonical_float(float(text)) == text


def test_e10_ints_and_floats_have_one_spelling() -> None:
    """``le`` is opaque: 1 and 1.0 must not be two series."""
    assert canonical_float(1) == canonical_float(1.0) == canonical_float(True) == "1.0"


@pytest.mark.parametrize("seconds", [10**400, 2**1024])
def test_seconds_that_no_float_can_hold_are_rejected(seconds: int) -> None:
    """Calculations would fail later; ``inf`` is valid."""
    with pytest.raises(ValueError, match="pause must be a number of seconds that a float can hold"):
        check_seconds("pause", seconds)
    check_seconds("pause", INF)
