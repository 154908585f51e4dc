"""What is invalid in a series costs itself, not the series, its family or its source; counted, logged once for its cause."""

from __future__ import annotations

import logging
from math import inf, nan
from typing import Any

import pytest

from client_model import read_delimited
from format_families import counter, histogram, summary
from oracles import FakeSource, dropped, family, number
from otel_aioprom._core.model import Exemplar, MetricFamily, Series
from otel_aioprom._core.native_histogram import NativeBuckets
from otel_aioprom.collectors import Counter, Gauge, Histogram
from otel_aioprom.collectors.series.classic_histogram import HistogramSeries
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.validation import well_formed
from otel_aioprom.renderer import render

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)
GOOD = Exemplar((("trace_id", "1"),), 0.5, 5.0)


class OwnExemplar(Exemplar):
    """An exemplar of a user's class."""

    __slots__ = ()


class Text(str):
    """A ``str`` subclass."""

    __slots__ = ()


class NoRepr:
    """An object whose ``repr`` raises."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError("no repr")


class Raising(list[Any]):
    """A list that cannot be read."""

    def __iter__(self) -> Any:
        """Fail."""
        raise RuntimeError("no items")


BAD_EXEMPLARS: list[Any] = [
    Exemplar((("trace_id", "x" * 121),), 1.0),  # 129 code points
    Exemplar((("a", "1"), ("a", "2")), 1.0),
    Exemplar((("trace", 5),), 1.0),  # type: ignore[arg-type]
    Exemplar((("trace", "\ud800"),), 1.0),
    Exemplar((("trace", Text("5")),), 1.0),
    Exemplar((("trace",),), 1.0),  # type: ignore[arg-type]
    Exemplar(None, 1.0),  # type: ignore[arg-type]
    Exemplar((), None),  # type: ignore[arg-type]
    Exemplar((), 10**400),
    Exemplar((), 1.0, "now"),  # type: ignore[arg-type]
    Exemplar(Raising([("a", "1")]), 1.0),  # type: ignore[arg-type]
    OwnExemplar((), 1.0),
    NoRepr(),
    "trace",
]


def validated(*series: Series, kind: str, name: str = "x") -> tuple[list[Any], list[Fault]]:
    """The valid series of a family, and the faults."""
    faults: list[Fault] = []
    return list(well_formed(MetricFamily(name, kind, "", "", series), faults).series), faults


@pytest.mark.parametrize("bad", BAD_EXEMPLARS)
def test_an_invalid_exemplar_costs_itself(bad: Any) -> None:
    """Of a counter, of a bucket, and of native buckets; other exemplars are exposed."""
    total = counter(3, {"a": "1"}, exemplar=bad)
    native = NativeBuckets(0, positive=[(0, 2)], exemplars=[GOOD, bad])
    held = histogram([1, 1], 2, (1.0,), native, exemplars=[GOOD, bad])

    (one,), faults = validated(total, kind="counter", name="x_total")
    assert (one.value, one.exemplar, one.pairs) == (3, None, (("a", "1"),))
    assert [(each.part, each.number, each.lost) for each in faults] == [("exemplar", 1, True)]
    assert 'x_total{a="1"}' in faults[0].message

    (one,), faults = validated(held, kind="histogram")
    assert one.exemplars == [GOOD, None]
    assert list(one.native.exemplars) == [GOOD]
    assert one.read()[0] == [1, 1, 2]
    assert [(each.part, each.number) for each in faults] == [("exemplar", 2)]


def test_the_series_of_the_user_is_not_changed() -> None:
    """So that each response counts what it drops."""
    long = Exemplar((("trace_id", "x" * 121),), 1.0)
    every = [counter(1, {"a": str(place)}, exemplar=GOOD) for place in range(11)]
    every[5].exemplar = long
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("x_total", *every, kind="counter")))
    for scrape in (1, 2):
        body = render(registry, [OPENMETRICS])[0].decode()
        assert body.count("x_total{") == 11
        assert body.count("trace_id") == 10
        assert f'dropped_total{{cause="untranslatable"}} {scrape}\n' in body
    assert every[5].exemplar is long


@pytest.mark.parametrize("bad", [[GOOD], 5, [GOOD] * 3])
def test_exemplars_that_fit_no_buckets_cost_themselves(bad: Any) -> None:
    """The histogram is exposed."""
    (one,), faults = validated(histogram([1, 1], 2, (1.0,), exemplars=bad), kind="histogram")

    assert one.exemplars is None
    assert one.read()[0] == [1, 1, 2]
    assert [each.part for each in faults] == ["exemplar"]


@pytest.mark.parametrize("at", ["now", 10**400, NoRepr()])
def test_an_invalid_start_time_costs_itself(at: Any) -> None:
    """The series is exposed."""
    every: list[tuple[str, Any]] = [
        ("counter", counter(1, created=at)),
        ("histogram", histogram([1], 1, created=at)),
        ("summary", summary(1, 1, [(0.5, 1.0)], created=at)),
    ]
    for kind, series in every:
        (one,), faults = validated(series, kind=kind)
        assert one.created is None
        assert series.created is at
        assert [each.part for each in faults] == ["start time"]


@pytest.mark.parametrize(
    "native",
    [
        5,
        NativeBuckets(0, zero_count=1),
        NativeBuckets(0, zero_count=3),
        NativeBuckets(0, zero_threshold=inf, zero_count=2),
        NativeBuckets(0, positive=[(0.5, 2)]),  # type: ignore[list-item]
        NativeBuckets(0, positive=[(2**20, 2)]),
        NativeBuckets(0, positive=[(0, 1.5)]),  # type: ignore[list-item]
        NativeBuckets(0, zero_count=2, exemplars=None),  # type: ignore[arg-type]
    ],
)
def test_invalid_native_buckets_cost_themselves(native: Any) -> None:
    """Those too that count otherwise than the classic ones, for which Prometheus rejects the whole response."""
    series = histogram([1, 1], 2, (1.0,))
    series.native = native
    (one,), faults = validated(series, kind="histogram")

    assert one.native is None
    assert one.read()[0] == [1, 1, 2]
    assert [each.part for each in faults] == ["native buckets"]


def test_observations_that_are_no_number_are_in_no_native_bucket() -> None:
    """So that these may count less."""
    series = histogram([1, 1], nan, (1.0,), NativeBuckets(0, zero_count=1))

    assert validated(series, kind="histogram") == ([series], [])


@pytest.mark.parametrize("bad", [None, 5, "\ud800", Text("x")])
def test_an_invalid_help_text_or_unit_costs_itself(bad: Any) -> None:
    """The metric is exposed without it; nothing counts as lost."""
    faults: list[Fault] = []
    made = well_formed(MetricFamily("x", "gauge", bad, bad, [number(1)]), faults)

    assert (made.doc, made.unit, len(made.series)) == ("", "", 1)
    assert [(each.part, each.lost) for each in faults] == [("help text", False), ("unit", False)]


def test_each_cause_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """However many series have it, and however often they are scraped."""
    every = [number(10**400 if place % 2 else 1, {"a": str(place)}) for place in range(10)]
    every += [number(1, {"a": "\ud800"}), number(1, {"__name__": "y"})]
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("x", *every)))
    render(registry)
    render(registry)

    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert messages[0].startswith('x: x{a="1"} is dropped: a value must lie within the range')
    assert "(one of 5 such)" in messages[0]
    assert messages[1].startswith("x: a series of x is dropped: label names and values must be")
    assert dropped(registry.gather()) == {"untranslatable": 21}


def test_each_invalid_family_of_a_source_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """By its name, if it has one."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("a", kind="b"), family("c", kind="d"), family("fine")))
    body = render(registry)[0]
    render(registry)

    assert b"fine 1\n" in body
    assert len(caplog.records) == 2


class OwnHistogram(Histogram):
    """A collector that makes its own family."""

    def family(self) -> MetricFamily:
        """Return one series that is right, one with a bad exemplar, and one whose bounds are wrong."""
        good = histogram([1, 1], 2, (1.0,), labels={"a": "1"})
        long = Exemplar((("trace_id", "x" * 121),), 1.0)
        some = histogram([1, 1], 2, (1.0,), labels={"a": "2"}, exemplars=[long, GOOD])
        wrong = HistogramSeries(("a",), ("3",), " ", (2.0, 1.0))
        return MetricFamily(self.name, "histogram", "", "", [good, wrong, some])


class OwnCounter(Counter):
    """A collector with its own values."""

    def get_all(self) -> list[Any]:
        """Return eleven items, some of which are invalid."""
        good = [({"a": place}, place) for place in range(8)]
        return [*good, ({"job": 1}, 1), ({"le-": 1}, 1), ({"a": "x"}, NoRepr())]


@pytest.mark.parametrize("way", ["registered", "from a source"])
def test_custom_collectors_lose_what_is_invalid(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of their own families, and of their own values."""
    registry = CollectorRegistry()
    every: list[Any] = [OwnHistogram("h", ""), OwnCounter("c_total", ""), Gauge("g", "")]
    every[2].set({}, 1)
    if way == "registered":
        for each in every:
            registry.register(each)
    else:
        registry.add_source(FakeSource(*every))
    body = render(registry, [OPENMETRICS])[0].decode()

    assert body.count("h_count{") == 2
    assert body.count("trace_id") == 1
    assert body.count("c_total{") == 8
    assert "\ng 1\n" in body
    assert 'dropped_total{cause="untranslatable"} 5\n' in body
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records) == 4


@pytest.mark.parametrize("accept", [PROTOBUF, OPENMETRICS, "text/plain"])
def test_every_format_is_whole_beside_invalid_parts(accept: str) -> None:
    """Native buckets that contradict the others would make Prometheus reject all of it."""
    bad = histogram([1, 1], 2, (1.0,), labels={"a": "place"})
    bad.native = NativeBuckets(0, zero_count=9)
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("h", bad, kind="histogram")))
    body, headers = render(registry, [accept])

    assert b"place" in body
    if accept == PROTOBUF:
        assert "protobuf" in headers["Content-Type"]
        (found,) = [each for each in read_delimited(body) if each.name == "h"]
        assert found.metric[0].histogram.zero_count == 0


def test_the_number_of_a_fault_is_checked() -> None:
    """A source may return faults too."""
    registry = CollectorRegistry()
    good = Fault("late", "x", "m", number=3)
    registry.add_source(FakeSource(good, good._replace(number=0), good._replace(number="2")))  # type: ignore[arg-type]

    assert dropped(registry.gather()) == {"late": 3, "untranslatable": 2}


def test_logging_of_an_invalid_item_survives_its_repr(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the objects of a user do."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("x", NoRepr(), number(1))))  # type: ignore[arg-type]
    assert b"x 1\n" in render(registry)[0]
    assert caplog.records[0].levelno == logging.ERROR
