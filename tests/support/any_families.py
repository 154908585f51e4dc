"""Strategies for any families, and the samples that each format must write for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from client_model import Key, key_of
from format_families import counter, histogram, summary
from oracles import number
from otel_aioprom._core.escaping import ESCAPING_SCHEMES, escape_label_name
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom._core.names import is_valid_label_name, is_valid_metric_name
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.formats import BinaryFormatter, OpenMetricsFormatter
from otel_aioprom.registry.merge import merge_families, without_collisions

RESERVED = ("le", "quantile", "__name__")
SUFFIXES = {"counter": "_total", "info": "_info"}


def _escaped_too_far(name: str) -> Iterator[bool]:
    """Whether an escaped name starts with two underscores, which third-party parsers reject, by scheme."""
    return (escape_label_name(name, scheme).startswith("__") for scheme in ESCAPING_SCHEMES)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
names = st.from_regex(r"[a-c_:][a-c_0-9]{0,2}", fullmatch=True) | texts.filter(bool) | st.sampled_from(["a.b", "a b", "9", "a_count", "a_total", "a_info", "a_created_total"])  # fmt: skip
label_names = (
    st.sampled_from(["a", "b", "a.b", "a_b", "a:b", "é", "..name.."]) | texts.filter(bool)
).filter(lambda name: name not in RESERVED and not any(_escaped_too_far(name)))
label_values = texts | st.sampled_from(['"', "\\", "\n", "a\\n", "%s", "x" * 130])
numbers = st.floats() | st.integers(-(2**256), 2**256) | st.integers(-3, 3)
moments = st.none() | st.integers(-(2**33), 2**33).map(lambda n: n / 8)
counts = st.integers(0, 300) | st.integers(0, 2**40)
# The OpenMetrics parser fails for escaped quotes in exemplars.
exemplars = st.builds(
    Exemplar,
    st.dictionaries(label_names, st.text("ab\\\n", max_size=3), max_size=2).map(lambda found: tuple(found.items())),
    st.floats(),
    st.none() | st.integers(0, 2**33).map(lambda n: n / 8),
)  # fmt: skip
label_sets = st.dictionaries(label_names, label_values, max_size=3)


@st.composite
def histograms(draw: Any, labels: dict[str, str]) -> Any:
    """With native buckets or without, and exemplars in any of the classic ones."""
    bounds = tuple(sorted(draw(st.sets(st.floats(allow_nan=False, allow_infinity=False), max_size=3))))  # fmt: skip
    held = draw(st.lists(counts, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    total = draw(st.none() | numbers)
    marks = st.lists(st.none() | exemplars, min_size=len(held), max_size=len(held))
    native = draw(st.none() | natives())
    if native is not None:
        held[-1] = native.observations
        held[:-1] = [0] * len(bounds)
    return histogram(held, total, bounds, native, labels=labels, created=draw(moments), exemplars=draw(st.none() | marks))  # fmt: skip


def natives() -> Any:
    """Native buckets."""
    buckets = st.dictionaries(st.integers(-20, 20), counts, max_size=4).map(lambda found: sorted(found.items()))  # fmt: skip
    threshold = st.sampled_from([0.0, 2.0**-128, 1.0])
    return st.builds(NativeBuckets, st.integers(-4, 8), threshold, counts, buckets, buckets, st.lists(exemplars, max_size=2))  # fmt: skip


@st.composite
def series(draw: Any, kind: str, labels: dict[str, str]) -> Any:
    """A series of a type."""
    if kind == "counter":
        value = draw(numbers | st.integers(0, 9))
        return counter(value, labels, draw(moments), draw(st.none() | exemplars))
    if kind in ("histogram", "gaugehistogram"):
        return draw(histograms(labels))
    if kind == "summary":
        quantiles = sorted(draw(st.sets(st.floats(0.001, 0.999), max_size=3)))
        estimates = [(quantile, draw(numbers)) for quantile in quantiles]
        count, total = draw(st.none() | counts), draw(st.none() | numbers)
        if not estimates and count is total is None:
            count = 0
        return summary(count, total, estimates, labels, draw(moments))
    return number(1 if kind == "info" else draw(numbers), labels)


@st.composite
def families(draw: Any, *, bare: bool = False) -> MetricFamily:
    """A family of any type and with any names; counters and infos have their suffix, unless it may be missing."""
    kind = draw(
        st.sampled_from(
            ["counter", "gauge", "untyped", "info", "histogram", "gaugehistogram", "summary"]
        )
    )
    suffixes = [SUFFIXES.get(kind, ""), *([""] if bare else [])]
    name = draw(names) + draw(st.sampled_from(suffixes))
    unit = draw(st.sampled_from(["", "", "a", "b", "seconds"]))
    suffix = SUFFIXES.get(kind, "")
    name = f"{name.removesuffix(suffix)}_{unit}{suffix}" if draw(st.booleans()) and unit else name
    sets = draw(st.lists(label_sets, max_size=4, unique_by=lambda found: key_of("", found)))
    found = [draw(series(kind, labels)) for labels in sets]
    classic = is_valid_metric_name(name) and all(
        is_valid_label_name(label) for labels in sets for label in labels
    )
    return MetricFamily(name, kind, draw(texts), unit, found, utf8=not classic)


def _gathered(found: list[MetricFamily]) -> list[MetricFamily]:
    """Merge families as a registry does."""
    merged, _ = merge_families([each for each in found if each.series], {})
    return without_collisions(merged, {})[0]


gathered = st.lists(families(), max_size=4).map(_gathered)
"""The families that a registry passes to a format."""

gathered_bare = st.lists(families(bare=True), max_size=4).map(_gathered)
"""Likewise, some counters and infos without their suffix, which prometheus_client's text parser adds."""


def samples_of(family: MetricFamily, formatter: Any) -> Iterator[tuple[Key, float]]:
    """Yield the samples that a format must write, without those that OpenMetrics forbids (E32).

    Args:
        family: As ``prepare`` returns it.
        formatter: The format that prepared it.
    """
    strict = isinstance(formatter, OpenMetricsFormatter)
    for one in family.series:
        if is_native_alone(family, one, formatter):
            continue
        yield from _samples(family, one, strict)
        started = one.created is not None and family.type not in ("untyped", "gaugehistogram")
        if strict and formatter.created_samples and started:
            counted = family.type != "counter" or one.value >= 0  # type: ignore[attr-defined]
            base = family.name.removesuffix("_total") if family.type == "counter" else family.name
            if counted:
                yield key_of(f"{base}_created", dict(one.pairs)), one.created


def is_native_alone(family: MetricFamily, one: Any, formatter: Any) -> bool:
    """Whether a gauge histogram has only native buckets, which protobuf writes without other samples."""
    if family.type != "gaugehistogram" or not isinstance(formatter, BinaryFormatter):
        return False
    return one.native is not None and len(one.bounds) == 1


def _samples(family: MetricFamily, one: Any, strict: bool) -> Iterator[tuple[Key, float]]:
    if family.type in ("histogram", "gaugehistogram"):
        yield from _histogram_samples(family, one, strict)
    elif family.type == "summary":
        yield from _summary_samples(family.name, one, strict)
    elif family.type != "counter" or not strict or one.value >= 0:
        yield key_of(family.name, dict(one.pairs)), one.value


def _histogram_samples(family: MetricFamily, one: Any, strict: bool) -> Iterator[tuple[Key, float]]:
    name, labels, gauge = family.name, dict(one.pairs), family.type == "gaugehistogram"
    *held, total = one.snapshot()
    for bound, upto in zip(one.bounds, accumulate(held)):
        yield key_of(f"{name}_bucket", labels, le=bound), upto
    negative = one.bounds[0] < 0
    allowed = (not negative or gauge) and total is not None and (total >= 0 or (negative and total < 0))  # fmt: skip
    summed = total is not None and (not strict or allowed)
    between = "_g" if gauge else "_"
    if summed or not strict:
        yield key_of(f"{name}{between}count", labels), sum(held)
    if summed:
        yield key_of(f"{name}{between}sum", labels), total


def _summary_samples(name: str, one: Any, strict: bool) -> Iterator[tuple[Key, float]]:
    labels = dict(one.pairs)
    count, total = one.snapshot()
    for quantile, value in one.quantiles():
        if not strict or not value < 0:
            yield key_of(name, labels, quantile=quantile), value
    if not strict or total is None or total >= 0:
        both = ((f"{name}_count", count), (f"{name}_sum", total))
        yield from [(key_of(key, labels), value) for key, value in both if value is not None]


def same(first: float, second: float) -> bool:
    """Equal as doubles, NaN being NaN."""
    first, second = float(first), float(second)
    return first == second or (math.isnan(first) and math.isnan(second))
