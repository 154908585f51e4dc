"""The long run: ``python -m tests.fuzz --inputs 1000000``.

With atheris installed, ``--atheris`` lets coverage guide the inputs instead of chance.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fuzzing import Fuzzer

LONGEST = 200
SHARES = {"web configuration": 0.25}
"""Targets that are slow get fewer inputs than their share."""


def main() -> int:
    """Run, print a table, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the endpoint.")
    parser.add_argument(
        "--inputs", type=int, default=1_000_000, help="how many, all targets together"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the inputs")
    parser.add_argument("--atheris", action="store_true", help="let coverage guide the inputs")
    options = parser.parse_args()
    logging.disable(logging.ERROR)  # what a source or a client does wrong is not looked for here
    return guided(options.inputs) if options.atheris else by_chance(options.inputs, options.seed)


def by_chance(inputs: int, seed: int) -> int:
    """Random inputs, the same for the same seed."""
    fuzzer, chance, found = Fuzzer(), random.Random(seed), 0  # noqa: S311 - no secret
    weights = {name: SHARES.get(name, 1.0) for name in fuzzer.targets}
    print("| target | inputs | seconds | findings |\n|---|---:|---:|---:|")
    for name, weight in weights.items():
        count, mine, begun = round(inputs * weight / sum(weights.values())), 0, time.perf_counter()
        for _ in range(count):
            data = chance.randbytes(chance.randrange(LONGEST))
            try:
                fuzzer.run(name, data)
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                mine += 1
                print(f"{name}: {error!r} from {data.hex()}", file=sys.stderr)
        print(f"| {name} | {count:,} | {time.perf_counter() - begun:.0f} | {mine} |", flush=True)
        found += mine
    fuzzer.close()
    return 1 if found else 0


def guided(inputs: int) -> int:
    """Inputs that coverage leads to; an error ends the run with the input that caused it."""
    import atheris  # noqa: PLC0415 - an optional tool

    atheris.instrument_all()
    fuzzer = Fuzzer()
    names = list(fuzzer.targets)

    def one_input(data: bytes) -> None:
        fuzzer.run(names[data[0] % len(names)] if data else names[0], data[1:])

    atheris.Setup([sys.argv[0], f"-runs={inputs}", f"-max_len={LONGEST}"], one_input)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
