"""One request to a server that takes metrics: sent in pieces, tried again where that can help."""

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
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from yarl import URL

from otel_aioprom._core.numbers import check_seconds
from otel_aioprom._transport.retry import ONCE, Retry, is_transient, retry_after
from otel_aioprom.errors import PushError

_logger = logging.getLogger(__name__)

_HEADER = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LEAST = 0.001  # seconds: to aiohttp, 0 and less mean no limit
_LONGEST = 1000  # bytes of a response that an error shows
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
# What no second try mends: the certificate will be the same one.
_FINAL = (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL)
_TRANSIENT = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class Credentials(Protocol):
    """Shows who we are: ``BasicAuth`` or ``BearerAuth``."""

    def header(self) -> str:
        """Return the value of the ``Authorization`` header.

        Raises:
            SecretError: The secret cannot be read at present.
        """


class DeliveryOptions(TypedDict, total=False):
    """The options of ``Delivery``, for signatures of what passes them on."""

    auth: Credentials | None
    ssl: ssl_module.SSLContext | bool
    timeout: float
    headers: Mapping[str, str] | None
    session: aiohttp.ClientSession | None
    retry: Retry | None
    raise_for_status: bool
    resolver: AbstractResolver | None


class Delivery:
    """Sends requests of one kind to one server.

    Belongs to the event loop in which it is used. Inside ``async with`` it keeps one session for all requests;
    outside, each request has its own, which is closed when the response has been read.

    Args:
        auth: Credentials to show.
        ssl: Context for HTTPS; ``False`` takes any certificate.
        timeout: Seconds for each try; an attribute too.
        headers: More headers.
        session: A session to use instead; whoever made it closes it.
        retry: How often to try; once if not given.
        raise_for_status: Raise for what the server refuses, instead of returning its response.
        resolver: Finds the address of a host; in a thread, if not given.

    Raises:
        ValueError: An option has no such value, or a header is one that a request has anyway.
        TypeError: ``auth`` is no credentials.
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
        self._given = session
        self._kept: aiohttp.ClientSession | None = None
        self._retry = retry or ONCE
        self._raise = raise_for_status
        self._resolver = resolver

    def check_target(self, url: URL) -> None:
        """Refuse an address that shows other credentials.

        Raises:
            ValueError: It has some, and ``auth`` is given.
        """
        if self._auth is not None and url.user is not None:
            raise ValueError("credentials stand in the address: leave out those, or auth")

    async def open(self) -> None:
        """Keep one session from now on; a second call does nothing."""
        if self._given is None and self._kept is None:
            self._kept = self._make_session()

    async def close(self) -> None:
        """Close the session, if it is our own; a second call does nothing."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep one session while the block runs; whoever has opened one before keeps it longer."""
        if self._kept is not None:
            yield
            return
        await self.open()
        try:
            yield
        finally:
            await self.close()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        session = self._given or self._kept
        if session is not None:
            yield session
            return
        async with self._make_session() as own:
            yield own

    def _make_session(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=self._resolver))
        # Otherwise aiohttp repeats a request by itself; there is no public way to say so, and in old releases none.
        if hasattr(session, "_retry_connection"):
            session._retry_connection = False  # noqa: SLF001
        return session

    async def send(
        self,
        method: str,
        url: URL,
        pieces: Sequence[bytes] = (),
        headers: Mapping[str, str] | None = None,
        *,
        retry: Retry | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request, and try again as long as that can help.

        Args:
            method: The HTTP method.
            url: Where to.
            pieces: The body, in pieces of a size that is written at once.
            headers: What goes with the body.
            retry: How often to try, if not as usual.

        Returns:
            The last response, its body read.

        Raises:
            PushError: No response came; or one that refuses, and ``raise_for_status`` was asked for.
            SecretError: The credentials cannot be read at present.
        """
        policy = retry or self._retry
        began, tried = monotonic(), 0
        async with self._session() as session:
            while True:
                tried += 1
                left = min(self.timeout, policy.total - (monotonic() - began))
                response, error = await self._try(session, method, url, pieces, headers or {}, left)
                wait = _wait_after(policy, tried, monotonic() - began, response, error)
                if wait is None:
                    return await self._conclude(url, response, error)
                _logger.debug("%s %s is tried again in %.2f s", method, shown(url), wait)
                await asyncio.sleep(wait)

    async def _try(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        pieces: Sequence[bytes],
        headers: Mapping[str, str],
        seconds: float,
    ) -> tuple[aiohttp.ClientResponse | None, Exception | None]:
        all_headers: dict[str, str] = {**self._headers, **headers}
        if self._auth is not None:
            all_headers[hdrs.AUTHORIZATION] = self._auth.header()
        if pieces:
            all_headers[hdrs.CONTENT_LENGTH] = str(sum(map(len, pieces)))
        try:
            response = await session.request(
                method,
                url,
                data=_Pieces(pieces) if pieces else None,
                headers=all_headers,
                ssl=self._ssl,
                # Half of the time for the connection tells a server that is away from one that is slow.
                timeout=aiohttp.ClientTimeout(
                    total=max(seconds, _LEAST), sock_connect=max(seconds, _LEAST) / 2
                ),
                raise_for_status=False,  # whatever a given session does: a refusal is an answer
                allow_redirects=False,  # a path that was cleaned up is another group (E90)
            )
            try:
                # Read to its end it gives its connection back, and can be read again: a released one cannot.
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
            reason = "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error)
            raise PushError(shown(url), None, reason or type(error).__name__) from error
        if self._raise and not is_success(response):
            raise await refused(response)
        return response


async def refused(response: aiohttp.ClientResponse) -> PushError:
    """Return the error that stands for a response that refuses."""
    text = (await response.read())[:_LONGEST].decode("utf-8", "replace").strip()
    return PushError(shown(response.url), response.status, text or response.reason or "")


def is_success(response: aiohttp.ClientResponse) -> bool:
    """Tell whether a server has taken what it got: 200, 202 and 204 all mean that (E81, E91)."""
    return 200 <= response.status < 300  # noqa: PLR2004 - HTTP


def shown(url: URL) -> str:
    """Return an address as it may be logged: without credentials, which some write into it."""
    return str(url if url.user is None else url.with_user(None))


class _Pieces(aiohttp.payload.Payload):
    """A body in pieces that is sent once: aiohttp repeats a request by itself if its connection was cut, which is for us to decide."""

    _value: Sequence[bytes]

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces)
        self._sent = False
        self._size = sum(map(len, pieces))

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it."""
        if self._sent:  # newer releases ask before
            raise aiohttp.ClientConnectionError("the connection was cut")
        self._sent = self._consumed = True
        for piece in self._value:
            await writer.write(piece)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return it as text, which nobody needs."""
        return b"".join(self._value).decode(encoding, errors)


def _wait_after(
    retry: Retry,
    tried: int,
    elapsed: float,
    response: aiohttp.ClientResponse | None,
    error: Exception | None,
) -> float | None:
    """Tell how long to wait before the next try, or that there is none."""
    if isinstance(error, _FINAL) or (response is not None and not is_transient(response.status)):
        return None
    asked = None if response is None else retry_after(response.headers.get(hdrs.RETRY_AFTER))
    return retry.wait(tried, elapsed, asked)


def _check_headers(headers: Mapping[str, str], auth: Credentials | None) -> dict[str, str]:
    taken = _FRAMING | ({hdrs.AUTHORIZATION.lower()} if auth is not None else set())
    for name in headers:
        if name.lower() in taken:
            raise ValueError(f"the header {name!r} follows from what is sent: leave it out")
        value: object = headers[name]
        if not isinstance(value, str) or not _HEADER.fullmatch(value) or not _TOKEN.fullmatch(name):
            raise ValueError(f"the header {name!r} has a name or a value that no header can have")
    return dict(headers)
