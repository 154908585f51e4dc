"""Translate attributes of points, scopes and resources to labels.

Until label names are computed, labels are pairs of the *original* key and the value as a string: the values of keys
that collide are joined in the order of the original keys.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from math import inf, isfinite, isnan
from operator import itemgetter
from typing import Protocol

from otel_aioprom._core.labels import Pairs, encodable
from otel_aioprom.otel.names import label_name

SCOPE_LABELS = frozenset({"otel_scope_name", "otel_scope_version", "otel_scope_schema_url"})
"""The labels that every point of a scope has, even if they are empty."""

_MAX_INT_BITS = 14_000
_NON_FINITE = {inf: "Infinity", -inf: "-Infinity"}


class SupportsScope(Protocol):
    """An instrumentation scope; older SDKs have no ``attributes``."""

    @property
    def name(self) -> str | None:
        """Name of the scope."""

    @property
    def version(self) -> str | None:
        """Version of the scope."""

    @property
    def schema_url(self) -> str | None:
        """Schema URL of the scope."""


def attribute_text(value: object) -> str:
    r"""Convert the value of an attribute to a label value.

    Args:
        value: Any value that the SDK accepts. Lone surrogates in it stay.

    Returns:
        The string, empty for ``None``; lists and maps as JSON without whitespace, non-ASCII characters unescaped.

    Spec:
        M41.

    Examples:
        >>> attribute_text(True), attribute_text(b"\x00\xff"), attribute_text([1, None, b"hi"])
        ('true', 'AP8=', '[1,null,"aGk="]')
    """
    plain = _plain(value)
    if isinstance(plain, str):
        return plain
    return "" if plain is None else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    """Convert a value to JSON types, enum members to their values."""
    if value is None or isinstance(value, bool):  # before int, its base class
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        # Python limits the conversion of long integers, which has quadratic complexity.
        return int(value) if value.bit_length() <= _MAX_INT_BITS else f"{Decimal(int(value)):f}"
    if isinstance(value, float):
        return _plain_float(value)
    return _plain_object(value)


def _plain_float(value: float) -> float | str:
    """Convert a float; JSON has no non-finite numbers, so that these become strings."""
    if isfinite(value):
        return float(value)
    return "NaN" if isnan(value) else _NON_FINITE[value]


def _plain_object(value: object) -> object:
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {attribute_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return str(value)


def attribute_pairs(
    attributes: Mapping[str, object] | None, on_error: Callable[[str, Exception], None]
) -> list[tuple[str, str]]:
    """Convert attributes to strings; those that fail are dropped.

    Args:
        attributes: Key → value; ``None`` for none.
        on_error: Called with the key of a dropped attribute and the exception.

    Returns:
        Original keys and values as strings.
    """
    pairs = []
    for key, value in (attributes or {}).items():
        try:
            pairs.append((key, attribute_text(value)))
        except Exception as error:  # noqa: BLE001 - user code may raise anything
            on_error(key, error)
    return pairs


def scope_pairs(
    scope: SupportsScope, on_error: Callable[[str, Exception], None]
) -> list[tuple[str, str]]:
    """Return the scope labels of all points of an instrumentation scope.

    Attributes of the scope whose label collides with its name, version or schema URL are dropped.

    Args:
        scope: The SDK's scope, or an object with the same properties.
        on_error: As for ``attribute_pairs``.

    Returns:
        Original keys and values as strings, the three of ``SCOPE_LABELS`` first, empty if unset.

    Spec:
        M45, M46.
    """
    attributes = attribute_pairs(getattr(scope, "attributes", None), on_error)
    extra = [(f"otel_scope_{key}", text) for key, text in attributes]
    return [
        ("otel_scope_name", scope.name or ""),
        ("otel_scope_version", scope.version or ""),
        ("otel_scope_schema_url", scope.schema_url or ""),
        *((key, text) for key, text in extra if label_name(key) not in SCOPE_LABELS),
    ]


def join_labels(
    pairs: Iterable[tuple[str, str]],
    *,
    reserved: frozenset[str] = frozenset(),
    keep_empty: frozenset[str] = frozenset(),
    to_label: Callable[[str], str] = label_name,
    on_collision: Callable[[str, str], None] | None = None,
) -> Pairs:
    """Convert attributes to labels with unique names.

    The values of keys with the same label name are joined with ``;``, in the order of the original keys by code
    point; values of equal keys stay in their order.

    Args:
        pairs: Original keys and values as strings, in any order.
        reserved: Label names that the family itself uses (``le``, ``quantile``); attributes of these names get the
            prefix ``exported_``.
        keep_empty: Label names to keep although their value is empty: ``SCOPE_LABELS`` if scope labels are among the
            pairs. Other empty labels are dropped, because they equal absent ones.
        to_label: Returns the label name of a key, according to the translation strategy.
        on_collision: Called with a label name and a key for each key whose value is joined to that of another one.

    Returns:
        Label names and values, sorted by name.

    Spec:
        M39, M40, M42, M43.

    Examples:
        >>> join_labels([("k/x", "1"), ("k.x", "2"), ("none", "")])
        (('k_x', '2;1'),)
    """
    joined: dict[str, str] = {}
    for key, text in sorted(pairs, key=itemgetter(0)):  # stable
        # Lone surrogates are replaced before names are compared, because two may differ only in them.
        name = _free_name(encodable(to_label(key)), reserved)
        if name in joined:
            joined[name] += f";{text}"
            if on_collision is not None:
                on_collision(name, key)
        else:
            joined[name] = text
    return tuple(
        sorted((name, text) for name, text in joined.items() if text or name in keep_empty)
    )


def _free_name(name: str, reserved: frozenset[str]) -> str:
    return f"exported_{name}" if name in reserved else name
