"""The registry: native collectors and sources whose families make up a response."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, SupportsIndex

from otel_aioprom._concurrency.fork_safety import ForkSafeLock, call_after_fork, register_after_fork
from otel_aioprom._concurrency.shared_future import async_wait_all, wait_all
from otel_aioprom._concurrency.thread_pool import MANY_FAMILIES, MANY_SERIES, own_threads
from otel_aioprom._concurrency.time_slices import time_slices
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.series.limits import SeriesLimit
from otel_aioprom.collectors.series.owners import refuse_copy
from otel_aioprom.errors import DuplicateCollectorError
from otel_aioprom.registry.custom import CustomCollector, is_custom, overrides
from otel_aioprom.registry.faults import SOURCE_FAILURES, Fault, FaultLog, empty_fault
from otel_aioprom.registry.gathering import (
    GatherCall,
    Gathering,
    HookRunners,
    families_of,
    merge_sources,
)
from otel_aioprom.registry.merge import Owners
from otel_aioprom.registry.self_metrics import PushMetrics, ScrapeMetrics
from otel_aioprom.registry.source_collectors import SourceCollectors
from otel_aioprom.registry.source_runner import Collected, SourceRunner, make_runner
from otel_aioprom.registry.sources import SupportsAsyncCollect, SupportsCollect


class _Members(NamedTuple):
    """What a registry has at one point of time."""

    native: list[Collector[Any]]  # those whose families need no user code
    samples: dict[str, str]
    before: tuple[SourceRunner, ...]  # of hooks and custom collectors
    sources: dict[int, SourceRunner]


class CollectorRegistry:
    """Collectors and sources that are exposed together.

    Thread-safe: call any method from any thread.

    Args:
        max_series: Limit of the series of all registered collectors together; see ``Collector``.

    Attributes:
        endpoint: Self-metrics of the endpoints; exposed with the rest.
        pushes: Self-metrics of the pushers; exposed with the rest.

    Spec:
        N13, E109.

    Examples:
        >>> from otel_aioprom.collectors import Gauge
        >>> registry = CollectorRegistry()
        >>> queue = Gauge("queue_jobs", "Jobs that wait.", registry=registry)
        >>> registry.get("queue_jobs") is queue
        True
    """

    def __init__(self, *, max_series: int | None = None) -> None:
        self._lock = ForkSafeLock()  # never held for longer than it takes to copy a dict
        self._merging = (
            ForkSafeLock()
        )  # of what a merge changes: names of sources, and their collectors
        self._faults = FaultLog()
        self._collectors: dict[str, Collector[Any]] = {}
        self.endpoint = ScrapeMetrics()
        self.pushes = PushMetrics()
        self._samples: dict[str, str] = {
            name: family.name for family in self._own_families() for name in family.taken_names()
        }
        self._custom_runners: dict[str, SourceRunner] = {}
        self._runners: dict[int, SourceRunner] = {}
        self._removed: list[SourceRunner] = []  # whose names are not free yet
        self._owners: Owners = {}
        self._hook_runners = HookRunners(self._collectors)
        self._limit = None if max_series is None else SeriesLimit(max_series)
        self._source_collectors = SourceCollectors()
        register_after_fork(self)

    def register(self, collector: Collector[Any]) -> None:
        """Expose a collector from now on.

        If its class overrides ``get_all`` or ``family``, that is called in each collection, in a thread of its own when
        a service collects. A name that only a source (OpenTelemetry) uses is taken away from it.

        Args:
            collector: Any collector, also of a user's subclass. It may be in several registries.

        Raises:
            TypeError: It is not a collector.
            DuplicateCollectorError: Its name, or one of its sample names, is taken.
        """
        if not isinstance(collector, Collector):
            raise TypeError(f"only collectors can be registered, and {collector!r} is none")
        names = _sample_names(collector.name, collector)
        with self._lock.lock:
            for name in names:
                if name in self._samples:
                    raise DuplicateCollectorError(name, self._samples[name])
            self._samples.update(dict.fromkeys(names, collector.name))
            self._collectors[collector.name] = collector
            if is_custom(collector):
                self._custom_runners[collector.name] = SourceRunner(CustomCollector(collector))
            if overrides(collector, "pre_collect_hooks"):
                collector._is_prepared = True  # noqa: SLF001 - see its class
            if self._limit is not None:
                collector.join_limit(self._limit)

    def deregister(self, name: str) -> None:
        """Stop exposing a registered collector; what comes from OpenTelemetry is removed with its reader, or by a view.

        Raises:
            KeyError: No collector of this name is registered.
        """
        with self._lock.lock:
            collector = self._collectors.pop(name)
            if self._limit is not None:
                collector.leave_limit(self._limit)
            self._custom_runners.pop(name, None)
            self._hook_runners.remove(name)
            for sample in _sample_names(name, collector):
                self._samples.pop(sample, None)

    def clear(self) -> None:
        """Deregister all collectors; sources, such as readers of OpenTelemetry, stay."""
        for name in self._collectors.copy():
            with suppress(KeyError):  # another thread was faster
                self.deregister(name)

    def get(self, name: str) -> Collector[Any]:
        """Return the collector of a name: a registered one, or one for a family of a source, from the last collection.

        Raises:
            KeyError: There is none.
        """
        found = self._collectors.get(name)
        found = self._source_collectors.get(name) if found is None else found
        if found is None:
            raise KeyError(f"no collector is called {name!r}")
        return found

    def get_all(self) -> list[Collector[Any]]:
        """Return all collectors: the registered ones, then those for what sources returned in the last collection."""
        own = dict(self._collectors)
        others = [each for each in self._source_collectors.get_all() if each.name not in own]
        return [*own.values(), *others]

    def add_source(self, source: SupportsCollect | SupportsAsyncCollect) -> None:
        """Collect a source in each collection from now on.

        Args:
            source: Has a ``name`` and a method ``collect``, which is called in a thread of its own or, if it is
                asynchronous, awaited on the event loop of the service.

        Raises:
            ValueError: The source has been added already, or its ``timeout`` is not above 0.
            TypeError: It has no ``name`` or no ``collect``.
        """
        with self._lock.lock:
            if id(source) in self._runners:
                raise ValueError(f"{source.name} is a source of this registry already")
            self._runners[id(source)] = make_runner(source)

    def remove_source(self, source: SupportsCollect | SupportsAsyncCollect) -> None:
        """Stop collecting a source, and free the names that only it has used; an unknown source is ignored."""
        with self._lock.lock:
            runner = self._runners.pop(id(source), None)
        if runner is not None:
            self._removed.append(runner)
            self._free_names()

    def _free_names(self) -> None:
        """Free the names of removed sources, unless a thread merges: that does it when it is done."""
        while self._removed and self._merging.lock.acquire(blocking=False):
            try:
                self._free_names_now()
            finally:
                self._merging.lock.release()

    def _free_names_now(self) -> None:
        while self._removed:
            removed = self._removed.pop()
            others = self._runners.copy().values()
            alone = removed.names.difference(*[other.names for other in others])
            for name in alone:
                self._owners.pop(name, None)
            self._source_collectors.remove(alone)

    def gather(self, timeout: float | None = None, *, client_deadline: bool = False) -> Gathering:
        """Collect everything, and wait for it in the calling thread.

        Args:
            timeout: Seconds for all sources together; those that have not returned by then are dropped as late. Each
                runs in a thread of its own, as in ``async_gather``. ``None`` collects them one by one in the calling
                thread.
            client_deadline: The client has set the timeout, so that a late source is not logged.
        """
        call = GatherCall(self._all_runners(), self.report, timeout, client_deadline)
        for futures, seconds in call.waits(blocking=True):
            wait_all(futures, seconds)
        return self._assemble(call.results)

    async def async_gather(self, timeout: float, *, client_deadline: bool = False) -> Gathering:
        """Collect everything without blocking the event loop.

        Each source runs in a thread of its own, or is awaited if it is asynchronous. Concurrent calls share results.

        Args:
            timeout: Seconds for all sources together; those that have not returned by then are dropped as late.
            client_deadline: The client has set the timeout, so that a late source is not logged.

        Raises:
            OverloadError: What was collected could not be put together in as many seconds again.
        """
        call = GatherCall(self._all_runners(), self.report, timeout, client_deadline)
        for futures, seconds in call.waits(blocking=False):
            await async_wait_all(futures, seconds)
        if call.refused:
            return self._assemble(call.results)
        merging = self._merging.lock
        large = self._is_much(call.results)
        if not large:
            await time_slices().begin()
        if not large and merging.acquire(blocking=False):
            try:
                return self._assemble(call.results)
            finally:
                merging.release()
                self._free_names()
        return await own_threads.call_within(timeout, self._assemble, call.results)

    def _is_much(self, results: Mapping[SourceRunner, Collected]) -> bool:
        """Return whether assembling the response takes longer than the event loop may be blocked."""
        parts = [result.families for result in results.values() if result.families]
        faults = [fault for result in results.values() for fault in result.faults]
        size = len(self._collectors) + sum(map(len, parts)) + len(faults)
        if len(parts) > 1 or size > MANY_FAMILIES:
            return True
        native = self._members().native
        return sum([each.count_to_build() for each in native]) > MANY_SERIES

    def report(self, faults: Iterable[Fault]) -> None:
        """Count faults that lost something, and log each fault once."""
        for fault in faults:
            self._faults.record(fault)
            if fault.cause in SOURCE_FAILURES:
                self.endpoint.failures.inc({"source": fault.subject, "cause": fault.cause})
            elif fault.cause == "label_conflict":
                self.endpoint.label_conflicts.inc()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[Any, ...]:
        raise refuse_copy("a CollectorRegistry")

    def after_fork(self) -> None:
        """Start over in a child process, in which the threads of the parent do not exist."""
        call_after_fork(
            [*self._custom_runners.values(), *self._runners.values(), *self._hook_runners.values()]
        )

    def _own_families(self) -> list[MetricFamily]:
        return [self._faults.family(), *self.endpoint.families(), *self.pushes.families()]

    def _all_runners(self) -> list[SourceRunner]:
        """Return the runners of all sources, in the order in which they are collected."""
        # Without the lock: a finalizer meanwhile may wait for an event loop that waits for the lock.
        hooks = self._hook_runners.by_collector(self.report)
        custom = self._custom_runners.copy()
        for name, runner in custom.items():
            runner.after = hooks.get(name, ())
        first = dict.fromkeys([each for mine in hooks.values() for each in mine])
        return [*first, *custom.values(), *self._runners.copy().values()]

    def _members(self) -> _Members:
        with self._lock.lock:
            custom = self._custom_runners.copy()
            return _Members(
                [each for name, each in self._collectors.copy().items() if name not in custom],
                self._samples.copy(),
                (*self._hook_runners.values(), *custom.values()),
                self._runners.copy(),
            )

    def _assemble(self, results: Mapping[SourceRunner, Collected]) -> Gathering:
        """Put the families of all together; those of a single source are not merged again."""
        with self._merging.lock:
            self._free_names_now()
            members = self._members()
            # Not what sources have returned that were removed meanwhile.
            own = [results[runner] for runner in members.before if runner in results]
            others = {each: results[each] for each in members.sources.values() if each in results}
            admitted, conflicts = merge_sources(others, self._owners, members.samples)
            self._source_collectors.update(
                admitted, keep_others=not all(part.complete for part in others.values())
            )
        self._free_names()
        families, faults = families_of(members.native)
        families += [family for part in own for family in part.families]
        faults += [fault for part in (*own, *others.values()) for fault in part.faults]
        faults += conflicts
        self.report(faults)
        self.endpoint.count_overflows(self._collectors.copy().values())
        parts = [
            [family for family in part if family.series]
            for part in (families, self._own_families(), admitted)
        ]
        empty = "" if parts[0] or parts[2] else self._report_empty(len(members.sources))
        return Gathering([family for part in parts for family in part], faults, empty)

    def _report_empty(self, sources: int) -> str:
        """Report that nothing was collected; return why."""
        fault = empty_fault(len(self._collectors), sources)
        self.report([fault])
        return fault.message


def _sample_names(name: str, collector: Collector[Any]) -> tuple[str, ...]:
    return MetricFamily(name, collector.kind.name, "", "", ()).taken_names()


Registry = CollectorRegistry
REGISTRY = CollectorRegistry()
"""The default registry; empty until something is registered."""


def check_registry(registry: object) -> CollectorRegistry:
    """Return a registry as it is.

    Raises:
        TypeError: It is no registry of this library.
    """
    if isinstance(registry, CollectorRegistry):
        return registry
    what = f"the class {registry.__name__}" if isinstance(registry, type) else repr(registry)
    raise TypeError(f"registry must be a CollectorRegistry of otel_aioprom, not {what}")
