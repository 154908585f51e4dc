"""Exemplars of native collectors: passed with a measurement, or returned by a function."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import inf, log
from operator import itemgetter, sub
from time import time
from typing import Any

from otel_aioprom._concurrency.user_code import is_coroutine_function, raise_if_exit, safe_repr
from otel_aioprom._core.exemplars import EXEMPLAR_LIMIT, exemplar_length
from otel_aioprom._core.labels import Pairs, label_value
from otel_aioprom._core.model import Exemplar
from otel_aioprom._core.names import is_valid_label_name, plain
from otel_aioprom.errors import InvalidLabelsError

_logger = logging.getLogger(__name__)

ExemplarLabels = Mapping[str, object]
ExemplarFunction = Callable[[], ExemplarLabels | None]

ExemplarReservoir = tuple[list[float], list[float], list[Exemplar]]
"""Positions, timestamps and exemplars, all in the order of their values. Positions are on a logarithmic scale, where
equal ratios are equal distances. The lists are never modified, for other threads may read them."""

NO_EXEMPLARS: ExemplarReservoir = ([], [], [])

_MOST = 10  # exemplars of one native histogram
_STALE = 300.0  # seconds after which an exemplar is replaced first
_TO_ONE = 750.0  # distance on that scale from zero to 1: more than from the smallest double to 1
_FAR = 2000.0  # position of infinity; NaN is as far from there

_is_name = lru_cache(maxsize=256)(is_valid_label_name)


def make_exemplar(labels: ExemplarLabels, value: float) -> Exemplar:
    """Create an exemplar with the current time.

    Args:
        labels: Its labels, such as a trace id; at most 128 code points, names and values together.
        value: The measured value.

    Raises:
        TypeError: ``labels`` is no mapping.
        InvalidLabelsError: A name is malformed, or the labels are too long.

    Spec:
        E37, E38.
    """
    pairs = labels.pairs if type(labels) is _Checked else _check(labels)
    return Exemplar(pairs, value, time())


def check_exemplar(labels: ExemplarLabels | None) -> ExemplarLabels | None:
    """Check the labels of an exemplar in advance; ``make_exemplar`` does not check the result again.

    Args:
        labels: See ``make_exemplar``; ``None`` for no exemplar.

    Raises:
        TypeError: ``labels`` is no mapping.
        InvalidLabelsError: A name is malformed, or the labels are too long.
    """
    return None if labels is None else _Checked(_check(labels))


def _check(labels: ExemplarLabels) -> Pairs:
    if type(labels) is not dict and not isinstance(labels, Mapping):
        raise TypeError(f"an exemplar must be a dict of names and values, not {labels!r}")
    items: Any = tuple(labels.items())  # at once: another thread may change them
    pairs: Pairs = items
    is_plain, length = type(labels) is dict, 0
    for name, value in items:
        if not _is_name(name):
            raise InvalidLabelsError(labels, f"{name!r} is no valid label name for an exemplar")
        if type(value) is type(name) is str and value.isascii():
            length += len(name) + len(value)
        else:
            is_plain = False
    if not is_plain:
        pairs = tuple([(plain(name), label_value(value)) for name, value in items])
        length = exemplar_length(pairs)
    if length > EXEMPLAR_LIMIT:
        reason = f"an exemplar has {EXEMPLAR_LIMIT} code points at most, not {length}"
        raise InvalidLabelsError(labels, reason)
    return pairs


def reservoir(kept: ExemplarReservoir, exemplar: Exemplar) -> ExemplarReservoir:
    """Add an exemplar of a native histogram to the reservoir; of more than ten, drop one.

    The oldest is dropped if it is five minutes older than the new one; else, of the two whose values have the ratio
    closest to 1, the older one. So rare values keep their exemplars however frequent the others are.

    Args:
        kept: The reservoir.
        exemplar: The new exemplar, which is kept.

    Spec:
        E77.
    """
    positions, times, exemplars = kept[0].copy(), kept[1].copy(), kept[2].copy()
    position, timestamp = _position(exemplar.value), exemplar.timestamp or 0.0
    index = bisect_right(positions, position)
    positions.insert(index, position)
    times.insert(index, timestamp)
    exemplars.insert(index, exemplar)
    if len(positions) > _MOST:
        oldest = min(times)
        if timestamp - oldest > _STALE:
            dropped = times.index(oldest)
        else:
            gaps = list(map(sub, positions[1:], positions))
            dropped = gaps.index(min(gaps))  # or the one after it
            if dropped == index or (dropped + 1 != index and times[dropped + 1] < times[dropped]):
                dropped += 1
        del positions[dropped], times[dropped], exemplars[dropped]
    return positions, times, exemplars


def in_order(kept: ExemplarReservoir) -> tuple[Exemplar, ...]:
    """Return exemplars in the order of their timestamps, which Prometheus requires."""
    _, times, exemplars = kept
    return tuple([each for _, each in sorted(zip(times, exemplars), key=itemgetter(0))])


def _position(value: float) -> float:
    if value > 0:
        return log(value) + _TO_ONE if value < inf else _FAR
    if value < 0:
        return -_position(-value)
    return 0.0 if value == 0 else 2 * _FAR


class _Checked(dict[str, object]):
    """Checked labels, independent of the caller's mapping."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


class ExemplarSource:
    """Call a function for the labels of exemplars; its failures affect exemplars only.

    Args:
        function: Called for each measurement, in its thread; returns labels, or ``None`` for no exemplar.
        owner: Name of the collector, for the log.

    Raises:
        TypeError: ``function`` is not callable, or a coroutine function: recording never blocks.
    """

    __slots__ = ("_failed", "_function", "_owner")

    def __init__(self, function: ExemplarFunction, owner: str) -> None:
        if not callable(function):
            raise TypeError(f"exemplars must be a function that returns labels, not {function!r}")
        if is_coroutine_function(function):
            raise TypeError(
                f"exemplars must be a plain function, not a coroutine function: {function!r}"
            )
        self._function = function
        self._owner = owner
        self._failed = False

    def labels(self) -> ExemplarLabels | None:
        """Return the labels of an exemplar, or ``None``."""
        try:
            return check_exemplar(self._function())
        except BaseException as error:  # noqa: BLE001 - a failure must not lose the measurement
            raise_if_exit(error)
            if not self._failed:
                self._failed = True
                reason = safe_repr(error)
                _logger.warning("%s: no exemplar, for %s (logged once)", self._owner, reason)
            return None
