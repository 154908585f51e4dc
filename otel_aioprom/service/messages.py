"""Requests and responses of an endpoint, as every framework has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from otel_aioprom.renderer import in_pieces, in_pieces_blocking
from otel_aioprom.service.write_timeout import Patience

_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}

Write = Callable[[bytes], Awaitable[object]]
"""Sends some bytes, and returns when there is room for more."""


@dataclass(frozen=True, slots=True)
class ScrapeRequest:
    """What matters of an HTTP request.

    Attributes:
        method: In capitals, as HTTP has it.
        accept: Values of all ``Accept`` lines.
        accept_encoding: Values of all ``Accept-Encoding`` lines.
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
    """What to send back.

    Attributes:
        status: The HTTP status.
        headers: All headers that the body needs.
        chunks: The body, made while it is read.
        protocol: What Prometheus calls the format; empty where none was chosen.
        send_timeout: Seconds that the client may take for each piece.
    """

    status: int
    headers: dict[str, str]
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    protocol: str = ""
    send_timeout: float | None = None

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Read the body in pieces of 64 KiB, the event loop having its turn about every millisecond."""
        return in_pieces(self.chunks)

    def pieces_blocking(self) -> Iterator[bytes]:
        """Read the body in pieces of 64 KiB, in a thread."""
        return in_pieces_blocking(self.chunks)

    async def send(self, write: Write) -> None:
        """Send the body piece by piece.

        Args:
            write: Sends a piece.

        Raises:
            SlowReaderError: The client takes no more.
        """
        with Patience(self.send_timeout) as patience:
            async with aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    await patience.wait(write(piece))


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> ScrapeResponse:
    """Make a response that says in a sentence why there are no metrics."""
    body = f"{sentence}\n".encode("utf-8", "replace")
    return ScrapeResponse(status, {**_PLAIN, **(headers or {})}, iter((body,)))
