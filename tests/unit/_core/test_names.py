"""Legacy names, which every Prometheus can read."""

from __future__ import annotations

from typing import Any

import pytest

from otel_aioprom._core.names import check_metric_name, is_valid_label_name, is_valid_metric_name
from otel_aioprom.errors import InvalidNameError, MetricsError

GOOD = ("a", "_", "A9_z", "a" * 1000, "__name__")
BAD: tuple[Any, ...] = (
    "",
    "9",
    "9a",
    "a-b",
    "a.b",
    "a b",
    " a",
    "a\n",
    "ä",
    "a\x00",
    "٣",
    "a٣",
    None,
    5,
    b"a",
)


@pytest.mark.parametrize("name", GOOD)
def test_legacy_names_are_valid_for_metrics_and_labels(name: str) -> None:
    """Letters, digits and underscores, with no leading digit."""
    assert is_valid_metric_name(name)
    assert is_valid_label_name(name)
    assert check_metric_name(name) == name


@pytest.mark.parametrize("name", BAD)
def test_all_other_names_are_invalid(name: Any) -> None:
    """Also with a trailing line feed, with digits of other scripts, or of other types."""
    assert not is_valid_metric_name(name)
    assert not is_valid_label_name(name)


@pytest.mark.parametrize("name", [":", "a:b", ":a"])
def test_colons_are_for_metrics_only(name: str) -> None:
    """Recording rules have them; labels never do."""
    assert is_valid_metric_name(name)
    assert not is_valid_label_name(name)


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_metric_name_is_in_the_error(name: Any) -> None:
    """Which says what is valid, and is a ValueError."""
    with pytest.raises(InvalidNameError) as raised:
        check_metric_name(name)

    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, MetricsError)
    assert raised.value.name == name
    assert repr(name) in str(raised.value)
    assert raised.value.reason in str(raised.value)
