"""Properties of every label set, every stream of values and every float."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_aioprom._core.labels import canonical_pairs, label_value, labels_text, wire_pairs
from otel_aioprom._core.numbers import canonical_float, coerce_number, float_text
from otel_aioprom.collectors import Counter, Histogram
from otel_aioprom.collectors.series.classic_histogram import check_bounds
from otel_aioprom.metricdict import MetricDict
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render

bounded = settings(max_examples=100)

any_text = st.text(st.characters(exclude_categories=()), max_size=6)  # surrogates too
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,3}", fullmatch=True).filter(
    lambda name: not name.startswith("__") and name not in ("job", "le")
)
label_sets = st.dictionaries(
    names, any_text | st.integers() | st.none() | st.booleans(), max_size=5
)
const_sets = st.dictionaries(names, st.sampled_from(["", "1", "x"]), max_size=3)
floats = st.floats() | st.integers(-(2**70), 2**70)
bound_lists = st.lists(st.floats(allow_nan=False), min_size=1, max_size=6, unique=True).map(sorted)

# Shortest digits, ``.0`` after integers, an exponent of at least two digits: one spelling per number.
CANONICAL = re.compile(
    r"-?(0|[1-9]\d{0,5})\.(0|\d*[1-9])|-?[1-9](\.\d*[1-9])?e[+-](\d\d|[1-9]\d\d)|[+-]Inf|NaN"
)


@bounded
@given(label_sets, st.randoms(use_true_random=False))
def test_any_order_of_labels_is_one_series(labels: dict[str, Any], random: Any) -> None:
    """In any order of names, with values as strings or not."""
    order = list(labels)
    random.shuffle(order)
    counter = Counter("x", "What.")
    counter.inc(labels)
    counter.inc({name: labels[name] for name in order})
    counter.labels({name: label_value(labels[name]) for name in reversed(order)}).inc()

    ((found, value),) = counter.get_all()
    assert value == 3
    assert counter.get(found) == 3


@bounded
@given(st.lists(label_sets, max_size=8))
def test_an_index_distinguishes_exactly_the_canonical_keys(sets: list[dict[str, Any]]) -> None:
    """It agrees with a dict of canonical keys after any sequence of uses."""
    store: MetricDict[int] = MetricDict()
    model: dict[Any, int] = {}
    for value, labels in enumerate(sets):
        store[labels] = model[canonical_pairs(labels, {})] = value
    for labels in sets:
        assert store[labels] == model[canonical_pairs(labels, {})]

    assert len(store) == len(model)
    assert {canonical_pairs(labels, {}): value for labels, value in store.entries()} == model


@bounded
@given(label_sets, const_sets)
def test_canonical_keys_are_idempotent(labels: dict[str, Any], const: dict[str, str]) -> None:
    """A key is its own key: sorted, with unique names and strings that UTF-8 can encode."""
    key = canonical_pairs(labels, const)

    assert canonical_pairs(dict(key), const) == key
    assert [name for name, _ in key] == sorted({name for name, _ in key})
    for name, value in key:
        assert value != const.get(name, "")
        assert value.encode().decode() == value


@bounded
@given(label_sets, label_sets, const_sets)
def test_equal_keys_look_equal_on_the_wire(
    one: dict[str, Any], other: dict[str, Any], const: dict[str, str]
) -> None:
    """For Prometheus, labels with an empty value are absent; the others distinguish series."""

    def wire(labels: dict[str, Any]) -> list[tuple[str, str]]:
        return [pair for pair in wire_pairs(labels, const) if pair[1]]

    same = canonical_pairs(one, const) == canonical_pairs(other, const)

    assert wire(one) == wire(dict(canonical_pairs(one, const)))
    assert (wire(one) == wire(other)) == same


@bounded
@given(
    st.dictionaries(names, any_text.map(label_value), max_size=4).map(lambda d: sorted(d.items()))
)
def test_label_text_can_be_read_back(pairs: list[tuple[str, str]]) -> None:
    """Escaping is lossless, and keeps a series on one line."""
    text = labels_text(pairs)
    found = re.findall(r'([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"[,}]', text)
    undo = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
    read = [
        (name, re.sub(r"\\.", lambda escape: undo[escape.group()], value)) for name, value in found
    ]

    assert read == pairs
    assert "\n" not in text


@bounded
@given(bound_lists, st.lists(floats, max_size=20))
def test_cumulative_counts_never_fall(bounds: list[float], values: list[float]) -> None:
    """For any values, including NaN and infinities, and the last one equals the count."""
    histogram = Histogram("x", "What.", buckets=bounds)
    for value in values:
        histogram.observe({}, value)
    histogram.labels({})
    found = histogram.get({})
    counts = [found[bound] for bound in check_bounds(bounds)]

    assert all(lower <= upper for lower, upper in pairwise(counts))
    assert counts[-1] == found["count"] == len(values)
    for bound in check_bounds(bounds)[:-1]:
        assert found[bound] == sum(value <= bound for value in values)


@bounded
@given(bound_lists, st.lists(floats, min_size=1, max_size=10), label_sets)
def test_cumulative_counts_never_fall_on_the_wire(
    bounds: list[float], values: list[float], labels: dict[str, Any]
) -> None:
    """As in memory: the last bucket is ``+Inf`` and equals the count."""
    registry = CollectorRegistry()
    histogram = Histogram("x", "What.", buckets=bounds, registry=registry)
    for value in values:
        histogram.observe(labels, value)
    body, _ = render(registry, [])
    lines = [line for line in body.decode().split("\n") if line.startswith("x_bucket")]
    counts = [int(line.rpartition(" ")[2]) for line in lines]

    assert counts == sorted(counts)
    assert 'le="+Inf"' in lines[-1]
    assert counts[-1] == len(values)
    assert len({line.rpartition(" ")[0] for line in lines}) == len(check_bounds(bounds))


@bounded
@given(floats)
def test_canonical_floats_read_back_and_are_canonical(value: float) -> None:
    """One spelling for each number, and the number can be parsed back."""
    text = canonical_float(value)
    read = float(text)

    assert read == float(value) or (math.isnan(read) and math.isnan(value))
    assert canonical_float(read) == text
    assert CANONICAL.fullmatch(text)
    mantissa, _, exponent = text.lstrip("-").partition("e")
    assert not exponent or not -4 <= int(exponent) < 6
    assert len(mantissa.replace(".", "").strip("0")) <= 17


@bounded
@given(floats)
def test_values_can_be_parsed_back(value: float) -> None:
    """The exposed text of a recorded value is the value."""
    recorded = coerce_number(value)
    text = float_text(recorded)

    assert type(recorded) in (int, float)
    if isinstance(value, int):
        assert int(text) == value
    else:
        assert float(text) == value or text == "NaN"


@bounded
@given(st.lists(st.tuples(label_sets, st.integers(0, 5) | st.floats(0, 5)), max_size=10))
def test_no_amount_is_lost_on_its_way_to_a_counter(
    amounts: list[tuple[dict[str, Any], float]],
) -> None:
    """The sum of all series is the sum of all amounts."""
    counter = Counter("x", "What.", {"app": "shop"})
    for labels, amount in amounts:
        counter.add(labels, amount)
    total = sum(value for _, value in counter.get_all())

    assert math.isclose(total, sum(amount for _, amount in amounts), abs_tol=1e-9)
