"""Attributes: from what instruments, scopes and resources carry to labels.

Until names are settled, a label travels as a pair of its *original* key and its text: only the
original keys tell in which order the values of colliding keys are joined.
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
"""The labels that every point of a scope has, even where they are empty."""

_WRITTEN_BITS = 14_000
_NON_FINITE = {inf: "Infinity", -inf: "-Infinity"}


class SupportsScope(Protocol):
    """What is asked of an instrumentation scope; ``attributes`` came later and may be missing."""

    @property
    def name(self) -> str | None:
        """Name of the instrumented library."""

    @property
    def version(self) -> str | None:
        """Its version."""

    @property
    def schema_url(self) -> str | None:
        """Where its semantic conventions are written down."""


def attribute_text(value: object) -> str:
    r"""Write an attribute's value as the value of a label.

    Args:
        value: Any value that the SDK lets through. Lone surrogates in it stay.

    Returns:
        The text, empty for ``None``; lists and maps as JSON without blanks, characters beyond
        ASCII as they are.

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
    """Reduce a value to what JSON knows, members of enumerations to their values."""
    if value is None or isinstance(value, bool):  # before int, of which bool is a kind
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        # Python writes no numbers this long by itself, for that can take very long.
        return int(value) if value.bit_length() <= _WRITTEN_BITS else f"{Decimal(int(value)):f}"
    if isinstance(value, float):
        return _plain_float(value)
    return _plain_object(value)


def _plain_float(value: float) -> float | str:
    """JSON has no numbers that are not finite: they are texts, inside lists in quotes."""
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
    attributes: Mapping[str, object] | None, leave_out: Callable[[str, Exception], None]
) -> list[tuple[str, str]]:
    """Write attributes; one that cannot be written costs itself.

    Args:
        attributes: Key → value; ``None`` for none.
        leave_out: Is told of a key whose value cannot be written, and why.

    Returns:
        Original keys and texts.
    """
    pairs = []
    for key, value in (attributes or {}).items():
        try:
            pairs.append((key, attribute_text(value)))
        except Exception as error:  # noqa: BLE001 - whatever the value is made of
            leave_out(key, error)
    return pairs


def scope_pairs(
    scope: SupportsScope, leave_out: Callable[[str, Exception], None]
) -> list[tuple[str, str]]:
    """List the labels that every point of an instrumentation scope gets.

    Attributes of the scope that would take the place of its name, version or schema URL are
    left out.

    Args:
        scope: The SDK's scope, or anything with the same attributes.
        leave_out: Is told of an attribute that cannot be written.

    Returns:
        Original key and text, the three labels of ``SCOPE_LABELS`` first, empty where unset.

    Spec:
        M45, M46.
    """
    written = attribute_pairs(getattr(scope, "attributes", None), leave_out)
    extra = [(f"otel_scope_{key}", text) for key, text in written]
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
    spell: Callable[[str], str] = label_name,
) -> Pairs:
    """Turn attributes into labels of which no two have one name.

    Keys that give one name have their values joined with ``;``, in the order of the keys by code
    point; a key given twice keeps the given order.

    Args:
        pairs: Original keys and texts, in any order.
        reserved: Label names that the family's own samples use (``le``, ``quantile``); attributes
            of these names get ``exported_`` in front.
        keep_empty: Label names to keep although their value is empty: ``SCOPE_LABELS`` if scope
            labels are among the pairs. All others are left out, for an empty label equals an
            absent one.
        spell: Names the label of a key, as the strategy wants it.

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
        # Made fit for UTF-8 before names are compared: two may differ in what it cannot carry.
        name = _free_name(encodable(spell(key)), reserved)
        joined[name] = f"{joined[name]};{text}" if name in joined else text
    return tuple(
        sorted((name, text) for name, text in joined.items() if text or name in keep_empty)
    )


def _free_name(name: str, reserved: frozenset[str]) -> str:
    return f"exported_{name}" if name in reserved else name
