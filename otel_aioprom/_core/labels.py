"""Label sets: checked, put in order and written once, when their series is made.

A *key* tells label sets of one collector apart, a *text* is what every later response repeats
without looking at the labels again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from otel_aioprom._core.escaping import Escaping, escape_label_name
from otel_aioprom._core.names import is_valid_label_name, plain
from otel_aioprom.errors import InvalidLabelsError

Pairs = tuple[tuple[str, str], ...]
"""Label names and values, sorted by name, each name once."""

EXEMPLAR_LIMIT = 128
"""Code points that the labels of an exemplar may have, names and values together."""

_IDS = frozenset({"trace_id", "span_id"})
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_KNOWN_NAMES = 4096  # bounded, for names can come from strangers
_RESERVED_PREFIX = "__"
_SCRAPER_LABEL = "job"


def label_value(value: object) -> str:
    r"""Turn what a caller passes into the text that stands for it, ready for UTF-8.

    Lone surrogates, which UTF-8 cannot carry, become U+FFFD: a strange value must never cost a
    response. Members of ``str`` enumerations stand for their value.

    Examples:
        >>> label_value(404), label_value("a\ud800b") == "a\ufffdb"
        ('404', True)
    """
    return encodable(str.__str__(value) if isinstance(value, str) else str(value))


def label_texts(labels: Mapping[str, object]) -> dict[str, str]:
    """Return a label set with the texts that stand for its names and values, as they are now."""
    return {plain(name): label_value(value) for name, value in labels.items()}


def encodable(text: str) -> str:
    """Replace what UTF-8 cannot carry; surrogates that make a pair become the character they mean."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def canonical_pairs(labels: Mapping[str, object], const_labels: Mapping[str, str]) -> Pairs:
    """Reduce a label set to what tells its series apart on the wire.

    To a server an empty value equals an absent label, and a label that repeats a constant one
    says nothing, so neither makes a series of its own.

    Args:
        labels: Names and values, values of any type.
        const_labels: The labels that every series of the collector has.

    Returns:
        Pairs sorted by name.

    Raises:
        TypeError: Names cannot be put in order, for some are no texts.

    Spec:
        N3, E15.
    """
    pairs = [(plain(name), label_value(value)) for name, value in labels.items()]
    return tuple(sorted(pair for pair in pairs if pair[1] != const_labels.get(pair[0], "")))


def pairs_to_find(
    labels: Mapping[str, object] | None, const_labels: Mapping[str, str]
) -> Pairs | None:
    """Return the pairs by which a label set is looked up; ``None`` for names that cannot be put in order, for they are none."""
    try:
        return canonical_pairs(labels or {}, const_labels)
    except TypeError:
        return None


def wire_pairs(labels: Mapping[str, object], const_labels: Mapping[str, str]) -> Pairs:
    """All labels of a series as they are exposed: the constant ones, and the call's over them.

    Spec:
        N3, E12.
    """
    merged = {**const_labels, **label_texts(labels)}
    return tuple(sorted(merged.items()))


def labels_text(pairs: Iterable[tuple[str, str]]) -> str:
    r"""Write labels as they stand between a sample's name and its value, blank included.

    Args:
        pairs: Names and any values, in the order in which they are to stand.

    Returns:
        ``{a="1",b="2"}`` and a blank, or the blank alone where there are no labels. Names that are not
        classic stand in quotes.

    Spec:
        E11, E13, E43.

    Examples:
        >>> labels_text([("path", 'C:\\"x"')])
        '{path="C:\\\\\\"x\\""} '
    """
    text = inner_text(pairs)
    return f"{{{text}}} " if text else " "


def inner_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Write labels as ``labels_text`` does, without braces and blank."""
    return ",".join([f'{_label_name(name)}="{value.translate(_ESCAPES)}"' for name, value in pairs])


@lru_cache(maxsize=_KNOWN_NAMES)
def _label_name(name: str) -> str:
    return name if is_valid_label_name(name) else quoted(name)


def quoted(text: str) -> str:
    r"""Put a text into quotes, as names that are not classic are written.

    Spec:
        E43.

    Examples:
        >>> quoted('my."name"')
        '"my.\\"name\\""'
    """
    return f'"{encodable(text).translate(_ESCAPES)}"'


def help_text(doc: str, *, quotes: bool = False) -> str:
    """Escape a description.

    Args:
        doc: Any text.
        quotes: Escape quotes too, as OpenMetrics wants it; to the text formats they are nothing special.

    Spec:
        E14.
    """
    return encodable(doc).translate(_ESCAPES if quotes else _HELP_ESCAPES)


def escaped_name(name: str, scheme: Escaping) -> str:
    """Escape the name of a label; the metric's own name is left alone: a server refuses a whole response for a label that takes it (M43, E65)."""
    escaped = escape_label_name(name, scheme)
    return "exported___name__" if escaped == "__name__" else escaped


def escaped_pairs(pairs: Iterable[tuple[str, str]], scheme: Escaping) -> Pairs:
    """Escape label names; values whose names become one are joined, in the order of the names as they were.

    Args:
        pairs: Names and values; of names that meet, the values are joined in their order.
        scheme: How to escape.

    Returns:
        Pairs, each name once, in the order in which the names came.

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


def exemplar_pairs(pairs: Iterable[tuple[str, str]], scheme: Escaping) -> Pairs:
    """Escape the label names of an exemplar.

    Args:
        pairs: Names and values. The ids of trace and span win over labels that would take their names, and stay alone
            if the names have grown too long for what is allowed.
        scheme: How to escape.

    Spec:
        E38, E45, M62, M63.
    """
    given = list(pairs)
    ids = tuple([pair for pair in given if pair[0] in _IDS])
    taken = {name for name, _ in ids}
    others = [p for p in given if p[0] and escape_label_name(p[0], scheme) not in taken]
    every = (*ids, *escaped_pairs(others, scheme))
    return every if exemplar_length(every) <= EXEMPLAR_LIMIT else ids


def exemplar_length(pairs: Iterable[tuple[str, str]]) -> int:
    """Return the length of names and values together, in code points (E38)."""
    return sum([len(name) + len(value) for name, value in pairs])


def check_labels(labels: Mapping[str, object], reserved: str | None) -> None:
    """Refuse label names that no series of a native collector may have.

    Args:
        labels: The label set as given.
        reserved: The name that the collector's own samples use (``le``, ``quantile``), if any.

    Raises:
        TypeError: ``labels`` is no mapping.
        InvalidLabelsError: A name is malformed or taken.

    Spec:
        N3.
    """
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels must be a dict of names and values, not {labels!r}")
    for name in labels:
        if not is_valid_label_name(name):
            raise InvalidLabelsError(
                labels, f"{name!r} must be letters, digits and '_', with no digit in front"
            )
        if name.startswith(_RESERVED_PREFIX):
            raise InvalidLabelsError(
                labels, f"{name!r}: names that start with '__' belong to Prometheus"
            )
        if name in (_SCRAPER_LABEL, reserved):
            raise InvalidLabelsError(
                labels, f"{name!r} is set by Prometheus or by the collector itself"
            )
