"""One request, one response: what an endpoint answers, whatever framework carries it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from otel_aioprom.errors import GatherError
from otel_aioprom.negotiator import accepts_gzip, negotiate
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import (
    DEFAULT_TIMEOUT,
    OnError,
    async_encode,
    check_on_error,
    gzip_chunks,
    in_pieces,
)

ALLOWED_METHODS = ("GET", "HEAD")

_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class ScrapeRequest:
    """What matters of an HTTP request.

    Attributes:
        method: In capitals, as HTTP has it.
        accept: Values of all ``Accept`` lines.
        accept_encoding: Values of all ``Accept-Encoding`` lines.
    """

    method: str = "GET"
    accept: Sequence[str] = ()
    accept_encoding: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ScrapeResponse:
    """What to send back.

    Attributes:
        status: The HTTP status.
        headers: All headers that the body needs.
        chunks: The body, made while it is read; pass it to ``in_pieces`` so that reading it leaves the
            event loop its turns.
    """

    status: int
    headers: dict[str, str]
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Read the body in pieces of 64 KiB, the event loop having its turn about every millisecond."""
        return in_pieces(self.chunks)


class Scraper:
    """Answers scrapes of one registry.

    Args:
        registry: What to expose.
        on_error: ``"continue"`` leaves out what cannot be shown, ``"fail"`` answers 500 instead.
        timeout: Seconds that sources get to answer; what is late is left out.

    Raises:
        ValueError: An option has no such value.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        on_error: OnError = "continue",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        self._registry = registry
        self._on_error = check_on_error(on_error)
        self._timeout = timeout

    async def scrape(self, request: ScrapeRequest) -> ScrapeResponse:
        """Answer a request.

        Args:
            request: Any method, any headers.

        Returns:
            200 with the metrics, 405 for methods other than GET and HEAD, 500 if something is missing and
            ``on_error`` is ``"fail"``.

        Spec:
            E4, E57, E60, E61.
        """
        if request.method not in ALLOWED_METHODS:
            return _refusal(
                405, "only GET and HEAD are answered here", {"Allow": ", ".join(ALLOWED_METHODS)}
            )
        compress = accepts_gzip(request.accept_encoding)
        headers = {
            "Vary": "Accept, Accept-Encoding",
            **({"Content-Encoding": "gzip"} if compress else {}),
        }
        if request.method == "HEAD":
            return ScrapeResponse(
                200, {**negotiate(request.accept)(False).get_headers(), **headers}
            )
        try:
            content, chunks = await async_encode(
                self._registry, request.accept, on_error=self._on_error, timeout=self._timeout
            )
        except GatherError as error:
            return _refusal(500, str(error), {})
        return ScrapeResponse(
            200, {**content, **headers}, gzip_chunks(chunks) if compress else chunks
        )


def _refusal(status: int, sentence: str, headers: dict[str, str]) -> ScrapeResponse:
    body = f"{sentence}\n".encode("utf-8", "replace")
    return ScrapeResponse(status, {**_PLAIN, **headers}, iter((body,)))
