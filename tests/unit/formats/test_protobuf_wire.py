"""Protobuf wire encoding, byte by byte."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_model import MetricFamily
from otel_aioprom.formats import protobuf_wire


def runtime_varint(number: int) -> bytes:
    """A number as the official runtime writes it."""
    metric = MetricFamily().metric.add()
    metric.histogram.sample_count = number
    return metric.histogram.SerializeToString()[1:]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16383, "ff7f"), (16384, "808001"),
     (2**64 - 1, "ff" * 9 + "01"), (-5, "fb" + "ff" * 8 + "01")],
)  # fmt: skip
def test_e63_varints(number: int, text: str) -> None:
    """Seven bits a byte, the lowest first; negative ones take ten bytes."""
    assert protobuf_wire.varint(number).hex() == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "00"), (-1, "01"), (1, "02"), (-2, "03"), (150, "ac02"), (-150, "ab02")],
)
def test_e63_zigzag(number: int, text: str) -> None:
    """Small numbers of both signs in few bytes."""
    assert protobuf_wire.zigzag(number).hex() == text


@given(st.integers(0, 2**64 - 1) | st.integers(0, 64).map(lambda bits: 2**bits - 1))
def test_e63_varints_are_those_of_the_runtime(number: int) -> None:
    """Of any size."""
    assert protobuf_wire.varint(number) == runtime_varint(number)


@given(st.integers(-(2**63), 2**63 - 1))
def test_e63_zigzag_is_that_of_the_runtime(number: int) -> None:
    """In both directions."""
    metric = MetricFamily().metric.add()
    metric.histogram.positive_delta.append(number)

    assert protobuf_wire.zigzag(number) == metric.histogram.SerializeToString()[1:]


@given(st.floats())
def test_e63_doubles_are_eight_bytes_the_lowest_first(number: float) -> None:
    """Every bit of them."""
    written = protobuf_wire.double(number)

    assert len(written) == 8
    assert struct.unpack("<d", written)[0] == number or math.isnan(number)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384])
def test_a_field_has_its_length_in_front(size: int) -> None:
    """In bytes, not in characters."""
    assert protobuf_wire.field(b"\x0a", b"x" * size) == b"\x0a" + runtime_varint(size) + b"x" * size
    assert protobuf_wire.string_field(b"\x0a", "é" * size) == protobuf_wire.field(
        b"\x0a", "é".encode() * size
    )


def test_labels_are_messages_of_name_and_value() -> None:
    """Without labels, no bytes."""
    metric = MetricFamily().metric.add()
    for name, value in (("a", ""), ("é", "x" * 200)):
        metric.label.add(name=name, value=value)

    assert protobuf_wire.label_fields([("a", ""), ("é", "x" * 200)]) == metric.SerializeToString()
    assert protobuf_wire.label_fields([]) == b""


COUNTS = st.lists(st.integers(0, 2**60) | st.integers(0, 300), min_size=1, max_size=6)


@given(COUNTS, COUNTS, st.none() | st.floats())
def test_classic_fields_are_those_of_the_runtime(
    first: list[int], second: list[int], total: float | None
) -> None:
    """For counts of any encoded length, with cached templates, and for bounds with any byte."""
    size = min(len(first), len(second))
    bounds = [*[struct.unpack("<d", b"%%%%%%%%")[0] * (n + 1) for n in range(size - 1)], math.inf]
    fields = protobuf_wire.ClassicFields(bounds)
    for counts in (first[:size], second[:size], first[:size]):
        found = MetricFamily().metric.add().histogram
        found.ParseFromString(fields.write(counts, total))
        cumulative = [sum(counts[: n + 1]) for n in range(size)]
        assert [each.cumulative_count for each in found.bucket] == cumulative[:-1]
        assert [each.upper_bound for each in found.bucket] == bounds[:-1]
        assert found.sample_count == cumulative[-1]
        assert found.HasField("sample_sum") is (total is not None)
        assert total is None or repr(found.sample_sum) == repr(total)
        assert fields.write_with_exemplars(counts, total, [b""] * size) == fields.write(
            counts, total
        )
