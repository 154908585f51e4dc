"""Source runners: each collects one source, and keeps its failures from the others."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterable, Callable, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from time import monotonic
from typing import Any, NamedTuple

from otel_aioprom._concurrency.greenlets import running_loop
from otel_aioprom._concurrency.reentrancy import is_reentrant, reentrancy_guard
from otel_aioprom._concurrency.shared_future import MAX_WAIT, SharedFuture
from otel_aioprom._concurrency.single_flight import AsyncSingleFlight, SingleFlight
from otel_aioprom._concurrency.thread_pool import ThreadPool
from otel_aioprom._concurrency.user_code import (
    FAILURES,
    is_coroutine_function,
    raise_if_exit,
    reject_coroutine,
    safe_repr,
    safe_str,
    underlying_function,
)
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._core.numbers import check_seconds
from otel_aioprom.collectors import Collector
from otel_aioprom.registry.custom import CustomCollector, overrides
from otel_aioprom.registry.faults import Fault, checked_fault
from otel_aioprom.registry.merge import Owners, distinct, merge_families
from otel_aioprom.registry.sources import Preparation, SupportsAsyncCollect, SupportsCollect
from otel_aioprom.registry.validation import OWN_KINDS, well_formed

_DEFAULT_TIMEOUT = 30.0  # seconds for an asynchronous source without a timeout of its own
_POLL_INTERVAL = 0.1  # seconds between a waiting thread's checks that the event loop still runs


class Collected(NamedTuple):
    """What one source has returned.

    Attributes:
        families: No two of one name.
        faults: What was wrong.
        complete: The source has returned in time, and has not raised.
    """

    families: Sequence[MetricFamily]
    faults: Sequence[Fault]
    complete: bool = True


class SourceRunner:
    """Collects a source for a registry, never twice at the same time.

    Args:
        source: The source.

    Attributes:
        names: Names that the registry has assigned to the source.
        flight: Single flight that collects the source in a thread of its own.
        after: Runners that must have ended before this one starts.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._name: str = source.name
        self._well_formed = getattr(source, "well_formed", False)
        self._is_hook = getattr(source, "refreshes_only", False)
        self._owners: Owners = {}
        self.names: set[str] = set()
        self.after: Sequence[SourceRunner] = ()
        self._reset_flight()

    def _reset_flight(self) -> None:
        self._lock = threading.RLock()
        self.flight: SingleFlight[Collected] = SingleFlight(self.collect, f"collect {self._name}")

    def after_fork(self) -> None:
        """Start over in a child process, where nobody collects the source."""
        self._reset_flight()
        start_over: Callable[[], None] | None = getattr(self._source, "after_fork", None)
        if start_over is not None:
            start_over()

    def collect(self) -> Collected:
        """Collect the source in the calling thread.

        Returns:
            One family for each name, merged here so that it does not block the event loop.
        """
        if is_reentrant(self):
            return self.refused()
        with self._lock, reentrancy_guard(self):
            try:
                items = self._source.collect()
                reject_coroutine(items, "collect returned a coroutine: define it with async def")
                return self._to_collected(list(items))
            except BaseException as error:  # noqa: BLE001 - a source that fails is dropped alone
                raise_if_exit(error)
                return self._no_families("raised", f"collecting raised {safe_repr(error)}")

    def refused(self) -> Collected:
        """Return a fault instead of collecting the source, because a source of the same registry is the caller."""
        return self._no_families("raised", "it is collected by a source of its own registry")

    def _to_collected(self, items: Sequence[Any]) -> Collected:
        families: list[MetricFamily] = []
        faults: list[Fault] = []
        seen: set[int] = set()
        for item in items:
            try:
                families += self._families(item, faults, seen)
            except FAILURES as error:  # an invalid item is dropped alone
                raise_if_exit(error)
                message, part = safe_str(error), _name_of(item)
                faults.append(Fault("untranslatable", self._name, message, part=part))
        # A family without series does not own its name.
        exposed = [family for family in families if family.series]
        merged, conflicts = merge_families(exposed, self._owners)
        return Collected(merged, [*faults, *conflicts])

    def _families(self, item: Any, faults: list[Fault], seen: set[int]) -> Sequence[MetricFamily]:
        """Return the families of one item, and add what is wrong with it to the faults."""
        if isinstance(item, Fault):
            faults.append(checked_fault(item))
            return ()
        if isinstance(item, Collector):
            faults += _ignored_hooks(item)
            if type(item) in OWN_KINDS:
                return [item.family()]
            if overrides(item, "get_all"):
                inner = list(CustomCollector(item).collect())
                return [family for each in inner for family in self._families(each, faults, seen)]
            item = item.family()
        return [item if self._well_formed else distinct(well_formed(item, faults, seen), faults)]

    def prepare(self, faults: list[Fault]) -> Preparation:
        """Call the source's ``before_collection``, if it has one.

        Args:
            faults: Gets what went wrong; the source is collected all the same.

        Returns:
            What to wait for before the source is collected.
        """
        try:
            begin = getattr(self._source, "before_collection", None)
            before = () if begin is None else begin().items()
            return {each: float(limit) for each, limit in before if isinstance(each, SharedFuture)}
        except BaseException as error:  # noqa: BLE001 - a source that fails is dropped alone
            raise_if_exit(error)
            message = f"preparing raised {safe_repr(error)}; values may be old"
            faults.append(Fault("raised", self._name, message, lost=False, part="prepare"))
        return {}

    def outcome(
        self, future: Future[Collected], timeout: float, *, client_deadline: bool = False
    ) -> Collected:
        """Return what the single flight has collected, or a fault.

        Args:
            future: What ``flight.join`` has returned.
            timeout: Seconds that it was waited for.
            client_deadline: The client has set the timeout, so that a late source is not logged.
        """
        if not future.done():
            if self._is_hook and (not client_deadline or self._source.hangs()):
                self._reset_flight()
            return self._no_families("late", f"no answer within {timeout} s", quiet=client_deadline)
        error = future.exception()  # an exit or a cancellation, which are no exceptions
        if error is None:
            return future.result()
        return self._no_families("raised", f"it raised {safe_repr(error)}")

    def _no_families(self, cause: str, reason: str, *, quiet: bool = False) -> Collected:
        if not self._is_hook:
            lost, rest = True, "nothing of this source is exposed"
        elif self._source.any_missing():
            lost, rest = True, "values are missing"
        else:
            lost, rest = False, "values may be old"
        fault = Fault(cause, self._name, f"{reason}; {rest}", lost, quiet)
        return Collected((), [fault], complete=False)


class AsyncSourceRunner(SourceRunner):
    """Collects an asynchronous source, never twice at the same time, on the event loop of a caller.

    What it returns is read in a thread: it may be collectors of a user's class, whose methods may hang. Then later
    collections wait for that thread as long as they may, and start no other one.

    Args:
        source: The source.
    """

    flight: AsyncSingleFlight[Collected]

    def _reset_flight(self) -> None:
        super()._reset_flight()
        self._reader = ThreadPool(1, f"read {self._name}")
        self.flight = AsyncSingleFlight(self._collect_in_time, f"collect {self._name}")

    def _timeout(self) -> float | Collected:
        """Return the seconds that the source gets, or what to return if its timeout is invalid."""
        try:
            timeout = getattr(self._source, "timeout", _DEFAULT_TIMEOUT)
            check_seconds("timeout", timeout)
        except FAILURES as error:
            raise_if_exit(error)
            return self._no_families("raised", f"its timeout is invalid: {safe_repr(error)}")
        return min(float(timeout), MAX_WAIT)

    def collect(self) -> Collected:
        """Collect the source, and wait for it in the calling thread, in which no event loop may run."""
        if running_loop() is not None:
            reason = "it is awaited: use async_render where an event loop runs"
            return self._no_families("raised", reason)
        timeout = self._timeout()
        if isinstance(timeout, Collected):
            return timeout
        future = self.flight.join()
        end = monotonic() + timeout + _POLL_INTERVAL
        # The event loop may be waiting for this very thread.
        while wait([future], _POLL_INTERVAL).not_done and monotonic() < end:
            self.flight.revive()
        return self.outcome(future, timeout)

    async def _collect_in_time(self) -> Collected:
        timeout = self._timeout()
        if isinstance(timeout, Collected):
            return timeout
        try:
            return await asyncio.wait_for(self._async_collect(), timeout)
        except asyncio.TimeoutError:
            return self._no_families("late", f"no answer within {timeout} s")

    async def _async_collect(self) -> Collected:
        try:
            with reentrancy_guard(self):
                found = self._source.collect()
                if isinstance(found, AsyncIterable):
                    items = [item async for item in found]
                else:
                    items = list(await found)
                # In this context: a finalizer there may collect this source, and would wait for itself.
                return await self._reader.call(copy_context().run, self._to_collected, items)
        except FAILURES as error:  # a source that fails is dropped alone
            raise_if_exit(error)
            return self._no_families("raised", f"collecting raised {safe_repr(error)}")


def _name_of(item: Any) -> str:
    """Return the name of an invalid family or collector, if it has one."""
    try:
        name = item.name
    except FAILURES as error:  # of a user's class
        raise_if_exit(error)
        return ""
    return name if type(name) is str else ""


def _ignored_hooks(collector: Collector[Any]) -> list[Fault]:
    """Return a fault for the hooks of a collector that a source returns: they do not run."""
    try:
        if not collector._expires and not collector.pre_collect_hooks():  # noqa: SLF001 - see base
            return []
        reason = "it comes from a source, so its callbacks are not called, and nothing expires: register it"
    except FAILURES as error:  # of a user's class
        raise_if_exit(error)
        reason = f"its hooks raised {safe_repr(error)}"
    return [Fault("untranslatable", collector.name, reason, lost=False)]


def make_runner(source: SupportsCollect | SupportsAsyncCollect) -> SourceRunner:
    """Return the runner of a source, asynchronous or not.

    Raises:
        TypeError: It is not a source.
        ValueError: Its ``timeout`` is not above 0.
    """
    collect = getattr(source, "collect", None)
    if not callable(collect) or not isinstance(getattr(source, "name", None), str):
        raise TypeError(f"a source needs a name and a method collect, unlike {safe_repr(source)}")
    if is_coroutine_function(collect) or inspect.isasyncgenfunction(underlying_function(collect)):
        check_seconds("timeout", getattr(source, "timeout", _DEFAULT_TIMEOUT))
        return AsyncSourceRunner(source)
    return SourceRunner(source)
