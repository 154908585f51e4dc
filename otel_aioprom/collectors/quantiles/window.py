"""The sliding time window of a summary, and its clock."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from otel_aioprom._concurrency.user_code import safe_repr
from otel_aioprom._core.numbers import coerce_number

_logger = logging.getLogger(__name__)

_MOST_STEPS = 1000


class Window(NamedTuple):
    """The time window for which values count for quantiles.

    Attributes:
        step: Seconds between two rotations, each of which drops the oldest stream.
        streams: Number of streams, each one step younger than the one before.
        clock: Returns the time in seconds.
    """

    step: float
    streams: int
    clock: Callable[[], float]


WHOLE_LIFE = Window(math.inf, 1, float)  # ``float()`` always returns 0.0, so the clock stands still


def check_window(
    max_age: float | None, age_buckets: int, clock: Callable[[], float] = monotonic
) -> Window:
    """Return the window that a summary's options describe.

    Args:
        max_age: Seconds, above 0; ``None`` for an unlimited window.
        age_buckets: Number of steps in which it moves, at least 1.
        clock: Returns the time in seconds.

    Raises:
        ValueError: An option is out of range.
        TypeError: An option has the wrong type, or the clock returns no number.

    Spec:
        E115.
    """
    if isinstance(age_buckets, bool) or not isinstance(age_buckets, int):
        raise TypeError(f"age_buckets must be an int, not {age_buckets!r}")
    if not 1 <= age_buckets <= _MOST_STEPS:
        raise ValueError(f"age_buckets must be from 1 to {_MOST_STEPS}, not {age_buckets}")
    if not callable(clock):
        raise TypeError(f"clock must be callable, not {clock!r}")
    if max_age is None or max_age == math.inf:
        return WHOLE_LIFE
    if isinstance(max_age, bool):
        raise TypeError(f"max_age must be a number of seconds, not {max_age!r}")
    step = float(coerce_number(max_age)) / age_buckets
    if not step > 0:
        raise ValueError(f"max_age must be above 0 seconds, not {max_age}")
    return Window(step, age_buckets, clock if clock is monotonic else CarefulClock(clock))


class CarefulClock:
    """A user's clock: while it raises, time stands still, which is logged once.

    Args:
        clock: Returns the time in seconds.

    Raises:
        TypeError: It returns no number.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = coerce_number(clock())
        self._failed = False

    def __call__(self) -> int | float:
        """Return the time."""
        try:
            self._last = coerce_number(self._clock())
        except Exception as error:  # noqa: BLE001 - a clock may fail neither a measurement nor a response
            if not self._failed:
                self._failed = True
                _logger.warning("the clock of a summary raised %s (logged once)", safe_repr(error))
        return self._last
