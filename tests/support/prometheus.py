"""A real Prometheus, of either generation."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from processes import require
from scraper import MetricMetadata, ScrapeJob, Scraper

PROTOCOLS = (
    "PrometheusProto",
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)
"""All that Prometheus scrapes by, those with the most content first."""

# 2.42 writes `level=warn`, 3.5 writes `level=WARN`; what is dropped alone is spoken of at level
# debug only. A start time that is "out of order" has been stored before, so nothing is lost.
COMPLAINT = re.compile(
    r"""(?x) \b level=(?i:warn|error) \b
    | msg="(?i:scrape\ failed|append\ failed|duplicate\ sample|out\ of\ (order|bounds)|error\ )
      (?! .* \b err="out\ of\ order\ sample")
    """
)


class Point(NamedTuple):
    """A stored sample: Unix seconds and the value."""

    time: float
    value: float


class Bucket(NamedTuple):
    """A bucket of a native histogram, as the API gives it.

    Attributes:
        boundaries: Which bounds belong to it: 0 the upper, 1 the lower, 2 none, 3 both.
        lower: Its lower bound.
        upper: Its upper bound.
        count: Observations in this bucket alone.
    """

    boundaries: int
    lower: float
    upper: float
    count: float


@dataclass(frozen=True)
class HistogramSample:
    """One native histogram of a query's answer; empty buckets are not in it."""

    labels: Mapping[str, str]
    count: float
    sum: float
    buckets: Sequence[Bucket]


@dataclass(frozen=True)
class StoredExemplar:
    """One exemplar, the labels of its series, ``__name__`` among them, and Unix seconds."""

    series: Mapping[str, str]
    labels: Mapping[str, str]
    value: float
    time: float


class PrometheusServer(Scraper):
    """A real Prometheus that scrapes the given jobs.

    The first scrape comes about five seconds after the start: that is how long its target
    discovery gathers changes. So start one for many tests, and let their applications
    follow each other on one port.

    Args:
        name: ``prometheus2`` or ``prometheus3``.
        jobs: What to scrape.
        interval: Scrape interval and timeout, at most a second.
        features: Words for ``--enable-feature``, such as ``native-histograms``.
        flags: More words for the command line.
        settings: What else the ``global`` part of its configuration says, for all jobs:
            ``scrape_protocols``; from generation 3 on ``metric_name_validation_scheme`` and
            ``metric_name_escaping_scheme``, ``always_scrape_classic_histograms`` and
            ``convert_classic_histograms_to_nhcb``. 3.5 does not know
            ``scrape_native_histograms``; there the feature is the switch.
        max_exemplars: How many exemplars are kept; 0 leaves it to ``features``.
    """

    def __init__(
        self,
        name: str,
        jobs: Sequence[ScrapeJob],
        *,
        interval: str = "1s",
        features: Sequence[str] = (),
        flags: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        max_exemplars: int = 0,
    ) -> None:
        program = require(name)
        features = [*features, *["exemplar-storage"] * bool(max_exemplars)]
        switches = [f"--enable-feature={feature}" for feature in features]
        super().__init__(
            lambda folder, port: [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=debug",
                *switches,
                *flags,
            ],
            "/-/ready",
        )
        times = {"scrape_interval": interval, "scrape_timeout": interval}
        config: dict[str, Any] = {
            "global": {**times, **(settings or {})},
            "scrape_configs": [job.config() for job in jobs],
        }
        if max_exemplars:
            config["storage"] = {"exemplars": {"max_exemplars": max_exemplars}}
        # JSON is YAML, so no YAML library is needed.
        (self.folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")

    def warnings(self, since: int = 0) -> list[str]:
        """Return warnings and errors of the log.

        These are warnings, errors, failed scrapes, and samples, exemplars or start times that
        were dropped. Of the second sample of a series in one response 2.42 says nothing. A scrape
        that took longer than its short timeout complains of a busy machine, not of the page.

        Args:
            since: How many characters of the log to pass over.
        """
        return [
            line
            for line in self.log()[since:].splitlines()
            if COMPLAINT.search(line) and "context deadline exceeded" not in line
        ]

    def points(self, expr: str, window: str = "1h") -> list[Point]:
        """Return all stored samples of the one series that a selector finds, oldest first.

        The value of a native histogram is its count.

        With the feature ``created-timestamp-zero-ingestion`` the first one is the start time of
        the series, with value 0. A start time more than an hour ago is not stored; 3.5 even ends
        at one of a native histogram (https://github.com/prometheus/prometheus/issues/16318).

        Args:
            expr: A selector, such as ``a_total{job="b"}``.
            window: How far to look back from now.

        Raises:
            LookupError: It finds several series.
        """
        found = self._api("query", query=f"{expr}[{window}]")["result"]
        if len(found) > 1:
            raise LookupError(f"{expr} finds {len(found)} series")
        return [
            Point(float(stamp), float(value["count"] if isinstance(value, dict) else value))
            for series in found
            for stamp, value in sorted(
                [*series.get("values", ()), *series.get("histograms", ())], key=itemgetter(0)
            )
        ]

    def histogram(self, expr: str) -> HistogramSample | None:
        """Return the one native histogram that an instant query finds now, or ``None``.

        Raises:
            LookupError: It finds several.
        """
        found = [item for item in self._api("query", query=expr)["result"] if "histogram" in item]
        if len(found) > 1:
            raise LookupError(f"{expr} finds {len(found)} histograms")
        for item in found:
            told = item["histogram"][1]
            buckets = [
                Bucket(bounds, float(lower), float(upper), float(count))
                for bounds, lower, upper, count in told.get("buckets", ())
            ]
            return HistogramSample(
                item["metric"], float(told["count"]), float(told["sum"]), buckets
            )
        return None

    def exemplars(self, expr: str, span: float = 3600.0) -> list[StoredExemplar]:
        """Return the exemplars of all series that a selector finds.

        Args:
            expr: A selector.
            span: How many seconds before and after now to look at.
        """
        now = time.time()
        found = self._api("query_exemplars", query=expr, start=f"{now - span}", end=f"{now + span}")
        return [
            StoredExemplar(
                item["seriesLabels"], each["labels"], float(each["value"]), each["timestamp"]
            )
            for item in found
            for each in item["exemplars"]
        ]

    def target_metadata(self, job: str) -> dict[str, MetricMetadata]:
        """Return metric name → its metadata from the target of one job."""
        found = self._api("targets/metadata", match_target=f'{{job="{job}"}}')
        return {
            item["metric"]: MetricMetadata(item["type"], item["help"], item["unit"])
            for item in found
        }
