"""The long run: ``python -m tests.fuzz --inputs 1000000 --seed 1``.

An input is made of the seed, the target's name and its own number, so that a finding can be had again alone:
``--only TARGET --first NUMBER --inputs 1``. With atheris installed, ``--atheris`` lets coverage guide the inputs.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(_TESTS / "fuzz"), str(_TESTS / "support")]

from fuzz_inputs import ByBytes, ByChance

WEIGHTS = {"opentelemetry": 0.25, "web configuration": 0.5}
"""Slow targets get fewer inputs."""
LONGEST = 400


def main() -> int:
    """Run, print a table, and return 1 if there were failures."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the endpoint.")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="all targets together")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs")
    parser.add_argument("--only", metavar="TARGET", help="one target")
    parser.add_argument(
        "--first", type=int, default=0, metavar="NUMBER", help="the input to begin with"
    )
    parser.add_argument("--atheris", action="store_true", help="let coverage guide the inputs")
    options = parser.parse_args()
    if options.atheris:
        return guided(options.inputs)
    return by_chance(options.inputs, options.seed, options.only, options.first)


def by_chance(inputs: int, seed: int, only: str | None, first: int) -> int:
    """Random inputs, reproducible by the seed; print each location of a failure once."""
    from fuzz_targets import Fuzzer  # noqa: PLC0415 - after atheris, which instruments it

    fuzzer, found = Fuzzer(), 0
    weights = {name: WEIGHTS.get(name, 1.0) for name in fuzzer.targets if only in {None, name}}
    print("| target | inputs | seconds | findings | different ones |\n|---|---:|---:|---:|---:|")
    for name, weight in weights.items():
        count, begun = round(inputs * weight / sum(weights.values())), time.perf_counter()
        places: Counter[str] = Counter()
        for number in range(first, first + count):
            try:
                fuzzer.run(name, ByChance(f"{seed} {name} {number}"))
            except Exception as error:  # noqa: BLE001 - a failure is what fuzzing looks for
                place = _place(error)
                if not places[place]:
                    print(f"{name}, input {number}: {place}: {str(error)[:300]!r}", file=sys.stderr)
                places[place] += 1
        seconds = time.perf_counter() - begun
        print(
            f"| {name} | {count:,} | {seconds:.0f} | {sum(places.values()):,} | {len(places)} |",
            flush=True,
        )
        found += len(places)
    print("\n| how far they got | inputs |\n|---|---:|")
    for what, times in sorted(fuzzer.reached.items()):
        print(f"| {what} | {times:,} |")
    fuzzer.close()
    return 1 if found else 0


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def guided(inputs: int) -> int:
    """Coverage-guided inputs; an error ends the run with the input that caused it."""
    import atheris  # noqa: PLC0415 - an optional tool

    with atheris.instrument_imports(include=["otel_aioprom"]):
        from fuzz_targets import Fuzzer  # noqa: PLC0415

    fuzzer = Fuzzer()
    names = list(fuzzer.targets)

    def one_input(data: bytes) -> None:
        fuzzer.run(names[data[0] % len(names)] if data else names[0], ByBytes(data[1:]))

    atheris.Setup([sys.argv[0], f"-runs={inputs}", f"-max_len={LONGEST}"], one_input)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
