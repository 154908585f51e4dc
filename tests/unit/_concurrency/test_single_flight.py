"""Single flight: which callers share a run."""

from __future__ import annotations

import _thread
import asyncio
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from weakref import WeakSet

import pytest

from oracles import wait_until_no_thread_is
from otel_aioprom._concurrency import single_flight
from otel_aioprom._concurrency.daemon_threads import DaemonThreads
from otel_aioprom._concurrency.shared_future import async_wait_all
from otel_aioprom._concurrency.single_flight import SingleFlight

DEADLINE = 10


class Job:
    """A job that signals when it begins, and ends when it is released; it returns the number of the run."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.runs = 0
        self.at_once = 0
        self.most_at_once = 0
        self.names: set[str] = set()

    def __call__(self) -> int:
        """Run until it is released."""
        self.runs += 1
        number = self.runs
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.names.add(threading.current_thread().name)
        self.begun.release()
        assert self.go.acquire(timeout=DEADLINE)
        self.at_once -= 1
        return number

    def wait_begun(self) -> None:
        """Wait until one more run has begun."""
        assert self.begun.acquire(timeout=DEADLINE)


@pytest.fixture
def job() -> Iterator[Job]:
    """A job that does not outlive its test."""
    made = Job()
    yield made
    for _ in range(100):
        made.go.release()
    for name in made.names:
        wait_until_no_thread_is(name)


def results(*futures: Future[Any]) -> list[Any]:
    """Return the results of all futures, within the deadline."""
    return [future.result(DEADLINE) for future in futures]


def test_a_caller_gets_the_result_of_its_run(job: Job) -> None:
    """One caller, one run."""
    flight = SingleFlight(job, "x")
    future = flight.join()
    job.go.release()

    assert results(future) == [1]


def test_callers_during_a_run_share_the_next_run(job: Job) -> None:
    """None of them gets the result of the run that has begun before."""
    flight = SingleFlight(job, "x")
    first = flight.join()
    job.wait_begun()
    later = [flight.join() for _ in range(5)]
    job.go.release(2)

    assert results(first, *later) == [1, 2, 2, 2, 2, 2]
    assert (job.runs, job.most_at_once) == (2, 1)


def test_the_next_run_begins_after_the_current_one(job: Job) -> None:
    """Runs never overlap, and each caller's run starts after the call."""
    flight = SingleFlight(job, "x")
    first = flight.join()
    job.wait_begun()
    second = flight.join()

    assert not job.begun.acquire(blocking=False)
    job.go.release()
    assert results(first) == [1]
    job.wait_begun()
    third = flight.join()
    job.go.release(2)
    assert results(second, third) == [2, 3]
    assert job.most_at_once == 1


def test_callers_one_after_the_other_get_runs_of_their_own(job: Job) -> None:
    """Results are not cached."""
    flight = SingleFlight(job, "x")
    job.go.release(3)

    assert [flight.join().result(DEADLINE) for _ in range(3)] == [1, 2, 3]


def test_many_threads_at_once_cost_few_runs(job: Job) -> None:
    """Callers from any threads share one future."""
    flight = SingleFlight(job, "x")
    first = flight.join()
    job.wait_begun()
    futures: list[Future[int]] = []
    threads = [threading.Thread(target=lambda: futures.append(flight.join())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    job.go.release(2)

    assert len({id(future) for future in futures}) == 1
    assert results(first, *futures) == [1, *[2] * 20]


def test_a_job_that_hangs_costs_one_thread(job: Job) -> None:
    """Later callers wait for the same run; its thread is a daemon."""
    flight = SingleFlight(job, "hangs")
    first = flight.join()
    job.wait_begun()
    later = [flight.join() for _ in range(10)]
    named = [thread for thread in threading.enumerate() if thread.name == "hangs"]

    assert [thread.daemon for thread in named] == [True]
    assert not any(future.done() for future in (first, *later))


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_all_callers_get_what_the_job_raises(error: BaseException) -> None:
    """Later callers get a new run."""
    begun, go = threading.Event(), threading.Event()
    outcomes: list[BaseException | str] = ["first", error, "third"]

    def job() -> str:
        begun.set()
        assert go.wait(DEADLINE)
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    flight = SingleFlight(job, "x")
    first = flight.join()
    assert begun.wait(DEADLINE)
    second, also_second = flight.join(), flight.join()
    go.set()

    assert first.result(DEADLINE) == "first"
    assert second.exception(DEADLINE) is also_second.exception(DEADLINE) is error
    assert flight.join().result(DEADLINE) == "third"


def test_a_caller_cannot_cancel_what_others_wait_for(job: Job) -> None:
    """The result is shared."""
    flight = SingleFlight(job, "x")
    future = flight.join()

    assert not future.cancel()
    job.go.release()
    assert results(future) == [1]


def test_a_run_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system cannot start a thread, the caller gets the error, and the next one tries again."""
    monkeypatch.setattr(single_flight, "start_daemon", DaemonThreads().start)
    flight = SingleFlight(lambda: 1, "f")

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        refused = flight.join()

    assert isinstance(refused.exception(0), RuntimeError)
    assert flight.join().result(DEADLINE) == 1


async def test_coroutines_of_a_loop_wait_for_one_future(job: Job) -> None:
    """However many wait while a run hangs; it is done when the run is."""
    future = SingleFlight(job, "x").join()
    waiters = [future.done_future() for _ in range(5)]
    assert len(set(map(id, waiters))) == 1
    assert not waiters[0].done()
    job.go.release()
    await asyncio.wait_for(asyncio.wait(waiters), DEADLINE)

    assert future.result(0) == 1
    assert future.done_future().done()


def test_a_run_that_hangs_keeps_no_closed_loops_alive(job: Job) -> None:
    """However many of them have called."""
    flight = SingleFlight(job, "x")
    flight.join()
    job.wait_begun()
    loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()

    async def call() -> None:
        loops.add(asyncio.get_running_loop())
        await async_wait_all([flight.join()], 0.001)

    for _ in range(20):
        asyncio.run(call())
    gc.collect()

    assert len(loops) <= 2  # the last one, and one that a thread may still be looking at
    job.go.release(2)
    assert results(flight.join()) == [2]


def test_busy_for_is_the_time_since_the_run_began(job: Job) -> None:
    """0 if nothing runs."""
    flight = SingleFlight(job, "x")
    assert flight.busy_for() == 0
    future = flight.join()
    job.wait_begun()
    assert flight.busy_for() > 0
    job.go.release()
    assert results(future) == [1]
    wait_until_no_thread_is("x")

    assert flight.busy_for() == 0
