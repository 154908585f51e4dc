"""Self-metrics of endpoints and pushers: requests by status, their duration and size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from otel_aioprom._core.model import MetricFamily
from otel_aioprom.collectors import Counter, Gauge, Histogram
from otel_aioprom.collectors.base import Collector


class _SelfMetrics:
    """Collectors in attributes; each is exposed from its first use on."""

    def families(self) -> list[MetricFamily]:
        """Return the families of all collectors, those without series too."""
        return [collector.family() for collector in vars(self).values()]


class ScrapeMetrics(_SelfMetrics):
    """Self-metrics of all endpoints of one registry; each is exposed from its first use on.

    Attributes:
        scrapes: Responses, by status (``code``) and, where one was negotiated, by ``format``.
        seconds: Seconds from the request to the last byte of the response, by ``format``.
        size: Bytes of response bodies as sent, compressed or not, by ``format``.
        failures: Collections in which a source raised or was late, by ``source`` and ``cause``.
        overflows: Look-ups of label sets beyond the series limit of a ``metric``.
        label_conflicts: Values that were joined by ``;``, as several attributes became one label.
    """

    def __init__(self) -> None:
        self.scrapes = Counter(
            "otel_aioprom_scrapes_total", "Requests for metrics answered, by status and format."
        )
        self.seconds = Histogram(
            "otel_aioprom_scrape_duration_seconds",
            "Time from a request for metrics to the last byte of its response.",
        )
        self.size = Counter(
            "otel_aioprom_scrape_response_bytes_total", "Bytes of responses as sent."
        )
        self.failures = Counter(
            "otel_aioprom_source_failures_total",
            "Failures of sources, functions and callbacks, each once a collection, by name and cause.",
        )
        self.overflows = Counter(
            "otel_aioprom_series_overflows_total",
            "Look-ups of label sets beyond the series limit of a metric.",
        )
        self.label_conflicts = Counter(
            "otel_aioprom_label_conflicts_total",
            "Attribute values joined to another one of their series, because their keys became one label.",
        )

    def count_overflows(self, collectors: Iterable[Collector[Any]]) -> None:
        """Copy the overflow counts of collectors."""
        for collector in collectors:
            try:
                if count := Collector.count_overflows(collector):  # no user code
                    self.overflows.set({"metric": collector.name}, count)
            except AttributeError:  # a user's class has left its collector incomplete
                continue


class PushMetrics(_SelfMetrics):
    """Self-metrics of all pushers of one registry, by ``destination``; each is exposed from its first use on.

    Attributes:
        requests: Requests sent, by ``code``: the status, or ``error`` if there was no response.
        seconds: Seconds from the first attempt of a request to its end.
        size: Bytes of request bodies as sent.
        last: Timestamp of the last success, in seconds since the epoch.
        samples: Samples of remote write by ``outcome``: sent, rejected by the server, dropped because the queue was
            full, or lost because they could not be stored.
        waiting: Bytes that wait for remote write.
    """

    def __init__(self) -> None:
        self.requests = Counter(
            "otel_aioprom_pushes_total", "Requests that push metrics, by destination and status."
        )
        self.seconds = Histogram(
            "otel_aioprom_push_duration_seconds",
            "Time from the first attempt of a request that pushes metrics to its end.",
        )
        self.size = Counter("otel_aioprom_push_bytes_total", "Bytes of pushed metrics as sent.")
        self.last = Gauge(
            "otel_aioprom_push_last_success_timestamp_seconds", "Time of the last successful push."
        )
        self.samples = Counter(
            "otel_aioprom_remote_write_samples_total",
            "Samples of remote write, by outcome.",
        )
        self.waiting = Gauge(
            "otel_aioprom_remote_write_waiting_bytes", "Bytes of messages that wait to be sent."
        )

    def count(self, destination: str, code: str, size: int, seconds: float) -> None:
        """Record a request.

        Args:
            destination: Where to, as a label value.
            code: Its status, or ``error``.
            size: Bytes of its body.
            seconds: How long it took.
        """
        labels = {"destination": destination}
        self.requests.inc({**labels, "code": code})
        self.seconds.observe(labels, seconds)
        self.size.add(labels, size)
