"""Numbers: which values can be recorded, and how floats are written.

Recorded values are exactly ``int`` or ``float``, so that no later step has to check.
"""

from __future__ import annotations

import math
import operator
import sys
from functools import lru_cache
from typing import SupportsFloat, SupportsIndex

Number = int | float
"""What a series stores: exactly these types, no subclasses."""

INT_LIMIT = 2**256
"""Larger integers are stored as floats, so that no sum of integers can exceed the range of a double."""

_SCIENTIFIC_FROM = 6
_SCIENTIFIC_BELOW = -4

_LONGEST = sys.float_info.max  # seconds, besides inf


def coerce_number(value: SupportsFloat | SupportsIndex) -> int | float:
    """Convert any real number to a plain ``int`` or ``float``.

    Integers of all types (``bool``, ``IntEnum``, NumPy's) become ``int``, all other numbers (``Decimal``,
    ``Fraction``, NumPy's floats) become ``float``.

    Args:
        value: The number.

    Returns:
        An object whose type is exactly ``int`` or ``float``.

    Raises:
        TypeError: ``value`` is not a real number; strings are not converted.
        ValueError: ``value`` exceeds the range of a double.

    Spec:
        E8.

    Examples:
        >>> coerce_number(True), coerce_number(10**3)
        (1, 1000)
    """
    kind = type(value)
    if kind is float or (kind is int and -INT_LIMIT <= value <= INT_LIMIT):  # type: ignore[operator]
        return value  # type: ignore[return-value]
    if isinstance(value, float):
        return float(value)
    if isinstance(value, SupportsIndex) and (number := _to_integer(value)) is not None:
        return number if -INT_LIMIT <= number <= INT_LIMIT else _to_double(number)
    if isinstance(value, SupportsFloat):
        return _to_double(value)
    raise TypeError(f"a value must be a number, not {value!r} ({type(value).__name__})")


def check_seconds(name: str, seconds: object) -> None:
    """Check an option that is a duration in seconds; ``inf`` is allowed.

    Args:
        name: Name of the option, for the message.
        seconds: Its value.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not above 0, or too large for a float.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
    if not seconds > 0:
        raise ValueError(f"{name} must be a number of seconds above 0, not {seconds!r}")
    if seconds > _LONGEST and seconds < math.inf:
        raise ValueError(f"{name} must be a number of seconds that a float can hold, or inf")


def _to_integer(value: SupportsIndex) -> int | None:
    # A NumPy array of one value raises here if that is not a whole number.
    try:
        return int(operator.index(value))
    except TypeError:
        return None


def _to_double(value: SupportsFloat) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a value must lie within the range of a double, ±1.797e308") from None


def float_text(value: float) -> str:
    """Write a value as Prometheus does: in the shortest form that reads back equal.

    Spec:
        E8.

    Examples:
        >>> [float_text(value) for value in (3, 0.1, float("inf"), float("nan"))]
        ['3', '0.1', '+Inf', 'NaN']
    """
    if isinstance(value, int) or math.isfinite(value):
        return repr(value)
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


@lru_cache(maxsize=1024)
def canonical_float(value: float) -> str:
    """Write a bound or quantile in its canonical form, the same in every format.

    Label values are opaque to a server: two forms of one bound are two series. This is Go's shortest form, with
    ``.0`` after whole numbers, as OpenMetrics requires.

    Args:
        value: Upper bound of a bucket, or a quantile; an ``int`` is converted.

    Returns:
        The value of the label ``le`` or ``quantile``.

    Spec:
        E9, E10.

    Examples:
        >>> [canonical_float(bound) for bound in (1, 0.005, 100000, 1e6, 1e-05, float("inf"))]
        ['1.0', '0.005', '100000.0', '1e+06', '1e-05', '+Inf']
    """
    value = float(value)
    if not math.isfinite(value):
        return float_text(value)
    if value == 0:
        return "0.0"
    sign = "-" if value < 0 else ""
    digits, exponent = _shortest_digits(abs(value))
    if _SCIENTIFIC_BELOW <= exponent < _SCIENTIFIC_FROM:
        return sign + _plain(digits, exponent)
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{exponent:+03d}"


def _shortest_digits(value: float) -> tuple[str, int]:
    """Return the digits d₁d₂… and the exponent x of d₁.d₂…·10^x, as few digits as read back equal."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole) - 1 if whole != "0" else len(digits) - len(fraction) - 1
    return digits.rstrip("0"), leading + int(exponent or 0)


def _plain(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{whole}.{digits[exponent + 1 :] or '0'}"
