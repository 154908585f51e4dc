"""Exemplars as native collectors record them: given with a measurement, or asked from a function."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import time

from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.labels import EXEMPLAR_LIMIT, Pairs, exemplar_length, label_value
from otel_aioprom.model import Exemplar
from otel_aioprom.names import is_valid_label_name

_logger = logging.getLogger(__name__)

ExemplarLabels = Mapping[str, object]
ExemplarFunction = Callable[[], ExemplarLabels | None]


def make_exemplar(labels: ExemplarLabels, value: float) -> Exemplar:
    """Keep a measurement as an example, with the time of now.

    Args:
        labels: What leads to it, such as a trace id; at most 128 code points, names and values together.
        value: What was measured.

    Raises:
        TypeError: ``labels`` is no mapping.
        InvalidLabelsError: A name is malformed, or all together are too long.

    Spec:
        E37, E38.
    """
    pairs = labels.pairs if type(labels) is _Checked else _check(labels)
    return Exemplar(pairs, value, time())


def _check(labels: ExemplarLabels) -> Pairs:
    if not isinstance(labels, Mapping):
        raise TypeError(f"an exemplar is a dict of names and values, not {labels!r}")
    given = list(labels.items())  # at once: another thread may change them
    for name, _ in given:
        if not is_valid_label_name(name):
            raise InvalidLabelsError(labels, f"{name!r} is no name for a label of an exemplar")
    pairs = tuple([(name, label_value(value)) for name, value in given])
    length = exemplar_length(pairs)
    if length > EXEMPLAR_LIMIT:
        reason = f"an exemplar has {EXEMPLAR_LIMIT} code points at most, and these are {length}"
        raise InvalidLabelsError(labels, reason)
    return pairs


class _Checked(dict[str, object]):
    """Labels that were checked; what the function that gave them does with its own later does not matter."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


class ExemplarSource:
    """Asks a function for the labels of exemplars; what it does wrong costs exemplars alone.

    Args:
        function: Called with each measurement, in its thread; returns labels, or ``None`` for no exemplar.
        owner: Name of the collector, for the log.
    """

    __slots__ = ("_failed", "_function", "_owner")

    def __init__(self, function: ExemplarFunction, owner: str) -> None:
        if not callable(function):
            raise TypeError(f"exemplars must be a function that gives labels, not {function!r}")
        self._function = function
        self._owner = owner
        self._failed = False

    def ask(self) -> ExemplarLabels | None:
        """Return labels that make an exemplar, or ``None``."""
        try:
            labels = self._function()
            return None if labels is None else _Checked(_check(labels))
        except Exception as error:  # noqa: BLE001 - it must not cost the measurement
            if not self._failed:
                self._failed = True
                _logger.warning("%s: no exemplar, for %r (logged once)", self._owner, error)
            return None
