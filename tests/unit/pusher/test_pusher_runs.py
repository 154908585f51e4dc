"""Periodic pushes, and the last one on exit."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import subprocess
import sys
from typing import Any

import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE, until
from otel_aioprom._transport.credentials import BasicAuth
from otel_aioprom._transport.retry import Retry
from otel_aioprom.collectors import Counter
from otel_aioprom.pusher import Pusher
from otel_aioprom.registry import CollectorRegistry
from processes import free_port
from pushed import LONG, PUSHES, levels, own

# --- again and again -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, "interval must be"),
        ({"interval": -1}, "interval must be"),
        ({"interval": math.nan}, "interval must be"),
        ({"exit_timeout": 0}, "exit_timeout must be"),
        ({"method": "put"}, "method must be 'replace' or 'add', not 'put'"),
    ],
)
async def test_wrong_options_of_run_are_rejected(arguments: Any, message: str) -> None:
    """Nothing is pushed, and the error names the option."""
    with Gateway() as gateway, pytest.raises(ValueError, match=f"^{message}"):
        await Pusher("j", gateway.url).run(levels(1), **arguments)

    assert gateway.requests == []


async def test_a_wrong_option_of_running_raises_before_the_block() -> None:
    """Otherwise a program would run without ever pushing, and fail at its end."""
    entered = False
    block = Pusher("j", "http://h").running(levels(1), method="put")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method must be"):
        async with block:
            entered = True

    assert not entered


async def ended(task: asyncio.Task[None]) -> bool:
    """Cancel a run, and say whether it ends as cancelled tasks do."""
    task.cancel()
    await asyncio.wait([task], timeout=DEADLINE)
    return task.cancelled()


async def test_run_pushes_at_once_and_every_interval_and_on_exit() -> None:
    """Each time what the registry has then, over one connection."""
    registry = CollectorRegistry()
    counter = Counter("c_total", "Counts.", registry=registry)
    counter.inc()
    with Gateway() as gateway:
        task = asyncio.create_task(Pusher("j", gateway.url).run(registry, 0.05))
        await gateway.arrived(3)
        counter.add({}, 41)
        assert await ended(task)

    assert set(gateway.methods) == {"PUT"}
    assert gateway.requests[0].value("c_total") == 1.0
    assert gateway.last.value("c_total") == 42.0


@pytest.mark.parametrize(
    ("options", "methods"),
    [({"method": "add"}, ["POST", "POST"]), ({"delete_on_exit": True}, ["PUT", "DELETE"])],
)
async def test_run_may_add_or_delete_on_exit(options: Any, methods: list[str]) -> None:
    """The last push uses POST too; a delete replaces it."""
    with Gateway() as gateway:
        task = asyncio.create_task(Pusher("j", gateway.url).run(levels(1), LONG, **options))
        await gateway.arrived(1)
        assert await ended(task)

    assert gateway.methods == methods


async def test_run_uses_one_connection_and_closes_it() -> None:
    """One that was open before stays open."""
    with Gateway() as gateway:
        pusher = Pusher("j", gateway.url)
        async with pusher.running(levels(1), LONG):
            await gateway.arrived(1)
            await until(lambda: bool(gateway.requests))
            await asyncio.sleep(0.02)
        async with pusher:
            async with pusher.running(levels(1), LONG):
                await gateway.arrived(3)
                await asyncio.sleep(0.02)
            await pusher.add(levels(1))

    assert [each.connection for each in gateway.requests] == [0, 0, 1, 1, 1]


async def test_no_failure_ends_run(caplog: pytest.LogCaptureFixture) -> None:
    """A line is logged when pushes begin to fail, one when they work again, and all are counted."""
    caplog.set_level(logging.INFO, "otel_aioprom")
    registry = levels(1)
    script = [Answer(400, "first"), Answer(cut="response"), Answer(500), Answer(), Answer(), Answer(404, "last")]  # fmt: skip
    with Gateway(*script, default=Answer(404)) as gateway:
        pusher = Pusher("j", gateway.url, retry=Retry(attempts=1))
        async with pusher.running(registry, 0.02):
            await gateway.arrived(7)
        url = gateway.url

    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", f"pushes to {url} fail: nothing arrived at {url}/metrics/job/j: status 400: first"),
        ("INFO", f"pushes to {url} work again, after 3 that failed"),
        ("WARNING", f"pushes to {url} fail: nothing arrived at {url}/metrics/job/j: status 404: last"),
    ]  # fmt: skip
    found = own(registry)
    assert found[PUSHES + '{code="400"}'] == found[PUSHES + '{code="500"}'] == 1
    assert found[PUSHES + '{code="error"}'] >= 1
    assert found[PUSHES + '{code="200"}'] == 2


async def test_no_exception_ends_run(caplog: pytest.LogCaptureFixture, tmp_path: Any) -> None:
    """Also if the secret file is missing for a while, or the registry raises."""
    file = tmp_path / "password"
    file.write_text("p")
    with Gateway() as gateway:
        pusher = Pusher("j", gateway.url, auth=BasicAuth("u", password_file=file))
        file.unlink()
        async with pusher.running(levels(1), 0.02):
            await until(lambda: bool(caplog.records))
            file.write_text("p")
            await gateway.arrived(2)
        other = CollectorRegistry()
        other.async_gather = None  # type: ignore[assignment, method-assign]
        async with pusher.running(other, 0.02):
            await until(lambda: len(caplog.records) >= 2)

    assert "no secret in" in caplog.messages[0]
    assert "not callable" in caplog.messages[1]


async def test_pushes_of_run_are_retried() -> None:
    """Unless ``retry`` says otherwise."""
    with Gateway(Answer(503, headers={"Retry-After": "0"}), Answer(503), Answer()) as gateway:
        async with Pusher("j", gateway.url).running(levels(1), LONG):
            await gateway.arrived(3)
    with Gateway(Answer(503), Answer(503), Answer(), Answer()) as other:
        async with Pusher("j", other.url, retry=Retry(attempts=1)).running(levels(1), LONG):
            await other.arrived(1)
            await asyncio.sleep(0.1)
            assert len(other.requests) == 1

    assert gateway.methods[:3] == ["PUT", "PUT", "PUT"]


async def test_slow_pushes_skip_intervals() -> None:
    """They do not pile up."""
    hold = Hold()
    with Gateway(Answer(hold=hold)) as gateway:
        async with Pusher("j", gateway.url).running(levels(1), 0.05):
            await gateway.arrived(1)
            await asyncio.sleep(0.3)
            assert len(gateway.requests) == 1
            hold.let_go()
            await gateway.arrived(3)


async def test_the_shutdown_has_a_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """A gateway that does not answer the last push keeps nobody."""
    with Gateway(Answer(), default=Answer(hold=Hold())) as gateway:
        task = asyncio.create_task(Pusher("j", gateway.url).run(levels(1), LONG, exit_timeout=0.1))
        await gateway.arrived(1)
        await asyncio.sleep(0.05)
        assert await ended(task)
        assert len(gateway.requests) == 2

    assert caplog.messages[-1] == "the last call took more than 0.1 s and was given up"


async def test_a_block_is_pushed_at_its_end() -> None:
    """Also if it raises, and then its error comes out."""
    registry = levels(1)
    with Gateway() as gateway:
        pusher = Pusher("j", gateway.url)

        async def work() -> None:
            async with pusher.running(registry, LONG) as same:
                assert same is pusher
                await gateway.arrived(1)
                registry.get("a").set({}, 7)
                raise KeyError("boom")

        with pytest.raises(KeyError, match="boom"):
            await work()

    assert gateway.last.value("a") == 7.0
    assert len(gateway.requests) == 2


async def test_a_block_that_waits_for_nothing_is_pushed_too() -> None:
    """However short it is: what it has measured arrives."""
    registry = levels(1)
    with Gateway() as gateway:
        async with Pusher("j", gateway.url).running(registry, LONG):
            registry.get("a").set({}, 7)

    assert gateway.requests
    assert gateway.last.value("a") == 7.0


async def test_a_block_ends_as_cancelled_if_it_is_cancelled() -> None:
    """After its last push."""
    with Gateway() as gateway:

        async def work() -> None:
            async with Pusher("j", gateway.url).running(levels(1), LONG):
                await asyncio.sleep(LONG)

        task = asyncio.create_task(work())
        await gateway.arrived(1)
        assert await ended(task)

    assert len(gateway.requests) == 2


async def test_a_cancellation_during_shutdown_is_not_lost() -> None:
    """Whoever waits for the last push is cancelled like anywhere else."""
    reached = False
    with Gateway(Answer(), default=Answer(hold=Hold())) as gateway:

        async def work() -> None:
            nonlocal reached
            async with Pusher("j", gateway.url).running(levels(1), LONG, exit_timeout=LONG):
                await gateway.arrived(1)
                await asyncio.sleep(0.05)
            reached = True

        task = asyncio.create_task(work())
        await gateway.arrived(2)
        assert await ended(task)

    assert not reached


# --- in a process of its own -----------------------------------------------------------------

PROGRAM = """
import asyncio, signal, sys
from otel_aioprom import CollectorRegistry, Gauge, Pusher

async def main():
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    gauge.set({}, 1)
    pushers = [Pusher(job, sys.argv[1]) for job in sys.argv[3:]]
    if sys.argv[2] == "handles":
        loop.add_signal_handler(signal.SIGTERM, told.set)
    tasks = [asyncio.create_task(pusher.run(registry, 3600)) for pusher in pushers]
    while not registry.pushes.last.family().series:
        await asyncio.sleep(0.01)
    gauge.set({}, 2)
    print("ready", flush=True)
    await told.wait()
    print("told", flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

asyncio.run(main())
"""


def terminated(gateway: Gateway, kind: str, *jobs: str) -> tuple[int, str]:
    """Send SIGTERM to a program that pushes; return its exit status and what it has printed."""
    arguments = [sys.executable, "-W", "error", "-c", PROGRAM, gateway.url, kind, *jobs]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        gateway.wait_for(len(jobs))
        program.send_signal(signal.SIGTERM)
        output, _ = program.communicate(timeout=DEADLINE)
    return program.returncode, output


def test_a_program_pushes_once_more_when_it_is_terminated() -> None:
    """Then it ends by the signal, as if nobody had handled it."""
    with Gateway() as gateway:
        status, output = terminated(gateway, "leaves", "j")

    assert (status, output) == (-signal.SIGTERM, "")
    assert [each.value("g") for each in gateway.requests] == [1.0, 2.0]


def test_a_program_with_several_pushers_pushes_all_of_them_when_it_is_terminated() -> None:
    """None of them ends the process before the others have pushed."""
    with Gateway() as gateway:
        status, _ = terminated(gateway, "leaves", "first", "second")
    last = {each.path: each.value("g") for each in gateway.requests}

    assert status == -signal.SIGTERM
    assert last == {"/metrics/job/first": 2.0, "/metrics/job/second": 2.0}


def test_a_program_that_handles_the_signal_is_not_disturbed() -> None:
    """It ends as it likes, and its last push arrives when it cancels."""
    with Gateway() as gateway:
        status, output = terminated(gateway, "handles", "j")

    assert (status, output) == (0, "told\n")
    assert [each.value("g") for each in gateway.requests] == [1.0, 2.0]


async def test_an_unreachable_gateway_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """However long it is unreachable."""
    registry = levels(1)
    pusher = Pusher("j", f"http://127.0.0.1:{free_port()}", retry=Retry(attempts=1))
    async with pusher.running(registry, 0.01):
        await until(lambda: own(registry).get(PUSHES + '{code="error"}', 0) >= 5)

    assert len(caplog.records) == 1
