"""Legacy names: metric and label names that every Prometheus can read, without quotes."""

from __future__ import annotations

import re

from otel_aioprom.errors import InvalidNameError

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def plain(name: str) -> str:
    """Return a name of a ``str`` subclass as a ``str``, because enumerations are formatted by their member's name.

    What is not a ``str`` is returned unchanged, for checks to reject.
    """
    return name if type(name) is str or not isinstance(name, str) else str.__str__(name)


def is_valid_metric_name(name: object) -> bool:
    """Return whether a metric name needs no quotes in any format.

    Spec:
        E6.
    """
    return isinstance(name, str) and _METRIC_NAME.fullmatch(name) is not None


def is_valid_label_name(name: object) -> bool:
    """Return whether a label name needs no quotes in any format; unlike a metric name, it has no colons.

    Spec:
        E6, E44.
    """
    return isinstance(name, str) and _LABEL_NAME.fullmatch(name) is not None


def check_metric_name(name: str) -> str:
    """Return a metric name as a plain ``str``.

    Raises:
        InvalidNameError: The name is not ``[a-zA-Z_:][a-zA-Z0-9_:]*``.
    """
    if not is_valid_metric_name(name):
        raise InvalidNameError(
            name, "use letters, digits, '_' and ':', and do not start with a digit"
        )
    return plain(name)
