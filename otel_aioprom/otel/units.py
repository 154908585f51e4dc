"""Translate UCUM units of OpenTelemetry to unit suffixes of metric names."""

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
        "KBy": "kilobytes",  # no UCUM code, but known to other exporters
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
        "1": "",  # dimensionless; unit_suffix handles gauges
    }
)
"""Words for a unit, or the part of a rate before the first ``/``."""

PER_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "s": "second",
        "m": "minute",  # as in most other exporters, not UCUM's metre
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
"""Words for the part of a rate after the first ``/``."""

_ANNOTATION = re.compile(r"\{[^}]*\}")
_ILLEGAL_RUN = re.compile(r"[^a-zA-Z0-9:]+")


def escape(text: str) -> str:
    """Replace runs of characters that are illegal in a classic metric name by an underscore.

    Underscores count as illegal, so that runs of them become one.

    Spec:
        M9.

    Examples:
        >>> escape("a.-_/b")
        'a_b'
    """
    return _ILLEGAL_RUN.sub("_", text)


def escaped_words(text: str) -> str:
    """Escape one side of a unit, without underscores at its ends.

    Spec:
        M18.

    Examples:
        >>> escaped_words(" custom unit ")
        'custom_unit'
    """
    return escape(text).strip("_")


def unit_words(unit: str | None, escape_unit: Callable[[str], str] = escaped_words) -> str:
    """Return the words of a unit, as in the suffix of a metric name.

    Args:
        unit: Unit of the instrument; UCUM codes of the tables are replaced by words.
        escape_unit: Escapes one side of a rate, according to the translation strategy.

    Returns:
        The words, joined with underscores; an empty string for annotations and ``1``.

    Spec:
        M14, M15, M16, M18.

    Examples:
        >>> unit_words("By/s"), unit_words("{request}/min"), unit_words("{request}")
        ('bytes_per_second', 'per_minute', '')
    """
    amount, _, per = (part.strip() for part in _ANNOTATION.sub("", unit or "").partition("/"))
    words = escape_unit(UNIT_WORDS.get(amount, amount))
    # Escaped before the check, because a side without legal characters becomes empty.
    per_words = escape_unit(PER_WORDS.get(per, per))
    return "_".join(part for part in (words, per_words and f"per_{per_words}") if part)
