"""Units of measure: from the UCUM codes of OpenTelemetry to the words at the end of a metric name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

UNIT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        # time
        "d": "days",
        "h": "hours",
        "min": "minutes",
        "s": "seconds",
        "ms": "milliseconds",
        "us": "microseconds",
        "ns": "nanoseconds",
        # bytes
        "By": "bytes",
        "KiBy": "kibibytes",
        "MiBy": "mebibytes",
        "GiBy": "gibibytes",
        "TiBy": "tebibytes",
        "kBy": "kilobytes",
        "KBy": "kilobytes",  # no UCUM code, but the one that other exporters know
        "MBy": "megabytes",
        "GBy": "gigabytes",
        "TBy": "terabytes",
        # other quantities
        "m": "meters",
        "V": "volts",
        "A": "amperes",
        "J": "joules",
        "W": "watts",
        "g": "grams",
        "Cel": "celsius",
        "Hz": "hertz",
        "%": "percent",
        "1": "",  # a plain number: what it means for a gauge is the business of the name
    }
)
"""Words for a whole unit, and for what stands in front of the first ``/`` of a rate."""

PER_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "s": "second",
        "m": "minute",  # as all other exporters but one read it, not as UCUM's metre
        "min": "minute",
        "h": "hour",
        "d": "day",
        "w": "week",
        "wk": "week",
        "mo": "month",
        "y": "year",
        "a": "year",
    }
)
"""Words for what stands behind the first ``/`` of a rate."""

_ANNOTATION = re.compile(r"\{[^}]*\}")
_ILLEGAL_RUN = re.compile(r"[^a-zA-Z0-9:]+")


def escape(text: str) -> str:
    """Spell a text with the characters of a classic metric name.

    The underscore counts as illegal, so that runs of it end as one too.

    Spec:
        M9.

    Examples:
        >>> escape("a.-_/b")
        'a_b'
    """
    return _ILLEGAL_RUN.sub("_", text)


def escaped_words(text: str) -> str:
    """Spell one side of a unit as words that can be joined with underscores.

    Spec:
        M18.

    Examples:
        >>> escaped_words(" custom unit ")
        'custom_unit'
    """
    return escape(text).strip("_")


def unit_words(unit: str | None, spell: Callable[[str], str] = escaped_words) -> str:
    """Say in words what a unit is, as they stand at the end of a metric name.

    Args:
        unit: The unit of the instrument, in UCUM where it is in the table.
        spell: Given the words of either side of a rate, spells them with the characters that the
            translation strategy allows.

    Returns:
        The words, joined with underscores, or an empty text for a unit that says nothing.

    Spec:
        M14, M15, M16, M18.

    Examples:
        >>> unit_words("By/s"), unit_words("{request}/min"), unit_words("{request}")
        ('bytes_per_second', 'per_minute', '')
    """
    amount, _, per = (part.strip() for part in _ANNOTATION.sub("", unit or "").partition("/"))
    words = spell(UNIT_WORDS.get(amount, amount))
    # Spelled before it is looked at: a side without a single legal character is an empty one.
    per_words = spell(PER_WORDS.get(per, per))
    return "_".join(part for part in (words, per_words and f"per_{per_words}") if part)
