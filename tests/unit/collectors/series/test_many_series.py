"""The warning about many series of one collector."""

from __future__ import annotations

import pytest

from otel_aioprom.collectors import Counter
from otel_aioprom.collectors.series import limits


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Warnings about limits; objects of other tests may log too."""
    return [each.getMessage() for each in caplog.records if each.name == limits.__name__]


def test_ten_thousand_series_are_many(caplog: pytest.LogCaptureFixture) -> None:
    """That many, and no fewer; the warning names the label with the most values."""
    counter = Counter("x_total", "What.")
    for number in range(9_999):
        counter.inc({"user": number, "kind": number % 3})
    assert warnings_of(caplog) == []
    for number in range(9_999, 20_005):
        counter.inc({"user": number, "kind": number % 3})

    assert limits.MANY == 10_000
    assert warnings_of(caplog) == [
        "x_total has 10000 series: its label 'user' has 10000 values (max_series= sets a limit; logged once)"
    ]


def test_a_collector_with_a_limit_logs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """However many series it has."""
    counter = Counter("x_total", "What.", max_series=10_050)
    for number in range(10_100):
        counter.inc({"user": number})

    assert warnings_of(caplog) == []
