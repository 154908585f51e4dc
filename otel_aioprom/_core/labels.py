"""Label sets: checked, sorted and written once, when their series is created.

The canonical pairs are the key of a series in its collector; its text is repeated in every response.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from otel_aioprom._core.escaping import Escaping, escape_label_name
from otel_aioprom._core.names import is_valid_label_name, plain
from otel_aioprom.errors import InvalidLabelsError

Pairs = tuple[tuple[str, str], ...]
"""Label names and values, sorted by name, each name once."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_CACHED_NAMES = 4096  # limited, because names can come from clients
_RESERVED_PREFIX = "__"
_SCRAPER_LABEL = "job"


def label_value(value: object) -> str:
    r"""Return a label value as a ``str`` that UTF-8 can encode.

    Lone surrogates become U+FFFD, because no label value may break a response. Members of ``str`` enumerations become
    their value.

    Examples:
        >>> label_value(404), label_value("a\ud800b") == "a\ufffdb"
        ('404', True)
    """
    return encodable(str.__str__(value) if isinstance(value, str) else str(value))


def label_texts(labels: Mapping[str, object]) -> dict[str, str]:
    """Return a copy of a label set with plain ``str`` names and values."""
    return {plain(name): label_value(value) for name, value in labels.items()}


def encodable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, by U+FFFD, and surrogate pairs by their character."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def canonical_pairs(labels: Mapping[str, object], const_labels: Mapping[str, str]) -> Pairs:
    """Return the labels that identify a series of a collector.

    Labels with an empty value, which equal absent ones to a server, and those that repeat a constant label are dropped.

    Args:
        labels: Names and values, values of any type.
        const_labels: The labels of every series of the collector.

    Returns:
        Pairs sorted by name.

    Raises:
        TypeError: Names cannot be sorted, because some are not strings.

    Spec:
        N3, E15.
    """
    pairs = [(plain(name), label_value(value)) for name, value in labels.items()]
    return tuple(sorted(pair for pair in pairs if pair[1] != const_labels.get(pair[0], "")))


def pairs_to_find(
    labels: Mapping[str, object] | None, const_labels: Mapping[str, str]
) -> Pairs | None:
    """Return the canonical pairs of a label set; ``None`` if its names cannot be sorted: no series can have them."""
    try:
        return canonical_pairs(labels or {}, const_labels)
    except TypeError:
        return None


def wire_pairs(labels: Mapping[str, object], const_labels: Mapping[str, str]) -> Pairs:
    """Return all labels of a series as they are exposed: the constant ones, overridden by those of the call.

    Spec:
        N3, E12.
    """
    merged = {**const_labels, **label_texts(labels)}
    return tuple(sorted(merged.items()))


def labels_text(pairs: Iterable[tuple[str, str]]) -> str:
    r"""Write labels as text formats do between the name and the value of a sample, with the space.

    Args:
        pairs: Names and values, in the order in which to write them.

    Returns:
        ``{a="1",b="2"}`` and a space, or the space alone without labels. UTF-8 names are quoted.

    Spec:
        E11, E13, E43.

    Examples:
        >>> labels_text([("path", 'C:\\"x"')])
        '{path="C:\\\\\\"x\\""} '
    """
    text = inner_text(pairs)
    return f"{{{text}}} " if text else " "


def inner_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Write labels as ``labels_text`` does, without braces and space."""
    return ",".join([f'{_label_name(name)}="{value.translate(_ESCAPES)}"' for name, value in pairs])


@lru_cache(maxsize=_CACHED_NAMES)
def _label_name(name: str) -> str:
    return name if is_valid_label_name(name) else quoted(name)


def quoted(text: str) -> str:
    r"""Quote and escape a string, as text formats write UTF-8 names.

    Spec:
        E43.

    Examples:
        >>> quoted('my."name"')
        '"my.\\"name\\""'
    """
    return f'"{encodable(text).translate(_ESCAPES)}"'


def help_text(doc: str, *, quotes: bool = False) -> str:
    """Escape a help text.

    Args:
        doc: Any string.
        quotes: Escape quotes too, as OpenMetrics requires.

    Spec:
        E14.
    """
    return encodable(doc).translate(_ESCAPES if quotes else _HELP_ESCAPES)


def escaped_name(name: str, scheme: Escaping) -> str:
    """Escape a label name; ``__name__``, which makes a server reject the response, gets a prefix (M43, E65)."""
    escaped = escape_label_name(name, scheme)
    return "exported___name__" if escaped == "__name__" else escaped


def escaped_pairs(pairs: Iterable[tuple[str, str]], scheme: Escaping) -> Pairs:
    """Escape label names, and join the values of names that collide.

    Args:
        pairs: Names and values. Values of names that collide are joined by ``;`` in this order.
        scheme: The escaping scheme.

    Returns:
        Pairs, each name once, in the order of first appearance.

    Spec:
        E45, E49, M40.

    Examples:
        >>> escaped_pairs([("a.b", "1"), ("a_b", "2")], "underscores")
        (('a_b', '1;2'),)
    """
    joined: dict[str, str] = {}
    for name, value in pairs:
        escaped = escaped_name(name, scheme)
        joined[escaped] = f"{joined[escaped]};{value}" if escaped in joined else value
    return tuple(joined.items())


def check_labels(labels: Mapping[str, object], reserved: str | None) -> None:
    """Raise if a native collector cannot have a series with these labels.

    Args:
        labels: The label set as passed.
        reserved: Label name that the collector's samples use (``le``, ``quantile``), if any.

    Raises:
        TypeError: ``labels`` is not a mapping.
        InvalidLabelsError: A name is malformed or reserved.

    Spec:
        N3.
    """
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels must be a dict of names and values, not {labels!r}")
    for name in labels:
        if not is_valid_label_name(name):
            raise InvalidLabelsError(
                labels,
                f"{name!r} must consist of letters, digits and '_', and not start with a digit",
            )
        if name.startswith(_RESERVED_PREFIX):
            raise InvalidLabelsError(
                labels, f"{name!r}: names that start with '__' are reserved for Prometheus"
            )
        if name in (_SCRAPER_LABEL, reserved):
            raise InvalidLabelsError(
                labels, f"{name!r} is set by Prometheus or by the collector itself"
            )
