"""The real servers and third-party parsers that the tests use.

One import for all of them: the programs themselves are in ``processes``, what scrapes in
``prometheus`` and ``victoria``, a target without a library in ``canned``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import prometheus_client.openmetrics.parser
import prometheus_client.parser
from prometheus_client.metrics_core import Metric

from canned import Answer, CannedTarget, Request
from processes import (
    ENVIRONMENT,
    FOLDER,
    ServerProcess,
    answers,
    fetch,
    find,
    free_port,
    require,
    wait_until,
)
from prometheus import Bucket, HistogramSample, Point, PrometheusServer, StoredExemplar
from scraper import MetricMetadata, QuerySample, ScrapeJob, Scraper
from victoria import VictoriaMetricsServer

__all__ = [
    "ENVIRONMENT",
    "FOLDER",
    "Answer",
    "Bucket",
    "CannedTarget",
    "HistogramSample",
    "MetricMetadata",
    "Point",
    "PrometheusServer",
    "QuerySample",
    "Request",
    "ScrapeJob",
    "Scraper",
    "ServerProcess",
    "StoredExemplar",
    "VictoriaMetricsServer",
    "answers",
    "check_unique",
    "check_with_promtool",
    "fetch",
    "find",
    "free_port",
    "parse_with_prometheus_client",
    "require",
    "wait_until",
]


# --- third-party parsers -------------------------------------------------------------------


def check_with_promtool(text: bytes, name: str = "promtool3") -> None:
    """Let ``promtool check metrics`` read a response in text format 0.0.4.

    Call it after a test's own asserts, for it ends the test where promtool is missing.

    Raises:
        AssertionError: It is no valid text; remarks about naming are allowed.
    """
    done = subprocess.run(
        [str(require(name)), "check", "metrics"],
        input=text,
        capture_output=True,
        timeout=60,
        check=False,
    )
    # 3 means: read without error, but some name or help could be better.
    if done.returncode not in {0, 3}:
        raise AssertionError(f"promtool: {done.stderr.decode(errors='replace').strip()}")


def parse_with_prometheus_client(text: str | bytes, *, openmetrics: bool = False) -> list[Metric]:
    """Let the official Python client's parser read a response.

    Args:
        text: The body.
        openmetrics: Whether it is OpenMetrics 1.0 instead of text 0.0.4.

    Returns:
        The families, in the order of the response.

    Raises:
        ValueError: It cannot be read.
        AssertionError: A series, or a family, is in it twice.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    parser = prometheus_client.openmetrics.parser if openmetrics else prometheus_client.parser
    families = list(parser.text_string_to_metric_families(text))
    check_unique([(family.name, family.type) for family in families])
    check_unique(
        [
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in families
            for sample in family.samples
        ]
    )
    return families


def check_unique(items: Sequence[object]) -> None:
    """Raise an ``AssertionError`` that names the first item which occurs twice."""
    seen = set()
    for item in items:
        if item in seen:
            raise AssertionError(f"twice in one response: {item}")
        seen.add(item)
