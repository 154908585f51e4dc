"""One collection of a registry: which sources are collected, what is waited for, and how the results are merged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any

from otel_aioprom._concurrency.greenlets import running_loop
from otel_aioprom._concurrency.reentrancy import is_reentrant
from otel_aioprom._concurrency.shared_future import SharedFuture
from otel_aioprom._concurrency.user_code import FAILURES, raise_if_exit, safe_repr
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.hooks import PreCollectHook
from otel_aioprom.errors import GatherError
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.hook_sources import SweepSource, make_hook_source
from otel_aioprom.registry.merge import Owners, merge_families, without_collisions
from otel_aioprom.registry.source_runner import Collected, SourceRunner, make_runner
from otel_aioprom.registry.sources import Preparation

Report = Callable[[Iterable[Fault]], None]
"""Counts faults and logs them."""

Waits = Iterator[tuple[Collection[SharedFuture[Any]], float]]
"""For each wait, the futures and the seconds for which to wait for all of them."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """One collection of a registry: what a response is made of.

    Attributes:
        families: Each with one series or more, no sample name in two of them; in order of precedence: native
            collectors first, then by who was first to use a name.
        faults: All that was wrong, whether something is missing because of it or not.
        empty: Why there is nothing but the library's own metrics; empty if there is something.
    """

    families: Sequence[MetricFamily]
    faults: Sequence[Fault]
    empty: str = ""

    def raise_if_lost(self) -> None:
        """Raise if anything is missing.

        Raises:
            GatherError: Something is missing.
        """
        lost = [f"{fault.subject}: {fault.message}" for fault in self.faults if fault.lost]
        if lost:
            raise GatherError(lost)


class HookRunners:
    """Runners of what collectors need before their values are read, kept from one collection to the next.

    Args:
        collectors: The registry's collectors by name, which may change at any time.
    """

    def __init__(self, collectors: dict[str, Collector[Any]]) -> None:
        self._collectors = collectors
        self._by_hook: dict[tuple[str, str], SourceRunner] = {}
        self._sweeps = SweepSource()
        self._sweep_runner = SourceRunner(self._sweeps)

    def values(self) -> list[SourceRunner]:
        """Return all runners."""
        return [self._sweep_runner, *self._by_hook.copy().values()]

    def remove(self, name: str) -> None:
        """Drop the runners of a collector."""
        # Copies, and one by one: a finalizer may register others meanwhile.
        for key in [key for key in self._by_hook.copy() if key[0] == name]:
            self._by_hook.pop(key, None)

    def by_collector(self, report: Report) -> dict[str, list[SourceRunner]]:
        """Return the runners of each collector that needs any, by its name; one may be that of several collectors.

        Args:
            report: Gets a fault for each collector whose hooks raise.
        """
        # One pass that looks at an attribute: there may be tens of thousands of collectors, on an event loop.
        every = self._collectors.copy().items()
        some = [(name, each) for name, each in every if each._is_prepared]  # noqa: SLF001 - see its class
        self._sweeps.collectors = [each for _, each in some if each._expires]  # noqa: SLF001
        return {
            name: [
                *([self._sweep_runner] if collector._expires else []),  # noqa: SLF001
                *self._runners_of(name, collector, report),
            ]
            for name, collector in some
        }

    def _runners_of(
        self, name: str, collector: Collector[Any], report: Report
    ) -> list[SourceRunner]:
        """Return the runners of a collector's hooks; if that raises, report it."""
        try:
            hooks = collector.pre_collect_hooks()
            return [self._hook_runner(name, collector, hook) for hook in hooks]
        except FAILURES as error:  # of a user's class
            raise_if_exit(error)
            reason = f"its hooks raised {safe_repr(error)}; values may be old"
            report([Fault("raised", name, reason, lost=False, part="hooks")])
            return []

    def _hook_runner(self, name: str, owner: Collector[Any], hook: PreCollectHook) -> SourceRunner:
        key = (name, hook.name)
        runner = self._by_hook.get(key)
        if runner is None:
            runner = self._by_hook.setdefault(key, make_runner(make_hook_source(name, hook)))
            if self._collectors.get(name) is not owner:  # deregistered meanwhile
                self._by_hook.pop(key, None)
        return runner


@dataclass(eq=False)
class GatherCall:
    """One call of ``gather`` or ``async_gather``, without the waiting, which differs between threads and event loops.

    Attributes:
        runners: What to collect; the runners of a collector's hooks stand before its own.
        report: Gets faults of preparations.
        timeout: Seconds for all sources together, which are collected concurrently; ``None`` collects them one by one
            in the calling thread.
        client_deadline: The client has set the timeout, so that a late source is not logged.
        refused: A source of the registry has made this call; nothing is collected, since others may be waiting for it.
        results: What each source has returned, after all waits.
    """

    runners: Sequence[SourceRunner]
    report: Report
    timeout: float | None
    client_deadline: bool
    refused: bool = False
    results: dict[SourceRunner, Collected] = field(default_factory=dict)

    def waits(self, *, blocking: bool) -> Waits:
        """Collect step by step, and yield what to wait for between the steps.

        Args:
            blocking: The caller blocks its thread while it waits.
        """
        began = monotonic()
        self.refused = any(map(is_reentrant, self.runners))
        if self.refused:
            self.results = {runner: runner.refused() for runner in self.runners}
        elif self.timeout is None:
            yield from self._collect_here()
        else:
            yield from self._collect(self.timeout, began, blocking)

    def _collect_here(self) -> Waits:
        """Collect the sources one by one, in the calling thread."""
        faults: list[Fault] = []
        before = {
            future: limit
            for runner in self.runners
            for future, limit in runner.prepare(faults).items()
        }
        self.report(faults)
        if running_loop() is None:  # else it would wait for this very thread
            yield before, _preparation_timeout(before, inf)
        self.results = {runner: runner.collect() for runner in self.runners}

    def _collect(self, timeout: float, began: float, blocking: bool) -> Waits:
        """Collect the sources concurrently: first those that need no preparation, then the others."""
        futures, before = self._start()
        if not blocking or running_loop() is None:  # else it would wait for this very thread
            yield before, _preparation_timeout(before, timeout)
        futures |= {each: each.flight.join() for each in self.runners if each not in futures}
        yield futures.values(), max(0.0, timeout - (monotonic() - began))
        self.results = {
            runner: runner.outcome(future, timeout, client_deadline=self.client_deadline)
            for runner, future in futures.items()
        }

    def _start(self) -> tuple[dict[SourceRunner, SharedFuture[Collected]], Preparation]:
        """Start the sources that need nothing before, and return what the others wait for."""
        faults: list[Fault] = []
        futures: dict[SourceRunner, SharedFuture[Collected]] = {}
        before: dict[SharedFuture[Any], float] = {}
        for runner in self.runners:  # hooks come before their collectors
            mine = {
                **runner.prepare(faults),
                **{futures[each]: inf for each in runner.after if each in futures},
            }
            if mine:
                before |= mine
            else:
                futures[runner] = runner.flight.join()
        self.report(faults)
        return futures, before


def _preparation_timeout(before: Preparation, timeout: float) -> float:
    """Return the seconds that preparations get: half of the timeout at most."""
    return min(max(before.values(), default=0.0), timeout / 2)


def families_of(collectors: Iterable[Collector[Any]]) -> tuple[list[MetricFamily], list[Fault]]:
    """Return the families of native collectors; one that a user's class has left incomplete is dropped alone."""
    families, faults = [], []
    for collector in collectors:
        try:
            families.append(collector.family())
        except Exception as error:  # noqa: BLE001 - as above
            faults.append(Fault("raised", collector.name, f"its family raised {safe_repr(error)}"))
    return families, faults


def merge_sources(
    results: Mapping[SourceRunner, Collected], owners: Owners, taken: Mapping[str, str]
) -> tuple[list[MetricFamily], list[Fault]]:
    """Merge what sources have returned, and drop families whose names collide with those of native collectors.

    Args:
        results: By the runner of each source, to which the names that it owns are added.
        owners: Who used a name first, in earlier collections too; new names are added.
        taken: Sample names of native collectors, each with its owner.

    Returns:
        Families by who was first to use a name, and the conflicts.
    """
    exposed = [
        (runner, family)
        for runner, result in results.items()
        for family in result.families
        if family.series
    ]
    merged, conflicts = merge_families([family for _, family in exposed], owners)
    for runner, family in exposed:
        if owners[family.name].type == family.type:
            runner.names.add(family.name)
    rank = {name: place for place, name in enumerate(owners)}
    merged.sort(key=lambda family: rank[family.name])
    admitted, collisions = without_collisions(merged, taken)
    return admitted, [*conflicts, *collisions]
