"""When to try again, and how long to wait before that."""

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
    """How often to try, and for how long.

    The wait before the next try doubles from one to the next, and is drawn at random between a half and the whole
    of that, so that many clients do not come back together. A server's ``Retry-After`` takes its place.

    Attributes:
        attempts: Tries in all, the first one too.
        total: Seconds from the first try on that all of them may take together.
        first_wait: Seconds before the second try.
        longest_wait: Seconds that a wait grows to.

    Raises:
        ValueError: A value makes no sense.

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
        """Return the seconds before the next try, or ``None`` if there is to be none.

        Args:
            tried: Tries so far.
            elapsed: Seconds since the first one began.
            retry_after: Seconds that the server asks for.
        """
        if tried >= self.attempts:
            return None
        grown = min(self.longest_wait, self.first_wait * 2.0 ** min(tried - 1, 64))
        wait = random.uniform(grown / 2, grown) if retry_after is None else retry_after  # noqa: S311 - no secret
        return wait if elapsed + wait < self.total else None


ONCE = Retry(attempts=1, total=math.inf)


def is_transient(status: int) -> bool:
    """Tell whether a status may be another one the next time (E90, E102)."""
    return status == TOO_MANY_REQUESTS or status >= _SERVER_ERRORS


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for; none if it makes no sense.

    Args:
        header: Seconds, or a date.

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
        if asked.tzinfo is None:  # an old form, which means UTC (RFC 9110, 5.6.7)
            asked = asked.replace(tzinfo=timezone.utc)
        return max(0.0, (asked - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, OverflowError):
        return None
