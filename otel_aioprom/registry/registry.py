"""The registry: all that is measured, hand-made or from elsewhere, in one place and one order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from otel_aioprom._concurrency.foreign_code import FAILURES, described, is_exit
from otel_aioprom._concurrency.fork_safety import ForkSafeLock, start_over, tell_of_forks
from otel_aioprom._concurrency.reentrancy import is_answering
from otel_aioprom._concurrency.shared_future import Run, running_loop, until_ended, wait_for
from otel_aioprom._concurrency.thread_pool import MANY_FAMILIES, MANY_SERIES, in_worker
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors.base import Collector
from otel_aioprom.collectors.hooks import Chore
from otel_aioprom.collectors.series.limits import Bound
from otel_aioprom.errors import DuplicateCollectorError, GatherError
from otel_aioprom.registry.custom import CustomCollector, is_custom
from otel_aioprom.registry.faults import SOURCE_FAILURES, Fault, FaultLog
from otel_aioprom.registry.hook_sources import make_upkeep
from otel_aioprom.registry.merge import Owners, merge_families, without_clashes
from otel_aioprom.registry.self_metrics import PushMetrics, ScrapeMetrics
from otel_aioprom.registry.source_collectors import Mirror
from otel_aioprom.registry.source_runner import Collected, Feed, make_feed
from otel_aioprom.registry.sources import Preparation, SupportsAsyncCollect, SupportsCollect
from otel_aioprom.registry.validation import family_of


@dataclass(frozen=True, slots=True)
class Gathering:
    """One collection of a registry: what a response is made of.

    Attributes:
        families: Each with one series or more, no sample name in two of them; in order of precedence, that is,
            hand-made ones first, then by who was first to use a name.
        faults: What was wrong, the lost and the merely odd.
    """

    families: Sequence[MetricFamily]
    faults: Sequence[Fault]

    def insist(self) -> None:
        """Raise if anything is missing.

        Raises:
            GatherError: Something was lost.
        """
        lost = [f"{fault.subject}: {fault.message}" for fault in self.faults if fault.lost]
        if lost:
            raise GatherError(lost)


class CollectorRegistry:
    """Collectors and sources whose families leave the process together.

    All methods may be called from any thread.

    Args:
        max_series: How many series the registered collectors may have together; see ``Collector``.

    Attributes:
        endpoint: What endpoints measure of themselves; exposed with the rest.
        pushes: What pushers measure of themselves.

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
        self._lock = ForkSafeLock()
        self._faults = FaultLog()
        self._collectors: dict[str, Collector[Any]] = {}
        self.endpoint = ScrapeMetrics()
        self.pushes = PushMetrics()
        self._samples: dict[str, str] = {
            name: family.name for family in self._own_families() for name in family.taken_names()
        }
        self._own: dict[str, Feed] = {}
        self._feeds: dict[int, Feed] = {}
        self._owners: Owners = {}
        self._chores: dict[tuple[str, str], Feed] = {}
        self._bound = None if max_series is None else Bound(max_series)
        self._mirror = Mirror()
        tell_of_forks(self)

    def register(self, collector: Collector[Any]) -> None:
        """Expose a collector from now on.

        A collector of a class with its own ``get_all`` is asked for its values at each scrape, in a worker
        thread when a service asks. A name that only a source (OpenTelemetry) has gives way.

        Args:
            collector: Any collector, also of a user's own subclass. One may be in several registries.

        Raises:
            TypeError: It is no collector.
            DuplicateCollectorError: Its name, or a sample name that it would produce, is taken.
        """
        if not isinstance(collector, Collector):
            raise TypeError(f"only collectors can be registered, and {collector!r} is none")
        names = MetricFamily(collector.name, collector.kind.name, "", "", ()).taken_names()
        with self._lock.lock:
            for name in names:
                if name in self._samples:
                    raise DuplicateCollectorError(name, self._samples[name])
            self._samples.update(dict.fromkeys(names, collector.name))
            self._collectors[collector.name] = collector
            if is_custom(collector):
                self._own[collector.name] = Feed(CustomCollector(collector))
            if self._bound is not None:
                collector.bound_by(self._bound)

    def deregister(self, name: str) -> None:
        """Expose a collector no longer.

        Raises:
            KeyError: No collector of this name is registered. What comes from OpenTelemetry goes
                with its reader, or by a view.
        """
        with self._lock.lock:
            collector = self._collectors.pop(name)
            if self._bound is not None:
                collector.unbound_by(self._bound)
            self._own.pop(name, None)
            # Copies, and one by one: a finalizer may register others meanwhile.
            for key in [key for key in self._chores.copy() if key[0] == name]:
                self._chores.pop(key, None)
            for sample, owner in self._samples.copy().items():
                if owner == name:
                    self._samples.pop(sample, None)

    def get(self, name: str) -> Collector[Any]:
        """Return the collector of a name, one that OpenTelemetry filled too.

        Raises:
            KeyError: There is none.
        """
        found = self._collectors.get(name)
        found = self._mirror.get(name) if found is None else found
        if found is None:
            raise KeyError(f"no collector is called {name!r}")
        return found

    def get_all(self) -> list[Collector[Any]]:
        """Return all collectors: the registered ones, then those of the last collection."""
        own = dict(self._collectors)
        return [
            *own.values(),
            *[other for other in self._mirror.get_all() if other.name not in own],
        ]

    def add_source(self, source: SupportsCollect | SupportsAsyncCollect) -> None:
        """Ask a source for its families in each collection from now on.

        Args:
            source: Has a ``name`` and a method ``collect``, which is called in a worker thread or, if it is
                asynchronous, awaited on the event loop that serves.

        Raises:
            ValueError: It is a source of this registry already, or its ``timeout`` is not above 0.
            TypeError: It has no ``name``, or no ``collect``.
        """
        with self._lock.lock:
            if id(source) in self._feeds:
                raise ValueError(f"{source.name} is a source of this registry already")
            self._feeds[id(source)] = make_feed(source)

    def remove_source(self, source: SupportsCollect | SupportsAsyncCollect) -> None:
        """Ask a source no longer, and free the names that only it has used; twice does no harm."""
        with self._lock.lock:
            feed = self._feeds.pop(id(source), None)
            if feed is None:
                return
            alone = feed.names.difference(*[other.names for other in self._feeds.values()])
            for name in alone:
                self._owners.pop(name, None)
            self._mirror.forget(alone)

    def gather(self, timeout: float | None = None, *, hasty: bool = False) -> Gathering:
        """Collect everything, and wait for it in the calling thread.

        Args:
            timeout: Seconds after which sources that have not answered are left out as late. Each then runs in
                a thread of its own, as in ``async_gather``; ``None`` asks them one by one in the calling thread.
            hasty: A stranger has set the time, so that it is no news if a source takes longer.
        """
        feeds, began = self._asked(), monotonic()
        if any(map(is_answering, feeds)):
            return self._assemble({feed: feed.refused() for feed in feeds})
        if timeout is None:
            return self._assemble(self._collect_here(feeds))
        asked, before = self._begin(feeds)
        if running_loop() is None:  # else it would wait for this very thread
            wait_for(before, _patience(before, timeout))
        asked |= {feed: feed.flight.join() for feed in feeds if feed not in asked}
        wait_for(asked.values(), max(0.0, timeout - (monotonic() - began)))
        return self._assemble(
            {feed: feed.outcome(asked[feed], timeout, hasty=hasty) for feed in asked}
        )

    async def async_gather(self, timeout: float, *, hasty: bool = False) -> Gathering:
        """Collect everything without holding the event loop.

        Each source runs in a thread of its own, shared with all who ask at the same time.

        Args:
            timeout: Seconds after which sources that have not answered are left out as late.
            hasty: A stranger has set the time, so that it is no news if a source takes longer.
        """
        feeds, began = self._asked(), monotonic()
        if any(map(is_answering, feeds)):
            return self._assemble({feed: feed.refused() for feed in feeds})
        asked, before = self._begin(feeds)
        await until_ended(before, _patience(before, timeout))
        asked |= {feed: feed.flight.join() for feed in feeds if feed not in asked}
        await until_ended(asked.values(), max(0.0, timeout - (monotonic() - began)))
        answers = {feed: feed.outcome(asked[feed], timeout, hasty=hasty) for feed in asked}
        if self._is_much(answers):
            return await in_worker(self._assemble, answers)
        return self._assemble(answers)

    def _begin(self, feeds: Sequence[Feed]) -> tuple[dict[Feed, Run[Collected]], Preparation]:
        """Ask the sources that need nothing before, and return what has to end before the others are asked."""
        faults: list[Fault] = []
        asked: dict[Feed, Run[Collected]] = {}
        before: dict[Run[Any], float] = {}
        for feed in feeds:  # what a collector needs comes first
            mine = {
                **feed.prepare(faults),
                **{asked[each]: inf for each in feed.after if each in asked},
            }
            if mine:
                before |= mine
            else:
                asked[feed] = feed.flight.join()
        self.report(faults)
        return asked, before

    def _collect_here(self, feeds: Sequence[Feed]) -> dict[Feed, Collected]:
        """Ask sources one by one, in the calling thread."""
        faults: list[Fault] = []
        before = {run: limit for feed in feeds for run, limit in feed.prepare(faults).items()}
        self.report(faults)
        if running_loop() is None:  # else it would wait for this very thread
            wait_for(before, _patience(before, inf))
        return {feed: feed.collect() for feed in feeds}

    def _is_much(self, answers: Mapping[Feed, Collected]) -> bool:
        """Tell whether putting the parts together takes longer than an event loop may be held."""
        parts = [answer.families for answer in answers.values() if answer.families]
        count = len(self._collectors) + sum(map(len, parts))
        made = sum([collector.count_made() for collector in self._collectors.copy().values()])
        return count > MANY_FAMILIES or made > MANY_SERIES or len(parts) > 1

    def report(self, faults: Iterable[Fault]) -> None:
        """Count what was left out of a response, and log it once."""
        for fault in faults:
            self._faults.record(fault)
            if fault.cause in SOURCE_FAILURES:
                self.endpoint.failures.inc({"source": fault.subject, "cause": fault.cause})

    def after_fork(self) -> None:
        """Start over in a child process, whose other threads are gone with what they held."""
        start_over([*self._own.values(), *self._feeds.values(), *self._chores.values()])

    def _own_families(self) -> list[MetricFamily]:
        return [self._faults.family(), *self.endpoint.families(), *self.pushes.families()]

    def _asked(self) -> list[Feed]:
        # Without the lock: a finalizer meanwhile may wait for an event loop that waits for the lock.
        return [*self._chore_feeds(), *self._own.copy().values(), *self._feeds.copy().values()]

    def _chore_feeds(self) -> list[Feed]:
        found = []
        for name, collector in self._collectors.copy().items():  # which finalizers may change
            mine = self._chores_of(collector, name)
            if (own := self._own.get(name)) is not None:
                own.after = mine
            found += mine
        return found

    def _chores_of(self, collector: Collector[Any], name: str) -> list[Feed]:
        try:
            return [self._chore_feed(collector, name, chore) for chore in collector.chores()]
        except FAILURES as error:  # of a class of others
            if is_exit(error):
                raise
            reason = f"asking for its chores raised {described(error)}; values may be old"
            self.report([Fault("raised", name, reason, lost=False, part="chores")])
            return []

    def _chore_feed(self, collector: Collector[Any], name: str, chore: Chore) -> Feed:
        key = (name, chore.name)
        feed = self._chores.get(key)
        if feed is None:
            feed = self._chores.setdefault(key, make_feed(make_upkeep(name, chore)))
            if self._collectors.get(name) is not collector:  # deregistered meanwhile
                self._chores.pop(key, None)
        return feed

    def _assemble(self, answers: Mapping[Feed, Collected]) -> Gathering:
        """Put the parts together; of one source alone, series are not looked at."""
        with self._lock.lock:
            # A source that was removed while it was asked has nothing to say any more.
            own = [
                answers[feed]
                for feed in (*self._chores.copy().values(), *self._own.copy().values())
                if feed in answers
            ]
            feeds = self._feeds.copy().values()
            others = {feed: answers[feed] for feed in feeds if feed in answers}
            every_collector = list(self._collectors.copy().values())
            collectors = [each for each in every_collector if not is_custom(each)]
            admitted, conflicts = self._admit(others)
        families, faults = _families_of(collectors)
        families += [family for part in own for family in part.families]
        faults += [fault for part in (*own, *others.values()) for fault in part.faults]
        faults += conflicts
        self.report(faults)
        self.endpoint.count_overflows(every_collector)
        every = (*families, *self._own_families(), *admitted)
        return Gathering([family for family in every if family.series], faults)

    def _admit(self, parts: Mapping[Feed, Collected]) -> tuple[list[MetricFamily], list[Fault]]:
        """Merge what sources gave, and leave out what hand-made collectors have the names of."""
        shown = [
            (feed, family) for feed in parts for family in parts[feed].families if family.series
        ]
        merged, conflicts = merge_families([family for _, family in shown], self._owners)
        for feed, family in shown:
            if self._owners[family.name].type == family.type:
                feed.names.add(family.name)
        rank = {name: place for place, name in enumerate(self._owners)}
        merged.sort(key=lambda family: rank[family.name])
        admitted, clashes = without_clashes(merged, self._samples)
        self._mirror.update(admitted, keep_others=not all(part.complete for part in parts.values()))
        return admitted, [*conflicts, *clashes]


def _patience(before: Preparation, timeout: float) -> float:
    """Tell how long what comes before a collection is waited for: half of the time at most."""
    return min(max(before.values(), default=0.0), timeout / 2)


def _families_of(
    collectors: Iterable[Collector[Any]],
) -> tuple[list[MetricFamily], list[Fault]]:
    """Ask collectors for their families; one of a class of others that raises costs itself."""
    families, faults = [], []
    for collector in collectors:
        try:
            families.append(family_of(collector))
        except FAILURES as error:  # of a class of others
            if is_exit(error):
                raise
            reason = f"asking for its family raised {described(error)}"
            faults.append(Fault("raised", collector.name, reason))
    return families, faults


Registry = CollectorRegistry
REGISTRY = CollectorRegistry()
"""The default registry; nothing is in it that was not put there."""
