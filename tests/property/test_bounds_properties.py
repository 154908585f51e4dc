"""A collector with a bound and an age, whatever is done to it: a model beside it says what it must show."""

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
    """A label set as a caller may write it: with text or numbers, and with or without what says nothing."""
    if key == OVERFLOW:
        return {"otel_metric_overflow": "true"}
    if not key:
        return {} if spelling is str else {"a": ""}
    return {"a": spelling(key)} if spelling is str else {"b": "", "a": int(key)}


@dataclass
class Known:
    """What the model knows of a series.

    Attributes:
        value: What it must have.
        fresh: It was recorded on since the last sweep.
        since: When its age began.
    """

    value: int
    fresh: bool
    since: float


class BoundedCounter(RuleBasedStateMachine):
    """A counter of three series that are forgotten after ten seconds."""

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
        """Give the clock back."""
        self._clock.stop()

    def bind(self, key: str) -> str:
        """Find a series, bring it back or make it; tell which one it is."""
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
        """Enter a measurement on a series that is shown."""
        self.live[key].value += amount
        self.live[key].fresh = True

    def forget(self, *wanted: str) -> None:
        """Enter that series are removed: whoever holds one records for nobody."""
        for key in wanted:
            self.live.pop(key, None)
            self.gone.pop(key, None)
            if key in self.held:
                self.loose.append(self.held.pop(key))

    # --- what is done ------------------------------------------------------------------

    @rule(key=keys, spelling=spellings, amount=st.integers(0, 5))
    def add(self, key: str, spelling: Any, amount: int) -> None:
        """Record by labels."""
        self.counter.add(labels_of(key, spelling), amount)
        self.record(self.bind(key), amount)

    @rule(key=keys, spelling=spellings)
    def hold(self, key: str, spelling: Any) -> None:
        """Bind a series, and keep it."""
        child = self.counter.labels(labels_of(key, spelling))
        found = self.bind(key)
        assert self.held.setdefault(found, child) is child

    @precondition(lambda self: self.held)
    @rule(data=st.data(), amount=st.integers(0, 5))
    def add_bound(self, data: Any, amount: int) -> None:
        """Record on a series that is held, which brings it back without asking for a place."""
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.held[key].add(amount)
        if key in self.gone:
            self.live[key] = self.gone.pop(key)
        self.record(key, amount)

    @precondition(lambda self: self.loose)
    @rule()
    def add_loose(self) -> None:
        """Record on series that were removed, which nobody sees."""
        for child in self.loose:
            child.inc()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def let_go(self, data: Any) -> None:
        """Hold a series no more; one that has gone is forgotten then."""
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
        """Forget a series; one that has gone is not found, and does not come back either."""
        if key in self.live:
            self.counter.remove(labels_of(key, spelling))
        else:
            with pytest.raises(KeyError):
                self.counter.remove(labels_of(key, spelling))
        self.forget(key)

    @rule(key=keys.filter(bool))
    def remove_matching(self, key: str) -> None:
        """Forget series by a label."""
        assert self.counter.remove_matching({"a": key}) == (key in self.live)
        self.forget(key)

    @rule()
    def clear(self) -> None:
        """Forget all."""
        self.counter.clear()
        self.forget(*self.live, *self.gone)

    @rule(fresh=st.lists(st.sampled_from(["1", "2", "3"]), unique=True))
    def replace(self, fresh: list[str]) -> None:
        """Put others in their place."""
        with self.counter.replace() as other:
            for key in fresh:
                other.inc({"a": key})
        self.forget(*self.live, *self.gone)
        self.live = {key: Known(1, fresh=True, since=self.now) for key in fresh}

    # --- what must hold ----------------------------------------------------------------

    @invariant()
    def shows_what_was_recorded(self) -> None:
        """Each label set once, with what was recorded on it."""
        shown = [
            (OVERFLOW if "otel_metric_overflow" in labels else labels.get("a", ""), value)
            for labels, value in self.counter.get_all()
        ]

        assert sorted(shown) == sorted((key, known.value) for key, known in self.live.items())

    @invariant()
    def counts_overflows(self) -> None:
        """As often as there was no place."""
        assert self.counter.count_overflows() == self.overflows


TestBoundedCounter = BoundedCounter.TestCase
TestBoundedCounter.settings = settings(max_examples=60, stateful_step_count=30)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=40),
    st.integers(1, 12),
)
def test_collectors_of_a_registry_never_have_more_than_its_bound(
    uses: list[tuple[int, int]], limit: int
) -> None:
    """Together, whichever of them is used; the overflow of each is one more."""
    registry = CollectorRegistry(max_series=limit)
    gauges = [Gauge(f"g{number}", "What.", registry=registry) for number in range(3)]
    for which, value in uses:
        gauges[which].inc({"a": value})
    every = [labels for gauge in gauges for labels, _ in gauge.get_all() if "a" in labels]

    assert len(every) == min(limit, len(set(uses)))
    assert sum(value for gauge in gauges for _, value in gauge.get_all()) == len(uses)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=30))
def test_a_series_that_is_used_often_enough_never_goes(steps: list[tuple[int, int]]) -> None:
    """And what is used by nobody for an age and a collection is not shown."""
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
