"""What an endpoint measures of itself: scrapes by status and format, their time and size."""

from __future__ import annotations

from otel_aioprom.collector import Collector
from otel_aioprom.collectors import Counter, Histogram
from otel_aioprom.model import MetricFamily

PREFIX = "otel_aioprom"


class ScrapeMetrics:
    """The metrics of all endpoints of one registry; each is shown from its first use on.

    Attributes:
        scrapes: Requests answered, by status (``code``) and, where one was chosen, by ``format``.
        seconds: From the request to the last byte, by ``format``.
        size: Bytes of bodies as they leave, compressed or not, by ``format``.
        failures: Collections in which a source raised or was late, by ``source`` and ``cause``.
    """

    def __init__(self) -> None:
        self.scrapes = Counter(
            f"{PREFIX}_scrapes_total", "Requests for metrics answered, by status and format."
        )
        self.seconds = Histogram(
            f"{PREFIX}_scrape_duration_seconds",
            "Time from a request for metrics to the last byte of its response.",
        )
        self.size = Counter(
            f"{PREFIX}_scrape_response_bytes_total", "Bytes of responses, as they left."
        )
        self.failures = Counter(
            f"{PREFIX}_source_failures_total",
            "Collections in which a source raised or was late, by source and cause.",
        )

    def families(self) -> list[MetricFamily]:
        """All of them, those without series too."""
        every: list[Collector] = [  # type: ignore[type-arg]
            self.scrapes,
            self.seconds,
            self.size,
            self.failures,
        ]
        return [collector.family() for collector in every]
