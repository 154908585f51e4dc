"""Label sets: checked, put in order and written once, when their series is made.

A *key* tells label sets of one collector apart, a *text* is what every later response repeats
without looking at the labels again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.names import is_valid_label_name

Pairs = tuple[tuple[str, str], ...]
"""Label names and values, sorted by name, each name once."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
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
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return text if text.isascii() else encodable(text)


def encodable(text: str) -> str:
    """Replace what UTF-8 cannot carry; surrogates that make a pair become the character they mean."""
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

    Spec:
        N3, E15.
    """
    pairs = ((name, label_value(value)) for name, value in labels.items())
    return tuple(sorted(pair for pair in pairs if pair[1] != const_labels.get(pair[0], "")))


def wire_pairs(labels: Mapping[str, object], const_labels: Mapping[str, str]) -> Pairs:
    """All labels of a series as they are exposed: the constant ones, and the call's over them.

    Spec:
        N3, E12.
    """
    merged = {**const_labels, **{name: label_value(value) for name, value in labels.items()}}
    return tuple(sorted(merged.items()))


def labels_text(pairs: Iterable[tuple[str, str]]) -> str:
    r"""Write labels as they stand between a sample's name and its value, blank included.

    Args:
        pairs: Valid names and any values, in the order in which they are to stand.

    Returns:
        ``{a="1",b="2"}`` and a blank, or the blank alone where there are no labels.

    Spec:
        E11, E13.

    Examples:
        >>> labels_text([("path", 'C:\\"x"')])
        '{path="C:\\\\\\"x\\""} '
    """
    text = ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs])
    return f"{{{text}}} " if text else " "


def help_text(doc: str) -> str:
    """Escape a description for the text formats, where quotes stay as they are.

    Spec:
        E14.
    """
    return encodable(doc).translate(_HELP_ESCAPES)


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
