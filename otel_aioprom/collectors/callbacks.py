"""Functions that gauges and counters are asked from, before each collection."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from otel_aioprom._concurrency.foreign_code import (
    FAILURES,
    described,
    is_awaited,
    is_exit,
    refuse_coroutine,
)
from otel_aioprom._core.labels import Pairs
from otel_aioprom._core.numbers import Number, check_seconds, coerce_number
from otel_aioprom.collectors.hooks import Chore, Problem
from otel_aioprom.collectors.series.generations import Turn
from otel_aioprom.collectors.series.limits import OVERFLOW

Function = Callable[[], Any]
Labels = Mapping[str, object]


class SupportsValues(Protocol):
    """What takes the values: a gauge or a counter."""

    def _find(self, labels: Labels | None, /) -> Any:
        """Return the series of a label set, if there is one."""

    def _create_for(self, labels: Labels | None, value: Any, /) -> Any:
        """Return the series of a label set, made for a first value if there was none."""

    def drop(self, child: Any, /) -> None:
        """Forget a series, if it is exactly this one."""


@dataclass(eq=False)
class _Call:
    """A call of a function, from before it begins until it has returned.

    Attributes:
        asking: For whom.
        began: When, in seconds of a monotonic clock.
        process: In which process; in a child of it, nobody calls any more.
        goes_on: Tells whether the event loop still runs on which it is awaited.
        returned: It is over.
    """

    asking: object
    began: float
    process: int
    goes_on: Callable[[], bool] | None = None
    returned: bool = False

    def is_over(self) -> bool:
        """Tell whether another call may follow."""
        if self.returned or self.process != os.getpid():
            return True
        return self.goes_on is not None and not self.goes_on()


@dataclass(eq=False)
class Asked:
    """A function with the label set whose value it gives.

    Attributes:
        key: The label set.
        function: Returns the value, or is a coroutine function that does.
        timeout: Seconds that a coroutine function gets.
        waits: It is a coroutine function.
        last: A call that was begun; those that follow it may have been, too. Of several that are to begin at once, one does, by no
            lock: a finalizer or a signal handler might find it taken.
    """

    key: Pairs
    function: Function
    timeout: float
    waits: bool
    last: Turn[_Call] = field(default_factory=lambda: Turn(_Call(None, 0.0, 0, returned=True)))

    def begin(self, call: _Call) -> bool:
        """Tell whether a call may begin, for the one before may not have returned, or another one may be quicker."""
        last, turn = self.last.latest(), Turn(call)
        if not last.thing.is_over() or not last.gives_way_to(turn):
            return False
        self.last = turn
        return True

    def is_called_for(self, asking: object) -> bool:
        """Tell whether a call goes on that somebody has begun."""
        call = self.last.latest().thing
        return call.asking is asking and not call.is_over()

    def hangs(self) -> bool:
        """Tell whether a call takes longer than it may."""
        call = self.last.latest().thing
        return not call.is_over() and monotonic() - call.began >= self.timeout


class Functions:
    """The functions of one collector, by label set.

    A value that a function gives replaces that of its series; if it gives none, the last good one stays. One that
    hangs is not called again before it has returned, and keeps none of the others waiting for more than a collection.

    Args:
        collector: Takes the values.
    """

    def __init__(self, collector: SupportsValues) -> None:
        self._collector = collector
        self._asked: dict[Pairs, Asked] = {}

    def add(self, key: Pairs, function: Function, timeout: float) -> None:
        """Ask a function from now on, in place of the one that was asked for these labels.

        Raises:
            TypeError: It is none.
            ValueError: ``timeout`` is not above 0.
        """
        if not callable(function):
            raise TypeError(f"a function that gives the value is needed, not {function!r}")
        check_seconds("timeout", timeout)
        self._asked[key] = Asked(key, function, timeout, is_awaited(function))

    def keep(self, wanted: Callable[[Pairs], bool]) -> bool:
        """Ask only those functions any more whose labels are wanted; tell whether others were asked.

        None of the others sets a value after that, so that series are removed after their functions.
        """
        gone = [key for key in list(self._asked) if not wanted(key)]
        for key in gone:  # one by one: a signal handler may add others meanwhile
            self._asked.pop(key, None)
        return bool(gone)

    def take_over(self, other: Functions) -> None:
        """Ask the functions of another one in place of these, none of which sets a value after that."""
        self._asked = other._asked

    def chores(self) -> list[Chore]:
        """Return what must be done before a collection."""
        if not self._asked:
            return []
        every = list(self._asked.values())
        waiting = [asked for asked in every if asked.waits]
        plain = [Chore("call", self.call, self)] if len(waiting) < len(every) else []
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
        call = _Call(asking, monotonic(), os.getpid())
        try:
            if not asked.begin(call):
                return self._still_called(asked, asking)
            self._take(asked, asked.function())
        except BaseException as error:  # one bad function costs its own value
            if is_exit(error):
                raise
            return self.raised(asked, error)
        finally:
            call.returned = True
        return None

    def hang(self) -> bool:
        """Tell whether one of them takes longer than it may."""
        return any(asked.hangs() for asked in list(self._asked.values()))

    def to_await(self) -> list[Asked]:
        """Return the coroutine functions."""
        return [asked for asked in list(self._asked.values()) if asked.waits]

    def lacks_any(self) -> bool:
        """Tell whether one of them has no value to show."""
        return any(self._lacks(asked) for asked in list(self._asked.values()))

    def late(self, asked: Asked, reason: str) -> Problem:
        """Tell that a function has given no value yet."""
        return self._problem(asked, "late", reason)

    def raised(self, asked: Asked, error: BaseException) -> Problem:
        """Tell that a function has given no value because of an error."""
        return self._problem(asked, "raised", f"gave none: {described(error)}")

    def _problem(self, asked: Asked, cause: str, reason: str) -> Problem:
        part = f"the function for {dict(asked.key)!r}"
        return Problem(cause, f"{part} {reason}", part, self._lacks(asked))

    def _still_called(self, asked: Asked, asking: object) -> Problem | None:
        """Tell that a call goes on for which a collection has waited in vain; not that another registry has begun one."""
        if asked.hangs() or asked.is_called_for(asking):
            return self.late(asked, "has not returned yet")
        return None

    def _lacks(self, asked: Asked) -> bool:
        return self._collector._find(dict(asked.key) or None) is None  # noqa: SLF001 - the same package

    async def await_one(
        self, asked: Asked, asking: object, goes_on: Callable[[], bool]
    ) -> Problem | None:
        """Await a coroutine function, on the running event loop; who calls this cancels it when its time is over.

        Args:
            asked: One of ``to_await``.
            asking: For whom.
            goes_on: Tells whether the event loop still runs; one that has ended may have left the call undone.
        """
        call = _Call(asking, monotonic(), os.getpid(), goes_on)
        try:
            if not asked.begin(call):
                return self._still_called(asked, asking)
            self._take(asked, await asked.function())
        except FAILURES as error:  # one bad function costs its own value
            if is_exit(error):
                raise
            return self.raised(asked, error)
        finally:
            call.returned = True
        return None

    def _take(self, asked: Asked, value: Any) -> None:
        """Replace the value of a series by what its function gave."""
        refuse_coroutine(value, "a coroutine: the function must be a coroutine function")
        number = coerce_number(value)
        labels = dict(asked.key)
        # Functions are removed before their series. So what a function that is still asked now has found is its own
        # series, and if that is removed from here on, nobody shows it.
        child = self._collector._find(labels or None)  # noqa: SLF001 - the same package
        if self._is_asked_still(asked):
            child = self._made(asked, labels, number) if child is None else child
            child.set(number)

    def _made(self, asked: Asked, labels: Labels, number: Number) -> Any:
        """Return a series for a first value; one that is made after its function was removed goes again."""
        child = self._collector._create_for(labels, number)  # noqa: SLF001 - the same package
        if not self._is_asked_still(asked) and OVERFLOW.keys().isdisjoint(child.names):
            self._collector.drop(child)
        return child

    def _is_asked_still(self, asked: Asked) -> bool:
        return self._asked.get(asked.key) is asked
