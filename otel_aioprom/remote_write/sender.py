"""Sending of messages, one after the other: what arrives, what is refused, what is tried again."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from aiohttp import hdrs

from otel_aioprom._transport.delivery import Delivery, is_success, refused, shown
from otel_aioprom._transport.retry import Retry, is_transient, retry_after
from otel_aioprom.errors import MetricsError, MissingExtraError, PushError
from otel_aioprom.remote_write.queue import Entry

if TYPE_CHECKING:
    from yarl import URL

    from otel_aioprom._concurrency.periodic import Watch

_logger = logging.getLogger(__name__)

VERSION_HEADER = "X-Prometheus-Remote-Write-Version"
_WRITTEN = (
    "X-Prometheus-Remote-Write-Samples-Written",
    "X-Prometheus-Remote-Write-Histograms-Written",
)
_HEADERS = {
    "1.0": {hdrs.CONTENT_TYPE: "application/x-protobuf", VERSION_HEADER: "0.1.0"},
    # A blank after the semicolon, and Prometheus takes it for 1.0 and stores nothing.
    "2.0": {
        hdrs.CONTENT_TYPE: "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        VERSION_HEADER: "2.0.0",
    },
}
_BUSY = frozenset({429, 502, 503, 504})
"""Statuses that say nothing of the message: the server has no time, or is not there."""
_WAITS = Retry(attempts=1 << 31, total=math.inf, first_wait=0.1, longest_wait=5.0)
_NUMBER = re.compile(r"[0-9]{1,18}")
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_LONGEST_WAIT = 300.0  # whatever a server asks for


class Outcome(NamedTuple):
    """What has become of a message.

    Attributes:
        code: The status, or ``error`` if there was no response.
        sent: Samples and histograms that the server has taken.
        lost: Those that it has not taken, and never will.
    """

    code: str
    sent: int
    lost: int


class Sender:
    """Sends messages to one server.

    Args:
        url: The server's address for writes.
        delivery: Sends a request, once.
        preferred: The version to use if the server knows it.
        attempts: How often a message is tried that gets the server into trouble.
        watch: Is told when messages fail, and when they arrive again.

    Attributes:
        version: What to write messages in: 1.0 until the server has shown that it knows 2.0.

    Spec:
        E94, E101, E102, E107.
    """

    def __init__(
        self, url: URL, delivery: Delivery, preferred: str, attempts: int, watch: Watch
    ) -> None:
        self._url = url
        self._delivery = delivery
        self._asked = preferred == "1.0"
        self._attempts = attempts
        self._watch = watch
        self.version = "1.0"

    async def agree(self) -> None:
        """Find out whether the server knows 2.0, by a message without series; a server that is away is asked again."""
        if self._asked:
            return
        try:
            response = await self._post(Entry("2.0", 0, compress(b"")), 0)
        except MetricsError:
            return
        if is_transient(response.status):
            return
        self._asked = True
        if is_success(response) and _written(response) is not None:
            self.version = "2.0"
        else:
            _logger.info("%s does not know remote write 2.0 and gets 1.0", shown(self._url))

    async def send(self, entry: Entry) -> Outcome:
        """Send a message, and try again until it has arrived or never will."""
        await self.agree()
        tried = troubled = 0
        while True:
            try:
                response = await self._post(entry, tried)
            except MetricsError as error:
                outcome, failure, asked = Outcome("error", 0, entry.samples), error, None
                troubled += not _is_away(error)
            else:
                outcome = self._judge(entry, response)
                if not is_transient(response.status):
                    return await self._settled(outcome, response)
                failure = await refused(response)
                asked = retry_after(response.headers.get(hdrs.RETRY_AFTER))
                troubled += response.status not in _BUSY
            tried += 1
            self._watch.failed(failure)
            if troubled >= self._attempts:
                _logger.error("a message is given up after %d tries: %s", tried, failure)
                return outcome
            usual = _WAITS.wait(tried, 0.0, None) or 0.0
            # Never less than usual, whatever a server says: no answer makes this a flood.
            await asyncio.sleep(max(usual, min(asked or 0.0, _LONGEST_WAIT)))

    async def _post(self, entry: Entry, tried: int) -> aiohttp.ClientResponse:
        headers = {
            hdrs.CONTENT_ENCODING: "snappy",
            hdrs.USER_AGENT: _user_agent(),
            **_HEADERS[entry.version],
        }
        if tried:
            headers["Retry-Attempt"] = str(tried)
        return await self._delivery.send(hdrs.METH_POST, self._url, [entry.body], headers)

    def _judge(self, entry: Entry, response: aiohttp.ClientResponse) -> Outcome:
        """Tell how much of a message was taken; of 2.0 the server says so itself."""
        code = str(response.status)
        if entry.version == "1.0":
            sent = entry.samples if is_success(response) else 0
        else:
            written = _written(response)
            sent = min(written or 0, entry.samples)
            not_understood = is_success(response) or response.status == 415  # noqa: PLR2004 - HTTP
            if written is None and not_understood and self.version == "2.0":
                _logger.warning(
                    "%s knows remote write 2.0 no longer and gets 1.0; what waits in 2.0 is lost",
                    shown(self._url),
                )
                self.version = "1.0"
        return Outcome(code, sent, entry.samples - sent)

    async def _settled(self, outcome: Outcome, response: aiohttp.ClientResponse) -> Outcome:
        # Of 2.0 the numbers count: a message that comes again is refused for its exemplars alone.
        if not outcome.lost and (is_success(response) or outcome.sent):
            self._watch.worked()
        else:
            self._watch.failed(await refused(response))
        return outcome


def _is_away(error: Exception) -> bool:
    """Tell whether a message has not even left, so that it cannot be what is wrong."""
    cause = error.__cause__
    return not isinstance(error, PushError) or isinstance(cause, _UNREACHED)


def _written(response: aiohttp.ClientResponse) -> int | None:
    """Return how many samples and histograms a server of version 2.0 has stored, ``None`` if it does not say."""
    found = [response.headers.get(name, "") for name in _WRITTEN]
    numbers = [int(text) for text in found if _NUMBER.fullmatch(text)]
    return sum(numbers) if numbers else None


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that would replace those of the protocol (E94).

    Raises:
        ValueError: There is such a header.
    """
    fixed = {hdrs.USER_AGENT.lower(), VERSION_HEADER.lower(), "retry-attempt"}
    for name in headers:
        if name.lower() in fixed:
            raise ValueError(f"the header {name!r} is set by the protocol: leave it out")


def compress(message: bytes) -> bytes:
    """Compress a message in the block format of snappy (E95).

    Raises:
        MissingExtraError: There is no library for it.
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
    except PackageNotFoundError:  # a source tree
        return "otel-aioprom/0"
