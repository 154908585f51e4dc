"""Topic recording: what one ``inc``, ``set`` or ``observe`` costs the caller.

Every contender runs the same ``for`` over the same rows or values, the call written in
its body as users write it: no lambda between clock and library. The loop's own 10 to
30 ns are the same for all and are *not* subtracted, which speaks against the
quicker one.

With several threads the calls are shared out, and the figure is the wall time of all
of them by the number of calls: on a GIL build the best possible is the figure of one thread.
"""

from __future__ import annotations

import gc
from threading import Barrier, Thread
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks import recording_loops as loops
from benchmarks.measure import (
    AIOPROMETHEUS,
    PROMETHEUS,
    Case,
    Contender,
    Goal,
    interleave,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "recording"
CALLS = {1: 50_000, 4: 200_000}
"""Threads → calls a reading; with four threads long enough for many switches."""
QUICK_DIVISOR = 10
_NANO = 1e9

_CASES: tuple[tuple[str, Callable[[], dict[str, loops.Loop]], tuple[Goal, ...]], ...] = (
    ("counter inc, bound child", loops.bound_inc, (Goal(0.30, PROMETHEUS),)),
    (
        "counter inc, 3 labels each call",
        loops.labelled_inc,
        (Goal(0.35, PROMETHEUS), Goal(0.20, AIOPROMETHEUS)),
    ),
    ("gauge set, bound child", loops.bound_set, ()),
    ("gauge set, 3 labels each call", loops.labelled_set, ()),
    ("histogram observe, bound child", loops.bound_observe, (Goal(0.30, PROMETHEUS),)),
    ("histogram observe, 2 labels each call", loops.labelled_observe, ()),
    (
        "histogram observe, native buckets, bound child",
        loops.native_observe,
        (Goal(3.0, loops.CLASSIC),),
    ),
    ("histogram time() around an empty block, bound labels", loops.timed_block, ()),
    ("counter inc with an exemplar, bound child", loops.exemplar_inc, ()),
    ("counter inc that asks for an exemplar and gets none, bound child", loops.asking_inc, ()),
    (
        "summary observe, bound child (prometheus_client: no quantiles; aioprometheus: no child)",
        loops.bound_summary,
        (Goal(1000.0), Goal(0.10, AIOPROMETHEUS)),
    ),
    (
        "summary observe, bound child, window full of steps (aioprometheus: no child)",
        loops.steady_summary,
        (Goal(1000.0), Goal(0.10, AIOPROMETHEUS)),
    ),
    ("summary observe, 2 labels each call (prometheus_client: none)", loops.labelled_summary, ()),
)


def measure(rounds: int, *, quick: bool) -> list[Case]:
    """Time every way to record, with one thread and with four.

    Args:
        rounds: Readings of each contender.
        quick: A tenth of the calls.

    Returns:
        One case a way and number of threads, in nanoseconds a call.
    """
    cases = []
    for threads, calls in CALLS.items():
        for name, make, goals in _CASES:
            contenders = [
                Contender(
                    peer,
                    _timer(loop, calls // (QUICK_DIVISOR if quick else 1), threads),
                )
                for peer, loop in make().items()
            ]
            words = f"{name}, {threads} thread{'s' if threads > 1 else ''}"
            judged = goals if threads == 1 else ()
            cases.append(Case(TOPIC, words, "ns", interleave(contenders, rounds), judged))
    return cases


def _timer(loop: loops.Loop, calls: int, threads: int) -> Callable[[], float]:
    """Give a clock around a loop, in nanoseconds a call."""
    run = _alone if threads == 1 else _together

    def time() -> float:
        gc.disable()
        try:
            return run(loop, calls, threads) / calls * _NANO
        finally:
            gc.enable()

    return time


def _alone(loop: loops.Loop, calls: int, _threads: int) -> float:
    start = perf_counter()
    loop(calls)
    return perf_counter() - start


def _together(loop: loops.Loop, calls: int, threads: int) -> float:
    barrier = Barrier(threads + 1)

    def work() -> None:
        barrier.wait()
        loop(calls // threads)

    pool = [Thread(target=work) for _ in range(threads)]
    for thread in pool:
        thread.start()
    # Before the barrier opens: behind it this thread has to wait for its turn.
    start = perf_counter()
    barrier.wait()
    for thread in pool:
        thread.join()
    return perf_counter() - start
