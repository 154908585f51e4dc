"""Two builds of this library in one run: ``python -m benchmarks.builds OLD [NEW]``.

A build is a wheel, or a folder with the package in it; it is copied first, so that it may change
meanwhile. Each has a process of its own, and the two take turns, A B B A, one short reading a turn: what
the machine does hits both, and the ratio is taken turn by turn. Where a process happens to have its memory
makes it a few percent quicker or slower as long as it lives, so each round has a fresh pair of them.

The ratio is the median of all turns, its range that of the rounds. On a machine with two speeds, as with a
busy neighbour, the two medians may be of different speeds; the ratio is not.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from functools import partial
from importlib import metadata
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from benchmarks import machine, report
from benchmarks.measure import OURS, Contender, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OLD, NEW = "old", "new"
ROUNDS = 16
TURNS = 12
"""Readings of each build in a round."""
STARTS = 120
"""Interpreters of each build, at least, that are started to time the import."""
_ROOT = Path(__file__).parents[1]
_ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}
_SERVE = """
import sys
sys.path[:0] = sys.argv[1:]
from benchmarks.builds_jobs import serve
serve(sys.argv[1])
"""
_IMPORT = """
import sys
from time import perf_counter, process_time
sys.path.insert(0, sys.argv[1])
start = perf_counter(), process_time()
from otel_aioprom import Counter
stop = perf_counter(), process_time()
assert sys.modules["otel_aioprom"].__file__.startswith(sys.argv[1])
print([(after - before) * 1e3 for before, after in zip(start, stop)])
"""
_HEADER = ("", OLD, NEW, "new ÷ old", "lowest to highest")
_WIDTHS = (53, 14, 14, 10, 0)

Turns = dict[str, list[float]]
"""Build → one reading a turn."""


class Worker:
    """A process that takes readings of one build.

    Args:
        build: The folder with the package in it.

    Attributes:
        jobs: What it can measure → the unit.
    """

    def __init__(self, build: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-c", _SERVE, str(build), str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=build,
            env=_ENVIRONMENT,
            text=True,
        )
        self.jobs: dict[str, str] = self._answer()

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def read(self, job: str) -> float:
        """Take one reading; the first of a job sets up its data."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{job}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process that measures has died; it says why above")
        return json.loads(line)


def compare(builds: Mapping[str, Path], rounds: int) -> list[dict[str, Any]]:
    """Measure both builds.

    Args:
        builds: The old and the new one, as folders with the package in them.
        rounds: How many pairs of processes.

    Returns:
        One result a job, then those of the import.
    """
    found: dict[tuple[str, str], list[Turns]] = {}
    for number in range(rounds):
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
        names = (OLD, NEW) if number % 2 else (NEW, OLD)
        ordered = {name: builds[name] for name in names}
        starts = max(STARTS // rounds + 1, 2)
        for case, turns in chain(_in_processes(ordered), _imports(ordered, starts)):
            found.setdefault(case, []).append(turns)
    return [_result(*case, turns) for case, turns in found.items()]


def _in_processes(builds: Mapping[str, Path]) -> Iterator[tuple[tuple[str, str], Turns]]:
    first, second = builds
    with closing(Worker(builds[first])) as one, closing(Worker(builds[second])) as other:
        for job, unit in one.jobs.items():
            contenders = [
                Contender(first, partial(one.read, job)),
                Contender(second, partial(other.read, job)),
            ]
            yield (job, unit), interleave(contenders, TURNS)


def _imports(builds: Mapping[str, Path], starts: int) -> Iterator[tuple[tuple[str, str], Turns]]:
    contenders = [Contender(name, partial(_import, build)) for name, build in builds.items()]
    found = interleave(contenders, starts)
    wall = {name: [reading[0] for reading in readings] for name, readings in found.items()}
    used = {name: [reading[1] for reading in readings] for name, readings in found.items()}
    least = {name: [min(readings)] for name, readings in wall.items()}
    yield ("import of Counter, on the wall", "ms"), wall
    yield ("import of Counter, on the wall, least of each round", "ms"), least
    yield ("import of Counter, of the processor", "ms"), used


def _import(build: Path) -> list[float]:
    """Give the time of an import on the wall, and that of the processor."""
    command = [sys.executable, "-c", _IMPORT, str(build)]
    answer = subprocess.check_output(command, cwd=build, env=_ENVIRONMENT)  # noqa: S603 - our own text
    wall, used = json.loads(answer)
    return [wall, used]


def _result(case: str, unit: str, rounds: Sequence[Turns]) -> dict[str, Any]:
    ratios = [
        [new / old for old, new in zip(turns[OLD], turns[NEW], strict=True)] for turns in rounds
    ]
    of_rounds = [median(values) for values in ratios]
    return {
        "case": case,
        "unit": unit,
        "medians": {
            name: median(chain.from_iterable(turns[name] for turns in rounds))
            for name in (OLD, NEW)
        },
        "ratio": median(chain.from_iterable(ratios)),
        "lowest": min(of_rounds),
        "highest": max(of_rounds),
        "ratios": of_rounds,
    }


def _cells(result: Mapping[str, Any]) -> tuple[str, ...]:
    medians = [f"{report.number(result['medians'][name])} {result['unit']}" for name in (OLD, NEW)]
    spread = f"{result['lowest']:.3f} to {result['highest']:.3f}"
    return (result["case"], *medians, f"{result['ratio']:.3f}", spread)


def _table(rows: Sequence[Sequence[str]], *, markdown: bool) -> Iterator[str]:
    if markdown:
        head, *body = [f"| {' | '.join(row)} |" for row in rows]
        yield from (head, "| --- | ---: | ---: | ---: | ---: |", *body)
        return
    for row in rows:
        yield "".join(cell.ljust(width) for cell, width in zip(row, _WIDTHS, strict=True)).rstrip()


def _copy(source: Path, target: Path) -> Path:
    """Copy a build into a new folder, compiled, and nothing else that lies beside it."""
    if source.is_file():
        ZipFile(source).extractall(target)
    else:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / OURS, target / OURS, ignore=ignored)
    compileall.compile_dir(target, quiet=1)
    return target


def _installed() -> Path:
    return Path(str(metadata.distribution("otel-aioprom").locate_file("")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two builds of this library in one run.

    Args:
        arguments: Those of the command line, without the program's name.

    Returns:
        The exit status: 0, whatever the figures are.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.builds", description=main.__doc__.partition("\n")[0]
    )
    parser.add_argument("old", type=Path, help="a wheel, or a folder with the package in it")
    parser.add_argument("new", type=Path, nargs="?", help="the same (default: what is installed)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default {ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    options = parser.parse_args(arguments)
    sources = {OLD: options.old, NEW: options.new or _installed()}
    with TemporaryDirectory() as folder:
        builds = {name: _copy(source, Path(folder, name)) for name, source in sources.items()}
        results = compare(builds, options.rounds)
    for line in _table([_HEADER, *map(_cells, results)], markdown=options.markdown):
        print(line)
    if options.json is not None:
        named = {name: str(source.resolve()) for name, source in sources.items()}
        document = {**machine.describe(), "builds": named, "rounds": options.rounds}
        text = json.dumps({**document, "results": results}, indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
