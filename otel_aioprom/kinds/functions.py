"""Functions that gauges and counters are asked from, before each collection."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from otel_aioprom.kinds.chores import Chore, Problem
from otel_aioprom.labels import Pairs
from otel_aioprom.numbers import check_seconds, coerce_number

Function = Callable[[], Any]
Labels = Mapping[str, object]


class SupportsSet(Protocol):
    """What takes the values: a gauge or a counter."""

    def set(self, labels: Labels | None, value: Any, /) -> None:
        """Replace the value of a label set."""


@dataclass(eq=False)
class Asked:
    """A function with the label set whose value it gives.

    Attributes:
        labels: The label set.
        function: Returns the value, or is a coroutine function that does.
        timeout: Seconds that a coroutine function gets.
        waits: It is a coroutine function.
        busy: It has been called and has not returned.
    """

    labels: Labels | None
    function: Function
    timeout: float
    waits: bool
    busy: bool = False

    def late(self, reason: str) -> Problem:
        """Tell that there is no value yet."""
        return Problem("late", f"the function for {dict(self.labels or {})!r} {reason}")

    def raised(self, error: Exception) -> Problem:
        """Tell that there is no value because of an error."""
        return Problem(
            "raised", f"the function for {dict(self.labels or {})!r} gave none: {error!r}"
        )


class Functions:
    """The functions of one collector, by label set.

    A value that a function gives replaces that of its series; if it gives none, the last good one stays. One that
    hangs is not called again before it has returned, and keeps none of the others waiting for more than a collection.

    Args:
        collector: Takes the values.
    """

    def __init__(self, collector: SupportsSet) -> None:
        self._collector = collector
        self._asked: dict[Pairs, Asked] = {}
        self._lock = threading.RLock()  # a finalizer may add a function

    def add(self, key: Pairs, labels: Labels | None, function: Function, timeout: float) -> None:
        """Ask a function from now on, in place of the one that was asked for these labels.

        Raises:
            TypeError: It is none.
            ValueError: ``timeout`` is not above 0.
        """
        if not callable(function):
            raise TypeError(f"a function that gives the value is needed, not {function!r}")
        check_seconds("timeout", timeout)
        asked = Asked(dict(labels or {}), function, timeout, _is_async(function))
        with self._lock:
            self._asked = {**self._asked, key: asked}

    def keep(self, wanted: Callable[[Pairs], bool]) -> bool:
        """Ask only those functions any more whose labels are wanted; tell whether others were asked."""
        with self._lock:
            before = self._asked
            self._asked = {key: asked for key, asked in before.items() if wanted(key)}
            return len(self._asked) < len(before)

    def chores(self) -> list[Chore]:
        """Return what must be done before a collection."""
        every = list(self._asked.values())
        waiting = [asked for asked in every if asked.waits]
        plain = [Chore("call", self.call)] if len(waiting) < len(every) else []
        return [*plain, *([Chore("await", None, self)] if waiting else [])]

    def call(self) -> list[Problem]:
        """Call the plain functions, in this thread, one after the other."""
        mine = [asked for asked in list(self._asked.values()) if not asked.waits]
        found = [self._call(asked) for asked in mine]
        return [problem for problem in found if problem is not None]

    def _call(self, asked: Asked) -> Problem | None:
        if not self.begin(asked):
            return asked.late("has not returned yet")
        try:
            return self.take(asked, asked.function())
        except Exception as error:  # noqa: BLE001 - one bad function costs its own value
            return asked.raised(error)
        finally:
            asked.busy = False

    def to_await(self) -> list[Asked]:
        """Return the coroutine functions."""
        return [asked for asked in list(self._asked.values()) if asked.waits]

    def begin(self, asked: Asked) -> bool:
        """Note that a function is called; tell whether it may be, for a call before may not have returned."""
        with self._lock:
            if asked.busy:
                return False
            asked.busy = True
            return True

    def take(self, asked: Asked, value: Any) -> Problem | None:
        """Replace the value of a series by what its function gave."""
        try:
            if inspect.iscoroutine(value):
                value.close()  # else it warns that nobody has awaited it
            if self._asked_still(asked):
                self._collector.set(asked.labels, coerce_number(value))
        except (TypeError, ValueError) as error:
            return asked.raised(error)
        return None

    def _asked_still(self, asked: Asked) -> bool:
        return any(asked is other for other in list(self._asked.values()))


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 - of an object whose class has one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
