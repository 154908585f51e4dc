"""Retry policy: exponential backoff with jitter, and ``Retry-After``."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from otel_aioprom._core.numbers import check_seconds

TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry policy of requests: exponential backoff with jitter.

    The backoff doubles with each attempt; the wait is drawn at random between half of it and all of it. A
    ``Retry-After`` header of the server replaces it.

    Attributes:
        attempts: Maximum number of attempts, the first one included.
        total: Seconds that all attempts and waits may take together.
        first_wait: Backoff before the second attempt, in seconds.
        longest_wait: Maximum backoff, in seconds.

    Raises:
        ValueError: A value is out of range.

    Spec:
        E90, E102.
    """

    attempts: int = 5
    total: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 15.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be 1 or more, not {self.attempts!r}")
        for name in ("total", "first_wait", "longest_wait"):
            check_seconds(name, getattr(self, name))

    def wait(self, tried: int, elapsed: float, retry_after: float | None) -> float | None:
        """Return the seconds to wait before the next attempt, or ``None`` to give up.

        Args:
            tried: Attempts so far.
            elapsed: Seconds since the first one began.
            retry_after: Seconds that the server's ``Retry-After`` asks for.
        """
        if tried >= self.attempts:
            return None
        backoff = min(self.longest_wait, self.first_wait * 2.0 ** min(tried - 1, 64))
        wait = random.uniform(backoff / 2, backoff) if retry_after is None else retry_after  # noqa: S311 - no secret
        return wait if elapsed + wait < self.total else None


ONCE = Retry(attempts=1, total=math.inf)


def is_transient(status: int) -> bool:
    """Return whether a request with this status is worth a retry (E90, E102)."""
    return status == TOO_MANY_REQUESTS or status >= _SERVER_ERRORS


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, or ``None`` if it is malformed.

    Args:
        header: Value of the header, seconds or an HTTP date; ``None`` without one.

    Examples:
        >>> retry_after("3"), retry_after("soon"), retry_after("Thu, 01 Jan 1970 00:00:00 GMT")
        (3.0, None, 0.0)
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        asked = parsedate_to_datetime(text)
        if asked.tzinfo is None:  # an obsolete form, in UTC (RFC 9110, 5.6.7)
            asked = asked.replace(tzinfo=timezone.utc)
        return max(0.0, (asked - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, OverflowError):
        return None
