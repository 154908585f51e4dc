"""How many series of one collector are worth a warning."""

from __future__ import annotations

import pytest

from otel_aioprom.collectors import Counter
from otel_aioprom.collectors.series import limits


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What bounds have logged: other tests may have left something behind that logs, too."""
    return [each.getMessage() for each in caplog.records if each.name == limits.__name__]


def test_ten_thousand_series_are_many(caplog: pytest.LogCaptureFixture) -> None:
    """That many, and no fewer; the warning names the label that makes them."""
    counter = Counter("x_total", "What.")
    for number in range(9_999):
        counter.inc({"user": number, "kind": number % 3})
    assert said(caplog) == []
    for number in range(9_999, 20_005):
        counter.inc({"user": number, "kind": number % 3})

    assert limits.MANY == 10_000
    assert said(caplog) == [
        "x_total has 10000 series: its label 'user' has 10000 values (max_series= sets a bound; logged once)"
    ]


def test_series_of_a_bounded_collector_are_never_many(caplog: pytest.LogCaptureFixture) -> None:
    """Who has set a bound knows."""
    counter = Counter("x_total", "What.", max_series=10_050)
    for number in range(10_100):
        counter.inc({"user": number})

    assert said(caplog) == []
