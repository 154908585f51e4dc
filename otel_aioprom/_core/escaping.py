"""Escaping schemes for UTF-8 names: unescaped in quotes, or escaped in one of three ways."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

from otel_aioprom._core.names import is_valid_label_name, is_valid_metric_name

Escaping = Literal["allow-utf-8", "underscores", "dots", "values"]
"""Escaping scheme for UTF-8 names, as content negotiation calls it."""

ESCAPING_SCHEMES: tuple[Escaping, ...] = get_args(Escaping)

_CACHED_NAMES = 4096  # limited, because names can come from clients
_LEGAL_ALWAYS = re.compile(r"[a-zA-Z_]")
_SURROGATES = range(0xD800, 0xE000)


@lru_cache(maxsize=_CACHED_NAMES)
def escape_metric_name(name: str, scheme: Escaping) -> str:
    """Escape a metric name; a legacy name (``[a-zA-Z_:][a-zA-Z0-9_:]*``) is returned unchanged.

    Spec:
        E45 to E48.

    Examples:
        >>> [escape_metric_name("my.m_x", scheme) for scheme in ("underscores", "dots", "values")]
        ['my_m_x', 'my_dot_m__x', 'U__my_2e_m__x']
    """
    if scheme == "allow-utf-8" or is_valid_metric_name(name):
        return name
    return _escape(name, scheme, _legal_in_metric)


@lru_cache(maxsize=_CACHED_NAMES)
def escape_label_name(name: str, scheme: Escaping) -> str:
    """Escape a label name; unlike in metric names, a colon is not legal.

    Spec:
        E44 to E48.

    Examples:
        >>> escape_label_name("http.status:code", "underscores")
        'http_status_code'
    """
    if scheme == "allow-utf-8" or is_valid_label_name(name):
        return name
    return _escape(name, scheme, _legal_in_label)


def _escape(name: str, scheme: Escaping, legal: Callable[[str, int], bool]) -> str:
    escape = {"underscores": _underscore, "dots": _dot}.get(scheme, _value)
    escaped = [escape(char, legal(char, index)) for index, char in enumerate(name)]
    return ("U__" if scheme == "values" else "") + "".join(escaped)


def _legal_in_label(char: str, index: int) -> bool:
    return _LEGAL_ALWAYS.fullmatch(char) is not None or (index > 0 and char in "0123456789")


def _legal_in_metric(char: str, index: int) -> bool:
    return char == ":" or _legal_in_label(char, index)


def _underscore(char: str, legal: bool) -> str:
    return char if legal else "_"


def _dot(char: str, legal: bool) -> str:
    if char == ".":
        return "_dot_"
    return char if legal and char != "_" else "__"


def _value(char: str, legal: bool) -> str:
    if char == "_":
        return "__"
    if legal:
        return char
    return "_FFFD_" if ord(char) in _SURROGATES else f"_{ord(char):x}_"
