"""How many series there may be, and how long they stay: bounds that a collector or a registry sets."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Protocol
from weakref import ref

from otel_aioprom.model import Series
from otel_aioprom.numbers import check_seconds

_logger = logging.getLogger(__name__)

OVERFLOW = {"otel_metric_overflow": "true"}
"""Labels of the series that takes what no other series takes, as in the OpenTelemetry SDK."""

MANY = 10_000
"""Series of one collector that are worth a warning."""


_SHORTEST_PAUSE = 1.0
"""Seconds between two looks for old series by whoever makes new ones."""


class Member(Protocol):
    """What has series: the store of a collector.

    Attributes:
        replaces: The one whose place it is to take, while both have series.
    """

    replaces: Any

    def count_series(self) -> int:
        """Return how many."""


class Bound:
    """A number of series that its members may have together.

    Args:
        limit: That number, at least 1.

    Raises:
        TypeError: ``limit`` is no ``int``.
        ValueError: It is below 1.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"max_series must be an int, not {limit!r}")
        if limit < 1:
            raise ValueError(f"max_series must be at least 1, not {limit}")
        self.limit = limit
        self._members: tuple[ref[Any], ...] = ()  # replaced as a whole: others may be counting

    def add(self, member: Member) -> None:
        """Count the series of one more."""
        self._members = (*self._living(), ref(member))

    def discard(self, member: Member) -> None:
        """Count the series of one less."""
        self._members = tuple([each for each in self._living() if each() is not member])

    def _living(self) -> list[ref[Any]]:
        return [each for each in self._members if each() is not None]

    def reached(self, asking: Member) -> bool:
        """Tell whether there must be no more series of one that is a member, or replaces one."""
        found = [each() for each in self._members]
        members = {id(each): each for each in (*found, asking) if each is not None}
        members.pop(id(asking.replaces), None)
        return sum([member.count_series() for member in members.values()]) >= self.limit


def warn_of_many(name: str, every: Sequence[Series]) -> None:
    """Log that a collector has many series, and which of its labels makes most of them."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    for series in every:
        for label, value in series.pairs:
            values[label].add(value)
    label = max(values, key=lambda each: len(values[each]))
    _logger.warning(
        "%s has %d series: its label %r has %d values (max_series= sets a bound; logged once)",
        name,
        len(every),
        label,
        len(values[label]),
    )


class Ageing:
    """Finds the series on which nothing is recorded any more.

    Args:
        after: Seconds without a measurement after which a series goes.

    Raises:
        TypeError: ``after`` is no number.
        ValueError: It is not above 0.
    """

    def __init__(self, after: float) -> None:
        check_seconds("expire_after", after)
        self._after = after
        self._due = monotonic() + self._pause()

    def _pause(self) -> float:
        return max(self._after / 2, _SHORTEST_PAUSE)

    def is_due(self) -> bool:
        """Tell whether nobody has looked for old series for long, such as a collection does."""
        return monotonic() >= self._due

    def expired(self, every: Sequence[Any]) -> list[Any]:
        """Return the series that are to go; the others begin a new age if they were recorded on.

        Args:
            every: Series of classes that ``watched`` has made.
        """
        now = monotonic()
        self._due = now + self._pause()
        old = []
        for series in every:
            if series.recorded:
                series.recorded = False
                series.age_from = now
            elif now - series.age_from >= self._after:
                old.append(series)
        return old


_RECORDING = ("inc", "dec", "add", "sub", "set", "observe", "load")
_classes: dict[type, type] = {}


def watched(cls: type[Series]) -> Any:
    """Return a class of series that notes when something is recorded, so that others pay nothing for it.

    Its instances have ``recorded``, ``age_from`` and ``revive``, a function that brings one back which has gone.
    """
    if cls not in _classes:
        body: dict[str, Any] = {
            name: _noting(getattr(cls, name)) for name in _RECORDING if hasattr(cls, name)
        }
        body |= {
            "__slots__": (
                "age_from",
                "gone",
                "recorded",
                "revive",
                *(() if cls.__weakrefoffset__ else ("__weakref__",)),
            ),
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
        }
        body["__new__"] = _new_of(cls)
        _classes[cls] = type(cls.__name__, (cls,), body)
    return _classes[cls]


def _new_of(cls: Any) -> Callable[..., Any]:
    def new(subclass: Any, *_args: Any, **_kwargs: Any) -> Any:
        self = cls.__new__(subclass)
        self.recorded, self.gone = False, False  # of a copy, too, which is no part of a collector
        return self

    return new


def start_ageing(series: Any, revive: Callable[[Any], None]) -> None:
    """Begin the first age of a series.

    Args:
        series: Of a class that ``watched`` has made.
        revive: Puts it back into its collector; called when something is recorded after it has gone.
    """
    series.recorded = True
    series.gone = False
    series.age_from = monotonic()
    series.revive = revive


def _noting(method: Callable[..., Any]) -> Callable[..., Any]:
    def record(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        self.recorded = True
        if self.gone:
            self.revive(self)
        return result

    return record
