"""Native collectors against models: limits, removal, native buckets, states."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors import Counter, Histogram, StateSet
from otel_aioprom.collectors.series.native_resolution import upper_bound

OVERFLOW = (("otel_metric_overflow", "true"),)
LIMIT = 4
LABELS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.sampled_from([0, 1, "0", "1", ""]), max_size=3
)
Key = tuple[tuple[str, str], ...]


def key_of(labels: dict[str, Any]) -> Key:
    """A canonical key of a label set."""
    return tuple(sorted((name, str(value)) for name, value in labels.items() if str(value)))


class LimitedCounter(RuleBasedStateMachine):
    """A counter with a limit, and a dict as its model."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter("x_total", "X.", max_series=LIMIT)
        self.model: dict[Key, int] = {}
        self.overflows = 0
        self.held: dict[Key, Any] = {}

    def take(self, key: Key, amount: int) -> None:
        """Count in the model."""
        places = self.model.keys() - {OVERFLOW}  # which has no slot
        if key not in self.model and len(places) >= LIMIT:
            self.overflows += 1
            key = OVERFLOW
        self.model[key] = self.model.get(key, 0) + amount

    @rule(labels=LABELS)
    def inc(self, labels: dict[str, Any]) -> None:
        """Add one."""
        self.counter.inc(labels)
        self.take(key_of(labels), 1)

    @rule(labels=LABELS, amount=st.integers(0, 1 << 70))
    def add(self, labels: dict[str, Any], amount: int) -> None:
        """Add an amount."""
        self.counter.add(labels, amount)
        self.take(key_of(labels), amount)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Remove one series."""
        key = data.draw(st.sampled_from(sorted(self.model)))
        self.counter.remove(dict(key))
        del self.model[key]

    @rule(labels=LABELS)
    def remove_matching(self, labels: dict[str, Any]) -> None:
        """Remove series by some labels."""
        wanted = {name: str(value) for name, value in labels.items()}
        gone = [
            key
            for key in self.model
            if all(dict(key).get(name, "") == value for name, value in wanted.items())
        ]
        assert self.counter.remove_matching(labels) == len(gone)
        for key in gone:
            del self.model[key]

    @rule()
    def clear(self) -> None:
        """Remove all."""
        self.counter.clear()
        self.model.clear()

    @rule(every=st.lists(LABELS, max_size=6))
    def replace(self, every: list[dict[str, Any]]) -> None:
        """Replace all series."""
        with self.counter.replace() as fresh:
            for labels in every:
                fresh.inc(labels)
        self.model.clear()
        for labels in every:
            self.take(key_of(labels), 1)

    @invariant()
    def they_agree(self) -> None:
        """In every series and in the number of overflows."""
        found = {key_of(labels): value for labels, value in self.counter.get_all()}
        assert found == self.model
        assert self.counter.count_overflows() == self.overflows
        assert len(found) <= LIMIT + 1


TestBoundedCounter = LimitedCounter.TestCase
TestBoundedCounter.settings = settings(max_examples=50, stateful_step_count=30)

VALUES = st.lists(
    st.floats(allow_nan=True, allow_infinity=True) | st.integers(-1000, 1000), max_size=60
)


@settings(max_examples=150)
@given(values=VALUES, factor=st.sampled_from([1.002, 1.1, 1.5, 2.0, 16.0]), most=st.integers(0, 20))
@example([-2.743062034396845e303, -math.inf, *[0.0] * 11], 1.002, 1)
def test_native_buckets_hold_what_was_observed(
    values: list[float], factor: float, most: int
) -> None:
    """Every value is in its bucket, unless the histogram was reset or its resolution reduced."""
    histogram = Histogram(
        "h",
        "H.",
        buckets=[0.0, 10.0],
        native_bucket_factor=factor,
        native_max_buckets=most,
        native_min_reset_duration=0,
    )
    child = histogram.labels()
    for value in values:
        child.observe(value)
    counts, native = child.read()
    assert isinstance(native, NativeBuckets)
    numbers = [value for value in values if not math.isnan(value)]
    zero = [value for value in numbers if abs(value) <= native.zero_threshold]

    assert sum(counts[:-1]) == len(values)
    assert native.zero_count == len(zero)
    for side, sign in ((native.positive, 1), (native.negative, -1)):
        mine = [abs(value) for value in numbers if sign * value > native.zero_threshold]
        assert sum(count for _, count in side) == len(mine)
        infinite = mine.count(math.inf)
        if infinite:  # which have the overflow bucket
            assert side[-1][1] == infinite
        for index, count in side[: len(side) - bool(infinite)]:
            low, high = upper_bound(index - 1, native.schema), upper_bound(index, native.schema)
            inside = [value for value in mine if low < value <= high]
            assert len(inside) == count
    if not most:
        assert 2**2**-native.schema <= factor or native.schema == 8


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20),
)
def test_states_are_those_that_were_set_last(steps: list[tuple[str, bool]]) -> None:
    """In ``get`` and in what is exposed."""
    states = StateSet("x", "X.", ["a", "b", "c"])
    child = states.labels()
    model = dict.fromkeys("abc", False)
    for state, on in steps:
        child.set(state, on)
        model[state] = on

    assert states.get() == model
    shown: Any = states.family().series
    assert {dict(series.pairs)["x"]: bool(series.value) for series in shown} == model
