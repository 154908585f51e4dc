"""Names: from OpenTelemetry instruments and attribute keys to Prometheus families and labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from otel_aioprom.errors import TranslationError
from otel_aioprom.otel.units import escape, escaped_words, unit_words

Kind = Literal["counter", "gauge", "histogram", "summary"]
"""What a metric becomes."""

_RATIO = "ratio"
_TOTAL = "_total"
_ILLEGAL_LABEL_RUN = re.compile(r"[^a-zA-Z0-9]+")
_KNOWN_LABELS = 4096  # bounded, for attribute keys can come from strangers


@dataclass(frozen=True, slots=True)
class TranslationStrategy:
    """What becomes of a name and of its unit: one row of the table of strategies.

    Attributes:
        name: What the specification calls it.
        spell: Turns prefix and name into characters that the strategy allows.
        spell_unit: The same for the words of one side of a unit.
        complete: Given the spelled name, the unit's words and the kind, adds what the kind asks for.
        label: Names the label of an attribute.

    Spec:
        M8.
    """

    name: str
    spell: Callable[[str], str]
    spell_unit: Callable[[str], str]
    complete: Callable[[str, str, Kind], str]
    label: Callable[[str], str]


def metric_name(
    name: str,
    unit: str | None,
    *,
    kind: Kind,
    ratio: bool = False,
    prefix: str = "",
    strategy: TranslationStrategy | None = None,
) -> str:
    """Name the Prometheus family of an OpenTelemetry metric.

    Args:
        name: The metric's name, which may hold any characters if a view gave it.
        unit: The metric's unit as given.
        kind: What the metric becomes; only counters end in ``_total``.
        ratio: The data are an OpenTelemetry *Gauge*, where the unit ``1`` means a ratio. A sum that
            becomes a gauge is none.
        prefix: Goes in front, with an underscore between, before anything else is done.
        strategy: How to translate; ``UNDERSCORE_ESCAPING_WITH_SUFFIXES`` if not given.

    Returns:
        A name that the strategy allows. Feeding it back in with the same unit and without prefix changes nothing.

    Raises:
        TranslationError: Nothing but underscores is left of the name.

    Spec:
        M8 to M13, M17, M19 to M21.

    Examples:
        >>> metric_name("jobs.done.total", "ms", kind="counter")
        'jobs_done_milliseconds_total'
    """
    rules = strategy or UNDERSCORE_ESCAPING_WITH_SUFFIXES
    spelled = rules.spell(f"{prefix}_{name}" if prefix else name)
    if not spelled.strip("_ "):
        raise TranslationError(
            name, "no character of the name is legal; use letters, digits and '_'"
        )
    return rules.complete(spelled, unit_suffix(unit, ratio=ratio, spell=rules.spell_unit), kind)


def unit_suffix(
    unit: str | None, *, ratio: bool = False, spell: Callable[[str], str] = escaped_words
) -> str:
    """Words of a unit as they end a metric name, ``ratio`` for a plain number in a *Gauge*.

    Args:
        unit: The metric's unit as given.
        ratio: As for ``metric_name``.
        spell: Spells the words of one side of the unit, as the strategy wants it.

    Returns:
        The words, or an empty text.

    Spec:
        M14 to M18.

    Examples:
        >>> unit_suffix("1", ratio=True), unit_suffix("1"), unit_suffix("By")
        ('ratio', '', 'bytes')
    """
    return _RATIO if ratio and unit == "1" else unit_words(unit, spell)


@lru_cache(maxsize=_KNOWN_LABELS)
def label_name(key: str) -> str:
    """Name the label of an attribute.

    Args:
        key: The attribute's key as given.

    Returns:
        A valid classic label name that does not start with ``__``.

    Spec:
        M39.

    Examples:
        >>> label_name("http.method"), label_name("1a")
        ('http_method', 'key_1a')
    """
    label = _ILLEGAL_LABEL_RUN.sub("_", key) or "_"
    return f"key_{label}" if label[0].isdigit() else label


def _escaped(name: str) -> str:
    """Spell a name classically; a leading digit stays readable behind an underscore (M9, M10)."""
    spelled = escape(name)
    return f"_{spelled}" if spelled[:1].isdigit() else spelled


def _with_suffixes(name: str, words: str, kind: Kind) -> str:
    """Add the unit and, for counters, ``_total``, unless they are there (M11 to M13)."""
    stem = name.removesuffix(_TOTAL)
    if kind == "counter":
        return _joined(_with_words(stem, words), "total")
    # Without a suffix of its own, such a metric keeps a final `_total`, be it in front of the unit,
    # behind it or the unit itself.
    return name if _ends_with(stem, words) else _with_words(name, words)


def _with_words(name: str, words: str) -> str:
    return name if _ends_with(name, words) else _joined(name, words)


def _ends_with(name: str, words: str) -> bool:
    """Tell whether a name ends with whole words; every name ends with none at all."""
    return not words or name == words or name.endswith(f"_{words}")


def _joined(name: str, words: str) -> str:
    # A name may end with an underscore; the rule that runs become one holds at joins too (M9).
    return f"{name}{words}" if name.endswith("_") else f"{name}_{words}"


def _as_it_is(text: str) -> str:
    return text


def _stripped(text: str) -> str:
    """Keep the characters of a unit, but for blanks and underscores at its ends (M18)."""
    return text.strip(" _")


def _without_suffixes(name: str, words: str, kind: Kind) -> str:
    """Add nothing (M8)."""
    return name


def _with_joined_suffixes(name: str, words: str, kind: Kind) -> str:
    """Add the unit and, for counters, ``_total`` to a name that is kept; a final ``.total`` is one too (M21)."""
    if kind != "counter":
        return name if _ends_with(name.removesuffix(_TOTAL), words) else _appended(name, words)
    stem = name.removesuffix(_TOTAL).removesuffix(".total")
    return f"{_appended(stem, words)}{_TOTAL}"


def _appended(name: str, words: str) -> str:
    return name if _ends_with(name, words) else f"{name}_{words}"


UNDERSCORE_ESCAPING_WITH_SUFFIXES = TranslationStrategy(
    name="UnderscoreEscapingWithSuffixes",
    spell=_escaped,
    spell_unit=escaped_words,
    complete=_with_suffixes,
    label=label_name,
)
"""The default strategy: classic characters, unit and ``_total`` added."""

STRATEGIES = (
    UNDERSCORE_ESCAPING_WITH_SUFFIXES,
    TranslationStrategy(
        name="UnderscoreEscapingWithoutSuffixes",
        spell=_escaped,
        spell_unit=escaped_words,
        complete=_without_suffixes,
        label=label_name,
    ),
    TranslationStrategy(
        name="NoUTF8EscapingWithSuffixes",
        spell=_as_it_is,
        spell_unit=_stripped,
        complete=_with_joined_suffixes,
        label=_as_it_is,
    ),
    TranslationStrategy(
        name="NoTranslation",
        spell=_as_it_is,
        spell_unit=_stripped,
        complete=_without_suffixes,
        label=_as_it_is,
    ),
)
"""All strategies, as the specification's table has them."""


def find_strategy(name: str) -> TranslationStrategy:
    """Find a strategy by its name.

    Args:
        name: As the specification writes it, or as declarative configuration does
            (``no_translation/development``).

    Raises:
        ValueError: There is none of this name.

    Spec:
        M8, M76.

    Examples:
        >>> find_strategy("underscore_escaping_with_suffixes").name
        'UnderscoreEscapingWithSuffixes'
    """
    wanted = str(name).removesuffix("/development").replace("_", "").lower()
    for strategy in STRATEGIES:
        if strategy.name.lower() == wanted:
            return strategy
    known = ", ".join(strategy.name for strategy in STRATEGIES)
    raise ValueError(f"translation_strategy must be one of {known}, not {name!r}")
