"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TOPICS = ("recording", "text", "formats", "otel", "http", "pushing", "memory")
ROUNDS = 7
QUICK_ROUNDS = 2
_MISSING = (
    "{0}\nThe benchmarks need the peers: pip install prometheus_client aioprometheus aiohttp cramjam "
    "opentelemetry-exporter-prometheus opentelemetry-exporter-prometheus-remote-write\n"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the topics asked for, or print stored results.

    Args:
        arguments: Those of the command line, without the program's name.

    Returns:
        The exit status: 0, also with goals that are not met; 2 if a peer is missing.
    """
    options = _parser().parse_args(arguments)
    if options.markdown is not None:
        _print(report.markdown(json.loads(options.markdown.read_text(encoding="utf-8"))))
        return 0
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    try:
        results = _run(options.topic or TOPICS, rounds, quick=options.quick)
    except ModuleNotFoundError as error:
        sys.stderr.write(_MISSING.format(error))
        return 2
    if options.json is not None:
        document = {
            **machine.describe(),
            "rounds": rounds,
            "quick": options.quick,
            "results": results,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=main.__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"readings of each contender (default {ROUNDS})",
    )
    parser.add_argument(
        "--topic",
        nargs="+",
        choices=TOPICS,
        metavar="NAME",
        help=f"some of {', '.join(TOPICS)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few series and rounds: a check that all of it runs",
    )
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="print the tables of a results file; run nothing",
    )
    return parser


def _run(topics: Iterable[str], rounds: int, *, quick: bool) -> list[dict[str, Any]]:
    """Run topic by topic, each table printed as soon as it is known."""
    results: list[dict[str, Any]] = []
    for topic in topics:
        module = import_module(f"benchmarks.{topic}")
        _print(("", topic, report.terminal_header()))
        found = [case.to_json() for case in module.measure(rounds, quick=quick)]
        for result in found:
            _print(report.terminal_lines(result))
        results += found
    return results


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
