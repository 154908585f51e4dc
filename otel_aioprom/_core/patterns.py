"""Patterns that select names of attributes or metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


class Patterns:
    """Selects names by lists of patterns.

    In a pattern ``*`` matches any characters, or none, and ``?`` exactly one; everything else, brackets included,
    matches itself. Case matters.

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
    return re.compile("|".join(map(_expression, patterns)), re.DOTALL)


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
