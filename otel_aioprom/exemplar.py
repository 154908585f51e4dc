"""Exemplars as native collectors record them: given with a measurement, or asked from a function."""

from __future__ import annotations

import logging
import math
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from time import time

from otel_aioprom.errors import InvalidLabelsError
from otel_aioprom.labels import EXEMPLAR_LIMIT, Pairs, exemplar_length, label_value
from otel_aioprom.model import Exemplar
from otel_aioprom.names import is_valid_label_name

_logger = logging.getLogger(__name__)

ExemplarLabels = Mapping[str, object]
ExemplarFunction = Callable[[], ExemplarLabels | None]

Spread = tuple[tuple[float, Exemplar], ...]
"""Exemplars in the order of their values, each with its place on a line where equal ratios are equal distances."""

_MOST = 10  # of one native histogram
_STALE = 300.0  # seconds after which another one is worth more
_TO_ONE = 750.0  # distance on that line from zero to 1: more than from the smallest double to 1
_FAR = 2000.0  # place of infinity; NaN is as far from there

_is_name = lru_cache(maxsize=256)(is_valid_label_name)


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
    if type(labels) is not dict and not isinstance(labels, Mapping):
        raise TypeError(f"an exemplar is a dict of names and values, not {labels!r}")
    given = list(labels.items())  # at once: another thread may change them
    for name, _ in given:
        if not _is_name(name):
            raise InvalidLabelsError(labels, f"{name!r} is no name for a label of an exemplar")
    pairs = tuple([(name, label_value(value)) for name, value in given])
    length = exemplar_length(pairs)
    if length > EXEMPLAR_LIMIT:
        reason = f"an exemplar has {EXEMPLAR_LIMIT} code points at most, and these are {length}"
        raise InvalidLabelsError(labels, reason)
    return pairs


def spread(kept: Spread, exemplar: Exemplar) -> Spread:
    """Take one more exemplar of a native histogram; of more than ten, one goes.

    That is the oldest if it is five minutes older than the new one; else, of the two whose values lie closest together by their
    ratio, the one that was there before. So rare values keep their examples, whatever comes often.

    Args:
        kept: Those so far.
        exemplar: The new one, which stays.

    Spec:
        E77.
    """
    placed = _place(exemplar.value), exemplar
    every = list(kept)
    insort(every, placed, key=itemgetter(0))
    if len(every) > _MOST:
        oldest = min(kept, key=_time_of)
        if _time_of(placed) - _time_of(oldest) <= _STALE:
            oldest = min(_closest(every), key=lambda each: (each is placed, _time_of(each)))
        every.remove(oldest)
    return tuple(every)


def in_order(kept: Spread) -> tuple[Exemplar, ...]:
    """Return exemplars in the order of time, in which servers want them."""
    return tuple([exemplar for _, exemplar in sorted(kept, key=_time_of)])


def _place(value: float) -> float:
    if value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return 2 * _FAR
    return math.copysign(min(math.log(abs(value)) + _TO_ONE, _FAR), value) if value else 0.0


def _time_of(placed: tuple[float, Exemplar]) -> float:
    return placed[1].timestamp or 0.0


def _closest(every: Sequence[tuple[float, Exemplar]]) -> Sequence[tuple[float, Exemplar]]:
    return min(pairwise(every), key=lambda pair: pair[1][0] - pair[0][0])


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
