"""Feeds: how a source is asked, and kept from hurting the others."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterable, Callable, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from time import monotonic
from typing import Any, NamedTuple

from otel_aioprom._concurrency.foreign_code import (
    FAILURES,
    described,
    is_awaited,
    is_exit,
    refuse_coroutine,
    said_by,
    what_is_called,
)
from otel_aioprom._concurrency.reentrancy import answering, is_answering
from otel_aioprom._concurrency.shared_future import LONGEST, Run, running_loop
from otel_aioprom._concurrency.single_flight import AsyncFlight, SingleFlight
from otel_aioprom._concurrency.thread_pool import in_worker
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._core.numbers import check_seconds
from otel_aioprom.collectors import Collector
from otel_aioprom.registry.custom import CustomCollector, is_custom
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.merge import Owners, distinct, merge_families
from otel_aioprom.registry.sources import Answer, Preparation, SupportsAsyncCollect, SupportsCollect
from otel_aioprom.registry.validation import OURS, well_formed

_LONGEST = 30.0  # seconds that an asynchronous source gets that says nothing else
_LOOK = 0.1  # seconds after which a thread looks whether the loop that it waits for still runs


class Collected(NamedTuple):
    """What one source gave.

    Attributes:
        families: No two of one name.
        faults: What was wrong.
        complete: The source has answered.
    """

    families: Sequence[MetricFamily]
    faults: Sequence[Fault]
    complete: bool = True


class Feed:
    """A source in a registry: asked once at a time, whatever it does.

    Args:
        source: The source.

    Attributes:
        names: The names that its registry has granted it.
        flight: Asks the source in a thread of its own.
        after: Those that must have been asked before it.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._name: str = source.name
        self._well_formed = getattr(source, "well_formed", False)
        self._is_upkeep = getattr(source, "upkeep", False)
        self._owners: Owners = {}
        self.names: set[str] = set()
        self.after: Sequence[Feed] = ()
        self._take_off()

    def _take_off(self) -> None:
        self._turn = threading.RLock()
        self.flight: SingleFlight[Collected] = SingleFlight(self.collect, f"collect {self._name}")

    def after_fork(self) -> None:
        """Start over in a child process: who was asking there is gone."""
        self._take_off()
        start_over: Callable[[], None] | None = getattr(self._source, "after_fork", None)
        if start_over is not None:
            start_over()

    def collect(self) -> Collected:
        """Ask the source, in the calling thread.

        Returns:
            One family a name, merged here so that the event loop need not do it.
        """
        if is_answering(self):
            return self.refused()
        with self._turn, answering(self):
            try:
                return self._sort(self._items())
            except BaseException as error:  # one bad source costs itself
                if is_exit(error):
                    raise
                return self._nothing("raised", f"collecting raised {described(error)}")

    def refused(self) -> Collected:
        """Answer nothing, in the place of the source: one of its registry asks, for whom others may wait."""
        return self._nothing("raised", "a source of its registry asks for it while it is answering")

    def _items(self) -> list[Answer]:
        answer = self._source.collect()
        refuse_coroutine(answer, "collect gave a coroutine: define it with async def")
        return list(answer)

    def _sort(self, answer: Sequence[Any]) -> Collected:
        families: list[MetricFamily] = []
        faults: list[Fault] = []
        seen: set[int] = set()
        for item in answer:
            try:
                families += self._families(item, faults, seen)
            except FAILURES as error:  # one bad item costs itself
                if is_exit(error):
                    raise
                faults.append(Fault("untranslatable", self._name, said_by(error)))
        # One without series takes no name from another.
        shown = [family for family in families if family.series]
        merged, conflicts = merge_families(shown, self._owners)
        return Collected(merged, [*faults, *conflicts])

    def _families(self, item: Any, faults: list[Fault], seen: set[int]) -> Sequence[MetricFamily]:
        """Return what one item shows; what it tells of itself, and what is odd about it, is added to the faults."""
        if isinstance(item, Fault):
            faults.append(_checked(item))
            return ()
        if isinstance(item, Collector):
            faults += _unkept(item)
            if type(item) in OURS:
                return [item.family()]
            if is_custom(item):
                given = list(CustomCollector(item).collect())
                return [family for each in given for family in self._families(each, faults, seen)]
            item = item.family()
        return [item if self._well_formed else distinct(well_formed(item, seen), faults)]

    def prepare(self, faults: list[Fault]) -> Preparation:
        """Let the source begin what is to be done before it is collected.

        Args:
            faults: Gets what went wrong; the source is collected all the same.

        Returns:
            What is to be waited for.
        """
        try:
            begin = getattr(self._source, "before_collection", None)
            before = () if begin is None else begin().items()
            return {run: float(limit) for run, limit in before if isinstance(run, Run)}
        except BaseException as error:  # one bad source costs itself
            if is_exit(error):
                raise
            message = f"preparing raised {described(error)}; values may be old"
            faults.append(Fault("raised", self._name, message, lost=False, part="prepare"))
        return {}

    def outcome(
        self,
        future: Future[Collected],
        timeout: float,
        *,
        hasty: bool = False,
    ) -> Collected:
        """Tell what came of asking in the flight's thread.

        Args:
            future: What ``flight.join`` has returned.
            timeout: Seconds that were waited.
            hasty: That is less than the endpoint would wait.
        """
        if not future.done():
            if self._is_upkeep and (not hasty or self._source.hangs()):
                self._take_off()
            return self._nothing("late", f"no answer within {timeout} s", quiet=hasty)
        error = future.exception()  # an exit or a cancellation, which are no exceptions
        if error is None:
            return future.result()
        return self._nothing("raised", f"it raised {described(error)}")

    def _nothing(self, cause: str, reason: str, *, quiet: bool = False) -> Collected:
        if not self._is_upkeep:
            lost, rest = True, "nothing of this source is shown"
        elif self._source.lacks_any():
            lost, rest = True, "values are missing"
        else:
            lost, rest = False, "values may be old"
        fault = Fault(cause, self._name, f"{reason}; {rest}", lost, quiet)
        return Collected((), [fault], complete=False)


class AsyncFeed(Feed):
    """An asynchronous source in a registry: asked once at a time, on the event loop of whoever asks.

    Args:
        source: The source.
    """

    _source: Any
    flight: AsyncFlight[Collected]

    def _take_off(self) -> None:
        super()._take_off()
        self.flight = AsyncFlight(self._answer, f"collect {self._name}")

    def _limit(self) -> float | Collected:
        """Return the seconds that the source gets, or what is answered if it does not tell."""
        try:
            limit = getattr(self._source, "timeout", _LONGEST)
            check_seconds("timeout", limit)
        except FAILURES as error:
            if is_exit(error):
                raise
            return self._nothing("raised", f"its timeout is none: {described(error)}")
        return min(float(limit), LONGEST)

    def collect(self) -> Collected:
        """Ask the source, and wait for it in the calling thread, which must not be that of an event loop."""
        if running_loop() is not None:
            return self._nothing(
                "raised", "it is awaited: use async_render where an event loop runs"
            )
        limit = self._limit()
        if isinstance(limit, Collected):
            return limit
        future = self.flight.join()
        end = monotonic() + limit + _LOOK
        # The loop may be waiting for this very thread.
        while wait([future], _LOOK).not_done and monotonic() < end:
            self.flight.revive()
        return self.outcome(future, limit)

    async def _answer(self) -> Collected:
        limit = self._limit()
        if isinstance(limit, Collected):
            return limit
        try:
            return await asyncio.wait_for(self._await(), limit)
        except asyncio.TimeoutError:
            return self._nothing("late", f"no answer within {limit} s")

    async def _await(self) -> Collected:
        try:
            with answering(self):
                answer = self._source.collect()
                if isinstance(answer, AsyncIterable):
                    items = [item async for item in answer]
                else:
                    items = list(await answer)
                # With the context: a finalizer there may ask for this very answer, and would wait for itself.
                return await in_worker(copy_context().run, self._sort, items)
        except FAILURES as error:  # one bad source costs itself
            if is_exit(error):
                raise
            return self._nothing("raised", f"collecting raised {described(error)}")


def _checked(fault: Any) -> Fault:
    cause, subject, message, part = fault.cause, fault.subject, fault.message, fault.part
    lost, quiet = fault.lost, fault.quiet
    if not all(type(text) is str for text in (cause, subject, message, part)):
        raise TypeError(f"it gave a fault that is not of texts: {described(fault)}")
    if not (type(lost) is type(quiet) is bool):
        raise TypeError(f"a fault is lost or quiet, or is not, unlike {described(fault)}")
    return Fault(cause, subject, message, lost, quiet, part)


def _unkept(collector: Collector[Any]) -> list[Fault]:
    """Tell what is not done for a collector that a source gives."""
    try:
        if not collector.chores():
            return []
        reason = (
            "a source gives it, so its functions are not asked, and nothing expires: register it"
        )
    except FAILURES as error:  # of a class of others
        if is_exit(error):
            raise
        reason = f"asking for its chores raised {described(error)}"
    return [Fault("untranslatable", collector.name, reason, lost=False)]


def make_feed(source: SupportsCollect | SupportsAsyncCollect) -> Feed:
    """Return what asks a source, whether it is asynchronous or not.

    Raises:
        TypeError: It is no source.
        ValueError: Its ``timeout`` is not above 0.
    """
    collect = getattr(source, "collect", None)
    if not callable(collect) or not isinstance(getattr(source, "name", None), str):
        raise TypeError(f"a source has a name and a method collect, unlike {described(source)}")
    if is_awaited(collect) or inspect.isasyncgenfunction(what_is_called(collect)):
        check_seconds("timeout", getattr(source, "timeout", _LONGEST))
        return AsyncFeed(source)
    return Feed(source)
