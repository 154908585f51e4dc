"""Patterns that select names of attributes or metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

_STARS = re.compile(r"\*+")


class Patterns:
    """Selects names by lists of patterns.

    In a pattern ``*`` matches any characters, or none, and ``?`` exactly one; everything else, brackets included,
    matches itself. Case matters. A match takes time in proportion to the lengths of pattern and name, whatever they are.

    Args:
        included: Names that match one of these are selected; ``None`` selects all.
        excluded: Names that match one of these are not selected, even if they are included.

    Raises:
        TypeError: An argument is not a list of strings.
        ValueError: A list is empty.

    Spec:
        M77.

    Examples:
        >>> patterns = Patterns(["service*"], ["service.attr?"])
        >>> [key for key in ("service.name", "service.attr1", "Service.x") if patterns.matches(key)]
        ['service.name']
    """

    __slots__ = ("_excluded", "_included")

    def __init__(
        self, included: Sequence[str] | None = None, excluded: Sequence[str] | None = None
    ) -> None:
        self._included = _compiled("included", included)
        self._excluded = _compiled("excluded", excluded)

    @classmethod
    def from_option(cls, option: Mapping[str, Sequence[str] | None]) -> Patterns:
        """Create patterns from an option of a declarative configuration.

        Args:
            option: ``included`` and ``excluded``; both may be absent or ``None``.

        Returns:
            The patterns.

        Raises:
            TypeError: The option is not a mapping, or one of its values is not a list of strings.
            ValueError: The option has other keys, or a list is empty.
        """
        if not isinstance(option, Mapping):
            raise TypeError(f"expected a mapping with 'included' and 'excluded', not {option!r}")
        unknown = [key for key in option if key not in ("included", "excluded")]
        if unknown:
            raise ValueError(f"unknown {unknown!r}: only 'included' and 'excluded' are known")
        return cls(option.get("included"), option.get("excluded"))

    def matches(self, *spellings: str) -> bool:
        """Return whether a name is selected.

        Args:
            *spellings: All forms of the name; it is not selected if one of them is excluded.
        """
        if self._excluded is not None and any(map(self._excluded.fullmatch, spellings)):
            return False
        return self._included is None or any(map(self._included.fullmatch, spellings))


def _compiled(option: str, patterns: Sequence[str] | None) -> re.Pattern[str] | None:
    if patterns is None:
        return None
    # A str is a sequence of strings too: each of its letters would become a pattern.
    if not isinstance(patterns, (list, tuple)) or not all(
        isinstance(pattern, str) for pattern in patterns
    ):
        raise TypeError(f"{option!r} must be a list of patterns, each a str, not {patterns!r}")
    if not patterns:
        raise ValueError(f"{option!r} must have at least one pattern; leave it out instead")
    groups = map("p{}".format, count())
    return re.compile("|".join([_expression(each, groups) for each in patterns]), re.DOTALL)


def _expression(pattern: str, groups: Iterator[str]) -> str:
    """Return a regular expression that matches the pieces between the stars one after the other.

    Each piece is taken where it is first found, which is never wrong, and never tried elsewhere: a lookahead keeps its
    match, so that a failure does not try all ways to share the name among the stars.

    Args:
        pattern: The pattern.
        groups: New names of groups.
    """
    first, *rest = [re.escape(piece).replace(r"\?", ".") for piece in _STARS.split(pattern)]
    if not rest:
        return first
    *middle, last = rest
    ends_in_star = not last and middle  # nothing that follows the last piece can fail
    last = f".*?{middle.pop()}.*" if ends_in_star else f".*{last}"
    found = [f"(?=(?P<{group}>.*?{piece}))(?P={group})" for piece, group in zip(middle, groups)]
    return "".join([first, *found, last])
