"""For any families, all formats agree, and third-party parsers read them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from any_families import SUFFIXES, gathered, gathered_bare, same, samples_of
from client_model import Key, key_of, read_delimited, refuse, samples
from format_families import FORMATS
from otel_aioprom._core.escaping import ESCAPING_SCHEMES, Escaping
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.formats import (
    BinaryFormatter,
    IFormatter,
    OpenMetricsFormatter,
    Text100Formatter,
    with_escaping,
)
from servers import parse_with_prometheus_client

bounded = settings(max_examples=50)
every_way = pytest.mark.parametrize(
    ("kind", "scheme"),
    [(kind, scheme) for kind in FORMATS for scheme in ESCAPING_SCHEMES],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
Prepared = tuple[IFormatter, list[MetricFamily], bytes]


def prepared(
    kind: type[IFormatter], scheme: Escaping, families: list[MetricFamily], **options: Any
) -> Prepared:
    """Encode families: the formatter, the prepared families, and the bytes."""
    formatter = with_escaping(kind, scheme)(**options)
    ready, _ = formatter.prepare(families)
    return formatter, list(ready), b"".join(formatter.encode(ready))


def read_back(formatter: IFormatter, body: bytes) -> list[tuple[str, list[tuple[Key, float]]]]:
    """Families and samples, as a third-party parser reads them."""
    if isinstance(formatter, BinaryFormatter):
        found = read_delimited(body)
        for family in found:
            refuse(family)
        return [(family.name, list(samples(family))) for family in found]
    strict = isinstance(formatter, OpenMetricsFormatter)
    parsed = parse_with_prometheus_client(body, openmetrics=strict)
    return [(each.name, [_sample(one) for one in each.samples]) for each in parsed]


def _sample(one: Any) -> tuple[Key, float]:
    bounds = {name: float(one.labels[name]) for name in ("le", "quantile") if name in one.labels}
    rest = {name: text for name, text in one.labels.items() if name not in bounds}
    return key_of(one.name, rest, **bounds), one.value


@every_way
@bounded
@given(families=gathered, created=st.booleans())
def test_third_party_parsers_read_every_sample(
    kind: type[IFormatter], scheme: Escaping, families: list[MetricFamily], created: bool
) -> None:
    """No more, no less, no duplicates; one group per family."""
    check_every_sample(kind, scheme, families, created)


def parts_of(family: MetricFamily, formatter: IFormatter) -> int:
    """Number of families of the format that a family is written as."""
    every: list[Any] = list(family.series)
    binary = isinstance(formatter, BinaryFormatter)
    if family.type == "histogram" and binary:
        return len({one.native is None for one in every})
    if family.type == "gaugehistogram" and not isinstance(formatter, OpenMetricsFormatter):
        native = binary and any(one.native is not None for one in every)
        return len({name for (name, _), _ in samples_of(family, formatter)}) + native
    if family.type == "summary" and binary:
        partial = replace(family, series=[one for one in every if None in one.snapshot()])
        names = {name for (name, _), _ in samples_of(partial, formatter)}
        return len(names) + (len(partial.series) < len(every))
    return 1


def check_every_sample(
    kind: type[IFormatter], scheme: Escaping, families: list[MetricFamily], created: bool
) -> None:
    """Compare what a third-party parser reads with the values of the prepared families."""
    formatter, ready, body = prepared(kind, scheme, families, created_samples=created)
    found = read_back(formatter, body)
    expected = {key: value for family in ready for key, value in samples_of(family, formatter)}
    pairs = [pair for _, part in found for pair in part]

    assert len(found) == sum(parts_of(each, formatter) for each in ready)
    assert len({key for key, _ in pairs}) == len(pairs)
    assert dict(pairs).keys() == expected.keys()
    assert all(same(value, expected[key]) for key, value in pairs)


@pytest.mark.parametrize("scheme", ESCAPING_SCHEMES)
@bounded
@given(families=gathered_bare, created=st.booleans())
def test_m24_m59_a_metric_has_one_name_in_every_format(
    scheme: Escaping, families: list[MetricFamily], created: bool
) -> None:
    """OpenMetrics drops nothing for a suffix; at most it writes a counter or info as unknown."""
    ready, _ = with_escaping(Text100Formatter, scheme)().prepare(families)
    formatter = with_escaping(OpenMetricsFormatter, scheme)(created_samples=created)
    named = {family.name: family for family in formatter.prepare(families)[0]}

    assert named.keys() == {family.name for family in ready}
    for family in ready:
        assert named[family.name].type in (
            {family.type, "untyped"} if family.type in SUFFIXES else {family.type}
        )
        assert len(named[family.name].series) == len(family.series)
    check_every_sample(OpenMetricsFormatter, scheme, families, created)
