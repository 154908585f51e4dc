"""Atomic recording, on interpreters with and without a GIL."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from otel_aioprom._concurrency import atomic
from otel_aioprom._concurrency.atomic import atomic_methods, has_gil, with_lock
from otel_aioprom.collectors.series import limits
from otel_aioprom.collectors.series.classic_histogram import Histogram, HistogramSeries
from otel_aioprom.collectors.series.number import CounterSeries, GaugeSeries
from otel_aioprom.collectors.series.summary import SummarySeries

THREADS = 4
ROUNDS = 3000


class Tally:
    """Loses updates without a lock, because of a call between load and store."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def add(self, amount: int) -> int:
        """Add an amount."""
        before = self.value
        self.value = before + int(str(amount))
        return self.value


def hammer(*acts: Callable[[], object]) -> None:
    """Call each function many times in several threads that switch as often as possible."""

    def work(act: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            act()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(act,)) for act in acts * THREADS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize(("gil", "expected"), [(1, True), (0, False), (None, False)])
@pytest.mark.parametrize("now", [True, False])
def test_whether_there_is_a_gil_is_asked_of_build_and_flags(
    monkeypatch: pytest.MonkeyPatch, gil: int | None, expected: bool, now: bool
) -> None:
    """Not of the moment: while an extension module is loaded, which may import the library, there is one."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: now, raising=False)
    monkeypatch.setattr(sys, "flags", SimpleNamespace(gil=gil))

    assert has_gil() is expected


@pytest.mark.parametrize(("disabled", "expected"), [(1, False), (0, True), (None, True)])
def test_before_python_3_14_the_build_alone_is_asked(
    monkeypatch: pytest.MonkeyPatch, disabled: int | None, expected: bool
) -> None:
    """It has no flag; a lock more does no harm."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    monkeypatch.setattr(sys, "flags", SimpleNamespace())
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": disabled}.get)

    assert has_gil() is expected


def test_older_interpreters_have_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have neither the function nor the flag."""
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    monkeypatch.setattr(sys, "flags", SimpleNamespace())

    assert has_gil()


def test_with_a_gil_a_class_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decorator returns it."""
    monkeypatch.setattr(atomic, "has_gil", lambda: True)

    assert atomic_methods("add")(Tally) is Tally


def test_without_a_gil_a_class_gets_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decorator returns the subclass that ``with_lock`` creates."""
    monkeypatch.setattr(atomic, "has_gil", lambda: False)
    locked = atomic_methods("add")(Tally)

    assert locked is not Tally
    assert issubclass(locked, Tally)


def test_the_subclass_with_a_lock_looks_like_the_class() -> None:
    """Name, docstring, arguments, results and the lack of a ``__dict__`` are the same."""
    locked = with_lock(Tally, ("add",))
    one, other = locked(5), locked(value=6)

    assert (locked.__name__, locked.__doc__, locked.__module__) == (
        "Tally",
        Tally.__doc__,
        Tally.__module__,
    )
    assert locked.add.__doc__ == Tally.add.__doc__
    assert [one.add(1), other.add(1)] == [6, 7]
    assert not hasattr(one, "__dict__")
    assert one._lock is not other._lock


def test_the_lock_is_released_after_an_error() -> None:
    """The next call is not blocked."""
    one = with_lock(Tally, ("add",))()
    with pytest.raises(ValueError, match="invalid literal"):
        one.add("x")

    assert one.add(1) == 1


def test_the_whole_method_runs_under_the_lock() -> None:
    """The lock is acquired before the first read and released after the last store."""
    one = with_lock(Tally, ("add",))()
    seen = []

    class Turnstile:
        """A lock that records the value when it is acquired and released."""

        def __enter__(self) -> None:
            seen.append(one.value)

        def __exit__(self, *_: object) -> None:
            seen.append(one.value)

    one._lock = Turnstile()
    one.add(1)

    assert seen == [0, 1]


def test_a_lock_that_was_held_is_free_in_a_child_process() -> None:
    """The thread that held it does not exist there."""
    one = with_lock(Tally, ("add",))()
    gone = threading.Thread(target=one._lock.acquire)
    gone.start()
    gone.join()
    one.after_fork()

    assert one.add(1) == 1


def test_no_update_is_lost_with_a_lock() -> None:
    """Even of a method that is not atomic by itself."""
    one = with_lock(Tally, ("add",))()
    hammer(lambda: one.add(1))

    assert one.value == THREADS * ROUNDS


def test_numbers_with_a_lock_lose_nothing() -> None:
    """As they are recorded on interpreters without a GIL."""
    counter = with_lock(CounterSeries, ("inc", "add"))(("a",), ("1",), '{a="1"} ', 1)
    gauge = with_lock(GaugeSeries, ("inc", "dec", "add", "sub"))()
    hammer(counter.inc, lambda: counter.add(2), lambda: gauge.add(3), lambda: gauge.sub(1))

    assert counter.get() == 1 + 3 * THREADS * ROUNDS
    assert gauge.get() == 2 * THREADS * ROUNDS


def test_a_histogram_with_a_lock_is_never_torn() -> None:
    """Each snapshot has as many observations as its sum says."""
    locked = with_lock(Histogram, ("observe", "snapshot", "load"))
    series = type("Series", (locked,), {"__slots__": (), "get": HistogramSeries.get})
    one: Any = series(1, 2)
    torn = []

    def look() -> None:
        *counts, total = one.snapshot()
        found = one.get()
        if total != 0.5 * sum(counts) or found["sum"] != 0.5 * found["count"]:
            torn.append((counts, total))

    hammer(lambda: one.observe(0.5), look)

    assert torn == []
    assert one.observations == THREADS * ROUNDS


def test_a_summary_with_a_lock_loses_nothing() -> None:
    """Its own lock and that of the subclass do not deadlock."""
    one = with_lock(SummarySeries, ("observe", "add"))((), (), " ", ((0.5, 0.05),))
    hammer(lambda: one.observe(0.5))
    found = one.get()

    assert found == {0.5: 0.5, "count": THREADS * ROUNDS, "sum": 0.5 * THREADS * ROUNDS}
    assert one.estimator._observations == THREADS * ROUNDS


def test_slots_and_counts_with_a_lock_are_exact() -> None:
    """Each slot is taken once, and each refusal is counted."""
    stock = with_lock(limits.Stock, ("take",))(2 * ROUNDS)
    tally = with_lock(limits.Tally, ("add",))()
    taken: list[bool] = []
    hammer(lambda: taken.append(stock.take()), lambda: tally.add(2))

    assert (taken.count(True), stock.left) == (2 * ROUNDS, 0)
    assert len(taken) == THREADS * ROUNDS
    assert tally.value == 2 * THREADS * ROUNDS


def test_a_method_with_a_lock_takes_the_arguments_of_the_method() -> None:
    """By position and by name, with the same defaults; what it does not take is an error."""
    one: Any = with_lock(CounterSeries, ("inc", "add"))()
    one.inc()
    one.inc(exemplar={"trace": "1"})
    one.add(2, exemplar=None)
    one.add(value=3)
    with pytest.raises(TypeError):
        one.inc(1, 2)
    with pytest.raises(TypeError):
        one.add(amount=1)

    assert one.get() == 7
    assert one.exemplar.labels == (("trace", "1"),)


PROGRAM = """
import sys
class Flags:  # of a build without a GIL, while an extension module imports the library
    gil = None
    def __getattr__(self, name, flags=sys.flags):
        return getattr(flags, name)
sys.flags, sys._is_gil_enabled = Flags(), lambda: True
from otel_aioprom.collectors.series.limits import Stock, Tally
from otel_aioprom.collectors.series.number import CounterSeries, GaugeSeries, NumberSeries
for cls in (CounterSeries, GaugeSeries, NumberSeries, Stock, Tally):
    for name in ("inc", "dec", "add", "sub", "set", "take"):
        method = getattr(cls, name, None)
        assert method is None or hasattr(method, "__wrapped__"), (cls, name)
from otel_aioprom.collectors import Counter, Gauge, Histogram, Summary
from otel_aioprom.registry import CollectorRegistry
registry = CollectorRegistry(max_series=6)
counter = Counter("c_total", "", registry=registry, max_series=2, expire_after=60)
for number in range(4):
    counter.inc({"a": number}, exemplar={"trace": "1"})
Gauge("g", "", registry=registry).set({}, 1)
Histogram("h", "", registry=registry, native_bucket_factor=1.1).observe({}, 1)
Summary("s", "", registry=registry).observe({}, 1)
found = {family.name: len(family.series) for family in registry.gather().families}
assert [found[name] for name in ("c_total", "g", "h", "s")] == [3, 1, 1, 1], found
assert counter.count_overflows() == 2
"""


def test_every_recording_method_takes_the_lock_without_a_gil() -> None:
    """Also ``set``, otherwise a concurrent addition would be lost, and the slots of series limits."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
