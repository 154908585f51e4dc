"""The content of protobuf messages (E65, E66)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from client_model import TYPES, refuse
from format_families import counter, histogram, read, summary
from oracles import family, number
from otel_aioprom._core.escaping import ESCAPING_SCHEMES, Escaping
from otel_aioprom._core.model import Exemplar, MetricFamily
from otel_aioprom.formats.protobuf import BinaryFormatter

INF = math.inf
EXEMPLAR = Exemplar((("trace.id", "é"), ("b", "")), 5.0, 1700000000.5)


def test_e65_content() -> None:
    """Names are those of samples, infos are gauges, labels are unchanged."""
    made = read(
        family("b_info", number(1, {"v": '"\n\\'}), kind="info"),
        family("c_total", counter(1), kind="counter"),
        family("d", counter(1), kind="counter"),
        family("h", histogram([1, 2], None, (1.0,)), kind="histogram"),
        family("states", number(1, {"states": "on"}), kind="stateset"),
    )

    assert [(each.name, TYPES[each.type]) for each in made] == [
        ("b_info", "GAUGE"), ("c_total", "COUNTER"), ("d", "COUNTER"), ("h", "HISTOGRAM"), ("states", "GAUGE"),
    ]  # fmt: skip
    assert made[0].metric[0].label[0].value == '"\n\\'
    assert not made[3].metric[0].histogram.HasField("sample_sum")
    for each in made:
        refuse(each)


@pytest.mark.parametrize("marked", [False, True])
def test_e65_the_infinite_bucket_is_written_only_with_an_exemplar(marked: bool) -> None:
    """Prometheus derives it from the count; no bucket has a label ``le``."""
    exemplars = [None, None, EXEMPLAR if marked else None]
    series = histogram([1, 2, 3], 6.0, (0.5, 1.0), labels={"a": "b"}, exemplars=exemplars)
    (found,) = read(family("h", series, kind="histogram"))
    value = found.metric[0].histogram

    upto = [(each.cumulative_count, each.upper_bound) for each in value.bucket]
    assert upto == [(1, 0.5), (3, 1.0), (6, INF)][: 3 if marked else 2]
    assert value.sample_count == 6
    assert [label.name for label in found.metric[0].label] == ["a"]


@pytest.mark.parametrize(
    "text", ["", "\x00", "\ufffe", "é日\U0001f600", '"\\\n\r', "%s%%\x0e", "le"]
)
def test_e65_strings_are_unchanged(text: str) -> None:
    """In labels, descriptions and exemplars."""
    exemplar = Exemplar((("a", text),), 1.0)
    (found,) = read(family("c_total", counter(1, {"a": text}, exemplar=exemplar), kind="counter", doc=text))  # fmt: skip

    assert found.help == text
    for labels in (found.metric[0].label, found.metric[0].counter.exemplar.label):
        assert [(label.name, label.value) for label in labels] == [("a", text)]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udfff\ud800"])
def test_e65_lone_surrogates_are_replaced(text: str) -> None:
    """In labels, descriptions, exemplars and names: invalid UTF-8 would spoil the whole response."""
    exemplar = Exemplar((("a", text),), 1.0)
    made = counter(1, {"a": text, text: "b"}, exemplar=exemplar)
    given = replace(family(f"m{text}_total", made, kind="counter", doc=text), utf8=True)
    (found,) = read(given, scheme="allow-utf-8")

    refuse(found)
    assert len(found.help) == len(text)
    assert found.name.startswith("m")
    assert found.name.endswith("_total")


@pytest.mark.parametrize("scheme", ESCAPING_SCHEMES)
def test_e65_no_label_becomes_the_name(scheme: Escaping) -> None:
    """Prometheus rejects the whole response for a label ``__name__``."""
    (found,) = read(replace(family("m", number(1, {"..name..": "x"})), utf8=True), scheme=scheme)

    refuse(found)


@pytest.mark.parametrize(
    ("name", "kind", "unit", "written"),
    [
        ("a_seconds_total", "counter", "seconds", True),
        ("a_seconds", "counter", "seconds", True),
        ("a_seconds", "gauge", "seconds", True),
        ("a_seconds", "histogram", "seconds", True),
        ("a_seconds", "summary", "seconds", True),
        ("a_seconds", "untyped", "seconds", True),
        ("a_by_m_per_s", "gauge", "m_per_s", True),
        ("a_total", "counter", "seconds", False),
        ("a_total", "counter", "total", False),
        ("a_total", "gauge", "total", True),
        ("a_seconds_total", "gauge", "seconds", False),
        ("seconds", "gauge", "seconds", False),
        ("seconds_total", "counter", "seconds", False),
        ("_seconds", "gauge", "seconds", True),
        ("microseconds", "gauge", "seconds", False),
        ("a_seconds", "info", "seconds", False),
        ("a_seconds", "stateset", "seconds", False),
        ("a_", "gauge", "", False),
    ],
)
def test_e66_a_unit_needs_a_name_that_ends_with_it(
    name: str, kind: str, unit: str, written: bool
) -> None:
    """Prometheus rejects the whole response for any other."""
    made = {"counter": counter(1), "histogram": histogram([1], 1.0), "summary": summary(1, 1.0, [])}
    (found,) = read(family(name, made.get(kind, number(1)), kind=kind, unit=unit))

    refuse(found)
    assert found.HasField("unit") is written
    assert found.unit == (unit if written else "")


@pytest.mark.parametrize("scheme", ESCAPING_SCHEMES)
def test_e66_the_escaped_name_decides(scheme: Escaping) -> None:
    """A dot is no underscore, but each escaping scheme replaces it by one."""
    (found,) = read(replace(family("my.seconds", unit="seconds"), utf8=True), scheme=scheme)

    refuse(found)
    assert found.HasField("unit") is (scheme != "allow-utf-8")


def test_e67_bytes_do_not_depend_on_other_series() -> None:
    """A series without exemplar is written the same beside one that has one, so that cut responses are equal."""
    with_exemplar = counter(1, {"a": "x"}, exemplar=EXEMPLAR, created=1.5)
    alone = encoded(family("c_total", counter(2, {"a": "y"}, created=1.5), kind="counter"))
    both = encoded(
        family("c_total", with_exemplar, counter(2, {"a": "y"}, created=1.5), kind="counter")
    )

    assert alone[alone.index(b'"') :] in both  # the metric, from its tag on


def encoded(one: MetricFamily) -> bytes:
    """What the format writes of a family."""
    formatter = BinaryFormatter()
    return b"".join(formatter.encode(formatter.prepare([one])[0]))
