"""Send messages, negotiate the protocol version, and retry."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import aiohttp
from aiohttp import hdrs
from yarl import URL

from otel_aioprom._transport.delivery import Delivery, is_success, redacted, refused
from otel_aioprom._transport.retry import Retry, is_transient, retry_after
from otel_aioprom.errors import MetricsError, MissingExtraError, PushError
from otel_aioprom.remote_write.queue import QueuedMessage

if TYPE_CHECKING:
    from otel_aioprom._concurrency.periodic import FailureLogger

_logger = logging.getLogger(__name__)

VERSION_HEADER = "X-Prometheus-Remote-Write-Version"
_STORED_HEADERS = (
    "X-Prometheus-Remote-Write-Samples-Written",
    "X-Prometheus-Remote-Write-Histograms-Written",
)
_HEADERS = {
    "1.0": {hdrs.CONTENT_TYPE: "application/x-protobuf", VERSION_HEADER: "0.1.0"},
    # With a space after the semicolon, Prometheus takes it for 1.0 and stores nothing.
    "2.0": {
        hdrs.CONTENT_TYPE: "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        VERSION_HEADER: "2.0.0",
    },
}
_UNAVAILABLE = frozenset({429, 502, 503, 504})
"""Statuses that do not depend on the message: the server is overloaded or unavailable."""
_BACKOFF = Retry(attempts=1 << 31, total=math.inf, first_wait=0.1, longest_wait=5.0)
_NUMBER = re.compile(r"[0-9]{1,18}")
_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_MAX_WAIT = 300.0  # seconds, whatever a server asks for


class Outcome(NamedTuple):
    """The outcome of sending a message.

    Attributes:
        code: The HTTP status, or ``error`` if there was no response.
        sent: Number of samples and histograms that the server has stored.
        lost: Number of those that it has rejected for good.
    """

    code: str
    sent: int
    lost: int


class Sender:
    """Send messages to one server.

    Args:
        url: URL of the server's write endpoint.
        delivery: HTTP client, without retries of its own.
        preferred: Version to use if the server supports it.
        attempts: Maximum number of attempts for a message that causes server errors.
        failure_log: Logs when messages begin to fail, and when they arrive again.

    Attributes:
        version: Version for new messages: 1.0 until the server has confirmed 2.0.

    Spec:
        E94, E101, E102, E107.
    """

    def __init__(
        self,
        url: URL,
        delivery: Delivery,
        preferred: str,
        attempts: int,
        failure_log: FailureLogger,
    ) -> None:
        self._url = url
        self._delivery = delivery
        self._negotiated = preferred == "1.0"
        self._attempts = attempts
        self._failure_log = failure_log
        self.version: Literal["1.0", "2.0"] = "1.0"

    async def negotiate(self) -> None:
        """Find out by an empty message whether the server supports 2.0; repeated until a server has responded."""
        if self._negotiated:
            return
        try:
            response = await self._post(QueuedMessage("2.0", 0, compress(b"")), 0)
        except MetricsError:
            return
        if is_transient(response.status):
            return
        self._negotiated = True
        if is_success(response) and _stored(response) is not None:
            self.version = "2.0"
        else:
            _logger.info("%s does not support remote write 2.0 and gets 1.0", redacted(self._url))

    async def send(self, message: QueuedMessage) -> Outcome:
        """Send a message, and retry until it has been stored, rejected or given up."""
        await self.negotiate()
        tried = failures = 0
        while True:
            try:
                response = await self._post(message, tried)
            except MetricsError as error:
                outcome, failure, server_wait = Outcome("error", 0, message.samples), error, None
                failures += not _is_unreachable(error)
            else:
                outcome = self._outcome_of(message, response)
                if not is_transient(response.status):
                    return await self._log_outcome(outcome, response)
                failure = await refused(response)
                server_wait = retry_after(response.headers.get(hdrs.RETRY_AFTER))
                failures += response.status not in _UNAVAILABLE
            tried += 1
            self._failure_log.failed(failure)
            if failures >= self._attempts:
                _logger.error("a message is dropped after %d attempts: %s", tried, failure)
                return outcome
            backoff = _BACKOFF.wait(tried, 0.0, None) or 0.0
            # Never less than the backoff, so that no Retry-After makes this a busy loop.
            await asyncio.sleep(max(backoff, min(server_wait or 0.0, _MAX_WAIT)))

    async def _post(self, message: QueuedMessage, tried: int) -> aiohttp.ClientResponse:
        headers = {
            hdrs.CONTENT_ENCODING: "snappy",
            hdrs.USER_AGENT: _user_agent(),
            **_HEADERS[message.version],
        }
        if tried:
            headers["Retry-Attempt"] = str(tried)
        return await self._delivery.send(hdrs.METH_POST, self._url, [message.body], headers)

    def _outcome_of(self, message: QueuedMessage, response: aiohttp.ClientResponse) -> Outcome:
        """Return how much of a message was stored; with 2.0 the server reports it."""
        code = str(response.status)
        if message.version == "1.0":
            sent = message.samples if is_success(response) else 0
        else:
            stored = _stored(response)
            sent = min(stored or 0, message.samples)
            is_1_0 = is_success(response) or response.status == 415  # noqa: PLR2004 - HTTP
            if stored is None and is_1_0 and self.version == "2.0":
                _logger.warning(
                    "%s no longer supports remote write 2.0 and gets 1.0; queued 2.0 messages are lost",
                    redacted(self._url),
                )
                self.version = "1.0"
        return Outcome(code, sent, message.samples - sent)

    async def _log_outcome(self, outcome: Outcome, response: aiohttp.ClientResponse) -> Outcome:
        # With 2.0 the numbers count: a message that is sent again is rejected only for its exemplars.
        if not outcome.lost and (is_success(response) or outcome.sent):
            self._failure_log.worked()
        else:
            self._failure_log.failed(await refused(response))
        return outcome


def _is_unreachable(error: Exception) -> bool:
    """Return whether the server was not reached at all, so that the message is not the cause."""
    cause = error.__cause__
    return not isinstance(error, PushError) or isinstance(cause, _UNREACHABLE)


def _stored(response: aiohttp.ClientResponse) -> int | None:
    """Return how many samples and histograms a 2.0 server has stored, or ``None`` without those headers."""
    found = [response.headers.get(name, "") for name in _STORED_HEADERS]
    numbers = [int(text) for text in found if _NUMBER.fullmatch(text)]
    return sum(numbers) if numbers else None


def check_url(url: Any) -> URL:
    """Return the URL of a server.

    Raises:
        TypeError: ``url`` is no string.
        ValueError: It is no HTTP URL.
    """
    message = f"url must be a URL such as 'http://localhost:9090/api/v1/write', not {url!r}"
    if not isinstance(url, str):
        raise TypeError(message)
    try:
        target = URL(url)
        valid = target.scheme in {"http", "https"} and target.host and target.port
    except ValueError as error:
        raise ValueError(f"{message}: {error}") from error
    if not valid:
        raise ValueError(message)
    return target


def check_headers(headers: Mapping[str, str]) -> None:
    """Reject headers that the protocol sets itself (E94).

    Raises:
        ValueError: There is such a header.
    """
    fixed = {hdrs.USER_AGENT.lower(), VERSION_HEADER.lower(), "retry-attempt"}
    for name in headers:
        if name.lower() in fixed:
            raise ValueError(f"the header {name!r} is set by the protocol: remove it")


def compress(message: bytes) -> bytes:
    """Compress a message in the block format of snappy (E95).

    Raises:
        MissingExtraError: The extra ``remote-write`` is not installed.
    """
    return bytes(_snappy().compress_raw(message))


@cache
def _snappy() -> Any:
    try:
        return import_module("cramjam").snappy
    except ImportError as error:
        raise MissingExtraError("cramjam", "remote-write") from error


@cache
def _user_agent() -> str:
    try:
        return f"otel-aioprom/{version('otel-aioprom')}"
    except PackageNotFoundError:  # not installed, but run from a source tree
        return "otel-aioprom/0"
