"""The retry policy and ``Retry-After``."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_aioprom._transport.retry import ONCE, Retry, is_transient, retry_after


@pytest.mark.parametrize("attempts", [0, -1])
def test_there_is_at_least_one_attempt(attempts: int) -> None:
    """Fewer make no sense."""
    with pytest.raises(ValueError, match="attempts must be 1 or more"):
        Retry(attempts=attempts)


@pytest.mark.parametrize("name", ["total", "first_wait", "longest_wait"])
@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_times_are_above_zero(name: str, seconds: float) -> None:
    """The error names the one that is not."""
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds above 0"):
        Retry(**{name: seconds})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["attempts", "total", "first_wait", "longest_wait"])
def test_options_are_numbers(name: str) -> None:
    """And no strings."""
    with pytest.raises(TypeError):
        Retry(**{name: "3"})  # type: ignore[arg-type]


def test_a_policy_is_not_changed_after_its_check() -> None:
    """It may be shared by many pushers."""
    with pytest.raises(AttributeError):
        Retry().attempts = 0  # type: ignore[misc]


@given(
    tried=st.integers(1, 100),
    first=st.floats(0.001, 10),
    longest=st.floats(0.001, 100),
)
def test_waits_double_and_are_drawn_between_a_half_and_the_whole(
    tried: int, first: float, longest: float
) -> None:
    """Up to the longest wait, after any number of attempts."""
    retry = Retry(attempts=200, total=1e9, first_wait=first, longest_wait=longest)
    whole = min(longest, first * 2.0 ** (tried - 1))

    for _ in range(20):
        wait = retry.wait(tried, 0.0, None)
        assert wait is not None
        assert whole / 2 <= wait <= whole


def test_waits_differ() -> None:
    """Many clients that failed together do not retry together."""
    assert len({Retry().wait(1, 0.0, None) for _ in range(20)}) > 10


def test_there_is_a_maximum_of_attempts() -> None:
    """After as many as the policy says."""
    retry = Retry(attempts=3)

    assert retry.wait(2, 0.0, None) is not None
    assert retry.wait(3, 0.0, None) is None
    assert retry.wait(3, 0.0, 0.0) is None
    assert ONCE.wait(1, 0.0, None) is None


def test_there_is_no_attempt_after_the_total_time() -> None:
    """A wait that would last beyond it is not begun."""
    retry = Retry(attempts=9, total=10.0, first_wait=4.0, longest_wait=4.0)

    assert retry.wait(1, 5.9, None) is not None
    assert retry.wait(1, 8.1, None) is None
    assert retry.wait(1, 11.0, None) is None
    assert retry.wait(1, 0.0, 9.9) == 9.9
    assert retry.wait(1, 0.0, 10.0) is None


def test_retry_after_replaces_the_backoff() -> None:
    """It may be shorter, or longer than the longest wait."""
    retry = Retry(total=100.0, first_wait=1.0, longest_wait=2.0)

    assert retry.wait(1, 0.0, 0.0) == 0.0
    assert retry.wait(4, 0.0, 30.0) == 30.0


def test_infinite_waits_mean_no_attempt() -> None:
    """No number is too large to reckon with."""
    retry = Retry(total=math.inf, first_wait=math.inf, longest_wait=math.inf)

    assert retry.wait(1, 0.0, None) is None
    assert retry.wait(1, 0.0, math.inf) is None


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 599])
def test_too_many_requests_and_faults_of_a_server_may_pass(status: int) -> None:
    """A retry may succeed."""
    assert is_transient(status)


@pytest.mark.parametrize("status", [200, 202, 204, 301, 307, 400, 401, 404, 408, 413, 428, 430])
def test_any_other_status_is_the_last_word(status: int) -> None:
    """The same request gets the same answer."""
    assert not is_transient(status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("007", 7.0),
        ("9" * 400, math.inf),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("+3", None),
        ("soon", None),
        ("٣", None),
        ("²", None),
        ("Thu, 99 Jan 2070 00:00:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 +999999999999999", None),
    ],
)
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    """Malformed values are ignored; dates in the past mean no wait."""
    assert retry_after(header) == seconds


def in_an_hour() -> datetime:
    """A timestamp in the precision of headers."""
    return datetime.now(timezone.utc) + timedelta(hours=1)


def test_retry_after_as_a_date() -> None:
    """It is the time until then."""
    found = retry_after(format_datetime(in_an_hour(), usegmt=True))

    assert found is not None
    assert 3590 < found <= 3600


@pytest.mark.parametrize("form", ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
def test_the_old_forms_of_dates_are_understood(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipients must know all three (RFC 9110, 5.6.7); each of them means UTC, wherever the client is."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        found = retry_after(in_an_hour().strftime(form))
    finally:
        monkeypatch.undo()
        time.tzset()

    assert found is not None
    assert 3590 < found <= 3600


@given(st.text() | st.text("0123456789 :,+-GMTJanThu", max_size=40))
def test_no_header_breaks_anything(header: str) -> None:
    """Whatever a server sends."""
    found = retry_after(header)

    assert found is None or found >= 0
