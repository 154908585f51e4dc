"""Write the pages of the reference that are tables of what the code holds: the library's own metrics, and units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from otel_aioprom.faults import FaultLog
from otel_aioprom.otel.units import PER_WORDS, UNIT_WORDS
from otel_aioprom.selfmetrics import PushMetrics, ScrapeMetrics

PAGES = Path(__file__).parent.parent / "docs" / "reference"


def self_metrics() -> str:
    """The library's own metrics, with type and help."""
    families = [FaultLog().family(), *ScrapeMetrics().families(), *PushMetrics().families()]
    rows = [f"| `{each.name}` | {each.type} | {each.doc} |" for each in families]
    head = [
        "# The library's own metrics",
        "",
        "Each is shown from its first use on, in the registry that it is about. Labels are told in [Scraping](../explanation/scraping.md) and [Pushing](../explanation/pushing.md). Alert rules and a dashboard for them are in [Operations](../operations/index.md).",
        "",
        "| metric | type | |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def units() -> str:
    """The tables of units in OpenTelemetry names."""
    return "\n".join(
        [
            "# Units",
            "",
            "What becomes of an OpenTelemetry instrument's unit in the metric's name ([Mapping](../explanation/mapping.md)). A unit in braces says nothing; others stand as they are.",
            "",
            *_table(UNIT_WORDS),
            "",
            "Behind a slash (`By/s` becomes `bytes_per_second`):",
            "",
            *_table(PER_WORDS),
            "",
        ]
    )


def _table(words: Mapping[str, str]) -> list[str]:
    rows = [f"| `{unit}` | `{word}` |" for unit, word in words.items()]
    return ["| unit | in the name |", "|---|---|", *rows]


def pages() -> dict[Path, str]:
    """Each page with what it should say."""
    return {PAGES / "self_metrics.md": self_metrics(), PAGES / "units.md": units()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
