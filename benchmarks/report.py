"""Results to tables: for the terminal while running, in Markdown for the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.measure import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Result = dict[str, Any]
"""What `Case.to_json` gives."""

_HEADER = (
    "case",
    "ours",
    "peer",
    "peer's",
    "ours ÷ peer",
    "(lowest to highest)",
    "goal",
)
_WIDTHS = (64, 12, 34, 12, 12, 20, 0)
_LARGE = 100
_SMALL = 10


def number(value: float) -> str:
    """Write a figure with about three digits."""
    if value >= _LARGE:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _SMALL else f"{value:.2f}"


def ratio(value: float) -> str:
    """Write a ratio with three digits behind the point where it is small."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def verdict(result: Result, peer: str | None) -> str:
    """Say whether the goal against a peer is met; nothing if there is none."""
    for goal in result["goals"]:
        if goal["against"] == peer:
            return f"≤ {goal['limit']:g} {'met' if goal['met'] else 'NOT MET'}"
    return ""


def _line(cells: Sequence[str]) -> str:
    return " ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def terminal_header() -> str:
    """Give the head of the terminal's table."""
    return _line(_HEADER)


def terminal_lines(result: Result) -> Iterator[str]:
    """Give a line for our own figure and one for each peer."""
    unit, medians = result["unit"], result["medians"]
    ours = f"{number(medians[OURS])} {unit}"
    per_series = (
        f"{medians[OURS] * 1e6 / result['series']:,.0f} ns a series" if result["series"] else ""
    )
    yield _line((result["case"], ours, "", "", "", per_series, verdict(result, None)))
    for peer, spread in result["ratios"].items():
        yield _line(
            (
                "",
                "",
                peer,
                f"{number(medians[peer])} {unit}",
                ratio(spread["median"]),
                f"({ratio(spread['lowest'])} to {ratio(spread['highest'])})",
                verdict(result, peer),
            )
        )


def markdown(document: Mapping[str, Any]) -> Iterator[str]:
    """Give the lines of the tables in ``docs/performance.md``, one table a topic.

    Args:
        document: What ``--json`` wrote.

    Yields:
        Lines without line breaks; no line for topics that were not run.
    """
    yield from _markdown_head(document)
    topics = dict.fromkeys(result["topic"] for result in document["results"])
    for topic in topics:
        yield ""
        yield f"### {topic}"
        yield from _markdown_topic(
            [result for result in document["results"] if result["topic"] == topic]
        )


def _markdown_head(document: Mapping[str, Any]) -> Iterator[str]:
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    yield f"{document['python']}, {machine['cpus']} CPUs ({machine['processor'] or machine['architecture']}), {machine['system']}."
    yield f"{versions}."
    yield f"Medians of {document['rounds']} interleaved rounds; in brackets ours ÷ peer, the median of the rounds' ratios."


def _markdown_topic(results: Sequence[Result]) -> Iterator[str]:
    peers = list(dict.fromkeys(peer for result in results for peer in result["ratios"]))
    yield ""
    yield f"| | {' | '.join([OURS, *peers, 'goal'])} |"
    yield f"| --- |{' ---: |' * (len(peers) + 1)} --- |"
    for result in results:
        cells = [
            _ours_cell(result),
            *(_peer_cell(result, peer) for peer in peers),
            _goals_cell(result),
        ]
        yield f"| {result['case']} | {' | '.join(cells)} |"


def _ours_cell(result: Result) -> str:
    return f"{number(result['medians'][OURS])} {result['unit']}"


def _peer_cell(result: Result, peer: str) -> str:
    if peer not in result["ratios"]:
        return ""
    return f"{number(result['medians'][peer])} ({ratio(result['ratios'][peer]['median'])})"


def _goals_cell(result: Result) -> str:
    return "; ".join(
        f"≤ {goal['limit']:g} {'of ' + goal['against'] if goal['against'] else result['unit']}: "
        f"{'met' if goal['met'] else '**not met**'}"
        for goal in result["goals"]
    )
