"""Text 0.0.4: values, bounds and quantiles (E8 to E10)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest

from oracles import TextReader, sample_lines
from otel_aioprom.collectors import Collector, Gauge, Histogram, Summary

INF, NAN = math.inf, math.nan


@pytest.fixture
def text_of() -> Iterator[TextReader]:
    """Encode text and check it with third-party parsers."""
    with TextReader() as reader:
        yield reader


class Loud(float):
    """A float whose ``repr`` is no number, like NumPy's."""

    def __repr__(self) -> str:
        return f"Loud({super().__repr__()})"


class Code(IntEnum):
    """An integer with a name."""

    OK = 200


# Recorded values, and their text in the response.
VALUES = [
    (0, "0"),
    (-0.0, "-0.0"),
    (5, "5"),
    (5.0, "5.0"),
    (-12.5, "-12.5"),
    (0.1, "0.1"),
    (1e-05, "1e-05"),
    (1e16, "1e+16"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (2**53 + 1, "9007199254740993"),
    (-(2**64), "-18446744073709551616"),
    (NAN, "NaN"),
    (-NAN, "NaN"),
    (INF, "+Inf"),
    (-INF, "-Inf"),
    (True, "1"),
    (False, "0"),
    (Code.OK, "200"),
    (Decimal("0.5"), "0.5"),
    (Decimal("NaN"), "NaN"),
    (Fraction(1, 4), "0.25"),
    (Loud(1.5), "1.5"),
    (Loud("inf"), "+Inf"),
]


@pytest.mark.parametrize(("value", "written"), VALUES)
def test_e08_values(text_of: TextReader, value: Any, written: str) -> None:
    """Integers are digits, floats their shortest form; alone, and beside values that are not finite."""
    gauge, untyped = Gauge("g", ""), Collector("u", "")
    gauge.set({}, value)
    untyped.set_value({}, value)
    untyped.set_value({"a": 1}, NAN)

    assert sample_lines(text_of(gauge)) == [f"g {written}"]
    assert sample_lines(text_of(untyped)) == [f"u {written}", 'u{a="1"} NaN']


@pytest.mark.parametrize("value", [10**309, -(10**309), 2**1024, Fraction(10**309)])
def test_e08_integers_beyond_a_double_raise(value: Any) -> None:
    """Prometheus would reject the whole response."""
    gauge = Gauge("g", "")
    with pytest.raises(ValueError, match="double"):
        gauge.set({}, value)

    assert gauge.get_all() == []


def test_e08_integers_of_the_largest_doubles_are_accepted(text_of: TextReader) -> None:
    """Up to the limit itself."""
    gauge = Gauge("g", "")
    gauge.set({}, 2**1023)

    (line,) = sample_lines(text_of(gauge))
    assert float(line.removeprefix("g ")) == 2.0**1023


@pytest.mark.parametrize(
    ("value", "written"), [(NAN, "NaN"), (INF, "+Inf"), (-INF, "-Inf"), (1e400, "+Inf")]
)
def test_e08_sums_and_quantiles_are_formatted_alike(
    text_of: TextReader, value: float, written: str
) -> None:
    """Not only in families of numbers."""
    histogram, summary = Histogram("h", "", buckets=[1]), Summary("s", "", invariants=[(0.5, 0.1)])
    histogram.observe({}, value)
    summary.observe({}, value)
    lines = sample_lines(text_of(histogram, summary))

    assert f"h_sum {written}" in lines
    assert f"s_sum {written}" in lines
    assert f's{{quantile="0.5"}} {written}' in lines


# Bounds, and Go's format, with ``.0`` appended to integers.
BOUNDS = [
    (-1234567, "-1.234567e+06"),
    (-0.0, "0.0"),
    (5e-324, "5e-324"),
    (1.5e-7, "1.5e-07"),
    (0.00001, "1e-05"),
    (0.0001, "0.0001"),
    (0.00012345, "0.00012345"),
    (100000, "100000.0"),
    (123456, "123456.0"),
    (999999.5, "999999.5"),
    (1000000, "1e+06"),
    (12345678.9, "1.23456789e+07"),
    (2**53 + 1, "9.007199254740992e+15"),
    (1e21, "1e+21"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (INF, "+Inf"),
]
# The list of the OpenMetrics specification.
CANONICAL = [
    "0.0",
    "1e-10",
    "1e-05",
    "0.0001",
    "0.001",
    "0.01",
    "0.5",
    "0.95",
    "1.0",
    "1.7",
    "10.0",
]
CANONICAL += ["100000.0", "1e+06", "1e+10", "1e+23"]


def bounds_of(text: str) -> list[str]:
    """The ``le`` of each bucket line."""
    return re.findall('le="(.*?)"', text)


@pytest.mark.parametrize(("bound", "written"), BOUNDS)
def test_e09_each_bound_of_the_table(text_of: TextReader, bound: float, written: str) -> None:
    """Whatever its type."""
    ints = Histogram("h", "", buckets=[bound])
    ints.labels()
    floats = Histogram("h2", "", buckets=[float(bound)])
    floats.labels()
    expected = list(dict.fromkeys([written, "+Inf"]))

    assert bounds_of(text_of(ints)) == bounds_of(text_of(floats)) == expected


def test_e09_the_table_in_one_histogram(text_of: TextReader) -> None:
    """Byte by byte."""
    histogram = Histogram("h", "", buckets=[bound for bound, _ in BOUNDS])
    histogram.labels()

    buckets = "".join([f'h_bucket{{le="{written}"}} 0\n' for _, written in BOUNDS])
    assert text_of(histogram) == f"# TYPE h histogram\n{buckets}h_sum 0\nh_count 0\n"


def test_e10_canonical_bounds(text_of: TextReader) -> None:
    """The forms that OpenMetrics lists, in text 0.0.4 too."""
    histogram = Histogram("h", "", buckets=[float(text) for text in CANONICAL])
    histogram.labels({"a": 1})

    assert bounds_of(text_of(histogram)) == [*CANONICAL, "+Inf"]


def test_e10_canonical_quantiles(text_of: TextReader) -> None:
    """As for bounds."""
    between = [text for text in CANONICAL if 0 < float(text) < 1]
    summary = Summary("s", "", invariants=[(float(text), 0.1) for text in between])
    summary.observe({}, 1)

    assert re.findall('quantile="(.*?)"', text_of(summary)) == between


def test_e10_one_bound_has_one_format(text_of: TextReader) -> None:
    """A bound given as integer and as float is the same bound."""
    first, second = Histogram("a", "", buckets=[1]), Histogram("b", "", buckets=[1.0])
    for histogram in (first, second):
        histogram.labels()

    assert bounds_of(text_of(first)) == bounds_of(text_of(second)) == ["1.0", "+Inf"]
