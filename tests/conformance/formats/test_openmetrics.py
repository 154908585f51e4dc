"""OpenMetrics: lines, metadata, types, exemplars and the end (E2, E27 to E42)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from canned_bodies import OPENMETRICS
from oracles import CounterSeries, family, number
from otel_aioprom._core.labels import labels_text
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom.collectors.quantiles.summary_point import SummaryPoint
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.formats import (
    OpenMetrics001Formatter,
    OpenMetricsFormatter,
    TextFormatter,
    with_escaping,
)
from otel_aioprom.registry.faults import Fault
from servers import parse_with_prometheus_client


def write(*families: MetricFamily, **options: Any) -> str:
    """Encode families; check them with a strict third-party parser."""
    body, _ = prepared(*families, **options)
    parse_with_prometheus_client(body, openmetrics=True)
    return body


def prepared(*families: MetricFamily, **options: Any) -> tuple[str, list[Fault]]:
    """Encode families; return the faults too."""
    formatter = OpenMetricsFormatter(**options)
    ready, faults = formatter.prepare(families)
    return b"".join(formatter.encode(ready)).decode(), list(faults)


def lines(*families: MetricFamily, **options: Any) -> list[str]:
    """Lines without the last one."""
    *found, end, empty = write(*families, **options).split("\n")
    assert (end, empty) == ("# EOF", "")
    return found


def counter(value: float = 1, labels: dict[str, str] | None = None, **parts: Any) -> CounterSeries:
    """The series of a counter."""
    series = number(value, labels, CounterSeries)
    assert isinstance(series, CounterSeries)
    series.created, series.exemplar = parts.get("created"), parts.get("exemplar")
    return series


def histogram(
    counts: list[int], total: float | None, bounds: tuple[float, ...], **parts: Any
) -> HistogramSeries:
    """The series of a histogram."""
    pairs = sorted(parts.pop("labels", {}).items())
    names, values = tuple(name for name, _ in pairs), tuple(value for _, value in pairs)
    series = HistogramSeries(names, values, labels_text(pairs), (*bounds, math.inf))
    series.load(counts, total)
    series.created, series.exemplars = parts.get("created"), parts.get("exemplars")
    return series


def summary(count: int, total: float, *estimates: tuple[float, float]) -> SummaryPoint:
    """The series of a summary."""
    return SummaryPoint((), (), " ", count, total, estimates, 5.0)


def test_e41_a_whole_response_to_the_byte() -> None:
    """Types, units, escapes, exemplars and start times together; ``target_info`` first."""
    labels = {"method": "GET", "path": '/a"b\\c\nd'}
    one = counter(
        1027,
        labels,
        created=1600000000.25,
        exemplar=Exemplar((("trace_id", "0af7"),), 1, 1700000000.5),
    )
    two = counter(3, {"method": "POST", "path": ""}, created=1600000000.25)
    ids = (("trace_id", "a"), ("span_id", "b"))
    exemplars = [None, Exemplar((), 0.75), Exemplar(ids, 4.5, 1700000000.5)]
    latency = histogram([0, 2, 1], 6.25, (0.005, 1.0), created=1600000000.25, exemplars=exemplars)
    requests = family(
        "app_requests_total", one, two, kind="counter", doc='Requests, "quoted" \\ and\nnewline.'
    )
    seconds = family("app_lat_seconds", latency, kind="histogram", unit="seconds", doc="Latency.")
    target = family(
        "target_info", number(1, {"service_name": "s"}), kind="info", doc="Target metadata"
    )

    body = write(requests, seconds, target, created_samples=True)
    expected = OPENMETRICS.body.decode()
    # The specification leaves the order of families open; ours is by name, after target_info.
    latency_part = expected[expected.index("# TYPE app_lat") : expected.index("# EOF")]
    rest = expected.replace(latency_part, "")
    place = rest.index("# TYPE app_requests")
    assert body == rest[:place] + latency_part + rest[place:]


def test_e02_version_two_is_never_sent() -> None:
    """No format has it."""
    for formatter in (OpenMetricsFormatter, OpenMetrics001Formatter):
        assert "version=2" not in formatter().get_headers()["Content-Type"]


@pytest.mark.parametrize("value", [1, 0.5, 1e300])
def test_e27_one_blank_between_tokens_and_none_at_the_ends(value: float) -> None:
    """No blank lines, no comments."""
    found = lines(family("a", number(value, {"x": "1", "y": "2"})), family("b", doc="Help."))

    assert all(line == line.strip() and "  " not in line and line for line in found)
    assert found[1] == f'a{{x="1",y="2"}} {value!r}'
    assert {line.split(" ")[1] for line in found if line.startswith("#")} == {"TYPE", "HELP"}


def test_e28_metadata_in_its_order() -> None:
    """TYPE, UNIT, HELP, each once; empty ones are dropped; untyped is called unknown."""
    found = lines(family("a_seconds", unit="seconds", doc="Help."), family("b", kind="untyped"))

    assert found == [
        "# TYPE a_seconds gauge",
        "# UNIT a_seconds seconds",
        "# HELP a_seconds Help.",
        "a_seconds 1",
        "# TYPE b unknown",
        "b 1",
    ]


@pytest.mark.parametrize(
    ("name", "unit", "kind", "written"),
    [
        ("x_seconds", "seconds", "gauge", True),
        ("x_seconds_total", "seconds", "counter", True),
        ("a", "seconds", "gauge", False),
        ("seconds", "seconds", "gauge", False),
        ("xseconds", "seconds", "gauge", False),
        ("x_seconds_info", "seconds", "info", False),
        ("x_seconds", "seconds", "stateset", False),
        ("my.metric.seconds", "seconds", "gauge", False),
        ("my.metric_seconds", "seconds", "gauge", True),
    ],
)
def test_e29_a_unit_needs_a_name_that_ends_with_it(
    name: str, unit: str, kind: str, written: bool
) -> None:
    """Behind an underscore; of a counter, the name without its suffix."""
    series = counter(1) if kind == "counter" else number(1, {"x": "y"})
    made = family(name, series, kind=kind, unit=unit)
    formatter = with_escaping(OpenMetricsFormatter, "allow-utf-8")()
    ready, _ = formatter.prepare([replace(made, utf8="." in name)])

    assert (b"# UNIT" in b"".join(formatter.encode(ready))) is written


def test_e30_suffixes_by_type() -> None:
    """The TYPE line has the family's name, samples have those of their type."""
    found = lines(
        family("c_total", counter(), kind="counter"),
        family("b_info", kind="info"),
        family("h", histogram([1], 1, ()), kind="histogram"),
        family("s", summary(1, 1, (0.5, 1)), kind="summary"),
        family("states", number(1, {"states": "on"}), kind="stateset"),
    )

    assert "# TYPE c counter" in found
    assert "# TYPE b info" in found
    names = [line.split("{")[0].split(" ")[0] for line in found if line[0] != "#"]
    assert names == [
        "b_info",
        "c_total",
        "h_bucket",
        "h_count",
        "h_sum",
        "s",
        "s_count",
        "s_sum",
        "states",
    ]


@pytest.mark.parametrize("created", [False, True])
@pytest.mark.parametrize(("kind", "suffix"), [("counter", "_total"), ("info", "_info")])
@pytest.mark.parametrize("name", ["hits", "hits_", "hits_seconds", ":", "totals", None])
def test_e30_m24_a_name_without_the_suffix_is_kept(
    kind: str, suffix: str, name: str | None, created: bool
) -> None:
    """The type goes that would rename it: no unit, exemplar or start time; any value is allowed then."""
    name = name or suffix  # alone, it would leave no name for the TYPE line
    exemplar = Exemplar((("a", "b"),), 1)
    series = counter(2, created=5.0, exemplar=exemplar) if kind == "counter" else number(1)
    made = family(name, series, counter(-1, {"x": "y"}), kind=kind, unit="seconds")

    assert lines(made, created_samples=created) == [
        f"# TYPE {name} unknown",
        f"{name} {series.value}",
        f'{name}{{x="y"}} -1',
    ]


MADE: dict[str, Any] = {
    "counter": counter,
    "gauge": lambda: number(1),
    "histogram": lambda: histogram([1], 1, ()),
    "info": lambda: number(1, {"v": "1"}),
    "stateset": lambda: number(1, {"foo": "on"}),
    "summary": lambda: summary(1, 1),
    "untyped": lambda: number(1),
}


def sample_names(body: str) -> set[str]:
    """The names of all samples."""
    return {line.split("{")[0].split(" ")[0] for line in body.splitlines() if line[0] != "#"}


PAIRS = [
    ("foo counter", "foo_total counter", "foo unknown", "foo_total unknown"),
    ("foo_total counter", "foo_total_total counter", "foo counter", "foo_total_total unknown"),
    ("foo_total counter", "foo_created gauge", "foo_total unknown", "foo_created gauge"),
    ("foo_total counter", "foo gauge", "foo_total unknown", "foo gauge"),
    ("foo_total counter", "foo_created info", "foo_total unknown", "foo_created unknown"),
    ("foo_total counter", "foo_created_info info", "foo counter", "foo_created_info unknown"),
    ("foo_total counter", "foo_created_total counter", "foo counter", "foo_created_total unknown"),
    ("foo_total counter", "foo_info info", "foo counter", "foo_info unknown"),
    ("foo histogram", "foo_total counter", "foo histogram", "foo_total unknown"),
    ("foo histogram", "foo_count_total counter", "foo histogram", "foo_count_total unknown"),
    ("foo histogram", "foo_created_total counter", "foo histogram", "foo_created_total unknown"),
    ("foo_created histogram", "foo_total counter", "foo_created histogram", "foo_total unknown"),
    ("foo summary", "foo_sum_total counter", "foo summary", "foo_sum_total unknown"),
    ("foo summary", "foo_info info", "foo summary", "foo_info unknown"),
    ("foo untyped", "foo_total counter", "foo unknown", "foo_total unknown"),
    ("foo stateset", "foo_info info", "foo stateset", "foo_info unknown"),
]  # fmt: skip


@pytest.mark.parametrize("created", [False, True])
@pytest.mark.parametrize(("first", "second", "one", "other"), PAIRS)
def test_e30_m59_no_suffix_takes_the_name_of_another_metric(
    first: str, second: str, one: str, other: str, created: bool
) -> None:
    """Both keep their names, in any order of precedence; the counter or info of the two is unknown; no fault."""
    families = [
        family(name, MADE[kind](), kind=kind)
        for name, kind in (pair.split() for pair in (first, second))
    ]
    types = write(*families, created_samples=created).split("# TYPE ")[1:]
    assert sorted(each.split("\n")[0] for each in types) == sorted([one, other])

    text = TextFormatter()
    names = sample_names(b"".join(text.encode(text.prepare(families)[0])).decode())
    for order in (families, families[::-1]):
        body, faults = prepared(*order, created_samples=created)
        parse_with_prometheus_client(body, openmetrics=True)
        started = {"foo_created"} if created and families[0].type == "summary" else set()
        assert (sample_names(body) - started, faults) == (names, [])


def test_m59_a_family_that_gives_up_its_suffix_takes_no_other_name() -> None:
    """Nor does its base keep the type from a third one."""
    found = write(
        family("foo_created", histogram([1], 1, ()), kind="histogram"),
        family("foo_total", counter(), kind="counter"),
        family("foo_info", kind="info"),
    )

    assert "# TYPE foo_total unknown\n" in found
    assert "# TYPE foo info\n" in found


def test_m59_series_of_a_counter_that_is_unknown_stay_live() -> None:
    """They are not copied."""
    one = counter(1)
    formatter = OpenMetricsFormatter()
    ready, _ = formatter.prepare([family("foo", one, kind="counter")])
    one.value = 7

    assert b"".join(formatter.encode(ready)) == b"# TYPE foo unknown\nfoo 7\n# EOF\n"


@pytest.mark.parametrize("kind", ["histogram", "summary"])
@pytest.mark.parametrize("other", ["gauge", "counter", "info"])
def test_m54_m59_a_name_produced_twice_is_dropped_and_counted(kind: str, other: str) -> None:
    """Only start times as samples produce one: no type keeps both; without them both are written."""
    families = [
        family("foo", MADE[kind](), kind=kind),
        family("foo_created", MADE[other](), kind=other),
    ]
    for order in (families, families[::-1]):
        body, faults = prepared(*order, created_samples=True)
        parse_with_prometheus_client(body, openmetrics=True)
        assert body.count("# TYPE") == 1
        assert [(fault.cause, fault.subject) for fault in faults] == [
            ("name_conflict", order[1].name)
        ]
        body, faults = prepared(*order)
        assert (body.count("# TYPE"), faults) == (2, [])


def test_e31_all_samples_of_a_label_set_are_consecutive() -> None:
    """Including the start time."""
    series = [counter(5, {"x": str(n)}, created=1600000000.25) for n in (1, 2)]

    assert lines(family("a_total", *series, kind="counter"), created_samples=True) == [
        "# TYPE a counter",
        'a_total{x="1"} 5',
        'a_created{x="1"} 1600000000.25',
        'a_total{x="2"} 5',
        'a_created{x="2"} 1600000000.25',
    ]


@pytest.mark.parametrize("value", [-1, -0.5, math.nan])
def test_e32_invalid_counters_are_dropped(value: float) -> None:
    """Only that sample."""
    found = lines(family("a_total", counter(value, {"x": "1"}), counter(2), kind="counter"))

    assert found == ["# TYPE a counter", "a_total 2"]


@pytest.mark.parametrize("total", [None, -1.0, math.nan])
def test_e32_without_a_valid_sum_there_is_no_count(total: float | None) -> None:
    """Buckets are kept; the same holds for summaries."""
    found = lines(family("h", histogram([1, 2], total, (1.0,)), kind="histogram"))
    assert found == ["# TYPE h histogram", 'h_bucket{le="1.0"} 1', 'h_bucket{le="+Inf"} 3']
    if total is not None:
        bad = family("s", summary(3, total, (0.5, -1), (0.9, 2)), kind="summary")
        assert lines(bad) == ["# TYPE s summary", 's{quantile="0.9"} 2']


def test_e32_a_negative_bound_means_no_sum() -> None:
    """And no count."""
    found = lines(family("h", histogram([1, 2], 5.0, (-1.0,)), kind="histogram"))

    assert found == ["# TYPE h histogram", 'h_bucket{le="-1.0"} 1', 'h_bucket{le="+Inf"} 3']


def test_e32_integers_and_infinities() -> None:
    """Integers have no decimal point; a counter may be infinite, a quantile NaN."""
    found = lines(
        family("a_total", counter(17), counter(math.inf, {"x": "1"}), kind="counter"),
        family("s", summary(0, 0, (0.5, math.nan)), kind="summary"),
    )

    assert found[1:3] == ["a_total 17", 'a_total{x="1"} +Inf']
    assert 's{quantile="0.5"} NaN' in found


def test_e33_the_example_of_a_histogram() -> None:
    """Buckets, count, sum, start time."""
    one = histogram([0, 11, 6], 324789.3, (0.01, 1.0), created=1520430000.123)

    assert lines(family("foo", one, kind="histogram"), created_samples=True) == [
        "# TYPE foo histogram",
        'foo_bucket{le="0.01"} 0',
        'foo_bucket{le="1.0"} 11',
        'foo_bucket{le="+Inf"} 17',
        "foo_count 17",
        "foo_sum 324789.3",
        "foo_created 1520430000.123",
    ]


def test_e34_state_sets_and_infos() -> None:
    """A sample for each state, named like the family; an info is 1."""
    states = [number(0, {"foo": "a"}), number(1, {"foo": "bb"})]
    found = lines(
        family("foo", *states, kind="stateset"),
        family("build_info", number(1, {"version": "8.2"}), kind="info"),
    )

    assert found == [
        "# TYPE build info",
        'build_info{version="8.2"} 1',
        "# TYPE foo stateset",
        'foo{foo="a"} 0',
        'foo{foo="bb"} 1',
    ]


def test_e35_start_times_are_an_option() -> None:
    """Counters, histograms, summaries; off by default, and only if they are known."""
    families = [
        family("a_total", counter(1, created=5.5), counter(1, {"x": "1"}), kind="counter"),
        family("h", histogram([1], 1, (), created=5.5), kind="histogram"),
        family("s", summary(1, 1), kind="summary"),
        family("g"),
    ]

    assert "_created" not in write(*families)
    created = [line for line in lines(*families, created_samples=True) if "_created" in line]
    assert created == ["a_created 5.5", "h_created 5.5", "s_created 5.0"]


# --- exemplars -------------------------------------------------------------------------


def test_e37_position_and_syntax() -> None:
    """Only behind the value of counters and buckets."""
    exemplars = [
        Exemplar((), 0.054),
        Exemplar((("trace_id", "KOO5S4vxi0o"), ("span_id", "b7")), 0.67, 1520879607.789),
        None,
    ]
    found = lines(
        family("foo", histogram([8, 3, 0], 2, (0.1, 1.0), exemplars=exemplars), kind="histogram")
    )

    assert found[1:4] == [
        'foo_bucket{le="0.1"} 8 # {} 0.054',
        'foo_bucket{le="1.0"} 11 # {trace_id="KOO5S4vxi0o",span_id="b7"} 0.67 1520879607.789',
        'foo_bucket{le="+Inf"} 11',
    ]
    assert found[4:] == ["foo_count 11", "foo_sum 2"]


def test_e37_behind_a_timestamp() -> None:
    """Which only the formatter's argument switches on."""
    series = counter(1, exemplar=Exemplar((), 1))
    (line,) = [
        line
        for line in lines(family("a_total", series, kind="counter"), timestamps=True)
        if line[0] == "a"
    ]

    value, stamp, mark, *_ = line.split(" ")[1:]
    assert (value, mark) == ("1", "#")
    assert float(stamp) > 1.7e9


@pytest.mark.parametrize(
    ("scheme", "label"),
    [
        ("allow-utf-8", '"trace.id"="a"'),
        ("underscores", 'trace_id="a"'),
        ("dots", 'trace_dot_id="a"'),
        ("values", 'U__trace_2e_id="a"'),
    ],
)
def test_e38_label_names_of_exemplars_are_escaped(scheme: Any, label: str) -> None:
    """Values as in other labels."""
    pairs = (("trace.id", "a"), ("q", '"\n\\'))
    series = counter(1, exemplar=Exemplar(pairs, 1, 5.0))
    formatter = with_escaping(OpenMetricsFormatter, scheme)()
    body = b"".join(formatter.encode([family("a_total", series, kind="counter")])).decode()

    assert f'a_total 1 # {{{label},q="\\"\\n\\\\"}} 1 5.0\n' in body


def test_e38_surrogates_in_exemplars_are_replaced() -> None:
    """Timestamps are written without an exponent."""
    series = counter(1, exemplar=Exemplar((("a", "\ud800"),), 1, 1795345000.0))

    assert '# {a="\ufffd"} 1 1795345000.0' in write(family("a_total", series, kind="counter"))


# --- the end ---------------------------------------------------------------------------


def test_e39_a_response_ends_with_eof() -> None:
    """Once, with a line feed, even without families."""
    assert write() == "# EOF\n"
    assert write(family("a")).endswith("\na 1\n# EOF\n")


def test_e40_the_older_version_has_the_same_body() -> None:
    """With escaped names, and no scheme in the content type."""
    wide = replace(family("a.b"), utf8=True)
    older, newer = OpenMetrics001Formatter(), OpenMetricsFormatter()

    assert older.get_headers() == {
        "Content-Type": "application/openmetrics-text; version=0.0.1; charset=utf-8"
    }
    bodies = {b"".join(each.encode(each.prepare([wide])[0])) for each in (older, newer)}
    assert bodies == {b"# TYPE a_b gauge\na_b 1\n# EOF\n"}


def test_e42_responses_with_hostile_data_are_valid() -> None:
    """A strict parser accepts them."""
    families = [
        family(
            "a_total",
            counter(math.nan),
            counter(-5, {"x": ""}),
            counter(10**40, {"x": "1"}),
            kind="counter",
        ),
        family("g", number(math.nan), number(-math.inf, {"x": '}"# '}), unit="x"),
        family(
            "h",
            histogram([0, 0], -1.5, (-5.0,)),
            histogram([2, 1], math.nan, (1.0,), labels={"b": "1"}),
            kind="histogram",
        ),
        family("s", summary(0, 0), kind="summary"),
        family("i_info", number(1, {"a": "\x00\r\t"}), kind="info"),
        family("u", kind="untyped", doc='"\\\n\x00'),
    ]

    assert write(*families, created_samples=True)
