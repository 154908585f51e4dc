"""Which metric and label names every Prometheus can read."""

from __future__ import annotations

import re

from otel_aioprom.errors import InvalidNameError

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def plain(name: str) -> str:
    """Return a name as a ``str`` and nothing derived from it; what is no text stays, for a check to refuse.

    Members of ``str`` enumerations would write themselves in another way.
    """
    return name if type(name) is str or not isinstance(name, str) else str.__str__(name)


def is_valid_metric_name(name: object) -> bool:
    """Tell whether a metric name needs no quotes in any format.

    Spec:
        E6.
    """
    return isinstance(name, str) and _METRIC_NAME.fullmatch(name) is not None


def is_valid_label_name(name: object) -> bool:
    """Tell whether a label name needs no quotes in any format; unlike metric names, it has no colons.

    Spec:
        E6, E44.
    """
    return isinstance(name, str) and _LABEL_NAME.fullmatch(name) is not None


def check_metric_name(name: str) -> str:
    """Return the name as a plain ``str``, or say what is wrong with it.

    Raises:
        InvalidNameError: The name is not ``[a-zA-Z_:][a-zA-Z0-9_:]*``.
    """
    if not is_valid_metric_name(name):
        raise InvalidNameError(name, "use letters, digits, '_' and ':', and no digit in front")
    return plain(name)
