"""The scrape handler: one request in, one response out, for any web framework."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TypedDict

from otel_aioprom._core.escaping import Escaping
from otel_aioprom._core.numbers import check_seconds
from otel_aioprom._core.patterns import Patterns
from otel_aioprom._transport.compression import codings, compressed
from otel_aioprom._transport.credentials import Authenticator
from otel_aioprom.errors import GatherError, OverloadError, SlowReaderError
from otel_aioprom.formats import IFormatter
from otel_aioprom.negotiator import choose_coding
from otel_aioprom.registry.faults import NO_PROVIDER, OWN_PREFIX, Fault
from otel_aioprom.registry.gathering import Gathering
from otel_aioprom.registry.registry import CollectorRegistry, check_registry
from otel_aioprom.renderer import (
    DEFAULT_TIMEOUT,
    OnError,
    async_encode,
    check_escaping,
    check_on_error,
    encode,
    make_formatter,
)
from otel_aioprom.service.authorization import Authorization
from otel_aioprom.service.empty_page import explained
from otel_aioprom.service.measurement import Measurement
from otel_aioprom.service.messages import RETRY_SOON, ScrapeRequest, ScrapeResponse, refusal
from otel_aioprom.service.places import Place, Places
from otel_aioprom.service.selection import Selection

ALLOWED_METHODS = ("GET", "HEAD")

_VARY = {"Vary": "Accept, Accept-Encoding"}
_MARGIN = 0.5  # seconds that a response needs to reach a client with a deadline
_NO_PROVIDER = "no MeterProvider has the OpenTelemetry reader, and there are no other metrics"
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]*)?")


class ScrapeOptions(TypedDict, total=False):
    """The options of ``Scraper``, for the signatures of callers that pass them on."""

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
    """How to answer a request."""

    formatter: IFormatter
    coding: str | None
    timeout: float
    client_deadline: bool  # the client times out before the endpoint would
    selection: Selection

    def headers(self) -> dict[str, str]:
        coded = {"Content-Encoding": self.coding} if self.coding else {}
        return {**self.formatter.get_headers(), **_VARY, **coded}

    def response(self, chunks: Iterator[bytes]) -> ScrapeResponse:
        body = compressed(chunks, self.coding) if self.coding else chunks
        return ScrapeResponse(200, self.headers(), body, self.formatter.protocol)


class Scraper:
    """Answers scrapes of one registry.

    Args:
        registry: What to expose.
        on_error: ``"continue"`` drops what cannot be exposed and serves the rest; ``"fail"`` answers 500 instead.
        timeout: Seconds that sources may take; later ones are dropped from the response. A client with a shorter
            timeout (``X-Prometheus-Scrape-Timeout-Seconds``) is answered earlier.
        created_samples: Write start times as ``_created`` samples in OpenMetrics.
        protobuf_escaping: Escaping scheme of names outside the classic character set in protobuf.
        included: Patterns (``*`` and ``?``) of the metric names to expose; ``None`` exposes all.
        excluded: Patterns of the metric names to drop, even if ``included`` matches them.
        max_concurrent: Maximum number of concurrent scrapes. For one more, the client that has read nothing for longest
            is disconnected; it gets 503 if none waits for its client. ``None`` sets no limit.
        send_timeout: Seconds that a client may take to read 64 KiB before it is disconnected; ``None`` sets no limit.
        auth: Checks the client's credentials, such as ``BasicAuth``; ``None`` admits every client.
        self_metrics: Measure scrapes, and expose these metrics from the next scrape on.

    Raises:
        ValueError: An option has an invalid value.
        TypeError: ``registry`` is no registry, patterns are not a list of strings, or ``auth`` cannot check
            credentials.
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
        self._authorization = Authorization(auth)
        self._registry = check_registry(registry)
        self._on_error = check_on_error(on_error)
        self._timeout = timeout
        self._created_samples = created_samples
        self._protobuf_escaping = check_escaping(protobuf_escaping)
        self._patterns = Patterns(included, excluded)
        self._places = Places(math.inf if max_concurrent is None else max_concurrent)
        self._send_timeout = send_timeout
        self._self_metrics = self_metrics
        self._busy = self._places.busy
        codings()  # imports now what a child that is forked during a first scrape would wait for in vain

    @asynccontextmanager
    async def scrape(self, request: ScrapeRequest) -> AsyncIterator[ScrapeResponse]:
        """Answer a request; send the response inside the ``async with``.

        Args:
            request: Any method, any headers.

        Yields:
            200 with the metrics; 401 without the right credentials; 405 for methods other than GET and HEAD; 500 if
            something is missing and ``on_error`` is ``"fail"``; 503 above ``max_concurrent``, while credentials cannot
            be checked, while all there is to expose is a reader that no MeterProvider has, and if the process is too
            busy to build the response in time.

        Spec:
            E4, E57 to E62.
        """
        refused = await self._authorization.check(request.authorization)
        with self._places.place() as place, self._measured(place) as measure:
            yield measure(refused or await self._answer(request, place))

    @contextmanager
    def scrape_blocking(self, request: ScrapeRequest) -> Iterator[ScrapeResponse]:
        """Answer a request in the calling thread; otherwise like ``scrape``."""
        refused = self._authorization.check_blocking(request.authorization)
        with self._places.place() as place, self._measured(place) as measure:
            yield measure(refused or self._answer_blocking(request))

    async def authorize(self, authorization: str | None) -> ScrapeResponse | None:
        """Check credentials.

        Args:
            authorization: Value of the ``Authorization`` header, if there is one.

        Returns:
            ``None`` if they are right, else the response that refuses the request.
        """
        return await self._authorization.check(authorization)

    async def _answer(self, request: ScrapeRequest, place: Place) -> ScrapeResponse:
        plan = self._plan(request) if await self._places.admit(place) else _too_many()
        if isinstance(plan, ScrapeResponse):
            return plan
        try:
            gathering = await self._registry.async_gather(
                plan.timeout, client_deadline=plan.client_deadline
            )
            if has_only_unused_readers(gathering):
                return refusal(503, _NO_PROVIDER)
            chunks = await async_encode(
                self._registry,
                gathering,
                plan.formatter,
                self._on_error,
                plan.selection,
                timeout=plan.timeout,
            )
        except GatherError as error:
            return refusal(500, str(error))
        except OverloadError as error:
            self._registry.report([Fault("late", "otel_aioprom", str(error))])
            return refusal(503, str(error), RETRY_SOON)
        return plan.response(explained(chunks, gathering.empty, request.accept, plan.formatter))

    def _answer_blocking(self, request: ScrapeRequest) -> ScrapeResponse:
        plan = _too_many() if self._places.full else self._plan(request)
        if isinstance(plan, ScrapeResponse):
            return plan
        gathering = self._registry.gather(plan.timeout, client_deadline=plan.client_deadline)
        if has_only_unused_readers(gathering):
            return refusal(503, _NO_PROVIDER)
        try:
            chunks = encode(
                self._registry, gathering, plan.formatter, self._on_error, plan.selection
            )
        except GatherError as error:
            return refusal(500, str(error))
        return plan.response(explained(chunks, gathering.empty, request.accept, plan.formatter))

    def _plan(self, request: ScrapeRequest) -> _Plan | ScrapeResponse:
        """Return how to answer, or the response itself if it needs no collection."""
        if request.method not in ALLOWED_METHODS:
            allow = {"Allow": ", ".join(ALLOWED_METHODS)}
            return refusal(405, "only GET and HEAD are allowed here", allow)
        formatter = make_formatter(request.accept, self._created_samples, self._protobuf_escaping)
        selection = Selection(self._patterns, request.names, formatter.escaping)
        requested = source_timeout(request.timeout)
        timeout, client_deadline = min(self._timeout, requested), requested < self._timeout
        coding = choose_coding(request.accept_encoding, codings())
        plan = _Plan(formatter, coding, timeout, client_deadline, selection)
        if request.method == "HEAD":
            return ScrapeResponse(200, plan.headers(), protocol=formatter.protocol)
        return plan

    @contextmanager
    def _measured(self, place: Place) -> Iterator[Callable[[ScrapeResponse], ScrapeResponse]]:
        """Record the measurement of a request at its end."""
        measurement = Measurement(self._send_timeout, place)
        began = perf_counter()
        try:
            yield measurement.take
        except SlowReaderError as error:
            self._registry.report([Fault("slow_reader", "a client", str(error))])
            raise
        finally:
            if self._self_metrics:
                measurement.record(self._registry.endpoint, perf_counter() - began)


def has_only_unused_readers(gathering: Gathering) -> bool:
    """Return whether a page would be empty, but for metrics of this library, as no provider has the registry's reader."""
    if not any(fault.cause == NO_PROVIDER for fault in gathering.faults):
        return False
    return all(family.name.startswith(OWN_PREFIX) for family in gathering.families)


def _too_many() -> ScrapeResponse:
    return refusal(503, "too many concurrent scrapes; try again", RETRY_SOON)


def source_timeout(header: str | None) -> float:
    """Return how long sources may take, from the client's timeout.

    Args:
        header: Value of ``X-Prometheus-Scrape-Timeout-Seconds``, if there is one.

    Returns:
        Seconds; infinite if the header is absent or malformed.

    Spec:
        E58.
    """
    if header is None or not _DECIMAL.fullmatch(header):
        return math.inf
    seconds = float(header)
    return seconds - min(_MARGIN, seconds / 2) if seconds > 0 else math.inf
