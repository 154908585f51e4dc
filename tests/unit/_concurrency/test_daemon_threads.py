"""Daemon threads that are kept, and thread pools on top of them: who starts, who waits, who is let go."""

from __future__ import annotations

import _thread
import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom._concurrency import daemon_threads
from otel_aioprom._concurrency.daemon_threads import DaemonThreads
from otel_aioprom._concurrency.thread_pool import ThreadPool
from otel_aioprom.errors import OverloadError


class Held:
    """A function that runs until it is released; any number of threads may call it."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self) -> int:
        """Wait, and return the number of calls so far."""
        self.threads.append(threading.current_thread())
        self.begun.release()
        assert self.go.wait(DEADLINE)
        return len(self.threads)

    def wait_begun(self, calls: int = 1) -> None:
        """Wait until so many more calls have begun."""
        for _ in range(calls):
            assert self.begun.acquire(timeout=DEADLINE)


@pytest.fixture
def held() -> Iterator[Held]:
    """A function that is released at the end of the test."""
    made = Held()
    yield made
    made.go.set()


def refuse(*_: object) -> int:
    """Start no thread."""
    raise RuntimeError("can't start new thread")


def wait_idle(threads: DaemonThreads, count: int) -> None:
    """Wait until so many threads are idle."""
    end = time.monotonic() + DEADLINE
    while len(threads._idle) != count:
        assert time.monotonic() < end
        time.sleep(0.001)  # between two polls


def test_a_thread_is_kept_for_the_next_call() -> None:
    """It has the name of the call, and is a daemon."""
    threads, found = DaemonThreads(), []
    done = threading.Semaphore(0)

    def call() -> None:
        thread = threading.current_thread()
        found.append((thread.ident, thread.name, thread.daemon))
        done.release()

    for name in ("first", "second"):
        threads.start(call, name)
        assert done.acquire(timeout=DEADLINE)
        wait_idle(threads, 1)

    assert [rest for _, *rest in found] == [["first", True], ["second", True]]
    assert found[0][0] == found[1][0]


def test_no_call_waits_for_another_one(held: Held) -> None:
    """However many hang."""
    threads = DaemonThreads()
    for _ in range(20):
        threads.start(held, "held")
    held.wait_begun(20)

    assert len(set(held.threads)) == 20


def test_a_call_that_comes_while_a_thread_becomes_idle_is_not_lost() -> None:
    """Of ten thousand that are started one right after the other, from several threads."""
    threads, done = DaemonThreads(), threading.Semaphore(0)

    def start() -> None:
        for _ in range(2500):
            threads.start(done.release, "call")

    starters = [threading.Thread(target=start) for _ in range(4)]
    for each in starters:
        each.start()
    for each in starters:
        each.join(DEADLINE)
    for _ in range(10_000):
        assert done.acquire(timeout=DEADLINE)


def test_the_caller_does_not_wait_for_the_start(
    monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    """``Thread.start`` waits until the thread runs: beside busy threads for tens of milliseconds."""
    starters: list[int] = []
    start = threading.Thread.start

    def noting(self: threading.Thread) -> None:
        starters.append(threading.get_ident())
        start(self)

    monkeypatch.setattr(threading.Thread, "start", noting)
    threads = DaemonThreads()
    for _ in range(5):
        threads.start(held, "held")
    held.wait_begun(5)

    assert len(starters) == 5
    assert threading.get_ident() not in starters


def test_an_idle_thread_ends_after_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of calls leaves no threads behind."""
    monkeypatch.setattr(daemon_threads, "_IDLE_TIME", 0.01)
    threads, found = DaemonThreads(), []
    ready = threading.Event()

    def call() -> None:
        found.append(threading.current_thread())
        ready.set()

    threads.start(call, "call")
    assert ready.wait(DEADLINE)
    found[0].join(DEADLINE)

    assert not found[0].is_alive()
    assert threads._idle == []


def test_a_thread_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is not made later on; the next one tries again."""
    threads, calls = DaemonThreads(), []
    done = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            threads.start(lambda: calls.append("refused"), "refused")
    threads.start(done.set, "fine")

    assert done.wait(DEADLINE)
    assert calls == []


def test_with_a_single_thread_left_calls_are_made_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread that was to start another one makes them itself."""
    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads, done = DaemonThreads(), threading.Semaphore(0)
    for _ in range(3):
        threads.start(done.release, "call")
    for _ in range(3):
        assert done.acquire(timeout=DEADLINE)


def test_a_child_process_has_threads_of_its_own(held: Held) -> None:
    """Neither those of its parent, nor its calls."""
    threads, done = DaemonThreads(), threading.Event()
    threads.start(held, "held")
    held.wait_begun()
    threads.after_fork()
    threads.start(done.set, "child")

    assert done.wait(DEADLINE)


PROGRAM = """
import asyncio, threading
from otel_aioprom._concurrency.daemon_threads import start_daemon
from otel_aioprom._concurrency.thread_pool import ThreadPool
begun = threading.Semaphore(0)
def hang():
    begun.release()
    threading.Event().wait()
start_daemon(hang, "x")
async def main():
    task = asyncio.create_task(ThreadPool(1, "y").call(hang))
    await asyncio.sleep(0)
    task.cancel()
asyncio.run(main())
assert begun.acquire(timeout=10)
"""


def test_calls_that_hang_do_not_keep_the_process_alive() -> None:
    """Neither at its end nor at that of an event loop."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


# --- pools -----------------------------------------------------------------------------------


@contextmanager
def occupied(pool: ThreadPool, held: Held, threads: int) -> Iterator[list[asyncio.Task[int]]]:
    """Hold so many threads of a pool."""
    tasks = [asyncio.create_task(pool.call(held)) for _ in range(threads)]
    yield tasks
    held.go.set()


async def begun(held: Held, calls: int) -> None:
    """Wait until so many calls have begun, without blocking the event loop."""
    await asyncio.to_thread(held.wait_begun, calls)


async def test_a_pool_has_a_limited_number_of_threads(held: Held) -> None:
    """Further calls wait, and are made in their order."""
    pool, order = ThreadPool(2, "pool"), list[int]()
    with occupied(pool, held, 2) as tasks:
        await begun(held, 2)
        later = [asyncio.create_task(pool.call(order.append, number)) for number in range(20)]
        await asyncio.sleep(0.01)
        assert order == []
        held.go.set()
        await asyncio.gather(*tasks, *later)

    assert sorted(order) == list(range(20))
    assert {thread.name for thread in held.threads} != {"pool"}  # they are idle, or gone


async def test_a_call_within_some_seconds_that_finds_no_thread_is_an_overload(held: Held) -> None:
    """It is not made later on."""
    pool, made = ThreadPool(1, "pool"), list[int]()
    with occupied(pool, held, 1) as tasks:
        await begun(held, 1)
        with pytest.raises(OverloadError, match=r"more than 0\.05 s"):
            await pool.call_within(0.05, made.append, 1)
        held.go.set()
        await asyncio.gather(*tasks)
        await pool.call_within(DEADLINE, made.append, 2)

    assert made == [2]


async def test_what_a_call_raises_is_raised_to_the_caller() -> None:
    """And the thread takes the next one."""
    pool = ThreadPool(1, "pool")

    def fail() -> None:
        raise KeyError("no")

    for _ in range(3):
        with pytest.raises(KeyError, match="no"):
            await pool.call(fail)
    assert await pool.call(lambda: 5) == 5


async def test_a_pool_whose_thread_cannot_be_started_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller gets the error."""
    pool, made = ThreadPool(1, "pool"), list[int]()

    def cannot(_function: Callable[[], Any], _name: str) -> None:
        refuse()

    with monkeypatch.context() as patch:
        patch.setattr("otel_aioprom._concurrency.thread_pool.start_daemon", cannot)
        with pytest.raises(RuntimeError, match="can't start"):
            await pool.call(made.append, 1)
    await pool.call(made.append, 2)

    assert made == [2]


async def test_a_child_process_has_a_pool_of_its_own(held: Held) -> None:
    """Calls that hang in the parent occupy no thread there."""
    pool = ThreadPool(1, "pool")
    with occupied(pool, held, 1):
        await begun(held, 1)
        pool.after_fork()

        assert await pool.call_within(DEADLINE, lambda: 1) == 1
