"""Text 0.0.4: names, labels and escapes (E6, E7, E11 to E14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from oracles import TextReader, all_kinds, sample_lines
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, Summary
from otel_aioprom.errors import InvalidLabelsError, InvalidNameError

KINDS = [Collector, Counter, Gauge, Histogram, Summary]
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(\\[\\n"]|[^\\\n"])*"'
SAMPLE = re.compile(
    rf"[a-zA-Z_:][a-zA-Z0-9_:]*(\{{{LABEL}(,{LABEL})*\}})? (NaN|[+-]Inf|-?[0-9][0-9.e+-]*)"
)
# Unicode line separators, tab, NUL, and characters with a meaning outside quotes.
RAW = "\t\r\0\x01\x0b\x0c\x1c\x7f\x85\xa0\u2028\u2029\ufeff{}=,#%'日本\U0001f600"


@pytest.fixture
def text_of() -> Iterator[TextReader]:
    """Encode text and check it with third-party parsers."""
    with TextReader() as reader:
        yield reader


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", "a\n", "a.b", "a{", '"a"'])
def test_e06_names_outside_the_classic_character_set_raise(name: str) -> None:
    """Text 0.0.4 has no quoted syntax."""
    for kind in KINDS:
        with pytest.raises(InvalidNameError):
            kind(name, "What.")


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", "a\n", "a:b", "__a", "__name__"])
def test_e06_label_names_outside_the_classic_character_set_raise(name: str) -> None:
    """Like metric names, but without colons; two leading underscores are reserved."""
    gauge = Gauge("g", "Level.")
    with pytest.raises(InvalidLabelsError):
        gauge.set({name: "1"}, 1)

    assert gauge.get_all() == []


def test_e06_classic_names_are_unchanged(text_of: TextReader) -> None:
    """Colons and underscores anywhere, digits behind the first character."""
    names = ["A", "_", ":", "a:b", "_9", "aZ_:0"]
    gauges = [Gauge(name, "") for name in names]
    for gauge in gauges:
        gauge.set({"_": 1, "a9": 2, "Z": 3}, 1)

    expected = [f'{name}{{Z="3",_="1",a9="2"}} 1' for name in names]
    assert sample_lines(text_of(*gauges)) == expected


def test_e07_job_is_reserved_for_the_server(text_of: TextReader) -> None:
    """``instance``, which the server renames, is allowed."""
    gauge = Gauge("g", "")
    with pytest.raises(InvalidLabelsError):
        gauge.set({"job": "a"}, 1)
    gauge.set({"instance": "a"}, 1)

    assert sample_lines(text_of(gauge)) == ['g{instance="a"} 1']


def test_e11_samples_have_no_extra_characters(text_of: TextReader) -> None:
    """No blanks but the one before the value, no comma at the end, no braces without labels."""
    registry = all_kinds()
    for name, value in (("g", 4), ("any", 5)):
        registry.get(name).set_value({"b": "2", "a": "1"}, value)
    registry.get("h").labels({"b": "2", "a": "1"}).observe(1)
    lines = sample_lines(text_of(registry))

    assert "g -1.5" in lines
    assert 'g{a="1",b="2"} 4' in lines
    assert 'h_bucket{a="1",b="2",le="1.0"} 1' in lines
    assert 'h_bucket{le="1.0"} 0' in lines
    assert all(SAMPLE.fullmatch(line) for line in lines)


@pytest.mark.parametrize("names", list(permutations(("b", "c", "a"))))
def test_e12_labels_are_sorted(text_of: TextReader, names: tuple[str, ...]) -> None:
    """In any order of arguments; constant labels are sorted among the others."""
    gauge = Gauge("g", "", {"aa": "const"})
    gauge.set(dict.fromkeys(names, "x"), 1)

    assert sample_lines(text_of(gauge)) == ['g{a="x",aa="const",b="x",c="x"} 1']


def test_e12_le_and_quantile_are_last(text_of: TextReader) -> None:
    """Even after names that sort behind them."""
    histogram, summary = Histogram("h", "", buckets=[1]), Summary("s", "", invariants=[(0.5, 0.1)])
    histogram.observe({"zone": 1, "a": 2}, 0.5)
    summary.observe({"zone": 1, "a": 2}, 3)
    text = text_of(histogram, summary)

    assert 'h_bucket{a="2",zone="1",le="1.0"} 1\n' in text
    assert 's{a="2",zone="1",quantile="0.5"} 3.0\n' in text


def test_e12_lines_do_not_change_between_responses(text_of: TextReader) -> None:
    """New series do not change the order of existing ones."""
    registry = all_kinds({"b": 1, "a": 2})
    before = sample_lines(text_of(registry))
    registry.get("g").set_value({"a": 2, "b": 2}, 9)
    after = sample_lines(text_of(registry))

    assert [line for line in after if line in before] == before


def test_e13_the_example(text_of: TextReader) -> None:
    r"""Backslash, LF and quote are escaped, each with one backslash."""
    gauge = Gauge("g", "")
    gauge.set({"p": 'C:\\d\n"q"'}, 1)

    assert sample_lines(text_of(gauge)) == [r'g{p="C:\\d\n\"q\""} 1']


@pytest.mark.parametrize("kind", KINDS)
def test_e13_all_other_characters_are_raw(text_of: TextReader, kind: type[Collector[Any]]) -> None:
    """Tab, CR, NUL, Unicode line separators, and delimiters, in all types of samples."""
    collector = kind("x", "")
    collector.labels({"p": RAW})
    lines = sample_lines(text_of(collector))

    assert lines
    assert all(f'{{p="{RAW}"' in line for line in lines)


def test_e13_escapes_are_unambiguous(text_of: TextReader) -> None:
    r"""A backslash and an n are parsed as two characters."""
    gauge = Gauge("g", "")
    gauge.set({"p": r"\n"}, 1)
    gauge.set({"p": "\\"}, 2)
    gauge.set({"p": "\n"}, 3)

    assert sample_lines(text_of(gauge)) == [r'g{p="\\n"} 1', r'g{p="\\"} 2', r'g{p="\n"} 3']


def test_e13_lone_surrogates_are_replaced(text_of: TextReader) -> None:
    """By U+FFFD, in label values, constant ones too, and in help."""
    gauge = Gauge("g", "bad \udfff help", {"c": "\ud800"})
    gauge.set({"p": "a\udc80b"}, 1)

    assert text_of(gauge) == (
        '# HELP g bad \ufffd help\n# TYPE g gauge\ng{c="\ufffd",p="a\ufffdb"} 1\n'
    )


def test_e14_the_example(text_of: TextReader) -> None:
    """In HELP, quotes are not escaped."""
    gauge = Gauge("x", 'a "b" \\c')
    gauge.set({}, 1)

    assert text_of(gauge) == '# HELP x a "b" \\\\c\n# TYPE x gauge\nx 1\n'


def test_e14_only_backslash_and_lf_are_escaped(text_of: TextReader) -> None:
    """In a description; other characters are unchanged."""
    gauge = Gauge("x", f'\\n\n"{RAW}')
    gauge.set({}, 1)

    assert text_of(gauge) == f'# HELP x \\\\n\\n"{RAW}\n# TYPE x gauge\nx 1\n'
