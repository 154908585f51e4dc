"""Jobs that begin and end."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE, FakeSource, until
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.errors import DuplicateCollectorError
from otel_aioprom.pusher.jobs import job_metrics
from otel_aioprom.registry import CollectorRegistry
from processes import free_port
from pushed import QUICK, families_in

OWN = {"job_duration_seconds", "job_success", "job_last_success_timestamp_seconds"}


async def test_a_job_that_ends_well_is_pushed_once() -> None:
    """With how long it took, that it went well, and when."""
    before = time.time()
    with Gateway() as gateway:
        async with job_metrics("nightly", gateway.url) as job:
            Gauge("rows", "Rows.", registry=job.registry).set({}, 12)
            await asyncio.sleep(0.05)
            assert gateway.requests == []
    [push] = gateway.requests

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
    with Gateway(default=Answer(500)) as gateway:

        async def work() -> None:
            async with job_metrics("j", gateway.url, retry=QUICK):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE)

    assert task.cancelled()
    assert [each.value("job_success") for each in gateway.requests] == [0]


async def test_a_second_run_in_one_process_has_the_same_metrics() -> None:
    """A later failure keeps the time of the success before."""
    registry = CollectorRegistry()
    with Gateway() as gateway:
        async with job_metrics("nightly", gateway.url, registry):
            pass
        with pytest.raises(KeyError):
            await fail(gateway, registry)
    first, second = gateway.requests
    name = "job_last_success_timestamp_seconds"

    assert (first.value("job_success"), second.value("job_success")) == (1, 0)
    assert first.value(name) == second.value(name) is not None


@pytest.mark.parametrize("answer", [Answer(400, "why"), None])
async def test_a_push_that_fails_hides_nothing(
    answer: Answer | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is one line in the log; the job's own error comes out."""
    with Gateway(default=answer) as gateway:
        url = gateway.url if answer else f"http://127.0.0.1:{free_port()}"
        async with job_metrics("j", url, retry=QUICK):
            pass
        with pytest.raises(ZeroDivisionError):
            async with job_metrics("j", url, retry=QUICK):
                _ = 1 / 0

    lost = [each for each in caplog.records if each.levelname == "ERROR"]
    assert len(lost) == len(caplog.records) == 2
    assert all("the metrics of a job are lost" in each.getMessage() for each in lost)


async def test_pushes_are_retried() -> None:
    """By default a few times."""
    with Gateway(Answer(503, headers={"Retry-After": "0"})) as gateway:
        async with job_metrics("j", gateway.url):
            pass

    assert len(gateway.requests) == 2


async def test_a_push_that_is_cancelled_ends() -> None:
    """The job has ended; nobody has to wait for a gateway that does not answer."""
    with Gateway(default=Answer(hold=Hold())) as gateway:

        async def work() -> None:
            async with job_metrics("j", gateway.url):
                pass

        task = asyncio.create_task(work())
        await gateway.arrived(1)
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
    with Gateway(Answer(503, headers={"Retry-After": "0"}), Answer(hold=hold)) as gateway:

        async def work() -> float:
            async with job_metrics("j", gateway.url):
                began = time.perf_counter()
                await asyncio.sleep(0.02)
                return time.perf_counter() - began

        task = asyncio.create_task(work())
        await gateway.arrived(2)
        waited = time.perf_counter()
        hold.let_go()
        inside = await task
    first, second = [each.value("job_duration_seconds") or 0 for each in gateway.requests]

    assert inside <= first < waited
    assert first == second


async def test_a_cancellation_is_heeded_while_an_error_is_pushed() -> None:
    """Nobody waits for the gateway then."""
    with Gateway(default=Answer(hold=Hold())) as gateway:
        task = asyncio.create_task(fail(gateway))
        await gateway.arrived(1)
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

    assert [each.value("job_success") for each in gateway.requests] == [1]


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
