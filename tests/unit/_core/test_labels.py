"""Label sets: checked, sorted and written once."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Any

import pytest

from otel_aioprom._core.labels import (
    canonical_pairs,
    check_labels,
    encodable,
    help_text,
    label_value,
    labels_text,
    wire_pairs,
)
from otel_aioprom.errors import InvalidLabelsError


class Color(str, enum.Enum):
    """A ``str`` enumeration."""

    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("größe", "größe"),
        (404, "404"),
        (1.5, "1.5"),
        (None, "None"),
        (True, "True"),
        (b"a", "b'a'"),
        (Color.RED, "red"),
        ("\ud800", "\ufffd"),
        ("a\udcffb", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("\x00", "\x00"),
    ],
)
def test_every_label_value_can_be_encoded(value: object, text: str) -> None:
    """Lone surrogates are replaced, pairs become their character, enumerations their value."""
    found = label_value(value)

    assert found == text
    assert type(found) is str
    assert found.encode().decode() == text


def test_encodable_changes_surrogates_only() -> None:
    """Not even a leading byte-order mark."""
    for text in ("", "a", "ä😀", "\ufeffa", "\ufffe"):
        assert encodable(text) == text


def test_canonical_pairs() -> None:
    """Empty values and repeated constant labels are dropped, other values of constant labels are kept."""
    const = {"app": "shop", "zone": "1"}
    labels = {"z": 1, "a": "", "app": "shop", "zone": 2}

    assert canonical_pairs(labels, const) == (("z", "1"), ("zone", "2"))
    assert canonical_pairs({"app": ""}, const) == (("app", ""),)
    assert canonical_pairs({}, const) == ()


def test_wire_pairs_hold_all_labels_sorted() -> None:
    """The labels of the call override constant ones."""
    assert wire_pairs({"b": 1, "app": "mail"}, {"app": "shop", "z": "9"}) == (
        ("app", "mail"),
        ("b", "1"),
        ("z", "9"),
    )
    assert wire_pairs({}, {}) == ()


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ((), " "),
        ((("a", ""),), '{a=""} '),
        ((("a", "1"), ("b", "2")), '{a="1",b="2"} '),
        ((("a", '\\ " \n'),), r'{a="\\ \" \n"} '),
        ((("a", "{,}\r\t="),), '{a="{,}\r\t="} '),
    ],
)
def test_labels_are_escaped(pairs: tuple[tuple[str, str], ...], text: str) -> None:
    """Three characters only; without labels the text is a space."""
    assert labels_text(pairs) == text


def test_labels_text_takes_any_iterable() -> None:
    """Pairs may come one by one."""
    assert labels_text(iter([("a", "1")])) == '{a="1"} '


def test_help_keeps_its_quotes() -> None:
    """Backslashes and line feeds are escaped, and lone surrogates are replaced."""
    assert help_text('a\\b "c"\nd\ud800') == r'a\\b "c"\nd' + "\ufffd"


@pytest.mark.parametrize("labels", [{}, {"a": "1"}, MappingProxyType({"_": 1, "le": 2})])
def test_valid_labels_pass(labels: Any) -> None:
    """Any mapping with valid names, whatever its values are."""
    check_labels(labels, None)
    check_labels(labels, "quantile")


@pytest.mark.parametrize("labels", [None, "a", [("a", "1")], {"a"}, 5])
def test_what_is_no_mapping_raises_type_error(labels: Any) -> None:
    """Whatever it is."""
    with pytest.raises(TypeError, match="must be a dict"):
        check_labels(labels, None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("9", "letters"),
        (5, "letters"),
        ("a\n", "letters"),
        ("__a", "__"),
        ("job", "set by"),
        ("le", "set by"),
    ],
)
def test_invalid_names_are_in_the_error(name: Any, reason: str) -> None:
    """With the whole label set, and what is wrong with the name."""
    labels = {"ok": "1", name: "2"}
    with pytest.raises(InvalidLabelsError, match=reason) as raised:
        check_labels(labels, "le")

    assert raised.value.labels == labels
    assert repr(name) in raised.value.reason
    assert isinstance(raised.value, ValueError)
