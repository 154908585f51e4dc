"""UTF-8 names: quoted, or escaped by one of three schemes (E25, E43 to E49)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client_model import read_delimited
from oracles import CounterSeries, family, number
from otel_aioprom._core.escaping import ESCAPING_SCHEMES, escape_label_name, escape_metric_name
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.formats import (
    BinaryFormatter,
    OpenMetricsFormatter,
    Text100Formatter,
    TextFormatter,
    with_escaping,
)


def wide(name: str, *series: Any, **parts: Any) -> MetricFamily:
    """A family with a UTF-8 name."""
    return replace(family(name, *series, **parts), utf8=True)


def write(formatter: type[Any], scheme: Any, *families: MetricFamily) -> str:
    """Encode families with an escaping scheme."""
    made = with_escaping(formatter, scheme)()
    ready, _ = made.prepare(families)
    return b"".join(made.encode(ready)).decode()


def test_e25_text_one_names_its_scheme() -> None:
    """Its lines are those of 0.0.4, which has no schemes."""
    for scheme in ESCAPING_SCHEMES:
        assert with_escaping(Text100Formatter, scheme)().get_headers() == {
            "Content-Type": f"text/plain; version=1.0.0; charset=utf-8; escaping={scheme}"
        }
    made = family("a_total", number(1, {"x": "1"}, CounterSeries), kind="counter", doc="Help.")
    assert write(Text100Formatter, "underscores", made) == write(TextFormatter, "underscores", made)


@pytest.mark.parametrize("formatter", [Text100Formatter, OpenMetricsFormatter])
def test_e43_quoted_syntax(formatter: type[Any]) -> None:
    """The name with its suffix is inside the braces; classic names are outside."""
    requests = number(1, {"http.method": "GET", "code": "200"}, CounterSeries)
    latency = HistogramSeries((), (), " ", (1.0, float("inf")))
    latency.load([1, 0], 0.5)
    body = write(
        formatter,
        "allow-utf-8",
        wide("my.requests_total", requests, kind="counter", doc="h"),
        wide("my.lat_seconds", latency, kind="histogram", unit="seconds"),
        wide("my.sum", SummaryPoint((), (), " ", 1, 2, [(0.5, 2)]), kind="summary"),
        wide("up_time", number(5, {"os.type": "linux"})),
    )
    openmetrics = formatter is OpenMetricsFormatter

    shown = "my.requests" if openmetrics else "my.requests_total"
    assert f'# TYPE "{shown}" counter\n' in body
    assert f'# HELP "{shown}" h\n' in body
    assert '{"my.requests_total",code="200","http.method"="GET"} 1\n' in body
    assert ('# UNIT "my.lat_seconds" seconds\n' in body) is openmetrics
    assert '{"my.lat_seconds_bucket",le="1.0"} 1\n' in body
    assert '{"my.lat_seconds_bucket",le="+Inf"} 1\n' in body
    assert '{"my.lat_seconds_count"} 1\n' in body
    assert '{"my.lat_seconds_sum"} 0.5\n' in body
    assert '{"my.sum",quantile="0.5"} 2\n' in body
    assert '# TYPE up_time gauge\nup_time{"os.type"="linux"} 5\n' in body


@pytest.mark.parametrize("name", ['a"b\\c\nd', "a b", "😀", "100%", "%s", "a\x0eb"])
def test_e43_any_name_can_be_quoted(name: str) -> None:
    """Three characters are escaped, others unchanged."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    latency = HistogramSeries(("é",), ("x",), '{"é"="x"} ', (1.0, float("inf")))
    latency.load([1, 0], 0.5)
    body = write(
        Text100Formatter, "allow-utf-8", wide(name), wide(f"{name}2", latency, kind="histogram")
    )

    assert f'# TYPE "{quoted}" gauge\n{{"{quoted}"}} 1\n' in body
    assert f'{{"{quoted}2_bucket","é"="x",le="1.0"}} 1\n' in body


def test_e44_colons_are_legal_in_metric_names_only() -> None:
    """In label names they are quoted or escaped."""
    made = wide("a:b", number(1, {"x:y": "1"}))

    assert 'a:b{"x:y"="1"} 1\n' in write(Text100Formatter, "allow-utf-8", made)
    assert 'a:b{x_y="1"} 1\n' in write(Text100Formatter, "underscores", made)
    assert 'a:b{U__x_3a_y="1"} 1\n' in write(Text100Formatter, "values", made)


def test_e45_values_and_help_are_never_escaped() -> None:
    """Only names; the unit is compared with the escaped name."""
    made = wide("my.metric.seconds", number(1, {"a.b": "c.d"}), doc="e.f", unit="seconds")
    body = write(OpenMetricsFormatter, "underscores", made)

    assert body == (
        "# TYPE my_metric_seconds gauge\n# UNIT my_metric_seconds seconds\n# HELP my_metric_seconds e.f\n"
        'my_metric_seconds{a_b="c.d"} 1\n# EOF\n'
    )


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("http.server-time", "http_server_time"),
        ("9lives", "_lives"),
        ("é", "_"),
        ("label with 😱", "label_with__"),
        ("花火", "__"),
        ("a:b.c", "a:b_c"),
        ("plain_name", "plain_name"),
    ],
)
def test_e46_underscores(name: str, escaped: str) -> None:
    """One per character."""
    assert escape_metric_name(name, "underscores") == escaped


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("my.m_x", "my_dot_m__x"),
        ("a b", "a__b"),
        ("9lives", "__lives"),
        ("💩.total", "___dot_total"),
        ("plain_name", "plain_name"),
    ],
)
def test_e47_dots(name: str, escaped: str) -> None:
    """And doubled underscores; a classic name is unchanged."""
    assert escape_metric_name(name, "dots") == escaped


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("my.m_x", "U__my_2e_m__x"),
        ("9lives", "U___39_lives"),
        ("a b", "U__a_20_b"),
        ("花火", "U___82b1__706b_"),
        ("http.status:sum", "U__http_2e_status:sum"),
        ("U__plain", "U__plain"),
        ("a\ud800", "U__a_FFFD_"),
    ],
)
def test_e48_values(name: str, escaped: str) -> None:
    """Code points in hexadecimal; a classic name is unchanged, whatever its prefix."""
    assert escape_metric_name(name, "values") == escaped


def test_e46_e48_colons_in_label_names_are_escaped() -> None:
    """By each scheme but ``allow-utf-8``."""
    found = {scheme: escape_label_name("x:y", scheme) for scheme in ESCAPING_SCHEMES}

    assert found == {
        "allow-utf-8": "x:y",
        "underscores": "x_y",
        "dots": "x__y",
        "values": "U__x_3a_y",
    }


@pytest.mark.parametrize("formatter", [TextFormatter, OpenMetricsFormatter, BinaryFormatter])
def test_e49_colliding_families_are_merged(formatter: type[Any]) -> None:
    """With one TYPE; the classic one keeps the name, another type is dropped."""
    meeting = [
        wide("a b", number(1, {"x": "1"})),
        wide("a-b", number(2, {"x": "2"})),
        family("a_b", number(3, {"x": "3"})),
        wide("a.b", number(4, {"x": "4"}, CounterSeries), kind="counter"),
    ]
    made = with_escaping(formatter, "underscores")()
    ready, faults = made.prepare(meeting)
    body = b"".join(made.encode(ready))

    (only,) = ready
    assert (only.name, only.type) == ("a_b", "gauge")
    assert [series.value for series in list(only.series)] == [3, 1, 2]
    assert [(fault.cause, fault.lost) for fault in faults] == [("type_conflict", True)]
    if formatter is BinaryFormatter:
        assert [family.name for family in read_delimited(body)] == ["a_b"]
    else:
        assert body.count(b"# TYPE a_b gauge\n") == 1


def test_e49_values_of_colliding_labels_are_joined() -> None:
    """In the order of their names; series that become equal are merged."""
    made = wide(
        "m",
        number(1, {"a.b": "1", "a_b": "2"}, CounterSeries),
        number(5, {"a_b": "1;2"}, CounterSeries),
        number(7, {"a.b": "3"}, CounterSeries),
        kind="counter",
    )
    body = write(TextFormatter, "underscores", made)

    assert body == '# TYPE m counter\nm{a_b="1;2"} 6\nm{a_b="3"} 7\n'
    kept = write(Text100Formatter, "allow-utf-8", made)
    assert 'm{"a.b"="1",a_b="2"} 1\nm{a_b="1;2"} 5\n' in kept


def test_e49_a_family_with_colliding_samples_is_dropped() -> None:
    """The later one: a gauge with the name of a summary's sum."""
    made = with_escaping(TextFormatter, "underscores")()
    waited = SummaryPoint((), (), " ", 1, 2, ())
    ready, faults = made.prepare([family("a", waited, kind="summary"), wide("a.sum")])

    assert [each.name for each in ready] == ["a"]
    assert [(fault.cause, fault.subject) for fault in faults] == [("name_conflict", "a_sum")]
