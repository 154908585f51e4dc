"""A server that scrapes and answers queries as Prometheus does."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from processes import ServerProcess, fetch, wait_until


@dataclass(frozen=True)
class ScrapeJob:
    """One scrape job.

    Attributes:
        name: The ``job`` label of what it scrapes.
        target: ``host:port``.
        settings: Anything else that a ``scrape_config`` may say.
    """

    name: str
    target: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """Return the job as an entry of ``scrape_configs``."""
        return {
            "job_name": self.name,
            "static_configs": [{"targets": [self.target]}],
            **self.settings,
        }


@dataclass(frozen=True)
class QuerySample:
    """One series of a query's answer: its labels, ``__name__`` among them, and its value."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class MetricMetadata:
    """Metadata of a metric from a target; ``""`` if there is none."""

    type: str
    help: str
    unit: str


class Scraper(ServerProcess):
    """A server that scrapes jobs and answers the queries of Prometheus's API."""

    stamp_tolerance = 0.01
    """Seconds by which the timestamp of a scrape may be later than its begin."""

    def _api(self, path: str, **parameters: str) -> Any:
        """Return the ``data`` of an API answer; the message of an error status is in the exception."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            body, _ = fetch(url)
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{url}: {error.read().decode()}") from error
        except OSError:
            self.check_running()
            raise
        return json.loads(body)["data"]

    def query(self, expr: str) -> list[QuerySample]:
        """Return the series of numbers that an instant query finds now.

        Native histograms are no numbers: they are left out.
        """
        data = self._api("query", query=expr)
        if data["resultType"] == "scalar":
            return [QuerySample({}, float(data["result"][1]))]
        return [
            QuerySample(item["metric"], float(item["value"][1]))
            for item in data["result"]
            if "value" in item
        ]

    def value(self, expr: str) -> float | None:
        """Return the value of the one series that a query finds, or ``None`` if none is."""
        found = self.query(expr)
        if len(found) > 1:
            raise LookupError(f"{expr} finds {len(found)} series")
        return found[0].value if found else None

    def metadata(self) -> dict[str, list[dict[str, str]]]:
        """Return metric name → its type, help and unit from the targets."""
        found: dict[str, list[dict[str, str]]] = self._api("metadata")
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return the active targets, each with ``health``, ``lastError``, ``lastScrape``."""
        found: list[dict[str, Any]] = self._api("targets", state="active")["activeTargets"]
        return found

    def target(self, job: str) -> dict[str, Any] | None:
        """Return the target of one job, or ``None`` before discovery has found it."""
        return next((item for item in self.targets() if item["labels"]["job"] == job), None)

    def wait_for_scrape(self, job: str, deadline: float = 30.0) -> None:
        """Wait until a scrape that began after this call has ended well and can be queried."""
        begun = time.time() + self.stamp_tolerance
        up = f'up{{job="{job}"}}'

        def is_scraped() -> bool:
            # The time of a sample is the begin of its scrape; other than the list of targets
            # it changes only when the samples can be queried.
            stamp = self.value(f"timestamp({up}) and ({up} == 1)")
            return stamp is not None and stamp > begun

        wait_until(is_scraped, deadline, f"a good scrape of {job}")
