"""How long series stay on which nothing is recorded any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from otel_aioprom._core.model import Series
from otel_aioprom._core.numbers import check_seconds

_SHORTEST_PAUSE = 1.0
"""Seconds between two looks at all series by whoever makes new ones."""

_PIECE = 100
"""Series that are looked at by one who makes a new one."""


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
        self.after = after
        self._due = monotonic() + self._pause()
        self._rest: list[Any] = []

    def _pause(self) -> float:
        return max(self.after / 2, _SHORTEST_PAUSE)

    def is_due(self) -> bool:
        """Tell whether nobody has looked for old series for long, such as a collection does."""
        return monotonic() >= self._due

    def all_old(self, every: Sequence[Any]) -> list[tuple[Any, float]]:
        """Return those of all series that are to go, each with the beginning of its age.

        Args:
            every: Series of classes that ``watched`` has made. Those that were recorded on begin a new age.
        """
        self._due = monotonic() + self._pause()
        self._rest = []  # which would keep alive what goes now
        return self._old(every)

    def some_old(self, every: Callable[[], list[Any]]) -> list[tuple[Any, float]]:
        """Return those of some series that are to go; who asks again and again comes to all of them.

        Args:
            every: Returns all series.
        """
        rest = self._rest
        if not rest:
            rest = self._rest = every()
        piece = rest[-_PIECE:]
        del rest[-_PIECE:]
        if not rest:
            self._due = monotonic() + self._pause()
        return self._old(piece)

    def _old(self, some: Sequence[Any]) -> list[tuple[Any, float]]:
        now = monotonic()
        old = []
        for series in some:
            if series.recorded:
                series.recorded = False
                series.age_from = now
            elif now - series.age_from >= self.after:
                old.append((series, series.age_from))
        return old


_RECORDING = ("inc", "dec", "add", "sub", "set", "observe", "load")
_classes: dict[type, type] = {}


def watched(cls: type[Series]) -> Any:
    """Return a class of series that notes when something is recorded, so that others pay nothing for it.

    Its instances have ``recorded``, ``age_from``, ``gone`` and ``removed``, and ``revive``, a function that brings one back
    which has gone.
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
                "removed",
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
        # Of a copy, too, which is no part of a collector.
        self.recorded = self.gone = self.removed = False
        return self

    return new


def start_ageing(series: Any, revive: Callable[[Any], None]) -> None:
    """Begin the first age of a series.

    Args:
        series: Of a class that ``watched`` has made.
        revive: Puts it back into its collector; called when something is recorded after it has gone.
    """
    series.recorded = True
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
