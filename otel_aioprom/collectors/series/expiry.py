"""Expiry: series that were idle for too long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from otel_aioprom._core.model import Series
from otel_aioprom._core.numbers import check_seconds

S = TypeVar("S", bound=Series)

_SHORTEST_PAUSE = 1.0
"""Least number of seconds between two sweeps by callers that create series."""

_BATCH = 100
"""Number of series that the creation of one series sweeps."""


class Expiry:
    """Find expired series.

    Args:
        after: Idle time in seconds after which a series expires.

    Raises:
        TypeError: ``after`` is no number.
        ValueError: ``after`` is not above 0.
    """

    def __init__(self, after: float) -> None:
        check_seconds("expire_after", after)
        self._after = after
        self._pause = max(after / 2, _SHORTEST_PAUSE)
        self._due = monotonic() + self._pause
        self._rest: list[Any] = []

    def is_due(self) -> bool:
        """Return whether the last sweep, such as a collection does, is long ago."""
        return monotonic() >= self._due

    def find_expired(self, every: Sequence[Any]) -> list[tuple[Any, float]]:
        """Return the expired ones of all series, each with the time since when it is idle.

        Args:
            every: Series of classes that ``expiring_class`` has created. The idle time of those recorded on restarts.
        """
        self._due = monotonic() + self._pause
        self._rest = []  # it would keep expired series alive
        return self._expired_among(every)

    def find_some_expired(self, every: Callable[[], list[Any]]) -> list[tuple[Any, float]]:
        """Return the expired ones of the next batch of series; repeated calls cover all series.

        Args:
            every: Returns all series.
        """
        rest = self._rest
        if not rest:
            rest = self._rest = every()
        batch = rest[-_BATCH:]
        del rest[-_BATCH:]
        if not rest:
            self._due = monotonic() + self._pause
        return self._expired_among(batch)

    def _expired_among(self, some: Sequence[Any]) -> list[tuple[Any, float]]:
        now = monotonic()
        expired = []
        for series in some:
            if series.recorded:
                series.recorded = False
                series.idle_since = now
            elif now - series.idle_since >= self._after:
                expired.append((series, series.idle_since))
        return expired


_RECORDING = ("inc", "dec", "add", "sub", "set", "observe", "load")
_classes: dict[type, Any] = {}


def expiring_class(cls: type[S]) -> type[S]:
    """Return a subclass of a class of series that tracks measurements; series that never expire do not pay for it.

    Its instances have ``recorded``, ``idle_since``, ``expired`` and ``removed``, and ``revive``, a function that
    revives an expired series.
    """
    if cls not in _classes:
        body: dict[str, Any] = {
            name: _tracked(getattr(cls, name)) for name in _RECORDING if hasattr(cls, name)
        }
        body |= {
            "__slots__": (
                "idle_since",
                "expired",
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
    made: type[S] = _classes[cls]
    return made


def _new_of(cls: Any) -> Callable[..., Any]:
    def new(subclass: Any, *_args: Any, **_kwargs: Any) -> Any:
        self = cls.__new__(subclass)
        # For copies too, which belong to no collector.
        self.recorded = self.expired = self.removed = False
        return self

    return new


def start_expiry(series: Any, revive: Callable[[Any], None]) -> None:
    """Start the idle time of a new series.

    Args:
        series: Of a class that ``expiring_class`` has created.
        revive: Puts the series back into its collector; called when an expired series is recorded on.
    """
    series.recorded = True
    series.idle_since = monotonic()
    series.revive = revive


def _tracked(method: Callable[..., Any]) -> Callable[..., Any]:
    def record(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        self.recorded = True
        if self.expired:
            self.revive(self)
        return result

    return record
