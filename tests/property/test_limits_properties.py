"""Stateful tests of a collector with a limit and expiry, against a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

LIMIT, AFTER = 3, 10.0
OVERFLOW = "overflow"

keys = st.sampled_from(["", "1", "2", "3", "4", "5"])
spellings = st.sampled_from([str, int])


def labels_of(key: str, spelling: Any = str) -> dict[str, object]:
    """A label set as a caller may write it: with strings or numbers, and with or without empty values."""
    if key == OVERFLOW:
        return {"otel_metric_overflow": "true"}
    if not key:
        return {} if spelling is str else {"a": ""}
    return {"a": spelling(key)} if spelling is str else {"b": "", "a": int(key)}


@dataclass
class Known:
    """A series of the model.

    Attributes:
        value: Expected value.
        fresh: It was recorded on since the last sweep.
        since: Start of its idle time.
    """

    value: int
    fresh: bool
    since: float


class BoundedCounter(RuleBasedStateMachine):
    """A counter of three series that expire after ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.registry = CollectorRegistry()
        self._clock = patch("otel_aioprom.collectors.series.expiry.monotonic", lambda: self.now)
        self._clock.start()
        self.counter = Counter(
            "x_total", "What.", registry=self.registry, max_series=LIMIT, expire_after=AFTER
        )
        self.live: dict[str, Known] = {}
        self.gone: dict[str, Known] = {}
        self.held: dict[str, Any] = {}
        self.loose: list[Any] = []
        self.overflows = 0

    def teardown(self) -> None:
        """Restore the clock."""
        self._clock.stop()

    def bind(self, key: str) -> str:
        """Find, revive or create a series; return its key."""
        if key in self.live:
            return key
        if key in self.gone:
            self.live[key] = self.gone.pop(key)
            return key
        if key != OVERFLOW and len(self.live.keys() - {OVERFLOW}) >= LIMIT:
            self.overflows += 1
            return self.bind(OVERFLOW)
        self.live[key] = Known(0, fresh=True, since=self.now)
        return key

    def record(self, key: str, amount: int) -> None:
        """Record on an exposed series of the model."""
        self.live[key].value += amount
        self.live[key].fresh = True

    def forget(self, *wanted: str) -> None:
        """Remove series from the model: recording on bound children is not exposed any more."""
        for key in wanted:
            self.live.pop(key, None)
            self.gone.pop(key, None)
            if key in self.held:
                self.loose.append(self.held.pop(key))

    # --- rules -------------------------------------------------------------------------

    @rule(key=keys, spelling=spellings, amount=st.integers(0, 5))
    def add(self, key: str, spelling: Any, amount: int) -> None:
        """Record by labels."""
        self.counter.add(labels_of(key, spelling), amount)
        self.record(self.bind(key), amount)

    @rule(key=keys, spelling=spellings)
    def hold(self, key: str, spelling: Any) -> None:
        """Bind a series, and keep the child."""
        child = self.counter.labels(labels_of(key, spelling))
        found = self.bind(key)
        assert self.held.setdefault(found, child) is child

    @precondition(lambda self: self.held)
    @rule(data=st.data(), amount=st.integers(0, 5))
    def add_bound(self, data: Any, amount: int) -> None:
        """Record on a bound child, which revives the series even without a free slot."""
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.held[key].add(amount)
        if key in self.gone:
            self.live[key] = self.gone.pop(key)
        self.record(key, amount)

    @precondition(lambda self: self.loose)
    @rule()
    def add_loose(self) -> None:
        """Record on removed series, which are not exposed."""
        for child in self.loose:
            child.inc()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def let_go(self, data: Any) -> None:
        """Drop a bound child; an expired series is freed then."""
        key = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[key]
        self.gone.pop(key, None)

    @rule(seconds=st.sampled_from([0, 4, 9, 10, 25]))
    def collect(self, seconds: float) -> None:
        """Let time pass, and sweep."""
        self.now += seconds
        render(self.registry)
        for key, known in list(self.live.items()):
            if known.fresh:
                known.fresh, known.since = False, self.now
            elif self.now - known.since >= AFTER:
                del self.live[key]
                if key in self.held:
                    self.gone[key] = known

    @rule(key=keys, spelling=spellings)
    def remove(self, key: str, spelling: Any) -> None:
        """Remove a series; an expired one is not found, and is not revived either."""
        if key in self.live:
            self.counter.remove(labels_of(key, spelling))
        else:
            with pytest.raises(KeyError):
                self.counter.remove(labels_of(key, spelling))
        self.forget(key)

    @rule(key=keys.filter(bool))
    def remove_matching(self, key: str) -> None:
        """Remove series by a label."""
        assert self.counter.remove_matching({"a": key}) == (key in self.live)
        self.forget(key)

    @rule()
    def clear(self) -> None:
        """Remove all."""
        self.counter.clear()
        self.forget(*self.live, *self.gone)

    @rule(fresh=st.lists(st.sampled_from(["1", "2", "3"]), unique=True))
    def replace(self, fresh: list[str]) -> None:
        """Replace all series."""
        with self.counter.replace() as other:
            for key in fresh:
                other.inc({"a": key})
        self.forget(*self.live, *self.gone)
        self.live = {key: Known(1, fresh=True, since=self.now) for key in fresh}

    # --- invariants --------------------------------------------------------------------

    @invariant()
    def exposes_what_was_recorded(self) -> None:
        """Each label set once, with its recordings."""
        shown = [
            (OVERFLOW if "otel_metric_overflow" in labels else labels.get("a", ""), value)
            for labels, value in self.counter.get_all()
        ]

        assert sorted(shown) == sorted((key, known.value) for key, known in self.live.items())

    @invariant()
    def counts_overflows(self) -> None:
        """Each time that no slot was free."""
        assert self.counter.count_overflows() == self.overflows


TestBoundedCounter = BoundedCounter.TestCase
TestBoundedCounter.settings = settings(max_examples=60, stateful_step_count=30)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=40),
    st.integers(1, 12),
)
def test_collectors_of_a_registry_never_exceed_its_limit(
    uses: list[tuple[int, int]], limit: int
) -> None:
    """Together; the overflow series of each does not count."""
    registry = CollectorRegistry(max_series=limit)
    gauges = [Gauge(f"g{number}", "What.", registry=registry) for number in range(3)]
    for which, value in uses:
        gauges[which].inc({"a": value})
    every = [labels for gauge in gauges for labels, _ in gauge.get_all() if "a" in labels]

    assert len(every) == min(limit, len(set(uses)))
    assert sum(value for gauge in gauges for _, value in gauge.get_all()) == len(uses)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=30))
def test_a_series_that_is_used_often_enough_never_expires(steps: list[tuple[int, int]]) -> None:
    """And one that is idle for the idle time and a collection is not exposed."""
    now = [0.0]
    registry = CollectorRegistry()
    busy = 0
    with patch("otel_aioprom.collectors.series.expiry.monotonic", lambda: now[0]):
        counter = Counter("x_total", "What.", registry=registry, expire_after=AFTER)
        for seconds, key in steps:
            now[0] += seconds
            counter.inc({"a": key})
            counter.inc({"a": "busy"})
            busy += 1
            registry.gather()
        registry.gather()
        now[0] += AFTER
        if steps:
            counter.inc({"a": "busy"})
            busy += 1
        registry.gather()

    assert counter.get_all() == ([({"a": "busy"}, busy)] if steps else [])
