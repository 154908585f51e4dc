"""Requests and responses of an endpoint, independent of the web framework."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from otel_aioprom.renderer import in_pieces, in_pieces_blocking
from otel_aioprom.service.places import Place
from otel_aioprom.service.write_timeout import WriteTimeout

DEFAULT_METRICS_PATH = "/metrics"
RETRY_SOON = {"Retry-After": "1"}
_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}

Write = Callable[[bytes], Awaitable[object]]
"""Sends some bytes, and returns when there is room for more."""


@dataclass(frozen=True, slots=True)
class ScrapeRequest:
    """The parts of an HTTP request that an endpoint reads.

    Attributes:
        method: In upper case, as HTTP has it.
        accept: Values of all ``Accept`` headers.
        accept_encoding: Values of all ``Accept-Encoding`` headers.
        names: Values of all ``name[]`` parameters of the query.
        timeout: Value of ``X-Prometheus-Scrape-Timeout-Seconds``, if there is one.
        authorization: Value of ``Authorization``, if there is one.
    """

    method: str = "GET"
    accept: Sequence[str] = ()
    accept_encoding: Sequence[str] = ()
    names: Sequence[str] = ()
    timeout: str | None = None
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class ScrapeResponse:
    """The response to send.

    Attributes:
        status: The HTTP status.
        headers: All headers that the body needs.
        chunks: The body, encoded while it is read.
        protocol: Prometheus' name of the format; empty if none was negotiated.
        send_timeout: Seconds that the client may take for each piece.
        place: The place of the request among those answered at once.
    """

    status: int
    headers: dict[str, str]
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    protocol: str = ""
    send_timeout: float | None = None
    place: Place | None = None

    def write_timeout(self) -> WriteTimeout:
        """Create the timeout for all writes of the body."""
        return WriteTimeout(self.send_timeout, self.place)

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Read the body in pieces of 64 KiB; yield to the event loop about every millisecond."""
        return in_pieces(self.chunks)

    def pieces_blocking(self) -> Iterator[bytes]:
        """Read the body in pieces of 64 KiB, in a thread."""
        return in_pieces_blocking(self.chunks)

    async def send(self, write: Write, end: Callable[[], Awaitable[object]]) -> None:
        """Send the body piece by piece, and then its end.

        Args:
            write: Sends a piece.
            end: Sends the end of the body, for which some servers wait until the client has read what is before it.

        Raises:
            SlowReaderError: The client did not read a piece in time.
        """
        with self.write_timeout() as write_timeout:
            async with aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    await write_timeout.wait(write(piece))
            await write_timeout.wait(end())


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> ScrapeResponse:
    """Return a response without metrics, whose body is the reason in one sentence."""
    body = f"{sentence}\n".encode("utf-8", "replace")
    return ScrapeResponse(status, {**_PLAIN, **(headers or {})}, iter((body,)))


def selected_names(query: str) -> Sequence[str]:
    """Return the values of all ``name[]`` parameters of a query string."""
    return parse_qs(query, keep_blank_values=True, errors="replace").get("name[]", ())


def without_slash(path: str) -> str:
    """Return the path of a middleware without the slash at its end.

    Raises:
        ValueError: It does not start with a slash.
    """
    if not path.startswith("/"):
        raise ValueError(f"path must start with a slash, as in '/metrics', not {path!r}")
    return path.rstrip("/")
