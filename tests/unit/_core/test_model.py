"""Families and series."""

from __future__ import annotations

import pytest

from oracles import family, number
from otel_aioprom._core.model import MetricFamily


@pytest.mark.parametrize(
    ("kind", "samples"),
    [
        ("counter", ("x",)),
        ("gauge", ("x",)),
        ("untyped", ("x",)),
        ("info", ("x",)),
        ("histogram", ("x_bucket", "x_sum", "x_count")),
        ("summary", ("x", "x_sum", "x_count")),
    ],
)
def test_a_family_takes_its_sample_names(kind: str, samples: tuple[str, ...]) -> None:
    """And its own name."""
    one = family("x", kind=kind)

    assert one.sample_names() == samples
    assert set(one.taken_names()) == {"x", *samples}


def test_a_series_returns_its_labels_as_pairs() -> None:
    """In the order in which they are exposed."""
    assert number(1, {"b": "2", "a": "1"}).pairs == (("a", "1"), ("b", "2"))
    assert number(1).pairs == ()


def test_a_family_cannot_be_changed() -> None:
    """It is shared between threads."""
    one = MetricFamily("x", "gauge", "", "", ())
    with pytest.raises(AttributeError):
        one.name = "y"  # type: ignore[misc]

    assert one == MetricFamily("x", "gauge", "", "", ())
