"""HTTP client of the pushers: requests with a chunked body, retries, and credentials."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl as ssl_module
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Protocol, TypedDict

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from yarl import URL

from otel_aioprom._core.numbers import check_seconds
from otel_aioprom._transport.connections import Attempt, KeptConnections
from otel_aioprom._transport.retry import ONCE, Retry, is_transient, retry_after
from otel_aioprom.errors import PushError

_logger = logging.getLogger(__name__)

_HEADER = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MIN_TIMEOUT = 0.001  # seconds: to aiohttp, 0 and less mean no timeout
_MAX_ERROR_BYTES = 1000  # of a response body, in an error
_FRAMING = frozenset(
    name.lower()
    for name in (
        hdrs.CONTENT_TYPE,
        hdrs.CONTENT_ENCODING,
        hdrs.CONTENT_LENGTH,
        hdrs.TRANSFER_ENCODING,
        hdrs.HOST,
    )
)
# Not worth a retry: the certificate will be the same one.
_FINAL = (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL)
_TRANSIENT = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class Credentials(Protocol):
    """Credentials of a client: ``BasicAuth`` or ``BearerAuth``."""

    def header(self) -> str:
        """Return the value of the ``Authorization`` header.

        Raises:
            SecretError: The secret cannot be read at present.
        """


class DeliveryOptions(TypedDict, total=False):
    """The options of ``Delivery``, for the signatures of callers that pass them on."""

    auth: Credentials | None
    ssl: ssl_module.SSLContext | bool
    timeout: float
    headers: Mapping[str, str] | None
    session: aiohttp.ClientSession | None
    retry: Retry | None
    raise_for_status: bool
    resolver: AbstractResolver | None


class Delivery:
    """Send requests to one server.

    Belongs to the event loop in which it is used. Between ``open`` and ``close`` all requests share one session;
    otherwise each request has its own, which is closed when the response has been read.

    Args:
        auth: Credentials to send.
        ssl: SSL context for HTTPS; ``False`` disables the verification of certificates.
        timeout: Seconds for each attempt; also an attribute.
        headers: Additional request headers.
        session: Client session to use instead of an own one; the caller closes it. If other requests use it too, set
            ``retry``: a connection that only they have used may be closed, which is a failed attempt then.
        retry: Retry policy; one attempt if not given.
        raise_for_status: Raise for an error status, instead of returning the response.
        resolver: DNS resolver; by default, names are resolved in a thread.

    Raises:
        ValueError: An option has an invalid value, or a header is one that the library sets itself.
        TypeError: ``auth`` is neither ``BasicAuth`` nor ``BearerAuth``.
    """

    def __init__(
        self,
        *,
        auth: Credentials | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
        session: aiohttp.ClientSession | None = None,
        retry: Retry | None = None,
        raise_for_status: bool = False,
        resolver: AbstractResolver | None = None,
    ) -> None:
        check_seconds("timeout", timeout)
        if auth is not None and not callable(getattr(auth, "header", None)):
            raise TypeError(f"auth must be BasicAuth or BearerAuth, not {type(auth).__name__}")
        self._auth = auth
        self._ssl = ssl
        self.timeout = timeout
        self._headers = _check_headers(headers or {}, auth)
        self._external_session = session
        self._own_session: aiohttp.ClientSession | None = None
        self._kept = KeptConnections()
        self._retry = retry or ONCE
        self._raise = raise_for_status
        self._resolver = resolver

    def check_target(self, url: URL) -> None:
        """Reject a URL that contains credentials besides those of ``auth``.

        Raises:
            ValueError: There are both.
        """
        if self._auth is not None and url.user is not None:
            raise ValueError("the URL contains credentials: remove them, or auth")

    async def open(self) -> None:
        """Open a session for all requests that follow; a second call does nothing."""
        if self._external_session is None and self._own_session is None:
            self._own_session = self._create_session()

    async def close(self) -> None:
        """Close the session that ``open`` created; a second call does nothing."""
        session, self._own_session = self._own_session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open a session for the block; one that is open already stays open after it."""
        if self._own_session is not None:
            yield
            return
        await self.open()
        try:
            yield
        finally:
            await self.close()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        if session := self._external_session or self._own_session:
            yield session
            return
        async with self._create_session() as session:
            yield session

    def _create_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=self._resolver))

    async def send(
        self,
        method: str,
        url: URL,
        chunks: Sequence[bytes] = (),
        headers: Mapping[str, str] | None = None,
        *,
        retry: Retry | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request, and retry it according to the policy.

        A kept connection that the server has closed meanwhile is no attempt: the request is sent again on another one.
        Every request may be repeated, for a server keeps the last one (E90). In a session of the caller, this holds for
        connections that an earlier request of this object has used.

        Args:
            method: The HTTP method.
            url: The URL.
            chunks: The body, in chunks that are written at once.
            headers: Headers of this request.
            retry: Retry policy, instead of that of the constructor.

        Returns:
            The last response, its body read.

        Raises:
            PushError: There was no response; or it has an error status, and ``raise_for_status`` is set.
            SecretError: The credentials cannot be read at present.
        """
        policy = retry or self._retry
        began, tried = monotonic(), 0
        async with self._session() as session:
            while True:
                left = min(self.timeout, policy.total - (monotonic() - began))
                attempt = self._kept.attempt(chunks)
                response, error = await self._send(
                    session, method, url, attempt, headers or {}, left
                )
                if attempt.found_closed(error):
                    continue
                tried += 1
                wait = _wait_after(policy, tried, monotonic() - began, response, error)
                if wait is None:
                    return await self._conclude(url, response, error)
                _logger.debug("retrying %s %s in %.2f s", method, redacted(url), wait)
                await asyncio.sleep(wait)

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        attempt: Attempt,
        headers: Mapping[str, str],
        seconds: float,
    ) -> tuple[aiohttp.ClientResponse | None, Exception | None]:
        all_headers: dict[str, str] = {**self._headers, **headers}
        if self._auth is not None:
            all_headers[hdrs.AUTHORIZATION] = self._auth.header()
        all_headers[hdrs.CONTENT_LENGTH] = str(attempt.size)
        seconds = max(seconds, _MIN_TIMEOUT)
        try:
            response = await session.request(
                method.lower(),  # spelled so, aiohttp leaves retries to us; it is sent in capitals
                url,
                data=attempt,
                headers=all_headers,
                skip_auto_headers=[hdrs.CONTENT_TYPE],
                ssl=self._ssl,
                # Half of the time to connect distinguishes an unreachable server from a slow one.
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=seconds / 2),
                raise_for_status=False,  # whatever the caller's session is set to
                allow_redirects=False,  # a normalized path would be another group (E90)
            )
            attempt.answered()
            try:
                # Reading to the end releases the connection, and the body can be read again later.
                await response.read()
            except BaseException:
                response.close()
                raise
        except _TRANSIENT as error:
            return None, error
        return response, None

    async def _conclude(
        self, url: URL, response: aiohttp.ClientResponse | None, error: Exception | None
    ) -> aiohttp.ClientResponse:
        if response is None:
            reason = "timed out" if isinstance(error, asyncio.TimeoutError) else str(error)
            raise PushError(redacted(url), None, reason or type(error).__name__) from error
        if self._raise and not is_success(response):
            raise await refused(response)
        return response


async def refused(response: aiohttp.ClientResponse) -> PushError:
    """Return the error for a response with an error status."""
    text = (await response.read())[:_MAX_ERROR_BYTES].decode("utf-8", "replace").strip()
    return PushError(redacted(response.url), response.status, text or response.reason or "")


def is_success(response: aiohttp.ClientResponse) -> bool:
    """Return whether the server has accepted the request: 200, 202 and 204 all mean that (E81, E91)."""
    return 200 <= response.status < 300  # noqa: PLR2004 - HTTP


def redacted(url: URL) -> str:
    """Return a URL for the log, without its credentials."""
    return str(url if url.user is None else url.with_user(None))


def _wait_after(
    retry: Retry,
    tried: int,
    elapsed: float,
    response: aiohttp.ClientResponse | None,
    error: Exception | None,
) -> float | None:
    """Return the seconds to wait before the next attempt, or ``None`` to give up."""
    if isinstance(error, _FINAL) or (response is not None and not is_transient(response.status)):
        return None
    server = None if response is None else retry_after(response.headers.get(hdrs.RETRY_AFTER))
    return retry.wait(tried, elapsed, server)


def _check_headers(headers: Mapping[str, str], auth: Credentials | None) -> dict[str, str]:
    taken = _FRAMING | ({hdrs.AUTHORIZATION.lower()} if auth is not None else set())
    for name in headers:
        if name.lower() in taken:
            raise ValueError(f"the header {name!r} is set by the library: remove it")
        value: object = headers[name]
        if not isinstance(value, str) or not _HEADER.fullmatch(value) or not _TOKEN.fullmatch(name):
            raise ValueError(f"the header {name!r} has an invalid name or value")
    return dict(headers)
