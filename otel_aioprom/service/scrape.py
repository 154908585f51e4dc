"""One request, one response: what an endpoint answers, whatever framework carries it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypedDict

from otel_aioprom._concurrency.thread_pool import Workers
from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.numbers import check_seconds
from otel_aioprom._core.patterns import Patterns
from otel_aioprom._transport.compression import codings, compressed
from otel_aioprom._transport.credentials import Authenticator
from otel_aioprom.collectors.series.number import GaugeSeries
from otel_aioprom.errors import GatherError, SecretError, SlowReaderError
from otel_aioprom.formats import IFormatter
from otel_aioprom.negotiator import choose_coding
from otel_aioprom.registry.faults import Fault
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.registry.self_metrics import ScrapeMetrics
from otel_aioprom.renderer import (
    DEFAULT_TIMEOUT,
    OnError,
    async_encode,
    check_escaping,
    check_on_error,
    encode,
    make_formatter,
)
from otel_aioprom.service.messages import ScrapeRequest, ScrapeResponse, refusal
from otel_aioprom.service.selection import Selection

_logger = logging.getLogger(__name__)

ALLOWED_METHODS = ("GET", "HEAD")

_SOON = {"Retry-After": "1"}
_MOST_CHECKS = 20  # wait for the one thread that checks slow credentials, mostly wrong ones
_VARY = {"Vary": "Accept, Accept-Encoding"}
_MARGIN = 0.5
"""Seconds that a response needs to get back to a client that waits only so long."""
_checker = Workers(1, "otel_aioprom credentials")  # a flood of wrong ones takes no thread of others
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]*)?")


class ScrapeOptions(TypedDict, total=False):
    """The options of ``Scraper``, for signatures of what passes them on."""

    on_error: OnError
    timeout: float
    created_samples: bool
    protobuf_escaping: Escaping
    included: Sequence[str] | None
    excluded: Sequence[str] | None
    max_concurrent: int | None
    send_timeout: float | None
    auth: Authenticator | None
    self_metrics: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a request is to be answered."""

    formatter: IFormatter
    coding: str | None
    timeout: float
    hasty: bool  # the client waits less long than we would
    selection: Selection

    def headers(self) -> dict[str, str]:
        coded = {"Content-Encoding": self.coding} if self.coding else {}
        return {**self.formatter.get_headers(), **_VARY, **coded}


class Scraper:
    """Answers scrapes of one registry.

    Args:
        registry: What to expose.
        on_error: ``"continue"`` leaves out what cannot be shown, ``"fail"`` answers 500 instead.
        timeout: Seconds that sources get to answer; what is late is left out. A client that waits less long
            gets its response earlier.
        created_samples: Write start times as samples in OpenMetrics (``_created``).
        protobuf_escaping: What becomes of names that are not classic in protobuf.
        included: Patterns (``*`` and ``?``) of the names to show; all if not given.
        excluded: Patterns of names not to show after all.
        max_concurrent: Scrapes answered at once, the next gets 503; ``None`` for any number.
        send_timeout: Seconds that a client may take to read 64 KiB before it is dropped; ``None`` for ever.
        auth: Who may scrape; everybody if not given.
        self_metrics: Measure scrapes, and show that with the rest from the next one on.

    Raises:
        ValueError: An option has no such value.
        TypeError: Patterns are no list of texts, or ``auth`` is nothing that checks credentials.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        on_error: OnError = "continue",
        timeout: float = DEFAULT_TIMEOUT,
        created_samples: bool = False,
        protobuf_escaping: Escaping = "underscores",
        included: Sequence[str] | None = None,
        excluded: Sequence[str] | None = None,
        max_concurrent: int | None = 100,
        send_timeout: float | None = 10.0,
        auth: Authenticator | None = None,
        self_metrics: bool = True,
    ) -> None:
        check_seconds("timeout", timeout)
        if send_timeout is not None:
            check_seconds("send_timeout", send_timeout)
        if max_concurrent is not None and max_concurrent < 1:
            raise ValueError(f"max_concurrent must be 1 or more, or None, not {max_concurrent!r}")
        if auth is not None and not callable(getattr(auth, "check", None)):
            raise TypeError(f"auth must be BasicAuth or BearerAuth, not {type(auth).__name__}")
        self._registry = registry
        self._on_error = check_on_error(on_error)
        self._timeout = timeout
        self._created_samples = created_samples
        self._protobuf_escaping = check_escaping(protobuf_escaping)
        self._offered = Patterns(included, excluded)
        self._most = math.inf if max_concurrent is None else max_concurrent
        self._send_timeout = send_timeout
        self._auth = auth
        self._self_metrics = self_metrics
        self._busy = GaugeSeries()
        self._checking = GaugeSeries()

    @asynccontextmanager
    async def scrape(self, request: ScrapeRequest) -> AsyncIterator[ScrapeResponse]:
        """Answer a request; the response is to be sent inside the ``async with``.

        Args:
            request: Any method, any headers.

        Yields:
            200 with the metrics; 401 without the right credentials; 405 for methods other than GET and HEAD; 500 if
            something is missing and ``on_error`` is ``"fail"``; 503 while too many are answered, and while
            credentials cannot be checked.

        Spec:
            E4, E57 to E62.
        """
        refused = await self.authorize(request.authorization)
        with self._measured() as measure:
            yield measure(refused or await self._answer(request))

    @contextmanager
    def scrape_blocking(self, request: ScrapeRequest) -> Iterator[ScrapeResponse]:
        """Answer a request in the calling thread, as ``scrape`` does."""
        refused = self._authorize_blocking(request.authorization)
        with self._measured() as measure:
            yield measure(refused or self._answer_blocking(request))

    async def authorize(self, authorization: str | None) -> ScrapeResponse | None:
        """Check credentials.

        Args:
            authorization: Value of the ``Authorization`` header, if there is one.

        Returns:
            ``None`` if they are right, else the response that refuses.
        """
        auth = self._auth
        if auth is None:
            return None
        try:
            if auth.slow and not auth.remembers(authorization):
                if self._checking.value >= _MOST_CHECKS:
                    return refusal(503, "too many credentials to check; try again", _SOON)
                allowed = await self._check_in_thread(auth, authorization)
            else:
                allowed = auth.check(authorization)
        except SecretError as error:
            return _unverifiable(error)
        return None if allowed else _unauthorized(auth)

    async def _check_in_thread(self, auth: Authenticator, authorization: str | None) -> bool:
        self._checking.inc()
        try:
            return await _checker.call(auth.check, authorization)
        finally:
            self._checking.dec()

    def _authorize_blocking(self, authorization: str | None) -> ScrapeResponse | None:
        try:
            allowed = self._auth is None or self._auth.check(authorization)
        except SecretError as error:
            return _unverifiable(error)
        return None if allowed or self._auth is None else _unauthorized(self._auth)

    async def _answer(self, request: ScrapeRequest) -> ScrapeResponse:
        plan = self._plan(request)
        if isinstance(plan, ScrapeResponse):
            return plan
        gathering = await self._registry.async_gather(plan.timeout, hasty=plan.hasty)
        try:
            chunks = await async_encode(
                self._registry, gathering, plan.formatter, self._on_error, plan.selection
            )
        except GatherError as error:
            return refusal(500, str(error))
        return _response(plan, chunks)

    def _answer_blocking(self, request: ScrapeRequest) -> ScrapeResponse:
        plan = self._plan(request)
        if isinstance(plan, ScrapeResponse):
            return plan
        gathering = self._registry.gather(plan.timeout, hasty=plan.hasty)
        try:
            chunks = encode(
                self._registry, gathering, plan.formatter, self._on_error, plan.selection
            )
        except GatherError as error:
            return refusal(500, str(error))
        return _response(plan, chunks)

    def _plan(self, request: ScrapeRequest) -> _Plan | ScrapeResponse:
        """Decide how to answer; what needs no collection is answered at once."""
        if self._busy.value > self._most:
            return refusal(503, "too many scrapes at once; try again", _SOON)
        if request.method not in ALLOWED_METHODS:
            allow = {"Allow": ", ".join(ALLOWED_METHODS)}
            return refusal(405, "only GET and HEAD are answered here", allow)
        formatter = make_formatter(request.accept, self._created_samples, self._protobuf_escaping)
        selection = Selection(self._offered, request.names, formatter.escaping)
        asked = patience(request.timeout)
        timeout, hasty = min(self._timeout, asked), asked < self._timeout
        coding = choose_coding(request.accept_encoding, codings())
        plan = _Plan(formatter, coding, timeout, hasty, selection)
        if request.method == "HEAD":
            return ScrapeResponse(200, plan.headers(), protocol=formatter.protocol)
        return plan

    @contextmanager
    def _measured(self) -> Iterator[Callable[[ScrapeResponse], ScrapeResponse]]:
        """Count a request while it is answered, and what it was when it is over."""
        exchange = _Exchange(self._send_timeout)
        self._busy.inc()
        began = perf_counter()
        try:
            yield exchange.take
        except SlowReaderError as error:
            self._registry.report([Fault("slow_reader", "a client", str(error))])
            raise
        finally:
            self._busy.dec()
            if self._self_metrics:
                exchange.count(self._registry.endpoint, perf_counter() - began)


def _response(plan: _Plan, chunks: Iterator[bytes]) -> ScrapeResponse:
    body = compressed(chunks, plan.coding) if plan.coding else chunks
    return ScrapeResponse(200, plan.headers(), body, plan.formatter.protocol)


class _Exchange:
    """What is counted of a request and its response."""

    def __init__(self, send_timeout: float | None) -> None:
        self._send_timeout = send_timeout
        self.status = 0
        self.protocol = ""
        self.size = 0

    def take(self, response: ScrapeResponse) -> ScrapeResponse:
        """Note a response, and count its bytes as they are made."""
        self.status, self.protocol = response.status, response.protocol
        return replace(
            response, chunks=self._counted(response.chunks), send_timeout=self._send_timeout
        )

    def count(self, metrics: ScrapeMetrics, seconds: float) -> None:
        """Enter it into the endpoint's metrics; one that got no response is none of them."""
        labels = {"format": self.protocol} if self.protocol else {}
        if self.status:
            metrics.scrapes.inc({"code": self.status, **labels})
        if self.protocol:
            metrics.seconds.observe(labels, seconds)
            metrics.size.add(labels, self.size)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.size += len(chunk)
            yield chunk


def patience(header: str | None) -> float:
    """Tell how long sources get, from how long the client waits.

    Args:
        header: Value of ``X-Prometheus-Scrape-Timeout-Seconds``, if there is one.

    Returns:
        Seconds; infinite if the header says nothing that makes sense.

    Spec:
        E58.
    """
    if header is None or not _DECIMAL.fullmatch(header):
        return math.inf
    seconds = float(header)
    return seconds - min(_MARGIN, seconds / 2) if seconds > 0 else math.inf


def _unauthorized(auth: Authenticator) -> ScrapeResponse:
    return refusal(401, "these metrics ask for credentials", {"WWW-Authenticate": auth.challenge})


def _unverifiable(error: SecretError) -> ScrapeResponse:
    _logger.error("credentials cannot be checked, scrapes are refused: %s", error)
    return refusal(503, "credentials cannot be checked at present", {"Retry-After": "5"})
