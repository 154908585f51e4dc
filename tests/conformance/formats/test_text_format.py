"""Text 0.0.4: the response, series and lines (E3 to E5, E15 to E20)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

import pytest

from oracles import FakeSource, TextReader, all_kinds, answer_to, family, number, sample_lines
from otel_aioprom.collectors import Counter, Gauge, Histogram
from otel_aioprom.formats import TextFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render
from otel_aioprom.service.messages import ScrapeRequest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METADATA = re.compile(
    r"# (HELP [a-zA-Z_:][a-zA-Z0-9_:]* .*|TYPE [a-zA-Z_:][a-zA-Z0-9_:]* "
    r"(counter|gauge|histogram|summary|untyped))"
)
SAMPLE = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? \S+")


@pytest.fixture
def text_of() -> Iterator[TextReader]:
    """Encode text and check it with third-party parsers."""
    with TextReader() as reader:
        yield reader


@pytest.mark.parametrize("accept", [(), ("",), ("text/html",), ("a;;=,;version=\x00",), ("*/*",)])
async def test_e03_the_content_type_is_exact(text_of: TextReader, accept: tuple[str, ...]) -> None:
    """In every way to render, exactly as in prometheus_client."""
    registry = all_kinds()
    body, headers = render(registry, accept)
    _, later = await async_render(registry, accept)
    response = await answer_to(registry, ScrapeRequest(accept=accept))
    head = await answer_to(registry, ScrapeRequest("HEAD", accept=accept))

    assert headers == later == TextFormatter(False).get_headers() == {"Content-Type": CONTENT_TYPE}
    assert response.headers["Content-Type"] == head.headers["Content-Type"] == CONTENT_TYPE
    assert text_of.read(body)


async def test_e04_an_empty_registry_is_200_and_an_empty_body(text_of: TextReader) -> None:
    """A collector without recordings exposes nothing."""
    registry = CollectorRegistry()
    Counter("unused_total", "Nothing yet.", registry=registry)
    response = await answer_to(registry)

    assert response.status == 200
    assert response.body == b""
    assert text_of(registry) == ""


async def test_e04_a_failed_source_does_not_change_the_status() -> None:
    """The rest is served."""
    registry = all_kinds()
    registry.add_source(FakeSource(RuntimeError("broken")))
    response = await answer_to(registry)

    assert response.status == 200


def test_e05_utf8_lf_and_a_last_line_that_ends(text_of: TextReader) -> None:
    """UTF-8 without a byte order mark; LF ends every line, the last one too."""
    registry = all_kinds({"city": "Zürich \U0001f600"})
    body, _ = render(registry)

    assert body.startswith(b"# HELP any Untyped.\n# TYPE any untyped\n")
    assert 'city="Zürich \U0001f600"'.encode() in body
    assert body.endswith(b"\n")
    assert not body.endswith(b"\n\n")
    assert b"\r" not in body
    assert text_of(registry).encode() == body


def test_e15_one_line_per_series(text_of: TextReader) -> None:
    """Order and type of labels do not distinguish series, nor do labels with an empty value."""
    gauge = Gauge("g", "")
    gauge.set({"a": 1, "b": 2}, 1)
    gauge.set({"b": "2", "a": "1"}, 2)
    gauge.set({}, 3)
    gauge.set({"a": ""}, 4)
    gauge.set({"a": None}, 5)

    assert sample_lines(text_of(gauge)) == ["g 4", 'g{a="1",b="2"} 2', 'g{a="None"} 5']


def test_e15_no_duplicate_labels(text_of: TextReader) -> None:
    """A constant label that a call repeats has the call's value."""
    gauge = Gauge("g", "", {"a": "const"})
    gauge.set({"a": "call"}, 1)
    gauge.set({"a": "const"}, 2)
    gauge.set({}, 3)

    assert sample_lines(text_of(gauge)) == ['g{a="const"} 3', 'g{a="call"} 1']


def test_e15_custom_collectors_have_one_line_per_series(text_of: TextReader) -> None:
    """Of several items of one series, the first is exposed."""

    class Own(Gauge):
        def get_all(self) -> list[tuple[dict[str, str], object]]:
            return [({"b": "2", "a": "1"}, 1), ({"a": "1", "b": "2"}, 2), ({}, 3), ({"x": ""}, 4)]

    registry = CollectorRegistry()
    registry.register(Own("g", ""))

    lines = sample_lines(text_of(registry))
    assert [line for line in lines if line.startswith("g")] == ['g{a="1",b="2"} 1', "g 3"]


def test_e15_a_name_belongs_to_one_family(text_of: TextReader) -> None:
    """A source cannot expose a second ``h_count`` beside the histogram's."""
    registry = CollectorRegistry()
    Histogram("h", "", buckets=[1], registry=registry).observe({}, 3)
    registry.add_source(FakeSource(family("h_count", number(9)), family("h_max", number(3))))
    lines = sample_lines(text_of(registry))

    assert "h_count 1" in lines
    assert "h_count 9" not in lines
    assert "h_max 3" in lines


def test_e16_one_group_per_family_sorted_by_name(text_of: TextReader) -> None:
    """Metadata first, then all samples of the family, wherever its series come from."""
    registry = all_kinds()
    Gauge("aa", "", registry=registry).set({}, 1)
    first, second = number(1, {"from": "1"}), number(2, {"from": "2"})
    registry.add_source(FakeSource(family("b", first, doc="B."), family("z", first)))
    registry.add_source(FakeSource(family("b", second, doc="B.")))
    text = text_of(registry)
    groups = [name for name, _ in groupby(sample_lines(text), lambda line: line.partition("{")[0])]

    assert re.findall("# TYPE (.*) ", text) == ["aa", "any", "b", "c_total", "g", "h", "s", "z"]
    assert groups.count("b") == 1
    assert '# HELP b B.\n# TYPE b gauge\nb{from="1"} 1\nb{from="2"} 2\n# ' in text
    assert len(re.findall("# HELP b ", text)) == 1


def test_e17_no_timestamps(text_of: TextReader) -> None:
    """In the formatter of endpoints."""
    lines = sample_lines(text_of(all_kinds({"a": 1})))

    assert all(line.count(" ") == 1 for line in lines)


def test_e17_optional_timestamps_are_milliseconds(text_of: TextReader) -> None:
    """With the formatter's argument, every sample has the same integer."""
    body = TextFormatter(True).marshall(all_kinds({"a": 1}))
    stamps = {line.split(" ")[2] for line in sample_lines(text_of.read(body))}

    assert len(stamps) == 1
    assert re.fullmatch(r"1\d{12}", stamps.pop())


def test_e18_invalid_values_raise_when_recorded(text_of: TextReader) -> None:
    """So that encoding cannot fail half-way; earlier values are kept."""
    gauge, histogram = Gauge("g", ""), Histogram("h", "", buckets=[1])
    gauge.set({}, 1)
    histogram.observe({}, 2)
    for value in ("1", None, 1j, b"1", 10**400):
        with pytest.raises((TypeError, ValueError)):
            gauge.set({}, value)
        with pytest.raises((TypeError, ValueError)):
            histogram.observe({}, value)

    assert sample_lines(text_of(gauge)) == ["g 1"]
    assert "h_sum 2" in sample_lines(text_of(histogram))


def test_e18_an_invalid_item_of_a_custom_collector_is_dropped(text_of: TextReader) -> None:
    """The rest is a valid response, and the loss is counted."""

    class Own(Gauge):
        def get_all(self) -> list[tuple[dict[str, str], object]]:
            return [({"a": "1"}, "high"), ({"b-b": "1"}, 1), ({"a": "2"}, 2)]

    registry = CollectorRegistry()
    registry.register(Own("g", ""))

    assert sample_lines(text_of(registry)) == [
        'g{a="2"} 2',
        'otel_aioprom_dropped_total{cause="untranslatable"} 2',
    ]


def test_e19_no_line_starts_with_a_blank(text_of: TextReader) -> None:
    """Neither help nor a label value can start a line."""
    gauge = Gauge("g", "a\n  b 1\n")
    gauge.set({"a": "\n  c 1\n"}, 1)
    text = text_of(gauge)

    assert all(re.match("[a-zA-Z_:#]", line) for line in text.splitlines())
    assert len(text.splitlines()) == 3


def test_e20_help_then_type_then_samples(text_of: TextReader) -> None:
    """Each once per name, one blank between tokens; no HELP without a description."""
    registry = all_kinds({"a": 1})
    Gauge("quiet", "", registry=registry).set({}, 1)
    text = text_of(registry)
    described = re.findall("# HELP (.*?) ", text)
    typed = re.findall("# TYPE (.*?) ", text)

    assert described == ["any", "c_total", "g", "h", "s"]
    assert typed == ["any", "c_total", "g", "h", "quiet", "s"]
    assert "# HELP c_total Counts.\n# TYPE c_total counter\nc_total{" in text
    assert all(METADATA.fullmatch(line) or SAMPLE.fullmatch(line) for line in text.splitlines())
