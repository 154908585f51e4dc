"""Labels, rule by rule: each test carries the number of its rule and the rule's own examples."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from mapping_sdk import refuse
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.names import is_valid_label_name
from otel_aioprom._core.patterns import Patterns
from otel_aioprom.otel.attributes import (
    SCOPE_LABELS,
    attribute_text,
    join_labels,
    scope_pairs,
)
from otel_aioprom.otel.names import label_name

LE = frozenset({"le"})


def labels_of(
    attributes: Mapping[str, Any],
    scope: InstrumentationScope | None = None,
    reserved: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """Labels of a point with these attributes, from a response."""
    pairs = [(key, attribute_text(value)) for key, value in attributes.items()]
    if scope is None:
        return dict(join_labels(pairs, reserved=reserved))
    pairs += scope_pairs(scope, refuse)
    return dict(join_labels(pairs, reserved=reserved, keep_empty=SCOPE_LABELS))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("http.method", "http_method"),
        ("a:b", "a_b"),
        ("a→→b", "a_b"),
        ("größe", "gr_e"),
        ("x___", "x_"),
        ("__r__", "_r_"),
        ("1a", "key_1a"),
        ("ようこそ", "_"),
    ],
)
def test_m39_label_names(key: str, name: str) -> None:
    """Runs of illegal characters become one underscore, a leading digit stays."""
    assert label_name(key) == name


@given(st.dictionaries(st.text(), st.text(min_size=1)))
def test_m39_label_names_are_valid_and_unique_for_any_keys(attributes: dict[str, str]) -> None:
    """Whatever the keys, each label stands once and is legal in every format."""
    names = [name for name, _ in join_labels(attributes.items())]

    assert all(map(is_valid_label_name, names))
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("attributes", "labels"),
    [
        ({"k/x": "1", "k.x": "2"}, {"k_x": "2;1"}),
        ({"a_b": 3, "a.b": True, "a-b": 0.5}, {"a_b": "0.5;true;3"}),
        ({"k/x": "x", "k.x": "x"}, {"k_x": "x;x"}),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "2"}),
    ],
)
def test_m40_colliding_keys_are_joined_in_their_order(
    attributes: dict[str, Any], labels: dict[str, str]
) -> None:
    """Values are joined in the order of the original keys, whatever they are themselves."""
    assert labels_of(attributes) == labels


def test_m40_collision_with_an_added_label_is_joined() -> None:
    """Labels that the mapping adds take part under their own names."""
    labels = labels_of({"otel-scope-name": "user"}, InstrumentationScope("lib"))

    assert labels["otel_scope_name"] == "user;lib"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (0.25, "0.25"),
        (1e22, "1e+22"),
        (3.0, "3.0"),
        (nan, "NaN"),
        (inf, "Infinity"),
        (-inf, "-Infinity"),
        (b"\x00\xff", "AP8="),
        (None, ""),
    ],
)
def test_m41_single_values(value: object, text: str) -> None:
    """Single values stand without quotes."""
    assert attribute_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", "b"], '["a","b"]'),
        (["a"], '["a"]'),
        ([b"hi"], '["aGk="]'),
        ([nan], '["NaN"]'),
        ([inf, -inf], '["Infinity","-Infinity"]'),
        ([None], "[null]"),
        ((), "[]"),
        ({}, "{}"),
        ({"b": [True, 42, 0.25], "a": "größe"}, '{"b":[true,42,0.25],"a":"größe"}'),
    ],
)
def test_m41_lists_and_maps_are_json(value: object, text: str) -> None:
    """Compact JSON, characters as they are, keys in their given order."""
    assert attribute_text(value) == text


def test_m42_empty_values_make_no_labels() -> None:
    """An empty value equals an absent label: both points are one series."""
    assert labels_of({"a": "", "b": None}) == labels_of({}) == {}


def test_m43_reserved_names_are_exported() -> None:
    """What a family writes itself is renamed as Prometheus would, and only there."""
    assert labels_of({"le": "x"}, reserved=LE) == {"exported_le": "x"}
    assert labels_of({"quantile": "x"}, reserved=frozenset({"quantile"})) == {
        "exported_quantile": "x"
    }
    assert labels_of({"le": "x"}) == {"le": "x"}


def test_m43_reserved_names_are_exported_before_collisions_are_joined() -> None:
    """A key that already has the new name shares the label."""
    assert labels_of({"le": "x", "exported.le": "y"}, reserved=LE) == {"exported_le": "y;x"}


def test_m44_label_values_are_escaped() -> None:
    """Backslash, quote and line feed; all else is raw."""
    pairs = join_labels([("p", 'C:\\d"x"\n2')])

    assert labels_text(pairs) == r'{p="C:\\d\"x\"\n2"} '


def test_m45_scope_labels() -> None:
    """Name, version, schema URL and attributes of the scope are labels of every point."""
    scope = InstrumentationScope("lib", "1.0", "https://s/1", {"fizz": "buzz"})

    assert labels_of({}, scope) == {
        "otel_scope_fizz": "buzz",
        "otel_scope_name": "lib",
        "otel_scope_schema_url": "https://s/1",
        "otel_scope_version": "1.0",
    }


def test_m45_the_three_are_written_though_unset() -> None:
    """A scope without version and schema URL has empty ones, other empty labels are dropped."""
    labels = labels_of({"x": ""}, InstrumentationScope("lib", attributes={"team": ""}))

    assert labels == {
        "otel_scope_name": "lib",
        "otel_scope_schema_url": "",
        "otel_scope_version": "",
    }


def test_m45_scope_attributes_collide_by_their_own_keys() -> None:
    """Scope attributes follow the rules of all attributes."""
    scope = InstrumentationScope("lib", attributes={"build.id": "7", "build-id": 8})

    assert labels_of({}, scope)["otel_scope_build_id"] == "8;7"


@pytest.mark.parametrize("key", ["name", "version", "schema_url", "schema.url"])
def test_m46_reserved_scope_attributes_are_dropped(key: str) -> None:
    """What would be one of the three after escaping is dropped, the rest stays."""
    scope = InstrumentationScope("lib", "1", "u", {key: "mine", "team": "core"})

    assert labels_of({}, scope) == {
        "otel_scope_name": "lib",
        "otel_scope_schema_url": "u",
        "otel_scope_team": "core",
        "otel_scope_version": "1",
    }


@pytest.mark.parametrize(
    ("key", "selected"), [("service.name", True), ("service.attr1", False), ("Service.x", False)]
)
def test_m77_patterns_select_keys(key: str, selected: bool) -> None:
    """Included by a pattern, and not excluded by another; case matters."""
    option = {"included": ["service*"], "excluded": ["service.attr1"]}

    assert Patterns.from_option(option).matches(key) is selected


@pytest.mark.parametrize(
    ("pattern", "key", "selected"),
    [
        ("*", "", True),
        ("a*", "a", True),
        ("a?", "ab", True),
        ("a?", "a", False),
        ("[ab]*", "a", False),
        ("[ab]*", "[ab].x", True),
    ],
)
def test_m77_star_and_question_mark_are_all_there_is(
    pattern: str, key: str, selected: bool
) -> None:
    """A star stands for any characters or none, a question mark for one, all else for itself."""
    assert Patterns([pattern]).matches(key) is selected


def test_m77_absent_inclusions_include_everything() -> None:
    """With exclusions only, all other keys are selected."""
    patterns = Patterns.from_option({"excluded": ["host.*"]})

    assert patterns.matches("service.name")
    assert not patterns.matches("host.id")


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ({"included": []}, "included"),
        ({"excluded": []}, "excluded"),
        ({"include": ["x"]}, "include"),
    ],
)
def test_m77_options_of_a_wrong_shape_are_refused(option: dict[str, Any], wrong: str) -> None:
    """A list that is given has at least one entry, and there are no other keys."""
    with pytest.raises(ValueError, match=f"'{wrong}'"):
        Patterns.from_option(option)
