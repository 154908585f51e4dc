"""Translate names of OpenTelemetry metrics and attributes to names of Prometheus metrics and labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from otel_aioprom.errors import TranslationError
from otel_aioprom.otel.units import escape, escaped_words, unit_words

Kind = Literal["counter", "gauge", "histogram", "summary"]
"""Prometheus type of a translated metric."""

_RATIO = "ratio"
_TOTAL = "_total"
_ILLEGAL_LABEL_RUN = re.compile(r"[^a-zA-Z0-9]+")
_LABEL_CACHE_SIZE = 4096  # bounded, because attribute keys can come from clients


@dataclass(frozen=True, slots=True)
class TranslationStrategy:
    """A translation strategy: the functions that translate names and units.

    Attributes:
        name: Its name in the specification.
        escape: Escapes the characters of a metric name that the strategy does not allow.
        escape_unit: The same for one side of a unit.
        complete: Adds the suffixes to an escaped name; called with name, unit words and kind.
        label: Returns the label name of an attribute key.

    Spec:
        M8.
    """

    name: str
    escape: Callable[[str], str]
    escape_unit: Callable[[str], str]
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
    """Return the name of the Prometheus family of an OpenTelemetry metric.

    Args:
        name: Name of the metric, which may contain any characters if it comes from a view.
        unit: Unit of the metric.
        kind: Prometheus type; only counters end with ``_total``.
        ratio: Whether the data are an OpenTelemetry *Gauge*, where the unit ``1`` means a ratio. A sum that becomes a
            gauge is none.
        prefix: Prefix of the name, followed by an underscore; added before all other steps.
        strategy: Translation strategy; ``UNDERSCORE_ESCAPING_WITH_SUFFIXES`` if not given.

    Returns:
        A name that the strategy allows. The translation is idempotent for the same unit and no prefix.

    Raises:
        TranslationError: Only underscores are left of the name.

    Spec:
        M8 to M13, M17, M19 to M21.

    Examples:
        >>> metric_name("jobs.done.total", "ms", kind="counter")
        'jobs_done_milliseconds_total'
    """
    rules = strategy or UNDERSCORE_ESCAPING_WITH_SUFFIXES
    escaped = rules.escape(f"{prefix}_{name}" if prefix else name)
    if not escaped.strip("_ "):
        raise TranslationError(name, "the name has no legal character; use letters, digits and '_'")
    words = unit_suffix(unit, ratio=ratio, escape_unit=rules.escape_unit)
    return rules.complete(escaped, words, kind)


def unit_suffix(
    unit: str | None, *, ratio: bool = False, escape_unit: Callable[[str], str] = escaped_words
) -> str:
    """Return the unit suffix of a metric name; ``ratio`` for the unit ``1`` of a *Gauge*.

    Args:
        unit: Unit of the metric.
        ratio: As for ``metric_name``.
        escape_unit: Escapes one side of the unit, according to the strategy.

    Returns:
        The suffix, or an empty string.

    Spec:
        M14 to M18.

    Examples:
        >>> unit_suffix("1", ratio=True), unit_suffix("1"), unit_suffix("By")
        ('ratio', '', 'bytes')
    """
    return _RATIO if ratio and unit == "1" else unit_words(unit, escape_unit)


@lru_cache(maxsize=_LABEL_CACHE_SIZE)
def label_name(key: str) -> str:
    """Return the label name of an attribute.

    Args:
        key: Key of the attribute.

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
    """Escape a metric name; a leading digit gets an underscore in front (M9, M10)."""
    escaped = escape(name)
    return f"_{escaped}" if escaped[:1].isdigit() else escaped


def _with_suffixes(name: str, words: str, kind: Kind) -> str:
    """Add the unit and, for counters, ``_total``, unless the name has them (M11 to M13)."""
    stem = name.removesuffix(_TOTAL)
    if kind == "counter":
        return _joined(_with_words(stem, words), "total")
    # Other types keep a final `_total`, be it before the unit, after it, or the unit itself.
    return name if _ends_with(stem, words) else _with_words(name, words)


def _with_words(name: str, words: str) -> str:
    return name if _ends_with(name, words) else _joined(name, words)


def _ends_with(name: str, words: str) -> bool:
    """Return whether a name ends with these words, at an underscore; true without words."""
    return not words or name == words or name.endswith(f"_{words}")


def _joined(name: str, words: str) -> str:
    # A name may end with an underscore, and runs of underscores become one (M9).
    return f"{name}{words}" if name.endswith("_") else f"{name}_{words}"


def _unchanged(text: str) -> str:
    return text


def _stripped(text: str) -> str:
    """Strip spaces and underscores from a unit (M18)."""
    return text.strip(" _")


def _without_suffixes(name: str, words: str, kind: Kind) -> str:
    """Add nothing (M8)."""
    return name


def _with_joined_suffixes(name: str, words: str, kind: Kind) -> str:
    """Add the unit and, for counters, ``_total`` to an unescaped name; ``.total`` counts as ``_total`` (M21)."""
    if kind != "counter":
        return name if _ends_with(name.removesuffix(_TOTAL), words) else _appended(name, words)
    stem = name.removesuffix(_TOTAL).removesuffix(".total")
    return f"{_appended(stem, words)}{_TOTAL}"


def _appended(name: str, words: str) -> str:
    return name if _ends_with(name, words) else f"{name}_{words}"


UNDERSCORE_ESCAPING_WITH_SUFFIXES = TranslationStrategy(
    name="UnderscoreEscapingWithSuffixes",
    escape=_escaped,
    escape_unit=escaped_words,
    complete=_with_suffixes,
    label=label_name,
)
"""The default strategy: classic characters, unit and ``_total`` added."""

STRATEGIES = (
    UNDERSCORE_ESCAPING_WITH_SUFFIXES,
    TranslationStrategy(
        name="UnderscoreEscapingWithoutSuffixes",
        escape=_escaped,
        escape_unit=escaped_words,
        complete=_without_suffixes,
        label=label_name,
    ),
    TranslationStrategy(
        name="NoUTF8EscapingWithSuffixes",
        escape=_unchanged,
        escape_unit=_stripped,
        complete=_with_joined_suffixes,
        label=_unchanged,
    ),
    TranslationStrategy(
        name="NoTranslation",
        escape=_unchanged,
        escape_unit=_stripped,
        complete=_without_suffixes,
        label=_unchanged,
    ),
)
"""All strategies of the specification."""


def find_strategy(name: str) -> TranslationStrategy:
    """Return a strategy by its name.

    Args:
        name: Name in the specification, or in declarative configuration (``no_translation/development``).

    Raises:
        ValueError: The name is unknown.

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
