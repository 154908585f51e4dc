"""Callbacks: functions that supply the values of gauges and counters before each collection."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from otel_aioprom._concurrency.user_code import (
    FAILURES,
    is_coroutine_function,
    raise_if_exit,
    reject_coroutine,
    safe_repr,
)
from otel_aioprom._core.labels import Pairs
from otel_aioprom._core.numbers import Number, check_seconds, coerce_number
from otel_aioprom.collectors.hooks import HookProblem, PreCollectHook
from otel_aioprom.collectors.series.generations import Generation
from otel_aioprom.collectors.series.limits import OVERFLOW

Function = Callable[[], Any]
Labels = Mapping[str, object]


class SupportsValues(Protocol):
    """The collector that gets the values: a gauge or a counter."""

    def _find(self, labels: Labels | None, /) -> Any:
        """Return the series of a label set, if there is one."""

    def _create_for(self, labels: Labels | None, value: Any, /) -> Any:
        """Return the series of a label set, created for its first value if there was none."""

    def drop(self, child: Any, /) -> None:
        """Remove a series if it is still the one stored for its labels."""


class _Call:
    """A call of a callback, from before it begins until it has returned.

    In a forked child, the calls of its parent are over.

    Args:
        caller: On whose behalf it is called.
        loop_is_running: Returns whether the event loop that awaits the call still runs.
        returned: The call has ended.
    """

    def __init__(
        self,
        caller: object,
        loop_is_running: Callable[[], bool] | None = None,
        *,
        returned: bool = False,
    ) -> None:
        self.caller = caller
        self.began = monotonic()
        self.returned = returned
        self._process = os.getpid()
        self._loop_is_running = loop_is_running

    def is_over(self) -> bool:
        """Return whether another call may begin."""
        if self.returned or self._process != os.getpid():
            return True
        return self._loop_is_running is not None and not self._loop_is_running()


class Callback:
    """A function and the label set whose value it supplies.

    Attributes:
        key: The label set.
        function: Returns the value, or is a coroutine function that does.
        timeout: Seconds until a call counts as late.
        is_async: It is a coroutine function.
    """

    def __init__(self, key: Pairs, function: Function, timeout: float) -> None:
        self.key = key
        self.function = function
        self.timeout = timeout
        self.is_async = is_coroutine_function(function)
        # The generation of a call, perhaps not the latest one. If several calls begin at once, one wins, without a
        # lock: a finalizer or a signal handler might find it taken.
        self._last = Generation(_Call(None, returned=True))

    def begin(self, call: _Call) -> bool:
        """Begin a call; return whether it may go on: neither is an earlier one running, nor was another one faster."""
        last, generation = self._last.latest(), Generation(call)
        if not last.value.is_over() or not last.try_append(generation):
            return False
        self._last = generation
        return True

    def is_called_for(self, caller: object) -> bool:
        """Return whether a call on behalf of this caller is running."""
        call = self._last.latest().value
        return call.caller is caller and not call.is_over()

    def hangs(self) -> bool:
        """Return whether a call takes longer than the timeout."""
        call = self._last.latest().value
        return not call.is_over() and monotonic() - call.began >= self.timeout


class Callbacks:
    """The callbacks of one collector, by label set.

    The value that a callback returns replaces that of its series; if a callback fails, the last good value stays. A
    callback that hangs is not called again before it has returned, and delays the others for one collection at most.

    Args:
        collector: Gets the values.
    """

    def __init__(self, collector: SupportsValues) -> None:
        self._collector = collector
        self._by_labels: dict[Pairs, Callback] = {}

    def add(self, key: Pairs, function: Function, timeout: float) -> None:
        """Register a callback, in place of an earlier one for these labels.

        Raises:
            TypeError: ``function`` is not callable.
            ValueError: ``timeout`` is not above 0.
        """
        if not callable(function):
            raise TypeError(
                f"a callback must be a function that returns the value, not {function!r}"
            )
        check_seconds("timeout", timeout)
        self._by_labels[key] = Callback(key, function, timeout)

    def retain(self, wanted: Callable[[Pairs], bool]) -> bool:
        """Remove the callbacks whose labels are not wanted; return whether there were any.

        A removed callback sets no value any more, so remove the callbacks first and their series afterwards.
        """
        removed = [key for key in list(self._by_labels) if not wanted(key)]
        for key in removed:  # one by one: a signal handler may add others meanwhile
            self._by_labels.pop(key, None)
        return bool(removed)

    def take_over(self, other: Callbacks) -> None:
        """Replace the callbacks by those of another object; the old ones set no value any more."""
        self._by_labels = other._by_labels

    def pre_collect_hooks(self) -> list[PreCollectHook]:
        """Return what must run before a collection."""
        if not self._by_labels:
            return []
        every = list(self._by_labels.values())
        awaited = [callback for callback in every if callback.is_async]
        plain = [PreCollectHook("call", self.call, self)] if len(awaited) < len(every) else []
        return [*plain, *([PreCollectHook("await", None, self)] if awaited else [])]

    def call(self, caller: object) -> list[HookProblem]:
        """Call the plain functions in this thread, one after the other; return their failures.

        Args:
            caller: On whose behalf; another caller may be calling them at the same time.
        """
        mine = [callback for callback in list(self._by_labels.values()) if not callback.is_async]
        found = [self._call(callback, caller) for callback in mine]
        return [problem for problem in found if problem is not None]

    def _call(self, callback: Callback, caller: object) -> HookProblem | None:
        call = _Call(caller)
        try:
            if not callback.begin(call):
                return self._still_running(callback, caller)
            self._store(callback, callback.function())
        except BaseException as error:  # noqa: BLE001 - a failure affects one value only
            raise_if_exit(error)
            return self.raised(callback, error)
        finally:
            call.returned = True
        return None

    def any_hangs(self) -> bool:
        """Return whether a call takes longer than its timeout."""
        return any(callback.hangs() for callback in list(self._by_labels.values()))

    def coroutine_callbacks(self) -> list[Callback]:
        """Return the callbacks that are coroutine functions."""
        return [callback for callback in list(self._by_labels.values()) if callback.is_async]

    def any_missing(self) -> bool:
        """Return whether a callback has no value to expose."""
        return any(self._is_missing(callback) for callback in list(self._by_labels.values()))

    def late(self, callback: Callback, reason: str) -> HookProblem:
        """Return the problem of a callback that has not returned in time."""
        return self._problem(callback, "late", reason)

    def raised(self, callback: Callback, error: BaseException) -> HookProblem:
        """Return the problem of a callback that failed with an error."""
        return self._problem(callback, "raised", f"failed: {safe_repr(error)}")

    def _problem(self, callback: Callback, cause: str, reason: str) -> HookProblem:
        part = f"the function for {dict(callback.key)!r}"
        return HookProblem(cause, f"{part} {reason}", part, self._is_missing(callback))

    def _still_running(self, callback: Callback, caller: object) -> HookProblem | None:
        """Return a problem if a running call is late or this caller's own; another registry's may go on in time."""
        is_late = callback.hangs() or callback.is_called_for(caller)
        return self.late(callback, "has not returned yet") if is_late else None

    def _is_missing(self, callback: Callback) -> bool:
        return self._collector._find(dict(callback.key) or None) is None  # noqa: SLF001 - the same package

    async def await_callback(
        self, callback: Callback, caller: object, loop_is_running: Callable[[], bool]
    ) -> HookProblem | None:
        """Await a coroutine function on the running event loop; the caller cancels it at its timeout.

        Args:
            callback: One of ``coroutine_callbacks``.
            caller: On whose behalf.
            loop_is_running: Returns whether the event loop still runs; a stopped one may have left the call unfinished.
        """
        call = _Call(caller, loop_is_running)
        try:
            if not callback.begin(call):
                return self._still_running(callback, caller)
            self._store(callback, await callback.function())
        except FAILURES as error:  # a failure affects one value only
            raise_if_exit(error)
            return self.raised(callback, error)
        finally:
            call.returned = True
        return None

    def _store(self, callback: Callback, value: Any) -> None:
        """Replace the value of a series by what its callback returned."""
        reject_coroutine(value, "a coroutine: the callback must be a coroutine function")
        number = coerce_number(value)
        labels = dict(callback.key)
        # Callbacks are removed before their series. So the series that a registered callback has found is its own, and
        # if that is removed from here on, it is not exposed.
        child = self._collector._find(labels or None)  # noqa: SLF001 - the same package
        if self._is_registered(callback):
            child = self._make_series(callback, labels, number) if child is None else child
            child.set(number)

    def _make_series(self, callback: Callback, labels: Labels, number: Number) -> Any:
        """Return a series for a first value; drop it again if its callback was removed meanwhile."""
        child = self._collector._create_for(labels, number)  # noqa: SLF001 - the same package
        if not self._is_registered(callback) and OVERFLOW.keys().isdisjoint(child.names):
            self._collector.drop(child)
        return child

    def _is_registered(self, callback: Callback) -> bool:
        return self._by_labels.get(callback.key) is callback
