"""Summaries without a count or without a sum: no format invents one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client_model import TYPES, read_delimited, refuse
from format_families import encode, summary
from oracles import FakeSource
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Summary
from otel_aioprom.formats import BinaryFormatter, OpenMetricsFormatter, TextFormatter
from otel_aioprom.formats.protobuf_push import PushFormatter
from otel_aioprom.formats.text import RelayedTextFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.encoder import WriteEncoder
from otel_aioprom.textfile import write_textfile
from servers import check_with_promtool, parse_with_prometheus_client
from write_model import read_points

MOMENT = 1_800_000_000_000
WHOLE = """\
s{a="whole",quantile="0.5"} 7
s_sum{a="whole"} 9
s_count{a="whole"} 2
"""
QUANTILES = """\
s{a="quantiles",quantile="0.5"} 1
s{a="quantiles",quantile="0.9"} 2
"""


def times(*kinds: str) -> MetricFamily:
    """A family with some series, whose label says what they have."""
    every = {
        "whole": summary(2, 9, [(0.5, 7)], {"a": "whole"}),
        "quantiles": summary(None, None, [(0.5, 1), (0.9, 2)], {"a": "quantiles"}),
        "count": summary(5, None, [(0.5, 3)], {"a": "count"}),
        "sum": summary(None, 6, [], {"a": "sum"}),
    }
    return MetricFamily("s", "summary", "Times.", "", [every[kind] for kind in kinds or every])


def test_e24_text_has_what_there_is() -> None:
    """No sample of a value that is unknown."""
    body = encode(TextFormatter, times())

    assert body.decode() == (
        "# HELP s Times.\n# TYPE s summary\n"
        + WHOLE
        + QUANTILES
        + 's{a="count",quantile="0.5"} 3\ns_count{a="count"} 5\ns_sum{a="sum"} 6\n'
    )
    check_with_promtool(body)


def test_e24_openmetrics_has_what_there_is() -> None:
    """In the order of its specification."""
    body = encode(OpenMetricsFormatter, times())
    values = {
        (one.name, one.labels["a"]): one.value
        for each in parse_with_prometheus_client(body, openmetrics=True)
        for one in each.samples
        if one.name != "s"
    }

    assert values == {("s_count", "whole"): 2, ("s_sum", "whole"): 9, ("s_count", "count"): 5, ("s_sum", "sum"): 6}  # fmt: skip
    assert QUANTILES in body.decode()


def test_e65_protobuf_keeps_whole_summaries() -> None:
    """The others are metrics of their own: a message without a count is read as one with a count of zero."""
    found = read_delimited(encode(BinaryFormatter, times()))
    for each in found:
        refuse(each)

    assert [(each.name, TYPES[each.type], len(each.metric)) for each in found] == [
        ("s", "SUMMARY", 1),
        ("s", "UNTYPED", 3),
        ("s_sum", "UNTYPED", 1),
        ("s_count", "UNTYPED", 1),
    ]
    (whole,) = read_delimited(encode(BinaryFormatter, times("whole")))
    assert TYPES[whole.type] == "SUMMARY"


def test_e84_a_push_has_one_message_for_each_name() -> None:
    """A gateway keeps the last one."""
    found = read_delimited(encode(PushFormatter, times()))

    assert [(each.name, TYPES[each.type], len(each.metric)) for each in found] == [
        ("s", "UNTYPED", 4),
        ("s_sum", "UNTYPED", 2),
        ("s_count", "UNTYPED", 2),
    ]
    (whole,) = read_delimited(encode(PushFormatter, times("whole")))
    assert TYPES[whole.type] == "SUMMARY"


def test_e24_e84_what_is_written_anew_is_no_summary(tmp_path: Path) -> None:
    """A gateway, or the node exporter, would add a count and a sum of zero."""
    text = """\
# HELP s Times.
# TYPE s untyped
s{a="quantiles",quantile="0.5"} 1
s{a="quantiles",quantile="0.9"} 2
"""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(times("quantiles")))
    write_textfile(registry, tmp_path / "x.prom")

    assert (tmp_path / "x.prom").read_text() == text
    assert encode(RelayedTextFormatter, times("quantiles")).decode() == text
    assert encode(RelayedTextFormatter, times("whole")) == encode(TextFormatter, times("whole"))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_e99_remote_write_has_what_there_is(version: Any) -> None:
    """Also when a series gets its count later."""
    changing = summary(None, None, [(0.5, 1)])
    encoder = WriteEncoder(version)

    def names(moment: int) -> dict[str, float | None]:
        made = MetricFamily("s", "summary", "", "", [changing])
        found = [each for each in encoder.messages([made], moment) if each is not None]
        points = [point for each in found for point in read_points(version, each.body)]
        return {dict(each.labels)["__name__"]: each.value for each in points if not each.is_stale}

    assert names(MOMENT) == {"s": 1}
    changing.load(3, None, [(0.5, 2)])
    assert names(MOMENT + 1) == {"s": 2, "s_count": 3}
    changing.load(3, 4.5, [(0.5, 2)])
    assert names(MOMENT + 2) == {"s": 2, "s_count": 3, "s_sum": 4.5}


def test_it_can_be_looked_up() -> None:
    """What is unknown is ``None``."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(times("quantiles")))
    registry.gather()
    found = registry.get("s")

    assert isinstance(found, Summary)
    assert found.get({"a": "quantiles"}) == {0.5: 1, 0.9: 2, "count": None, "sum": None}  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("labels", [{"a.b": "1"}, {}])
def test_e45_names_are_escaped(labels: dict[str, str]) -> None:
    """Before what is partial is written separately."""
    every = [summary(None, None, [(0.5, 1)], labels)]
    made = MetricFamily("s.t", "summary", "", "", every, utf8=True)
    (found,) = read_delimited(encode(PushFormatter, made))

    assert (found.name, TYPES[found.type]) == ("s_t", "UNTYPED")
    assert "s_t{" in encode(RelayedTextFormatter, made).decode()
