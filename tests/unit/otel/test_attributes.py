"""Attributes and what becomes of them as labels."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, nan
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping_sdk import refuse
from otel_aioprom._core.names import is_valid_label_name
from otel_aioprom._core.patterns import Patterns
from otel_aioprom.otel.attributes import (
    SCOPE_LABELS,
    attribute_text,
    join_labels,
    scope_pairs,
)


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    HIGH = 7


class Color(str, enum.Enum):
    """An enumeration of strings."""

    RED = "red"


class Shy(str):
    """A string with another repr."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shy"


class Odd(float):
    """A number with another repr, as in numpy."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Odd(0.5)"


@dataclass
class Scope:
    """What the SDK hands over as a scope."""

    name: str = "lib"
    version: str | None = None
    schema_url: str | None = None
    attributes: Mapping[str, Any] | None = field(default_factory=dict)


@dataclass
class OldScope:
    """A scope from before scopes had attributes."""

    name: str = "lib"
    version: str | None = "1"
    schema_url: str | None = ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (Color.RED, "red"),
        (Shy("told"), "told"),
        ("a\ud800", "a\ud800"),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (-1, "-1"),
        (Level.HIGH, "7"),
        (0.25, "0.25"),
        (3.0, "3.0"),
        (1e22, "1e+22"),
        (Odd(0.5), "0.5"),
        (nan, "NaN"),
        (inf, "Infinity"),
        (-inf, "-Infinity"),
        (b"\x00\xff", "AP8="),
        (b"", ""),
        (None, ""),
        ([], "[]"),
        ((), "[]"),
        ({}, "{}"),
    ],
)
def test_attribute_text_of_single_values(value: object, text: str) -> None:
    """At the top level values stand without quotes."""
    assert attribute_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", "b"], '["a","b"]'),
        (("a",), '["a"]'),
        ([True, 1, 1.0, None], "[true,1,1.0,null]"),
        ([nan, inf, -inf], '["NaN","Infinity","-Infinity"]'),
        ([b"hi"], '["aGk="]'),
        ([Level.HIGH, Color.RED, Odd(0.5)], '[7,"red",0.5]'),
        (["größe", 'q"\n'], '["größe","q\\"\\n"]'),
        ({"b": 1, "a": [None]}, '{"b":1,"a":[null]}'),
        (MappingProxyType({"x": {"y": b"hi"}}), '{"x":{"y":"aGk="}}'),
        ({1: "n", None: "e", False: "b"}, '{"1":"n","":"e","false":"b"}'),
        ([object], "[\"<class 'object'>\"]"),
    ],
)
def test_attribute_text_of_lists_and_maps(value: object, text: str) -> None:
    """Inside lists and maps values are JSON, without blanks and in the given order."""
    assert attribute_text(value) == text


def test_attribute_text_of_anything_else_is_its_str() -> None:
    """The SDK passes no other types; if it does, their ``str`` counts."""
    assert attribute_text(1j) == "1j"


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(st.lists(NESTED))
def test_attribute_text_of_a_list_reads_back(value: list[object]) -> None:
    """JSON values survive a round trip."""
    assert json.loads(attribute_text(value)) == value


def test_scope_pairs_always_name_the_three() -> None:
    """Name, version and schema URL stand first, empty where unset."""
    assert scope_pairs(Scope(), refuse) == [
        ("otel_scope_name", "lib"),
        ("otel_scope_version", ""),
        ("otel_scope_schema_url", ""),
    ]


def test_scope_pairs_take_attributes_by_original_key() -> None:
    """Attributes keep their original key after the prefix; values are strings."""
    pairs = scope_pairs(
        Scope(version="1", schema_url="u", attributes={"build.id": 7, "on": True}), refuse
    )

    assert pairs == [
        ("otel_scope_name", "lib"),
        ("otel_scope_version", "1"),
        ("otel_scope_schema_url", "u"),
        ("otel_scope_build.id", "7"),
        ("otel_scope_on", "true"),
    ]


@pytest.mark.parametrize(
    "key", ["name", "version", "schema_url", "schema.url", "_name", "schema→url"]
)
def test_scope_pairs_drop_attributes_that_take_a_reserved_name(key: str) -> None:
    """What counts is the label name that would come out."""
    assert scope_pairs(Scope(attributes={key: "mine"}), refuse) == scope_pairs(Scope(), refuse)


@pytest.mark.parametrize("scope", [OldScope(), Scope(version="1", attributes=None)])
def test_scope_pairs_of_a_scope_without_attributes(scope: Scope | OldScope) -> None:
    """Older SDKs know no scope attributes, or have none at all."""
    pairs = scope_pairs(scope, refuse)

    assert dict(pairs) == {
        "otel_scope_name": "lib",
        "otel_scope_version": "1",
        "otel_scope_schema_url": "",
    }


@pytest.mark.parametrize(
    ("pairs", "labels"),
    [
        ([], ()),
        ([("b", "1"), ("a", "2")], (("a", "2"), ("b", "1"))),
        ([("k/x", "1"), ("k.x", "2")], (("k_x", "2;1"),)),
        ([("a.b", "x"), ("a_b", "x")], (("a_b", "x;x"),)),
        ([("n", "attribute"), ("n", "added")], (("n", "attribute;added"),)),
        ([("n", "z"), ("n", "a")], (("n", "z;a"),)),
        ([("a.b", ""), ("a_b", "x")], (("a_b", ";x"),)),
        ([("a", ""), ("b", "1")], (("b", "1"),)),
        ([("é", "1"), ("ö", "2"), ("ü", "3")], (("_", "1;2;3"),)),
    ],
)
def test_join_labels(pairs: list[tuple[str, str]], labels: tuple[tuple[str, str], ...]) -> None:
    """Colliding keys share a label, in the order of the keys; empty values say nothing."""
    assert join_labels(pairs) == labels


def test_join_labels_orders_keys_by_code_point() -> None:
    """A character beyond the first plane stands behind one at its end, as it does not in UTF-16."""
    assert join_labels([("\U0001f600", "far"), ("\uff5e", "near")]) == (("_", "near;far"),)


def test_join_labels_keeps_marked_labels_though_empty() -> None:
    """The labels of a scope are always there; others of the same value are not."""
    pairs = [("otel_scope_version", ""), ("x", "")]

    assert join_labels(pairs, keep_empty=SCOPE_LABELS) == (("otel_scope_version", ""),)
    assert join_labels(pairs) == ()


def test_join_labels_moves_reserved_names_away() -> None:
    """Reserved names get a prefix, and the new name may collide again."""
    reserved = frozenset({"le"})

    assert join_labels([("le", "x")], reserved=reserved) == (("exported_le", "x"),)
    assert join_labels([("le", "x"), ("exported.le", "y")], reserved=reserved) == (
        ("exported_le", "y;x"),
    )
    assert join_labels([("le", "x")]) == (("le", "x"),)


@given(
    st.lists(st.tuples(st.text(max_size=6), st.text(max_size=3))),
    st.sampled_from([frozenset(), {"le"}, {"a", "_"}]),
)
def test_label_names_are_valid_unique_and_sorted(
    pairs: list[tuple[str, str]], reserved: frozenset[str]
) -> None:
    """Whatever the keys, a sample never has a label twice, a reserved one, or an empty one."""
    labels = join_labels(pairs, reserved=frozenset(reserved))
    names = [name for name, _ in labels]

    assert names == sorted(set(names))
    assert all(map(is_valid_label_name, names))
    assert not reserved & set(names)
    assert all(text for _, text in labels)


@given(st.dictionaries(st.text(max_size=6), st.text(min_size=1, max_size=3)))
def test_no_value_is_lost(attributes: dict[str, str]) -> None:
    """Every value is found in some label."""
    texts = [text for _, text in join_labels(attributes.items())]

    assert sorted("".join(texts).replace(";", "")) == sorted(
        "".join(attributes.values()).replace(";", "")
    )


@pytest.mark.parametrize(
    ("pattern", "key", "selected"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a", "A", False),
        ("a*", "a", True),
        ("a*", "ab.c", True),
        ("*", "", True),
        ("*b", "a\nb", True),
        ("a?", "ab", True),
        ("a?", "a", False),
        ("a?", "abc", False),
        ("?", "\n", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a.b", "axb", False),
        ("a|b", "a", False),
        ("\\*", "\\x", True),
        ("größe*", "größe.x", True),
    ],
)
def test_patterns_know_star_and_question_mark_only(pattern: str, key: str, selected: bool) -> None:
    """Everything else in a pattern stands for itself."""
    assert Patterns([pattern]).matches(key) is selected
    assert Patterns(None, [pattern]).matches(key) is not selected


def test_patterns_without_lists_select_everything() -> None:
    """An absent list of inclusions includes all keys."""
    assert Patterns().matches("any")


def test_exclusion_wins_over_inclusion() -> None:
    """A key on both lists is not selected; one pattern of a list suffices."""
    patterns = Patterns(("service.*", "host.*"), ("*.id", "host.secret"))

    assert patterns.matches("service.name")
    assert patterns.matches("host.name")
    assert not patterns.matches("service.id")
    assert not patterns.matches("host.secret")
    assert not patterns.matches("os.name")


@pytest.mark.parametrize(
    "option", [{}, {"included": None, "excluded": None}, {"included": ["x"]}, {"excluded": ["y"]}]
)
def test_patterns_read_from_an_option(option: dict[str, Any]) -> None:
    """Both lists may be absent, or null as YAML has it."""
    assert Patterns.from_option(option).matches("x")


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        (None, TypeError, "mapping"),
        (["service*"], TypeError, r"mapping.*service\*"),
        ({"include": ["x"]}, ValueError, "include"),
        ({"included": ["x"], "other": 1}, ValueError, "other"),
        ({"included": []}, ValueError, "included.*at least one"),
        ({"excluded": ()}, ValueError, "excluded.*at least one"),
        ({"included": "service*"}, TypeError, "included.*list"),
        ({"excluded": [1]}, TypeError, "excluded.*str"),
        ({"included": {"x"}}, TypeError, "included.*list"),
    ],
)
def test_options_of_a_wrong_shape_are_refused(
    option: Any, error: type[Exception], words: str
) -> None:
    """The message names what is wrong and what would have been right."""
    with pytest.raises(error, match=words):
        Patterns.from_option(option)
