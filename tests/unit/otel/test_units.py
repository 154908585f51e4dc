"""Units of measure and the words that stand for them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_aioprom.otel.units import PER_WORDS, UNIT_WORDS, escape, escaped_words, unit_words


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("", ""),
        ("abc:9", "abc:9"),
        ("a.-_/b", "a_b"),
        ("_a__b_", "_a_b_"),
        ("größe→x", "gr_e_x"),
        ("→→", "_"),
        ("a\nb", "a_b"),
    ],
)
def test_escape_makes_one_underscore_of_a_run(text: str, escaped: str) -> None:
    """Every run of illegal characters and underscores ends as one underscore."""
    assert escape(text) == escaped


@pytest.mark.parametrize(
    ("text", "words"), [("custom unit", "custom_unit"), ("_x_", "x"), ("→", ""), ("", "")]
)
def test_escaped_words_have_no_underscores_at_their_ends(text: str, words: str) -> None:
    """Words are joined by the caller, so they have no underscores at their ends."""
    assert escaped_words(text) == words


@pytest.mark.parametrize(
    "unit", [None, "", " ", "1", " 1 ", "1{request}", "{request}", "/", "1/", "1/{call}", "→", "/→"]
)
def test_a_unit_that_says_nothing_has_no_words(unit: str | None) -> None:
    """Absent units, plain numbers and annotations leave no words."""
    assert unit_words(unit) == ""


@pytest.mark.parametrize(("unit", "words"), sorted(UNIT_WORDS.items()))
def test_each_unit_of_the_table_is_found_alone_and_before_a_slash(unit: str, words: str) -> None:
    """The left side of a rate is read as a whole unit is."""
    rate = unit_words(f"{unit}/s")

    assert unit_words(unit) == words
    assert rate == (f"{words}_per_second" if words else "per_second")


@pytest.mark.parametrize(("unit", "word"), sorted(PER_WORDS.items()))
def test_each_unit_of_the_table_is_found_behind_a_slash(unit: str, word: str) -> None:
    """The right side of a rate has words of its own, in the singular."""
    assert unit_words(f"/{unit}") == f"per_{word}"


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("Ms", "Ms"),
        ("BY", "BY"),
        ("sec", "sec"),
        ("m2", "m2"),
        ("By / s", "bytes_per_second"),
        ("{a} s", "seconds"),
        ("By/{call}s", "bytes_per_second"),
        ("m/s/s", "meters_per_s_s"),
        ("By/1", "bytes_per_1"),
        ("By/→", "bytes"),
        ("→/s", "per_second"),
        ("s{open", "s_open"),
        ("s}", "s"),
    ],
)
def test_everything_else_stays_as_it_is(unit: str, words: str) -> None:
    """Codes count as a whole and case matters; what is not in a table keeps its characters."""
    assert unit_words(unit) == words


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("custom unit", "custom unit"),
        ("By/°", "bytes_per_°"),
        ("s", "seconds"),
        ("{x}/s", "per_second"),
    ],
)
def test_a_strategy_may_keep_the_characters(unit: str, words: str) -> None:
    """Which characters are legal is not decided here: words of the tables come out the same."""
    assert unit_words(unit, escape_unit=str) == words


@given(st.text())
def test_words_are_classic_characters_joined_by_single_underscores(unit: str) -> None:
    """Whatever the unit, its words can be joined to a classic name."""
    assert re.fullmatch(r"(?:[a-zA-Z0-9:]+(?:_[a-zA-Z0-9:]+)*)?", unit_words(unit))
