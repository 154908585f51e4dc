"""Logs of what fails for a while: one line when it begins, one when it ends, however often it happens in between."""

from __future__ import annotations

import logging
from math import inf
from time import monotonic

_logger = logging.getLogger(__name__)

_QUIET = 60.0  # seconds after a line in which failures are only counted; doubles while it flaps
_LONGEST_QUIET = 3600.0


class FailureLog:
    """Logs when something begins to fail, and when it works again.

    What flaps would log two lines each time. So after a line, new failures are only counted for a while; the next
    lines include them, and losses are always reported in the end.

    Args:
        what: What it is, in the plural, as "writes to host".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = self._lost = 0
        self._is_logged = self._is_drop_logged = False
        self._quiet = _QUIET
        self._quiet_until = self._last = -inf

    def failed(self, reason: object, lost: int = 0) -> None:
        """Count a failure, and log it if it is the first since a success.

        Args:
            reason: Why it failed.
            lost: Number of samples that it has cost.
        """
        now = monotonic()
        if now - self._last > 2 * self._quiet:  # it has worked for long
            self._quiet = _QUIET
        self._last = now
        self._failures += 1
        self._lost += lost
        if not self._is_logged and now >= self._quiet_until:
            self._is_logged = True
            self._quiet_until = now + self._quiet
            self._quiet = min(2 * self._quiet, _LONGEST_QUIET)
            _logger.warning("%s fail: %s", self._what, reason)

    def gave_up(self, tried: int, reason: object) -> None:
        """Log a message that is dropped after a failure, if it is the first since a success."""
        if self._is_logged and not self._is_drop_logged:
            self._is_drop_logged = True
            _logger.error("a message is dropped after %d attempts: %s", tried, reason)

    def worked(self) -> None:
        """Log the success if it follows a failure that was logged, or one that has lost something."""
        if self._failures and (
            self._is_logged or (self._lost and monotonic() >= self._quiet_until)
        ):
            self._log_end("work again")

    def close(self) -> None:
        """Report losses that were not logged yet."""
        if self._lost:
            self._log_end("end")

    def _log_end(self, end: str) -> None:
        lost = f"; {self._lost} samples are lost" if self._lost else ""
        level = logging.WARNING if self._lost else logging.INFO
        _logger.log(level, "%s %s, after %d that failed%s", self._what, end, self._failures, lost)
        self._is_logged = self._is_drop_logged = False
        self._failures = self._lost = 0
