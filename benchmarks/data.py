"""One seeded source of all data that the benchmarks record.

Every function starts from the same seed, so that its answer depends neither on the
order of the topics nor on which of them run.
"""

from __future__ import annotations

import random

SEED = 20240229
SCOPE = ("benchmarks.shop", "1.2.0", "https://example.org/schema", {"team": "core"})
"""Name, version, schema URL and attributes of the OpenTelemetry scope."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Our default bounds without ``inf``, handed to every contender: the peers' defaults
differ in number, and a longer list would be measured as a slower library."""

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
_CODES = ("200", "201", "204", "301", "400", "404", "500", "503")
_NOUNS = ("orders", "users", "carts", "invoices", "items", "sessions")
_FLOAT_SHARE = 0.25

LabelRow = tuple[str, str, str]


def _generator() -> random.Random:
    """Give a fresh generator, always from the same seed."""
    return random.Random(SEED)  # noqa: S311 - data for a benchmark, no secret


def label_rows(count: int) -> list[LabelRow]:
    """Make distinct label values.

    Args:
        count: How many rows.

    Returns:
        ``(method, path, code)``; the path is unique to its row.
    """
    rng = _generator()
    return [
        (
            rng.choice(_METHODS),
            f"/api/v1/{rng.choice(_NOUNS)}/{index}",
            rng.choice(_CODES),
        )
        for index in range(count)
    ]


def amounts(count: int) -> list[int | float]:
    """Make counter values: three integers to one float, from one to a million."""
    rng = _generator()
    top = 1_000_000
    return [
        rng.uniform(1, top) if rng.random() < _FLOAT_SHARE else rng.randint(1, top)
        for _ in range(count)
    ]


def observations(count: int) -> list[float]:
    """Make durations in seconds, spread evenly on a log scale from 1 ms to 20 s.

    So each of the default buckets gets its share, and the last one, ``+Inf``, too.
    """
    rng = _generator()
    return [0.001 * 20_000 ** rng.random() for _ in range(count)]
