"""Self-metrics of a scrape: status, format, duration and size of one response."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from otel_aioprom.registry.self_metrics import ScrapeMetrics
from otel_aioprom.service.messages import ScrapeResponse
from otel_aioprom.service.places import Place


class Measurement:
    """Measures one request and its response.

    Args:
        send_timeout: Seconds that the client may take for each 64 KiB.
        place: The place of the request.
    """

    def __init__(self, send_timeout: float | None, place: Place) -> None:
        self._send_timeout = send_timeout
        self._place = place
        self._status = 0
        self._protocol = ""
        self._size = 0

    def take(self, response: ScrapeResponse) -> ScrapeResponse:
        """Note a response; return it with a body that counts its bytes as they are encoded."""
        self._status, self._protocol = response.status, response.protocol
        return replace(
            response,
            chunks=self._counted(response.chunks),
            send_timeout=self._send_timeout,
            place=self._place,
        )

    def record(self, metrics: ScrapeMetrics, seconds: float) -> None:
        """Record the measurement; a request without a response is not counted."""
        labels = {"format": self._protocol} if self._protocol else {}
        if self._status:
            metrics.scrapes.inc({"code": self._status, **labels})
        if self._protocol:
            metrics.seconds.observe(labels, seconds)
            metrics.size.add(labels, self._size)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._size += len(chunk)
            yield chunk
