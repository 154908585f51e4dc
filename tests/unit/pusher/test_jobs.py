"""Jobs that begin and end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE, FakeSource, until
from otel_aioprom._transport.retry import Retry
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.errors import DuplicateCollectorError
from otel_aioprom.pusher import jobs
from otel_aioprom.pusher.jobs import job_metrics
from otel_aioprom.registry import CollectorRegistry
from processes import free_port
from pushed import QUICK, families_in

posix = pytest.mark.skipif(os.name != "posix", reason="processes are not told of the signal here")

START = "job_last_start_timestamp_seconds"
OWN = {START, "job_duration_seconds", "job_success", "job_last_success_timestamp_seconds"}


async def test_a_job_that_ends_well_is_pushed_at_its_end() -> None:
    """With how long it took, that it went well, and when; its start is pushed before."""
    before = time.time()
    with Gateway() as gateway:
        async with job_metrics("nightly", gateway.url) as job:
            Gauge("rows", "Rows.", registry=job.registry).set({}, 12)
            await asyncio.sleep(0.05)
            assert len(gateway.requests) == 1
    _, push = gateway.requests

    assert (push.method, push.path) == ("POST", "/metrics/job/nightly")
    assert families_in(push) == {"rows", *OWN}
    assert push.value("rows") == 12
    assert push.value("job_success") == 1
    assert 0.05 <= (push.value("job_duration_seconds") or 0) < DEADLINE
    assert before <= (push.value("job_last_success_timestamp_seconds") or 0) <= time.time()


async def fail(gateway: Gateway, registry: CollectorRegistry | None = None) -> None:
    """A job that raises."""
    async with job_metrics("nightly", gateway.url, registry):
        raise KeyError("boom")


async def test_a_job_that_raises_is_pushed_too() -> None:
    """Its error comes out; the time of the last success is not touched, which ``POST`` leaves in the group."""
    with Gateway() as gateway:
        with pytest.raises(KeyError, match="boom"):
            await fail(gateway)
        push = gateway.last

    assert families_in(push) == OWN - {"job_last_success_timestamp_seconds"}
    assert push.value("job_success") == 0


async def test_a_job_that_is_cancelled_is_pushed_too() -> None:
    """With one attempt, because the caller does not want to wait."""
    begun = asyncio.Event()
    with Gateway(Answer(), default=Answer(500)) as gateway:

        async def work() -> None:
            async with job_metrics("j", gateway.url, retry=QUICK):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE)

    assert task.cancelled()
    assert [each.value("job_success") for each in gateway.requests] == [None, 0]


async def test_a_second_run_in_one_process_has_the_same_metrics() -> None:
    """A later failure keeps the time of the success before."""
    registry = CollectorRegistry()
    with Gateway() as gateway:
        async with job_metrics("nightly", gateway.url, registry):
            pass
        with pytest.raises(KeyError):
            await fail(gateway, registry)
    first, second = gateway.requests[1::2]
    name = "job_last_success_timestamp_seconds"

    assert (first.value("job_success"), second.value("job_success")) == (1, 0)
    assert first.value(name) == second.value(name) is not None


@pytest.mark.parametrize("answer", [Answer(400, "why"), None])
async def test_a_push_that_fails_hides_nothing(
    answer: Answer | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is one line in the log at the start, and one at the end; the job's own error comes out."""
    with Gateway(default=answer) as gateway:
        url = gateway.url if answer else f"http://127.0.0.1:{free_port()}"
        async with job_metrics("j", url, retry=QUICK):
            pass
        with pytest.raises(ZeroDivisionError):
            async with job_metrics("j", url, retry=QUICK):
                _ = 1 / 0

    lost = [each for each in caplog.records if each.levelname == "ERROR"]
    late = [each for each in caplog.records if each.levelname == "WARNING"]
    assert (len(lost), len(late), len(caplog.records)) == (2, 2, 4)
    assert all("the start of a job could not be pushed" in each.getMessage() for each in late)
    assert all("the metrics of a job are lost" in each.getMessage() for each in lost)


async def test_pushes_are_retried() -> None:
    """By default a few times; that of the start is not, because the job waits for it."""
    again = Answer(503, headers={"Retry-After": "0"})
    with Gateway(again, again, Answer()) as gateway:
        async with job_metrics("j", gateway.url):
            assert len(gateway.requests) == 1

    assert [each.value("job_success") for each in gateway.requests] == [None, 1, 1]


async def test_a_push_that_is_cancelled_ends() -> None:
    """The job has ended; nobody has to wait for a gateway that does not answer."""
    with Gateway(Answer(), default=Answer(hold=Hold())) as gateway:

        async def work() -> None:
            async with job_metrics("j", gateway.url):
                pass

        task = asyncio.create_task(work())
        await gateway.arrived(2)
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE)

    assert task.cancelled()


def test_a_script_measures_its_job() -> None:
    """With ``with``."""
    with Gateway() as gateway:
        with job_metrics("j", gateway.url, grouping_key={"instance": "a/b"}) as job:
            Counter("done_total", "Done.", registry=job.registry).inc()
        assert gateway.last.value("job_success") == 1
        assert gateway.last.value("done_total") == 1
        assert gateway.last.path == "/metrics/job/j/instance@base64/YS9i"

        def work() -> None:
            with job_metrics("j", gateway.url):
                raise KeyError("boom")

        with pytest.raises(KeyError, match="boom"):
            work()
        assert gateway.last.value("job_success") == 0


async def test_in_a_loop_a_job_is_awaited() -> None:
    """``with`` would hold it."""
    with pytest.raises(RuntimeError, match="async with"), job_metrics("j", "http://h"):
        pass


async def test_a_name_collision_raises_before_the_job() -> None:
    """Its own error cannot be hidden by that."""
    registry = CollectorRegistry()
    Counter("job_success", "What.", registry=registry)
    entered = []
    with pytest.raises(DuplicateCollectorError):
        async with job_metrics("j", "http://h", registry):
            entered.append(1)

    assert entered == []


async def test_jobs_that_share_a_registry_share_no_success() -> None:
    """One that has never ended well does not push the time at which another one did."""
    registry = CollectorRegistry()
    with Gateway() as gateway:
        async with job_metrics("other", gateway.url, registry):
            pass
        with pytest.raises(KeyError):
            await fail(gateway, registry)

    assert gateway.last.path == "/metrics/job/nightly"
    assert gateway.last.value("job_success") == 0
    assert gateway.last.value("job_last_success_timestamp_seconds") is None


async def test_the_duration_is_that_of_the_block() -> None:
    """Not of the push after it, however long that takes."""
    hold = Hold()
    again = Answer(503, headers={"Retry-After": "0"})
    with Gateway(Answer(), again, Answer(hold=hold)) as gateway:

        async def work() -> float:
            async with job_metrics("j", gateway.url):
                began = time.perf_counter()
                await asyncio.sleep(0.02)
                return time.perf_counter() - began

        task = asyncio.create_task(work())
        await gateway.arrived(3)
        waited = time.perf_counter()
        hold.let_go()
        inside = await task
    first, second = [each.value("job_duration_seconds") or 0 for each in gateway.requests[1:]]

    assert inside <= first < waited
    assert first == second


async def test_a_cancellation_is_heeded_while_an_error_is_pushed() -> None:
    """Nobody waits for the gateway then."""
    with Gateway(Answer(), default=Answer(hold=Hold())) as gateway:
        task = asyncio.create_task(fail(gateway))
        await gateway.arrived(2)
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE)

    assert task.cancelled()


@pytest.mark.parametrize("ending", [KeyboardInterrupt, GeneratorExit, MemoryError])
def test_whatever_ends_a_script_s_job_is_pushed_and_raised(ending: type[BaseException]) -> None:
    """Also what is no exception of a program."""
    with Gateway() as gateway:
        with pytest.raises(ending), job_metrics("j", gateway.url):
            raise ending
        push = gateway.last

    assert push.value("job_success") == 0
    assert push.value("job_last_success_timestamp_seconds") is None


async def test_a_source_that_fails_costs_a_job_nothing_else() -> None:
    """What the job has measured of itself arrives."""
    registry = CollectorRegistry()
    registry.add_source(FakeSource(RuntimeError("no values today")))
    with Gateway() as gateway:
        async with job_metrics("j", gateway.url, registry):
            pass

    assert families_in(gateway.last) == OWN


async def test_a_thread_of_a_loop_measures_its_job() -> None:
    """With ``with``, for no loop runs in that thread."""

    def work() -> None:
        with job_metrics("j", gateway.url):
            pass

    with Gateway() as gateway:
        await asyncio.to_thread(work)

    assert [each.value("job_success") for each in gateway.requests] == [None, 1]


async def test_jobs_run_side_by_side() -> None:
    """Each pushes its own outcome into its own group."""
    begun: list[str] = []

    async def work(name: str, *, fails: bool) -> None:
        async with job_metrics(name, gateway.url):
            begun.append(name)
            await until(lambda: len(begun) == 2)
            if fails:
                raise KeyError(name)

    with Gateway() as gateway:
        found = await asyncio.gather(
            work("good", fails=False), work("bad", fails=True), return_exceptions=True
        )
    outcomes = {each.path: each.value("job_success") for each in gateway.requests}

    assert [type(each) for each in found] == [type(None), KeyError]
    assert outcomes == {"/metrics/job/good": 1, "/metrics/job/bad": 0}


# --- the start -------------------------------------------------------------------------------


async def test_the_start_is_pushed_before_the_job() -> None:
    """Alone: what the last run has pushed stays in the group. Whoever sees no end then knows that one is due."""
    registry = CollectorRegistry()
    Gauge("rows", "Rows.", registry=registry).set({}, 12)
    before = time.time()
    with Gateway() as gateway:
        async with job_metrics("nightly", gateway.url, registry):
            [start] = gateway.requests
    began = start.value(START)

    assert (start.method, start.path) == ("POST", "/metrics/job/nightly")
    assert start.text.count("# TYPE") == 1
    assert began is not None
    assert before <= began <= time.time()
    assert gateway.last.value(START) == began


async def test_a_gateway_that_does_not_answer_holds_no_job_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins all the same, and its start is pushed at its end."""
    monkeypatch.setattr(jobs, "_START_RETRY", Retry(attempts=1, total=0.1))
    with Gateway(Answer(hold=Hold())) as gateway:
        async with job_metrics("nightly", gateway.url):
            pass

    assert families_in(gateway.last) == OWN
    assert ["timed out" in each for each in caplog.messages] == [True]


# --- SIGTERM ---------------------------------------------------------------------------------

PREAMBLE = """
import asyncio, signal, sys, time
from otel_aioprom import CollectorRegistry, Counter, Pusher, Retry, job_metrics
from otel_aioprom.pusher import jobs

url = sys.argv[1]

def ready(job):
    Counter("done_total", "Done.", registry=job.registry).inc()
    print("ready", flush=True)

def block():
    for _ in range(6000):
        time.sleep(0.01)  # a signal right before a long sleep would be handled after it
"""

BLOCKS = {
    "script": """
with job_metrics("nightly", url) as job:
    ready(job)
    block()
""",
    "script that runs a loop": """
async def work(): await asyncio.sleep(60)
with job_metrics("nightly", url) as job:
    ready(job)
    asyncio.run(work())
""",
    "coroutine that waits": """
async def main():
    async with job_metrics("nightly", url) as job:
        ready(job)
        await asyncio.to_thread(time.sleep, 60)
asyncio.run(main())
""",
    "coroutine that blocks its loop": """
async def main():
    async with job_metrics("nightly", url) as job:
        ready(job)
        block()
asyncio.run(main())
""",
    "beside a task that blocks the loop for a while": """
async def busy(): time.sleep(0.5)
async def main():
    async with job_metrics("nightly", url) as job:
        other = asyncio.create_task(busy())
        asyncio.get_running_loop().call_soon(ready, job)
        await asyncio.sleep(60)
asyncio.run(main())
""",
    "job that catches everything": """
with job_metrics("nightly", url) as job:
    try:
        ready(job)
        block()
    except BaseException:
        pass
""",
}


def terminated(gateway: Gateway, program: str) -> int:
    """Send SIGTERM to a program that has said that it is ready; return its exit status."""
    arguments = [sys.executable, "-c", PREAMBLE + program, gateway.url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=DEADLINE)
    return running.returncode


@posix
@pytest.mark.parametrize("block", BLOCKS)
def test_a_job_that_is_terminated_is_pushed(block: str) -> None:
    """As a failure with all that it has measured, whatever it does; then the signal ends the process as before."""
    with Gateway() as gateway:
        status = terminated(gateway, BLOCKS[block])
    start, end = gateway.requests

    assert status == -signal.SIGTERM
    assert start.value(START) == end.value(START)
    assert families_in(end) == OWN - {"job_last_success_timestamp_seconds"} | {"done_total"}
    assert (end.value("job_success"), end.value("done_total")) == (0, 1)


@posix
def test_all_jobs_and_pushers_of_a_terminated_process_are_pushed() -> None:
    """None of them ends the process before the others have pushed."""
    program = """
async def job(name, others):
    async with job_metrics(name, url) as job:
        others.append(name)
        if len(others) == 2:
            ready(job)
        await asyncio.sleep(60)
async def main():
    begun = []
    async with Pusher("pusher", url).running(CollectorRegistry(), 3600):
        await asyncio.gather(job("first", begun), job("second", begun))
asyncio.run(main())
"""
    with Gateway() as gateway:
        status = terminated(gateway, program)
    pushed = [each.path.rpartition("/")[2] for each in gateway.requests]

    assert status == -signal.SIGTERM
    assert sorted(pushed) == sorted(["first", "second", "pusher"] * 2)
    ends = {each.path: each.value("job_success") for each in gateway.requests}
    assert ends == {
        "/metrics/job/first": 0,
        "/metrics/job/second": 0,
        "/metrics/job/pusher": None,
    }


@posix
def test_jobs_inside_of_each_other_are_all_pushed() -> None:
    """From the inner one to the outer one."""
    program = """
with job_metrics("outer", url), job_metrics("inner", url) as job:
    ready(job)
    block()
"""
    with Gateway() as gateway:
        status = terminated(gateway, program)
    ends = [(each.path, each.value("job_success")) for each in gateway.requests[2:]]

    assert status == -signal.SIGTERM
    assert ends == [("/metrics/job/inner", 0), ("/metrics/job/outer", 0)]


@posix
def test_a_terminated_job_does_not_wait_for_its_gateway_for_long() -> None:
    """Whoever has sent the signal does not wait for long either."""
    program = "jobs._SIGTERM_RETRY = Retry(total=0.2)\n" + BLOCKS["script"]
    with Gateway(Answer(), default=Answer(hold=Hold())) as gateway:
        status = terminated(gateway, program)

    assert (status, len(gateway.requests)) == (-signal.SIGTERM, 2)


@posix
def test_an_application_that_handles_the_signal_goes_on() -> None:
    """The job ends as it likes."""
    program = """
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
told = []
with job_metrics("nightly", url) as job:
    ready(job)
    while not told:
        time.sleep(0.01)
"""
    with Gateway() as gateway:
        status = terminated(gateway, program)

    assert (status, gateway.last.value("job_success")) == (0, 1)


@posix
def test_a_job_that_begins_while_the_process_ends_is_cancelled() -> None:
    """The process waits for it as for the others, so it has to end too."""
    program = """
async def late():
    async with job_metrics("late", url):
        await asyncio.sleep(60)
async def main():
    loop = asyncio.get_running_loop()
    async with job_metrics("nightly", url) as job:
        try:
            ready(job)
            await asyncio.sleep(60)
        finally:
            await asyncio.gather(late(), return_exceptions=True)
asyncio.run(main())
"""
    with Gateway() as gateway:
        status = terminated(gateway, program)
    ends = {each.path: each.value("job_success") for each in gateway.requests}

    assert status == -signal.SIGTERM
    assert ends == {"/metrics/job/nightly": 0, "/metrics/job/late": 0}


def test_after_a_job_the_signal_has_its_default_handler() -> None:
    """Whichever way it has ended."""
    with Gateway() as gateway:
        with job_metrics("j", gateway.url):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with pytest.raises(KeyError), job_metrics("j", gateway.url):
            raise KeyError

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
