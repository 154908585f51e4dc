"""Patterns of names: what they match, and how long that takes."""

from __future__ import annotations

import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_aioprom._core.patterns import Patterns

LIMIT = 1.0  # seconds; what backtracks takes years


def matches_by_definition(pattern: str, name: str) -> bool:
    """Match as M77 defines it: ``*`` is any characters, ``?`` is one."""

    @cache
    def match(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(name)
        if pattern[i] == "*":
            return match(i + 1, j) or (j < len(name) and match(i, j + 1))
        return j < len(name) and pattern[i] in ("?", name[j]) and match(i + 1, j + 1)

    return match(0, 0)


TEXTS = st.text("ab\\.\n[?", max_size=12)
PATTERNS = st.text("ab*?\\.[\n", max_size=10)


@given(st.lists(PATTERNS, min_size=1, max_size=4), TEXTS)
def test_m77_patterns_match_as_defined(patterns: list[str], name: str) -> None:
    """Alone and in a list, with any number of stars, and with characters that regular expressions know."""
    expected = any(matches_by_definition(pattern, name) for pattern in patterns)

    assert Patterns(patterns).matches(name) == expected
    assert Patterns(excluded=patterns).matches(name) != expected


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 8 + "*b",
        "*a" * 100 + "*b",
        "*?" * 50 + "b",
        "*" * 200 + "b",
        "*a*?" * 40 + "b",
        "a*" * 60 + "b*c",
    ],
)
@pytest.mark.parametrize("length", [80, 20_000])
def test_m77_many_stars_take_no_longer_than_their_name(pattern: str, length: int) -> None:
    """A name that nearly matches is refused at once, not after all ways to share it among the stars."""
    patterns = Patterns([pattern], ["x*y*z", pattern])
    name = "a" * length
    began = time.perf_counter()

    assert not patterns.matches(name)
    assert patterns.matches(name + "b") is False  # excluded, or no match
    assert time.perf_counter() - began < LIMIT


def test_m77_many_patterns_of_one_list() -> None:
    """Each has its own pieces."""
    patterns = Patterns([f"*x{number}*y*{number}*" for number in range(200)])

    assert patterns.matches("ax7by77")
    assert patterns.matches("x199-y-199")
    assert not patterns.matches("x7by8")
