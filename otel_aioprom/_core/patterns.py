"""Patterns that select names: of attributes, or of metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


class Patterns:
    """Which names an option selects, by lists of patterns.

    In a pattern ``*`` stands for any characters, also none, and ``?`` for exactly one; everything
    else, brackets included, for itself. Case matters.

    Args:
        included: Names that match one of these are selected; ``None`` selects all.
        excluded: Names that match one of these are not selected after all.

    Raises:
        TypeError: A list is no list of texts.
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
        """Read the option as it stands in a declarative configuration.

        Args:
            option: ``included`` and ``excluded``, both optional, ``None`` counting as absent.

        Returns:
            The patterns.

        Raises:
            TypeError: The option is no mapping, or a list is no list of texts.
            ValueError: The option has other keys, or a list is empty.
        """
        if not isinstance(option, Mapping):
            raise TypeError(f"expected a mapping with 'included' and 'excluded', not {option!r}")
        unknown = [key for key in option if key not in ("included", "excluded")]
        if unknown:
            raise ValueError(f"unknown {unknown!r}: only 'included' and 'excluded' are known")
        return cls(option.get("included"), option.get("excluded"))

    def matches(self, *spellings: str) -> bool:
        """Tell whether a name is selected.

        Args:
            *spellings: All that the name may be called: one that is excluded is enough to leave it out.
        """
        if self._excluded is not None and any(map(self._excluded.fullmatch, spellings)):
            return False
        return self._included is None or any(map(self._included.fullmatch, spellings))


def _compiled(option: str, patterns: Sequence[str] | None) -> re.Pattern[str] | None:
    if patterns is None:
        return None
    # A text is a sequence of texts too, and each of its letters would become a pattern.
    if not isinstance(patterns, (list, tuple)) or not all(
        isinstance(pattern, str) for pattern in patterns
    ):
        raise TypeError(f"{option!r} must be a list of patterns, each a str, not {patterns!r}")
    if not patterns:
        raise ValueError(f"{option!r} must have at least one pattern; leave it out instead")
    return re.compile("|".join(map(_expression, patterns)), re.DOTALL)


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
