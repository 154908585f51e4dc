"""What ``benchmarks.builds`` measures, and the process that does it with one build.

A reading is of the processor's time, not the wall's: nothing here waits, and who else wants the
processor meanwhile is no matter of the build.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

import otel_aioprom
from benchmarks import recording_loops as loops
from benchmarks.data import label_rows, observations
from benchmarks.measure import OURS
from benchmarks.memory import counter_of
from benchmarks.otel import counter_bench, histogram_bench
from benchmarks.subjects import ACCEPT, COUNTER, COUNTERS, HISTOGRAMS, LABELS, in_format

if TYPE_CHECKING:
    from benchmarks.otel import Bench

CALLS = 5_000
FRESH = 200
"""Series made in one reading."""
MEMORY_SERIES = 2_000
REPEATS = 2
"""Of the work in one reading, of which the least counts: the first fills the caches again."""
_MILLI = 1e3
_NANO = 1e9

Reading = Callable[[], float]


class Job(NamedTuple):
    """One thing to measure.

    Attributes:
        unit: Unit of the reading.
        make: Sets up the data, and gives what takes a reading.
    """

    unit: str
    make: Callable[[], Reading]


def serve(build: str) -> None:
    """Tell the jobs, then take a reading of each that is asked for, until no more are.

    Args:
        build: The folder that the package must have come from.
    """
    assert Path(otel_aioprom.__file__).parent == Path(build, OURS), otel_aioprom.__file__
    logging.disable(logging.WARNING)  # that there are many series is meant
    print(json.dumps({name: job.unit for name, job in JOBS.items()}), flush=True)
    made = cache(lambda name: JOBS[name].make())
    for line in sys.stdin:
        print(made(line.strip())(), flush=True)


def _quickest(action: Callable[[], object], scale: float) -> float:
    gc.collect()
    gc.freeze()  # the next collection passes over what is there now, and so leaves the caches warm
    gc.disable()
    try:
        return min([_seconds(action) for _ in range(REPEATS)]) * scale
    finally:
        gc.enable()


def _seconds(action: Callable[[], object]) -> float:
    start = process_time()
    answer = action()
    stop = process_time()
    del answer  # not within the time
    return stop - start


def _recording(make: Callable[[], dict[str, loops.Loop]]) -> Reading:
    return partial(_quickest, partial(make()[OURS], CALLS), _NANO / CALLS)


def _new_series() -> Reading:
    rows = [dict(zip(LABELS, row, strict=True)) for row in label_rows(FRESH)]

    def fill() -> object:
        counter = otel_aioprom.Counter(*COUNTER)
        for labels in rows:
            counter.inc(labels)
        return counter

    return partial(_quickest, fill, _NANO / FRESH)


def _encoding(kind: str, protocol: str) -> Reading:
    return partial(_quickest, in_format(_registry(kind), protocol), _MILLI)


@cache
def _registry(kind: str) -> object:
    makers, series = _KINDS[kind]
    subject = makers[OURS]()
    for row, value in zip(label_rows(series), observations(series), strict=True):
        subject.record(row, value)
    return subject.registry


def _scrape(make: Callable[[int], Bench], series: int) -> Reading:
    return partial(_quickest, make(series).actions[OURS], _MILLI)


def _memory() -> Reading:
    """Count once: more readings would give the same bytes."""
    kept = counter_of(COUNTERS[OURS], MEMORY_SERIES, 1)()
    return lambda: kept.scraped


_RECORDING = {
    "counter inc, bound child": loops.bound_inc,
    "counter inc, 3 labels each call": loops.labelled_inc,
    "gauge set, bound child": loops.bound_set,
    "histogram observe, bound child": loops.bound_observe,
    "histogram observe, 2 labels each call": loops.labelled_observe,
    "summary observe, bound child": loops.bound_summary,
}
_KINDS: dict[str, tuple[dict[str, Any], int]] = {
    "20,000 counters, 3 labels": (COUNTERS, 20_000),
    "2,000 histograms, 2 labels": (HISTOGRAMS, 2_000),
}
_FORMATS = [name for name in ACCEPT if name != "text 1.0.0"]  # which is text 0.0.4 with quotes

JOBS = {
    **{words: Job("ns", partial(_recording, make)) for words, make in _RECORDING.items()},
    "counter inc, 3 labels, new series": Job("ns", _new_series),
    **{
        f"{kind}, {protocol}": Job("ms", partial(_encoding, kind, protocol))
        for kind in _KINDS
        for protocol in _FORMATS
    },
    "OTel scrape, 10,000 counters": Job("ms", partial(_scrape, counter_bench, 10_000)),
    "OTel scrape, 1,000 histograms": Job("ms", partial(_scrape, histogram_bench, 1_000)),
    "memory of a counter series, 3 labels": Job("bytes", _memory),
}
