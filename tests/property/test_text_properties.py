"""For any recordings, a third-party parser reads back exactly these."""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import family, number
from otel_aioprom._core.labels import label_value
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.collectors.series.number import CounterSeries, NumberSeries
from otel_aioprom.formats import TextFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.merge import merge_families
from otel_aioprom.renderer import render
from servers import parse_with_prometheus_client

bounded = settings(max_examples=50)

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample, without empty labels."""

any_text = st.text(st.characters(exclude_categories=()), max_size=8)  # surrogates too
help_texts = any_text | st.sampled_from(["", " ", '"', "\\", "\\n", "\n# TYPE a gauge\na 1", "\r"])
names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,4}", fullmatch=True)
label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,3}", fullmatch=True).filter(
    lambda name: not name.startswith("__") and name not in ("job", "le", "quantile")
)
label_values = any_text | st.integers() | st.booleans() | st.sampled_from(['"', "\\", "\n", "a\\"])
label_sets = st.dictionaries(label_names, label_values, max_size=4)
numbers = st.floats() | st.integers(-(2**70), 2**70)
amounts = st.floats(min_value=0) | st.integers(0, 2**70)
bound_lists = st.lists(st.floats(allow_nan=False), min_size=1, max_size=5, unique=True).map(sorted)


def key_of(name: str, labels: dict[str, Any], **more: str) -> Key:
    """The key of a sample with these labels."""
    texts = {**{label: label_value(value) for label, value in labels.items()}, **more}
    return name, tuple(sorted((label, text) for label, text in texts.items() if text))


def same(first: float, second: float) -> bool:
    """Equal as doubles; NaN equals NaN."""
    first, second = float(first), float(second)
    return first == second or (math.isnan(first) and math.isnan(second))


def added_up(values: list[float]) -> float:
    """Add one by one, as recording does; ``sum`` corrects its roundings since Python 3.12."""
    return reduce(add, values, 0)


def read_back(body: bytes) -> dict[Key, float]:
    """All samples that the parser of prometheus_client finds."""
    samples = [each for found in parse_with_prometheus_client(body) for each in found.samples]
    read = {key_of(each.name, each.labels): each.value for each in samples}
    assert len(read) == len(samples)
    return read


def check(body: bytes, expected: dict[Key, float]) -> None:
    """The same series with the same values."""
    read = read_back(body)
    assert read.keys() == expected.keys()
    assert all(same(read[key], expected[key]) for key in expected)


def body_of(*collectors: Collector[Any]) -> bytes:
    """The response of a registry with these collectors."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return render(registry)[0]


@bounded
@given(
    st.dictionaries(
        names,
        st.tuples(help_texts, st.lists(st.tuples(label_sets, numbers), max_size=4)),
        max_size=4,
    )
)
def test_gauges_are_read_back(content: dict[str, Any]) -> None:
    """Any names, descriptions, labels and values: the last value of each label set."""
    expected, gauges = {}, []
    for name, (doc, recordings) in content.items():
        gauges.append(Gauge(name, doc))
        for labels, value in recordings:
            gauges[-1].set(labels, value)
            expected[key_of(name, labels)] = value

    check(body_of(*gauges), expected)


@bounded
@given(names, help_texts, label_sets, st.lists(st.tuples(label_sets, amounts), max_size=5))
def test_counters_are_read_back(
    name: str, doc: str, const: dict[str, Any], recordings: list[tuple[dict[str, Any], float]]
) -> None:
    """With constant labels, which a call's own replace."""
    counter = Counter(f"{name}_total", doc, const)
    expected: dict[Key, float] = {}
    for labels, value in recordings:
        counter.add(labels, value)
        key = key_of(counter.name, {**const, **labels})
        expected[key] = expected.get(key, 0) + value

    check(body_of(counter), expected)


@bounded
@given(names, label_sets, bound_lists, st.lists(numbers, max_size=8))
def test_histograms_are_read_back(
    name: str, labels: dict[str, Any], bounds: list[float], values: list[float]
) -> None:
    """Every bucket counts the values up to its bound; NaN is only in the last one."""
    histogram = Histogram(name, "", buckets=bounds)
    histogram.labels(labels)
    for value in values:
        histogram.observe(labels, value)
    samples = [
        each for found in parse_with_prometheus_client(body_of(histogram)) for each in found.samples
    ]
    buckets = {float(each.labels["le"]): each.value for each in samples if "le" in each.labels}

    upper = [*bounds, *([] if bounds[-1] == math.inf else [math.inf])]
    assert list(buckets) == upper
    assert buckets.pop(math.inf) == len(values)
    assert buckets == {bound: sum(value <= bound for value in values) for bound in buckets}
    rest = {
        key_of(each.name, each.labels): each.value for each in samples if "le" not in each.labels
    }
    assert rest[key_of(f"{name}_count", labels)] == len(values)
    assert same(rest[key_of(f"{name}_sum", labels)], added_up(values))


@bounded
@given(names, label_sets, st.lists(numbers, max_size=8))
def test_summaries_are_read_back(name: str, labels: dict[str, Any], values: list[float]) -> None:
    """Count, sum, and quantiles that are NaN or one of the values."""
    summary = Summary(name, "")
    summary.labels(labels)
    for value in values:
        summary.observe(labels, value)
    read = read_back(body_of(summary))
    estimates = [read.pop(key_of(name, labels, quantile=text)) for text in ("0.5", "0.9", "0.99")]

    assert read.pop(key_of(f"{name}_count", labels)) == len(values)
    assert same(read.pop(key_of(f"{name}_sum", labels)), added_up(values))
    assert read == {}
    assert all(math.isnan(one) or float(one) in map(float, values) for one in estimates)


@bounded
@given(
    st.lists(
        st.tuples(names, st.sampled_from(["gauge", "counter"]), label_sets, numbers), max_size=10
    )
)
def test_merging_keeps_all_series_of_the_first_type(
    parts: list[tuple[str, str, dict[str, Any], float]],
) -> None:
    """Of each name."""
    kinds = {"gauge": NumberSeries, "counter": CounterSeries}
    families, first, expected = [], {}, {}
    for stem, kind, labels, value in parts:
        name = f"{stem}_total"  # the parser appends it to counters without it
        texts = {label: text for label, each in labels.items() if (text := label_value(each))}
        families.append(family(name, number(value, texts, kinds[kind]), kind=kind))
        if first.setdefault(name, kind) == kind:
            key = key_of(name, texts)
            before = expected.get(key, 0) if kind == "counter" else 0
            expected[key] = before + value
    merged, _ = merge_families(families, {})

    check(b"".join(TextFormatter().encode(merged)), expected)


@bounded
@given(help_texts, st.lists(st.tuples(names, label_sets), min_size=1, max_size=3))
def test_a_response_has_no_lines_but_ours(doc: str, content: list[tuple[str, Any]]) -> None:
    """No recorded string can end a line: three lines per family, each with LF."""
    families = []
    for name, labels in content:
        gauge = Gauge(name, f"{doc}.")
        gauge.labels(labels)
        families.append(gauge.family())
    body = b"".join(TextFormatter().encode(families))

    assert body.count(b"\n") == 3 * len(families)
    assert body.endswith(b"\n")
