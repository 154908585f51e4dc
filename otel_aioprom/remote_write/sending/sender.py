"""Send messages, negotiate the protocol version, and retry."""

from __future__ import annotations

import asyncio
import logging
import math
from time import monotonic
from typing import TYPE_CHECKING, Literal

import aiohttp
from aiohttp import hdrs
from yarl import URL

from otel_aioprom._concurrency.thread_pool import own_threads
from otel_aioprom._transport.delivery import Delivery, is_success, redacted, refused
from otel_aioprom._transport.retry import Retry, is_transient, retry_after
from otel_aioprom.errors import MetricsError, PushError
from otel_aioprom.remote_write.sending.outcome import Division, Outcome, Reply, is_out_of_bounds
from otel_aioprom.remote_write.sending.parts import Rewritten, divide, without_native
from otel_aioprom.remote_write.sending.protocol import (
    UNAVAILABLE,
    UNSUPPORTED,
    compress,
    headers,
    stored,
)
from otel_aioprom.remote_write.sending.queue import QueuedMessage

if TYPE_CHECKING:
    from otel_aioprom.remote_write.sending.failure_log import FailureLog

_logger = logging.getLogger(__name__)

_BACKOFF = Retry(attempts=1 << 31, total=math.inf, first_wait=0.1, longest_wait=5.0)
_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_MAX_WAIT = 300.0  # seconds, whatever a server asks for
_UNDIVIDED = (
    60.0  # seconds without dividing messages, after the server has refused all parts of one
)


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
        takes_1_0: Whether the server may support 1.0.
        takes_native: Whether the server may accept native histograms.

    Spec:
        E94, E101, E102, E107.
    """

    def __init__(
        self,
        url: URL,
        delivery: Delivery,
        preferred: str,
        attempts: int,
        failure_log: FailureLog,
    ) -> None:
        self._url = url
        self._delivery = delivery
        self._negotiated = preferred == "1.0"
        self._attempts = attempts
        self._failure_log = failure_log
        self._divides_from = -math.inf
        self.version: Literal["1.0", "2.0"] = "1.0"
        self.takes_1_0 = True
        self.takes_native = True

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
        if is_success(response) and stored(response) is not None:
            self.version = "2.0"
            if not self.takes_1_0:
                message = (
                    "%s supports only remote write 2.0 and gets it; queued 1.0 messages are lost"
                )
                _logger.warning(message, redacted(self._url))
        else:
            _logger.info("%s does not support remote write 2.0 and gets 1.0", redacted(self._url))

    async def send(self, message: QueuedMessage) -> Outcome:
        """Send a message, and retry until it has been stored, rejected or given up.

        What is wrong with a part of a message costs that part: native histograms that the server does not take, or
        single samples of a message that is refused as a whole.
        """
        await self.negotiate()
        outcome, failed, replaced = Outcome("", 0, 0), None, 0
        division = Division(message.samples)
        waiting, attempts = [message], self._attempts
        while waiting:
            part = waiting.pop()
            reply = await self._deliver(part, attempts)
            attempts = 1 if reply.attempts else attempts  # they are used up for all parts
            if reply.refuses_native and (rewritten := await self._rewrite(part)):
                replaced += rewritten.replaced
                waiting.append(rewritten.message)
            elif halves := await self._divide(part, reply, division):
                waiting += reversed(halves)
            else:
                outcome = outcome.plus(reply.outcome)
                failed = failed or (reply if reply.failure else None)
        if outcome.sent:
            self._divides_from = -math.inf
        elif division.requests > 1:  # the next ones would be divided in vain, too
            self._divides_from = monotonic() + _UNDIVIDED
        self._log(outcome, failed)
        return outcome._replace(lost=outcome.lost + replaced)

    async def _rewrite(self, message: QueuedMessage) -> Rewritten | None:
        """Return a message without native histograms; ``None`` if it has none, or is damaged."""
        try:
            rewritten = await own_threads.call(without_native, message)
        except ValueError:
            return None
        if rewritten is not None and self.takes_native:
            self.takes_native = False
            _logger.warning(
                "%s refuses native histograms and gets classic ones: start Prometheus with "
                "--enable-feature=native-histograms, or pass native_histograms=False",
                redacted(self._url),
            )
        return rewritten

    async def _divide(
        self, message: QueuedMessage, reply: Reply, division: Division
    ) -> list[QueuedMessage]:
        """Return the halves of a refused message; none if that would not help."""
        division.count(reply)
        if not (division.goes_on and reply.may_be_divided(message)):
            return []
        if monotonic() < self._divides_from:
            return []
        try:
            return await own_threads.call(divide, message)
        except ValueError:
            return []

    async def _deliver(self, message: QueuedMessage, attempts: int) -> Reply:
        """Send a message or a part of one, and retry after transient failures."""
        tried = failures = 0
        while True:
            server_wait = None
            try:
                response = await self._post(message, tried)
            except MetricsError as error:
                reply = Reply(Outcome("error", 0, message.samples), error)
                failures += not _is_unreachable(error)
            else:
                reply = await self._read(message, response)
                if not is_transient(response.status) or reply.refuses_native:
                    return reply
                server_wait = retry_after(response.headers.get(hdrs.RETRY_AFTER))
                failures += response.status not in UNAVAILABLE
            tried += 1
            if failures >= attempts:
                return reply._replace(attempts=tried)
            self._failure_log.failed(reply.failure)
            backoff = _BACKOFF.wait(tried, 0.0, None) or 0.0
            # Never less than the backoff, so that no Retry-After makes this a busy loop.
            await asyncio.sleep(max(backoff, min(server_wait or 0.0, _MAX_WAIT)))

    async def _post(self, message: QueuedMessage, tried: int) -> aiohttp.ClientResponse:
        fields = headers(message.version, tried)
        return await self._delivery.send(hdrs.METH_POST, self._url, [message.body], fields)

    async def _read(self, message: QueuedMessage, response: aiohttp.ClientResponse) -> Reply:
        """Return how much of a message was stored; with 2.0 the server reports it."""
        if message.version == "1.0":
            sent = message.samples if is_success(response) else 0
            await self._check_1_0(response.status)
        else:
            written = stored(response)
            sent = min(written or 0, message.samples)
            self._check_2_0(response, written)
        # With 2.0 the numbers count: a message that is sent again is rejected only for its exemplars.
        if sent == message.samples and (sent or is_success(response)):
            return Reply(Outcome(str(response.status), sent, 0))
        failure = await refused(response)
        out_of_bounds = not sent and is_out_of_bounds(failure.reason)
        lost = message.samples - sent
        return Reply(Outcome(str(response.status), sent, lost, out_of_bounds), failure)

    async def _check_1_0(self, status: int) -> None:
        """Ask a server for 2.0 if it does not support 1.0."""
        if status == UNSUPPORTED and self.takes_1_0:
            self.takes_1_0 = self._negotiated = False
            await self.negotiate()

    def _check_2_0(self, response: aiohttp.ClientResponse, written: int | None) -> None:
        """Go back to 1.0 if a server no longer supports 2.0."""
        is_1_0 = is_success(response) or response.status == UNSUPPORTED
        if written is None and is_1_0 and self.version == "2.0":
            message = (
                "%s no longer supports remote write 2.0 and gets 1.0; queued 2.0 messages are lost"
            )
            _logger.warning(message, redacted(self._url))
            self.version, self.takes_1_0 = "1.0", True

    def _log(self, outcome: Outcome, failed: Reply | None) -> None:
        """Log the end of a message: stored, refused or given up, in whole or in part."""
        if failed is None:
            self._failure_log.worked()
        elif outcome.sent:
            reason = (
                f"{outcome.sent} of {outcome.sent + outcome.lost} samples arrived: {failed.reason}"
            )
            self._failure_log.failed(reason, outcome.lost)
        else:
            self._failure_log.failed(failed.failure, outcome.lost)
        if failed is not None and failed.attempts and not outcome.sent:
            self._failure_log.gave_up(failed.attempts, failed.failure)


def _is_unreachable(error: Exception) -> bool:
    """Return whether the server was not reached at all, so that the message is not the cause."""
    cause = error.__cause__
    return not isinstance(error, PushError) or isinstance(cause, _UNREACHABLE)
