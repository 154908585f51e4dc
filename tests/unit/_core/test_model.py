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
def test_a_family_knows_its_samples_names(kind: str, samples: tuple[str, ...]) -> None:
    """All of them are taken, and so is the family's own."""
    made = family("x", kind=kind)

    assert made.sample_names() == samples
    assert set(made.taken_names()) == {"x", *samples}


def test_a_series_gives_its_labels_as_pairs() -> None:
    """In the order in which they are exposed."""
    assert number(1, {"b": "2", "a": "1"}).pairs == (("a", "1"), ("b", "2"))
    assert number(1).pairs == ()


def test_a_family_cannot_be_changed() -> None:
    """A collection is handed around; nobody changes it under the others."""
    made = MetricFamily("x", "gauge", "", "", ())
    with pytest.raises(AttributeError):
        made.name = "y"  # type: ignore[misc]

    assert made == MetricFamily("x", "gauge", "", "", ())
