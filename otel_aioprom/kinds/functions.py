"""Functions that gauges and counters are asked from, before each collection."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple, Protocol

from otel_aioprom.forks import ForkSafeLock
from otel_aioprom.kinds.chores import Chore, Problem
from otel_aioprom.labels import Pairs, label_value
from otel_aioprom.numbers import check_seconds, coerce_number
from otel_aioprom.strangers import described, is_awaited, is_exit

Function = Callable[[], Any]
Labels = Mapping[str, object]


class SupportsSet(Protocol):
    """What takes the values: a gauge or a counter."""

    def set(self, labels: Labels | None, value: Any, /) -> None:
        """Replace the value of a label set."""


_TURN = ForkSafeLock()
"""Held by who begins a call, sets a value, or removes functions. No code of others runs meanwhile."""


class _Call(NamedTuple):
    """A call that has not returned.

    Attributes:
        asking: For whom.
        began: When, in seconds of a monotonic clock.
        process: In which process; in a child of it, nobody calls any more.
    """

    asking: object
    began: float
    process: int


@dataclass(eq=False)
class Asked:
    """A function with the label set whose value it gives.

    Attributes:
        labels: The label set.
        function: Returns the value, or is a coroutine function that does.
        timeout: Seconds that a coroutine function gets.
        waits: It is a coroutine function.
        call: The call that has not returned, if there is one.
    """

    labels: Labels
    function: Function
    timeout: float
    waits: bool
    call: _Call | None = None

    def late(self, reason: str) -> Problem:
        """Tell that there is no value yet."""
        return self._problem("late", reason)

    def raised(self, error: BaseException) -> Problem:
        """Tell that there is no value because of an error."""
        return self._problem("raised", f"gave none: {described(error)}")

    def _problem(self, cause: str, reason: str) -> Problem:
        part = f"the function for {self.labels!r}"
        return Problem(cause, f"{part} {reason}", part)


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

    def add(self, key: Pairs, labels: Labels | None, function: Function, timeout: float) -> None:
        """Ask a function from now on, in place of the one that was asked for these labels.

        Raises:
            TypeError: It is none.
            ValueError: ``timeout`` is not above 0.
        """
        if not callable(function):
            raise TypeError(f"a function that gives the value is needed, not {function!r}")
        check_seconds("timeout", timeout)
        texts = {name: label_value(value) for name, value in (labels or {}).items()}
        self._asked[key] = Asked(texts, function, timeout, is_awaited(function))

    def keep(self, wanted: Callable[[Pairs], bool]) -> bool:
        """Ask only those functions any more whose labels are wanted; tell whether others were asked.

        None of the others sets a value after that, so that series are removed after their functions.
        """
        gone = [key for key in list(self._asked) if not wanted(key)]
        with _TURN.lock:
            for key in gone:  # one by one: a signal handler may add others meanwhile
                self._asked.pop(key, None)
        return bool(gone)

    def take_over(self, other: Functions) -> None:
        """Ask the functions of another one in place of these, none of which sets a value after that."""
        with _TURN.lock:
            self._asked = other._asked

    def chores(self) -> list[Chore]:
        """Return what must be done before a collection."""
        if not self._asked:
            return []
        every = list(self._asked.values())
        waiting = [asked for asked in every if asked.waits]
        plain = [Chore("call", self.call)] if len(waiting) < len(every) else []
        return [*plain, *([Chore("await", None, self)] if waiting else [])]

    def call(self, asking: object) -> list[Problem]:
        """Call the plain functions, in this thread, one after the other.

        Args:
            asking: For whom; another one may be calling them at the same time.
        """
        mine = [asked for asked in list(self._asked.values()) if not asked.waits]
        found = [self._call(asked, asking) for asked in mine]
        return [problem for problem in found if problem is not None]

    def _call(self, asked: Asked, asking: object) -> Problem | None:
        if not self._begin(asked, asking):
            return self._still_called(asked, asking)
        try:
            return self._take(asked, asked.function())
        except BaseException as error:  # one bad function costs its own value
            if is_exit(error):
                raise
            return asked.raised(error)
        finally:
            asked.call = None

    def to_await(self) -> list[Asked]:
        """Return the coroutine functions."""
        return [asked for asked in list(self._asked.values()) if asked.waits]

    async def await_one(self, asked: Asked, asking: object) -> Problem | None:
        """Await a coroutine function, on the running event loop; who calls this cancels it when its time is over.

        Args:
            asked: One of ``to_await``.
            asking: For whom.
        """
        if not self._begin(asked, asking):
            return self._still_called(asked, asking)
        try:
            return self._take(asked, await asked.function())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one bad function costs its own value
            return asked.raised(error)
        finally:
            asked.call = None

    def _begin(self, asked: Asked, asking: object) -> bool:
        """Note that a function is called; tell whether it may be, for a call before may not have returned."""
        with _TURN.lock:
            call = asked.call
            if call is not None and call.process == os.getpid():
                return False
            asked.call = _Call(asking, monotonic(), os.getpid())
            return True

    def _still_called(self, asked: Asked, asking: object) -> Problem | None:
        """Tell that a call hangs, unless another registry has begun it just now."""
        call = asked.call
        if call is None or (call.asking is not asking and monotonic() - call.began < asked.timeout):
            return None
        return asked.late("has not returned yet")

    def _take(self, asked: Asked, value: Any) -> Problem | None:
        """Replace the value of a series by what its function gave."""
        if inspect.iscoroutine(value):
            value.close()  # else it warns that nobody has awaited it
        number = coerce_number(value)
        with _TURN.lock:
            if self._is_asked_still(asked):
                self._collector.set(asked.labels, number)
        return None

    def _is_asked_still(self, asked: Asked) -> bool:
        return any(asked is other for other in list(self._asked.values()))
