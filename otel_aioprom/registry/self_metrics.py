"""What endpoints and pushers measure of themselves: exchanges by status, their time and size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from otel_aioprom._concurrency.foreign_code import FAILURES, is_exit
from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter, Gauge, Histogram
from otel_aioprom.collectors.base import Collector

PREFIX = "otel_aioprom"


class ScrapeMetrics:
    """The metrics of all endpoints of one registry; each is shown from its first use on.

    Attributes:
        scrapes: Requests answered, by status (``code``) and, where one was chosen, by ``format``.
        seconds: From the request to the last byte, by ``format``.
        size: Bytes of bodies as they leave, compressed or not, by ``format``.
        failures: Collections in which a source raised or was late, by ``source`` and ``cause``.
        overflows: Look-ups of label sets for which a ``metric`` had no place.
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
            "Failures of sources, functions and callbacks, each once a collection, by name and cause.",
        )
        self.overflows = Counter(
            f"{PREFIX}_series_overflows_total",
            "Look-ups of label sets for which a metric had no place.",
        )

    def count_overflows(self, collectors: Iterable[Collector[Any]]) -> None:
        """Take over what collectors have counted."""
        for collector in collectors:
            try:
                if count := collector.count_overflows():
                    self.overflows.set({"metric": collector.name}, count)
            except FAILURES as error:  # of a class of others, whose number is not told then
                if is_exit(error):
                    raise

    def families(self) -> list[MetricFamily]:
        """All of them, those without series too."""
        every: list[Collector] = [  # type: ignore[type-arg]
            self.scrapes,
            self.seconds,
            self.size,
            self.failures,
            self.overflows,
        ]
        return [collector.family() for collector in every]


class PushMetrics:
    """The metrics of all pushers of one registry, by ``destination``; each is shown from its first use on.

    Attributes:
        requests: Requests sent, by what came of them (``code``: a status, or ``error`` if there was no response).
        seconds: From the first try of a request to its end.
        size: Bytes of bodies, as they left.
        last: When something arrived last, in seconds since the epoch.
        samples: Samples of remote write by ``outcome``: sent, refused by the server, dropped because too much waited,
            or lost because they could not be kept.
        waiting: Bytes that wait for remote write.
    """

    def __init__(self) -> None:
        self.requests = Counter(
            f"{PREFIX}_pushes_total", "Requests that push metrics, by destination and status."
        )
        self.seconds = Histogram(
            f"{PREFIX}_push_duration_seconds",
            "Time from the first try of a request that pushes metrics to its end.",
        )
        self.size = Counter(f"{PREFIX}_push_bytes_total", "Bytes of pushed metrics, as they left.")
        self.last = Gauge(
            f"{PREFIX}_push_last_success_timestamp_seconds", "When pushed metrics arrived last."
        )
        self.samples = Counter(
            f"{PREFIX}_remote_write_samples_total",
            "Samples of remote write, by what became of them.",
        )
        self.waiting = Gauge(
            f"{PREFIX}_remote_write_waiting_bytes", "Bytes of messages that wait to be sent."
        )

    def count(self, destination: str, code: str, size: int, seconds: float) -> None:
        """Enter a request."""
        labels = {"destination": destination}
        self.requests.inc({**labels, "code": code})
        self.seconds.observe(labels, seconds)
        self.size.add(labels, size)

    def families(self) -> list[MetricFamily]:
        """All of them, those without series too."""
        every: list[Collector] = [  # type: ignore[type-arg]
            self.requests,
            self.seconds,
            self.size,
            self.last,
            self.samples,
            self.waiting,
        ]
        return [collector.family() for collector in every]
