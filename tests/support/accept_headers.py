"""The Accept headers of real scrapers, by configuration; see E51.

``tests/integration/test_support.py`` holds this table against the servers.
"""

from __future__ import annotations

from typing import NamedTuple

PROTO = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


class Recorded(NamedTuple):
    """The headers of a scraper.

    Attributes:
        scraper: ``prometheus2`` (2.42), ``prometheus3`` (3.5) or ``victoriametrics`` (1.145).
        setting: ``default``; the name of a feature that is switched on; ``legacy`` for that
            ``metric_name_validation_scheme``; ``escaping=`` and a
            ``metric_name_escaping_scheme``; ``protocols=`` and the ``scrape_protocols`` with
            ``+`` between them.
        accept: The header's value.
    """

    scraper: str
    setting: str
    accept: str


def text_first(scheme: str) -> str:
    """Return the header of Prometheus 3 without protobuf."""
    return (
        f"application/openmetrics-text;version=1.0.0;escaping={scheme};q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        f"text/plain;version=1.0.0;escaping={scheme};q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )


PROTO_FIRST = (
    f"{PROTO};q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)

RECORDED = [
    Recorded(
        "prometheus2",
        "default",
        "application/openmetrics-text;version=1.0.0,"
        "application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    ),
    Recorded(
        "prometheus2",
        "native-histograms",
        f"{PROTO},application/openmetrics-text;version=1.0.0;q=0.8,"
        "application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    ),
    Recorded("prometheus3", "default", text_first("allow-utf-8")),
    Recorded("prometheus3", "legacy", text_first("underscores")),
    Recorded("prometheus3", "escaping=allow-utf-8", text_first("allow-utf-8")),
    Recorded("prometheus3", "escaping=underscores", text_first("underscores")),
    Recorded("prometheus3", "escaping=dots", text_first("dots")),
    Recorded("prometheus3", "escaping=values", text_first("values")),
    Recorded("prometheus3", "native-histograms", PROTO_FIRST),
    Recorded("prometheus3", "created-timestamp-zero-ingestion", PROTO_FIRST),
    Recorded(
        "prometheus3",
        "protocols=PrometheusProto+OpenMetricsText1.0.0+OpenMetricsText0.0.1"
        "+PrometheusText1.0.0+PrometheusText0.0.4",
        PROTO_FIRST,
    ),
    Recorded("prometheus3", "protocols=PrometheusProto", f"{PROTO};q=0.6,*/*;q=0.5"),
    Recorded(
        "prometheus3",
        "protocols=OpenMetricsText1.0.0",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5",
    ),
    Recorded(
        "prometheus3",
        "protocols=OpenMetricsText0.0.1",
        "application/openmetrics-text;version=0.0.1;q=0.6,*/*;q=0.5",
    ),
    Recorded(
        "prometheus3",
        "protocols=PrometheusText1.0.0",
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5",
    ),
    Recorded(
        "prometheus3",
        "protocols=PrometheusText0.0.4",
        "text/plain;version=0.0.4;q=0.6,*/*;q=0.5",
    ),
    Recorded(
        "prometheus3",
        "protocols=OpenMetricsText0.0.1+PrometheusText0.0.4",
        "application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4",
    ),
    Recorded("victoriametrics", "default", "text/plain;version=0.0.4;q=1,*/*;q=0.1"),
]
