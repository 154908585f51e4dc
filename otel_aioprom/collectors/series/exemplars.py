"""Exemplars as native collectors record them: given with a measurement, or asked from a function."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import inf, log
from operator import itemgetter, sub
from time import time
from typing import Any

from otel_aioprom._concurrency.foreign_code import described, is_awaited, is_exit
from otel_aioprom._core.labels import EXEMPLAR_LIMIT, Pairs, exemplar_length, label_value
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.names import is_valid_label_name, plain
from otel_aioprom.errors import InvalidLabelsError

_logger = logging.getLogger(__name__)

ExemplarLabels = Mapping[str, object]
ExemplarFunction = Callable[[], ExemplarLabels | None]

Spread = tuple[list[float], list[float], list[Exemplar]]
"""Exemplars in the order of their values. Before them the place of each, on a line where equal ratios are equal
distances, then the time of each. The lists are not changed any more: somebody may be reading them."""

NO_EXEMPLARS: Spread = ([], [], [])

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


def check_exemplar(labels: ExemplarLabels | None) -> ExemplarLabels | None:
    """Check labels before anything depends on them: what this returns is looked at no more.

    Args:
        labels: As ``make_exemplar`` takes them; ``None`` for no exemplar.

    Raises:
        TypeError: ``labels`` is no mapping.
        InvalidLabelsError: A name is malformed, or all together are too long.
    """
    return None if labels is None else _Checked(_check(labels))


def _check(labels: ExemplarLabels) -> Pairs:
    if type(labels) is not dict and not isinstance(labels, Mapping):
        raise TypeError(f"an exemplar is a dict of names and values, not {labels!r}")
    given: Any = tuple(labels.items())  # at once: another thread may change them
    pairs: Pairs = given
    usual, length = type(labels) is dict, 0
    for name, value in given:
        if not _is_name(name):
            raise InvalidLabelsError(labels, f"{name!r} is no name for a label of an exemplar")
        if type(value) is type(name) is str and value.isascii():
            length += len(name) + len(value)
        else:
            usual = False
    if not usual:
        pairs = tuple([(plain(name), label_value(value)) for name, value in given])
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
    places, times, exemplars = kept[0].copy(), kept[1].copy(), kept[2].copy()
    place, moment = _place(exemplar.value), exemplar.timestamp or 0.0
    index = bisect_right(places, place)
    places.insert(index, place)
    times.insert(index, moment)
    exemplars.insert(index, exemplar)
    if len(places) > _MOST:
        oldest = min(times)
        if moment - oldest > _STALE:
            gone = times.index(oldest)
        else:
            gaps = list(map(sub, places[1:], places))
            gone = gaps.index(min(gaps))  # or the one behind it
            if gone == index or (gone + 1 != index and times[gone + 1] < times[gone]):
                gone += 1
        del places[gone], times[gone], exemplars[gone]
    return places, times, exemplars


def in_order(kept: Spread) -> tuple[Exemplar, ...]:
    """Return exemplars in the order of time, in which servers want them."""
    _, times, exemplars = kept
    return tuple([each for _, each in sorted(zip(times, exemplars), key=itemgetter(0))])


def _place(value: float) -> float:
    if value > 0:
        return log(value) + _TO_ONE if value < inf else _FAR
    if value < 0:
        return -_place(-value)
    return 0.0 if value == 0 else 2 * _FAR


class _Checked(dict[str, object]):
    """Labels that were checked; what whoever gave them does with his own later does not matter."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


class ExemplarSource:
    """Asks a function for the labels of exemplars; what it does wrong costs exemplars alone.

    Args:
        function: Called with each measurement, in its thread; returns labels, or ``None`` for no exemplar.
        owner: Name of the collector, for the log.

    Raises:
        TypeError: It is no function, or one that must be awaited: recording waits for nothing.
    """

    __slots__ = ("_failed", "_function", "_owner")

    def __init__(self, function: ExemplarFunction, owner: str) -> None:
        if not callable(function):
            raise TypeError(f"exemplars must be a function that gives labels, not {function!r}")
        if is_awaited(function):
            raise TypeError(
                f"exemplars must be a plain function, not a coroutine function: {function!r}"
            )
        self._function = function
        self._owner = owner
        self._failed = False

    def ask(self) -> ExemplarLabels | None:
        """Return labels that make an exemplar, or ``None``."""
        try:
            return check_exemplar(self._function())
        except BaseException as error:  # it must not cost the measurement
            if is_exit(error):
                raise
            if not self._failed:
                self._failed = True
                reason = described(error)
                _logger.warning("%s: no exemplar, for %s (logged once)", self._owner, reason)
            return None
