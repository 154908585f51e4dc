"""What a server says to a message: how much it has stored, and what may help if it refuses."""

from __future__ import annotations

import re
from typing import NamedTuple

from otel_aioprom.errors import MetricsError, PushError
from otel_aioprom.remote_write.sending.protocol import UNAVAILABLE
from otel_aioprom.remote_write.sending.queue import QueuedMessage

_REFUSED_WHOLE = frozenset({400, 413, 422})
"""Statuses of 1.0 that one bad sample may cause, or the size of the message."""
_SERVER_ERRORS = 500
_NATIVE_DISABLED = re.compile(
    r"native[ -]?histograms?\b.{0,40}\b(?:disabled|not (?:enabled|supported)|unsupported)",
    re.IGNORECASE,
)
_OUT_OF_BOUNDS = re.compile(r"out of bounds|too far in the future", re.IGNORECASE)
_MAX_REQUESTS = 100  # for the parts of one message


class Outcome(NamedTuple):
    """The outcome of sending a message.

    Attributes:
        code: The last HTTP status, or ``error`` if there was no response.
        sent: Number of samples and histograms that the server has stored.
        lost: Number of those that it has rejected for good.
        out_of_bounds: Whether it was rejected for its timestamp.
    """

    code: str
    sent: int
    lost: int
    out_of_bounds: bool = False

    def plus(self, other: Outcome) -> Outcome:
        """Return the outcome of two parts of a message."""
        out_of_bounds = self.out_of_bounds or other.out_of_bounds
        return Outcome(other.code, self.sent + other.sent, self.lost + other.lost, out_of_bounds)


class Reply(NamedTuple):
    """The last response to a message or a part of one.

    Attributes:
        outcome: What has become of it.
        failure: Why not all of it was stored, if that is so.
        attempts: Number of attempts, if they are used up.
    """

    outcome: Outcome
    failure: MetricsError | None = None
    attempts: int = 0

    @property
    def reason(self) -> str:
        """The status and what the server says."""
        if isinstance(self.failure, PushError) and self.failure.status is not None:
            return f"status {self.failure.status}: {self.failure.reason}"
        return str(self.failure)

    @property
    def refuses_native(self) -> bool:
        """Whether the server does not take native histograms. Prometheus says so with status 500."""
        return self.failure is not None and _NATIVE_DISABLED.search(str(self.failure)) is not None

    def may_be_divided(self, message: QueuedMessage) -> bool:
        """Return whether parts of the message may be stored.

        All its samples have the same timestamp, so that dividing does not help if that is wrong. With 2.0, a server
        stores what is right. After a server error, the message may be the cause in either version.
        """
        if self.outcome.sent or self.outcome.out_of_bounds or message.samples < 2:  # noqa: PLR2004
            return False
        status = int(self.outcome.code) if self.outcome.code.isdigit() else 0
        refused = status in _REFUSED_WHOLE and message.version == "1.0"
        return refused or (status >= _SERVER_ERRORS and status not in UNAVAILABLE)


def is_out_of_bounds(text: str) -> bool:
    """Return whether a server rejects a timestamp: it is too far ahead of its clock, or too old."""
    return _OUT_OF_BOUNDS.search(text) is not None


class Division:
    """Limits the requests for the parts of a message.

    Args:
        samples: Number of samples of the message.
    """

    def __init__(self, samples: int) -> None:
        self.requests = 0
        self._blind = (
            samples.bit_length() + 4
        )  # enough to come from the whole message to a single sample
        self._accepted = False

    def count(self, reply: Reply) -> None:
        """Count the request for a part."""
        self.requests += 1
        self._accepted = self._accepted or reply.outcome.sent > 0

    @property
    def goes_on(self) -> bool:
        """Whether to divide further: not for ever, and not if the server refuses whatever it gets."""
        return self.requests < (_MAX_REQUESTS if self._accepted else self._blind)
