"""Families of strangers: what makes no sense costs itself."""

from __future__ import annotations

from typing import Any

import pytest

from oracles import FakeSource, family, number
from otel_aioprom.collectors import Gauge, Histogram, Summary
from otel_aioprom.model import MetricFamily, Series
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.series import GaugeSeries
from otel_aioprom.wellformed import well_formed


class Strange(Series):
    """A series of no kind."""

    __slots__ = ()
    names = ()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("x", TypeError, "families or collectors"),
        (None, TypeError, "families or collectors"),
        (family(""), ValueError, "needs a name"),
        (family("x", kind="timer"), ValueError, "its type must be one of"),
        (MetricFamily("x", "gauge", "", "", [Strange()]), TypeError, "series of a gauge are"),
        (MetricFamily("x", "histogram", "", "", [number(1)]), TypeError, "series of a histogram"),
        (MetricFamily("x", "summary", "", "", [number(1)]), TypeError, "series of a summary"),
        (family("x", GaugeSeries(("",), ("v",), " ", 1)), ValueError, "a label needs a name"),
    ],
)
def test_what_no_format_can_write_is_refused(
    given: Any, error: type[Exception], message: str
) -> None:
    """By what is wrong."""
    with pytest.raises(error, match=message):
        well_formed(given)


def test_what_is_right_stays_as_it_is() -> None:
    """Of every kind."""
    for collector in (Gauge("x", "X."), Histogram("h", "H."), Summary("s", "S.")):
        collector.labels({"a": 1})
        made = collector.family()
        assert well_formed(made) is made


def test_names_that_are_not_classic_are_quoted() -> None:
    """Without the source having said so; the labels' text follows."""
    odd_label = GaugeSeries(("a.b",), ("1",), '{a.b="1"} ', 1)
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("x.y"), family("z", odd_label)))
    text = render(registry, ["text/plain;version=1.0.0;escaping=allow-utf-8"])[0].decode()

    assert '{"x.y"} 1\n' in text
    assert 'z{"a.b"="1"} 1\n' in text
    assert "x_y 1\n" in render(registry, ["text/plain;version=0.0.4"])[0].decode()


def test_the_rest_of_a_source_is_shown() -> None:
    """What is wrong is counted and logged once."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("fine"), "junk", family("x", kind="timer")))  # type: ignore[arg-type]
    text = render(registry)[0].decode()

    assert "fine 1\n" in text
    assert 'dropped_total{cause="untranslatable"} 2\n' in text
