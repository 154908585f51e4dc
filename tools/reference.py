"""Write the reference pages that are tables generated from the code: self metrics, options, environment, units."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from otel_aioprom import autoconfigure
from otel_aioprom._transport.delivery import Delivery
from otel_aioprom._transport.retry import Retry
from otel_aioprom.collectors import Collector, Counter, Gauge, Histogram, StateSet, Summary
from otel_aioprom.otel.async_callbacks import observe_async
from otel_aioprom.otel.reader import PrometheusMetricReader
from otel_aioprom.otel.units import PER_WORDS, UNIT_WORDS
from otel_aioprom.pusher import Pusher
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.registry.faults import FaultLog
from otel_aioprom.registry.self_metrics import PushMetrics, ScrapeMetrics
from otel_aioprom.remote_write.writer import RemoteWriter
from otel_aioprom.service.scrape import Scraper
from otel_aioprom.service.service import Service

PAGES = Path(__file__).parent.parent / "docs" / "reference"


def self_metrics() -> str:
    """Return the page of the library's own metrics, with type and help."""
    families = [FaultLog().family(), *ScrapeMetrics().families(), *PushMetrics().families()]
    rows = [f"| `{each.name}` | {each.type} | {each.doc} |" for each in families]
    head = [
        "# The library's own metrics",
        "",
        "Each metric is exposed from its first use on, in the registry that it describes.",
        "",
        "- Labels: [Scraping](../explanation/scraping.md) and [Pushing](../explanation/pushing.md)",
        "- Alert rules and a dashboard: [Operations](../operations/index.md)",
        "",
        "| metric | type | |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


OPTIONS: dict[str, Callable[..., Any]] = {
    "Endpoints: `Service`, `ThreadedService`, `asgi.MetricsApp`, `wsgi.MetricsApp`": Scraper,
    "`start` and `running` of `Service` and `ThreadedService`": Service.start,
    "`PrometheusMetricReader`": PrometheusMetricReader,
    "`observe_async`": observe_async,
    "`CollectorRegistry`": CollectorRegistry,
    "All collectors": Collector,
    "`Counter`": Counter,
    "`Histogram`": Histogram,
    "`Summary`": Summary,
    "`StateSet`, `Enum`": StateSet,
    "`set_function` of `Counter` and `Gauge`": Gauge.set_function,
    "`Pusher`, `BlockingPusher`, `job_metrics`, `PushMetricExporter`": Pusher,
    "Connections of pushers and of the remote writer": Delivery,
    "`Retry`": Retry,
    "`RemoteWriter`": RemoteWriter,
}


def options() -> str:
    """Return the page of options, taken from signatures and docstrings."""
    lines = ["# Options", "", "The options of each class and function, with their defaults.", ""]
    for title, owner in OPTIONS.items():
        lines += [f"## {title}", "", "| option | default | |", "|---|---|---|"]
        lines += _option_rows(owner)
        lines.append("")
    return "\n".join(lines)


def _option_rows(owner: Callable[..., Any]) -> list[str]:
    told = _told(inspect.getdoc(owner) or "")
    rows = []
    for name, parameter in inspect.signature(owner).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD or name not in told:
            continue
        default = parameter.default
        shown = "" if default is parameter.empty else f"`{_default(default)}`"
        rows.append(f"| `{name}` | {shown} | {told[name]} |")
    return rows


def _default(value: Any) -> str:
    if callable(value):
        return str(getattr(value, "__name__", value))
    return "REGISTRY" if type(value).__name__ == "CollectorRegistry" else repr(value)


def _told(doc: str) -> dict[str, str]:
    """Return name → its description under ``Args`` or ``Attributes`` of a docstring, in one line."""
    found: dict[str, str] = {}
    for section in re.findall(
        r"^(?:Args|Attributes):\n((?:    .*\n|\n)+)", f"{doc}\n", re.MULTILINE
    ):
        for name, text in re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", section, re.MULTILINE):
            plain = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
            found.setdefault(name, plain)
    return found


def environment() -> str:
    """Return the page of environment variables and configuration keys."""
    host, port, file = autoconfigure.HOST, autoconfigure.PORT, autoconfigure.FILE
    keys = ", ".join(f"`{key}`" for key in autoconfigure._KEYS)  # noqa: SLF001 - the page is about them
    strategies = ", ".join(f"`{name}`" for name in autoconfigure._STRATEGIES)  # noqa: SLF001
    return "\n".join(
        [
            "# Environment and configuration",
            "",
            "[Serve without writing code](../how-to/configure.md) shows how to use them.",
            "",
            "| variable | default | |",
            "|---|---|---|",
            "| `OTEL_METRICS_EXPORTER` | `otlp` | `otel_aioprom` selects this library; read by the SDK |",
            f"| `{host}` | `{autoconfigure.DEFAULT_HOST}` | where to listen; an empty value counts as absent |",
            f"| `{port}` | `{autoconfigure.DEFAULT_PORT}` | an invalid port number is logged, and the default is used |",
            f"| `{file}` | | a configuration file, read by the SDK; with one, host and port above are ignored |",
            "",
            f"Keys under `otel_aioprom` in such a file: {keys}. Each may end in `/development`.",
            "",
            f"Values of `translation_strategy`: {strategies}.",
            "",
        ]
    )


def units() -> str:
    """Return the page with the tables of OpenTelemetry units."""
    return "\n".join(
        [
            "# Units",
            "",
            "How the unit of an OpenTelemetry instrument appears in the metric's name.",
            "A unit in braces is dropped. Units that are not listed stay as they are.",
            "[Mapping](../explanation/mapping.md) has the other rules for names.",
            "",
            *_table(UNIT_WORDS),
            "",
            "After a slash (`By/s` becomes `bytes_per_second`):",
            "",
            *_table(PER_WORDS),
            "",
        ]
    )


def _table(words: Mapping[str, str]) -> list[str]:
    rows = [f"| `{unit}` | `{word}` |" for unit, word in words.items()]
    return ["| unit | in the name |", "|---|---|", *rows]


def pages() -> dict[Path, str]:
    """Return each page with its text."""
    return {
        PAGES / "self_metrics.md": self_metrics(),
        PAGES / "options.md": options(),
        PAGES / "environment.md": environment(),
        PAGES / "units.md": units(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
