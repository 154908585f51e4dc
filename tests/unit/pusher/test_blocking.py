"""Pushing without an event loop of one's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE, FakeSource, family
from otel_aioprom._core.model import MetricFamily
from otel_aioprom._transport.credentials import BasicAuth
from otel_aioprom.collectors import Gauge
from otel_aioprom.errors import PushError, SecretError
from otel_aioprom.pusher.blocking import BlockingPusher, PushResult
from otel_aioprom.registry import CollectorRegistry
from processes import free_port
from pushed import PUSHES, QUICK, families_in, levels


def test_calls_wait_for_the_answer() -> None:
    """And give its status and body."""
    with Gateway(Answer(200, "fine"), Answer(400, "why"), Answer(202)) as gateway:
        pusher = BlockingPusher("j", gateway.url, raise_for_status=False)
        found = [pusher.add(levels(1)), pusher.replace(levels(2)), pusher.delete()]

    assert found == [(200, "fine"), (400, "why"), (202, "")]
    assert gateway.methods == ["POST", "PUT", "DELETE"]
    assert pusher.url == f"{gateway.url}/metrics/job/j"


def test_sources_are_collected_in_the_calling_thread() -> None:
    """No thread can be started at the end of a program."""
    threads = []

    class Source(FakeSource):
        def collect(self) -> object:  # type: ignore[override]
            threads.append(threading.current_thread())
            return super().collect()

    registry = levels(1)
    registry.add_source(Source(family("of_a_source")))
    with Gateway() as gateway:
        BlockingPusher("j", gateway.url).add(registry)

    assert threads == [threading.current_thread()]
    assert families_in(gateway.last) == {"a", "of_a_source"}


def test_calls_use_their_retry_policy() -> None:
    """With the pusher's own policy, or one for the call."""
    with Gateway(Answer(500), Answer(200), Answer(503), Answer(200)) as gateway:
        assert BlockingPusher("j", gateway.url, retry=QUICK).add(levels(1)).status == 200
        assert BlockingPusher("j", gateway.url).add(levels(1), retry=QUICK).status == 200

    assert len(gateway.requests) == 4


def test_errors_come_out() -> None:
    """For an unreachable server, and for one that refuses, which is what ``push_to_gateway`` does."""
    registry = levels(1)
    with pytest.raises(PushError, match=r"127\.0\.0\.1"):
        BlockingPusher("j", f"http://127.0.0.1:{free_port()}").add(registry)
    with Gateway(Answer(400, "why")) as gateway, pytest.raises(PushError, match="status 400: why"):
        BlockingPusher("j", gateway.url).add(registry)


@pytest.mark.parametrize("call", ["add", "replace", "delete"])
def test_a_refusal_is_an_error(call: str) -> None:
    """Of each call alike: a script that looks at no result must not end as if all were well."""
    with Gateway(default=Answer(400, "why")) as gateway:
        with pytest.raises(PushError, match="status 400: why") as raised:
            getattr(BlockingPusher("j", gateway.url), call)(levels(1))
        lenient = BlockingPusher("j", gateway.url, raise_for_status=False)
        assert getattr(lenient, call)(levels(1)) == (400, "why")

    assert raised.value.status == 400


def test_a_refused_batch_is_an_error() -> None:
    """Whatever the other requests of the push are answered."""
    answers = (Answer(), Answer(400, "why"), Answer())
    with Gateway(*answers) as gateway, pytest.raises(PushError, match="status 400: why"):
        BlockingPusher("j", gateway.url, max_batch_bytes=1).add(levels(1, 2, 3))

    assert len(gateway.requests) == 3


def test_threads_push_at_the_same_time() -> None:
    """Each call has a loop of its own."""
    with Gateway() as gateway:
        pusher = BlockingPusher("j", gateway.url)
        threads = [
            threading.Thread(target=pusher.add, args=(levels(number),)) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(each.value("a") or 0 for each in gateway.requests) == list(range(8))


async def test_the_thread_of_a_loop_is_not_for_it() -> None:
    """It would block the loop, and raises."""
    with Gateway() as gateway, pytest.raises(RuntimeError, match="use Pusher there"):
        BlockingPusher("j", gateway.url).add(levels(1))

    assert gateway.requests == []


async def test_a_session_belongs_to_a_loop() -> None:
    """So it is refused."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="a session belongs to an event loop"):
            BlockingPusher("j", "http://h", session=session)


def test_host_names_are_looked_up_in_place() -> None:
    """Because threads cannot be started."""
    with Gateway() as gateway:
        url = gateway.url.replace("127.0.0.1", "localhost")
        assert BlockingPusher("j", url).add(levels(1)).status == 200
    with pytest.raises(PushError):
        BlockingPusher("j", "http://host.invalid").add(levels(1))


PROGRAM = """
import atexit, sys
from otel_aioprom import BlockingPusher, CollectorRegistry, Gauge

registry = CollectorRegistry()
gauge = Gauge("g", "Level.", registry=registry)
pusher = BlockingPusher("j", sys.argv[1])
atexit.register(lambda: print(pusher.replace(registry).status))
gauge.set({}, 3)
"""


def test_it_works_to_the_very_end_of_a_program() -> None:
    """In ``atexit``, when no thread can be started any more."""
    with Gateway() as gateway:
        url = gateway.url.replace("127.0.0.1", "localhost")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, url],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    assert (done.stdout, done.stderr) == ("200\n", "")
    assert gateway.last.value("g") == 3


SCRIPT = """
import sys
from otel_aioprom import BlockingPusher, CollectorRegistry, Gauge

registry = CollectorRegistry()
Gauge("g", "Level.", registry=registry).set({}, 3)
BlockingPusher("j", sys.argv[1]).replace(registry)
"""


def test_a_script_whose_push_is_refused_fails() -> None:
    """Its exit status and its last line say so, or nobody would learn of it."""
    with Gateway(Answer(400, "pushed metrics are invalid")) as gateway:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, gateway.url],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith("status 400: pushed metrics are invalid")


def test_an_empty_registry_is_pushed_too() -> None:
    """It empties the group."""
    with Gateway() as gateway:
        BlockingPusher("j", gateway.url).replace(CollectorRegistry())

    assert (gateway.last.method, gateway.last.body) == ("PUT", b"")


# --- sources -----------------------------------------------------------------------------


def test_a_source_may_run_an_event_loop_of_its_own() -> None:
    """It is collected in a thread without a running loop, as everywhere else."""

    class Source(FakeSource):
        def collect(self) -> list[MetricFamily]:
            with closing(asyncio.new_event_loop()) as loop:
                found = loop.create_future()
                found.set_result(family("of_a_source"))
                return [loop.run_until_complete(found)]

    registry = levels(1)
    registry.add_source(Source())
    with Gateway() as gateway:
        BlockingPusher("j", gateway.url).add(registry)

    assert families_in(gateway.last) == {"a", "of_a_source"}


def test_a_source_that_is_awaited_is_pushed() -> None:
    """As ``Pusher`` pushes it."""

    class Source:
        name = "awaited"

        async def collect(self) -> list[MetricFamily]:
            return [await asyncio.sleep(0, family("of_a_source"))]

    registry = levels(1)
    registry.add_source(Source())
    with Gateway() as gateway:
        BlockingPusher("j", gateway.url).add(registry)

    assert families_in(gateway.last) == {"a", "of_a_source"}


def test_a_source_that_fails_costs_itself() -> None:
    """The rest is pushed."""
    registry = levels(1)
    registry.add_source(FakeSource(RuntimeError("no values today")))
    with Gateway() as gateway:
        assert BlockingPusher("j", gateway.url).add(registry).status == 200

    assert families_in(gateway.last) == {"a"}


# --- what goes wrong ----------------------------------------------------------------------


@pytest.mark.parametrize("call", ["add", "replace", "delete"])
def test_no_answer_is_an_error(call: str) -> None:
    """Whatever cuts the connection, and of each request alike."""
    with Gateway(default=Answer(cut="answer")) as gateway:
        with pytest.raises(PushError) as raised:
            getattr(BlockingPusher("j", gateway.url, timeout=2), call)(levels(1))
        gateway.default = Answer(hold=Hold())
        with pytest.raises(PushError, match="timed out"):
            getattr(BlockingPusher("j", gateway.url, timeout=0.05), call)(levels(1))

    assert raised.value.status is None
    assert (
        "in time" not in raised.value.reason
    )  # the connection is gone: there is nothing to wait for


@pytest.mark.parametrize("charset", ["none-such", "hex", "idna", "undefined"])
def test_any_response_body_is_decoded(charset: str) -> None:
    """An odd charset does not hide the status."""
    answer = Answer(400, "refused", {"Content-Type": f"text/plain; charset={charset}"})
    with Gateway(answer) as gateway:
        result = BlockingPusher("j", gateway.url, raise_for_status=False).add(levels(1))

    assert (result.status, "refused" in result.text) == (400, True)


def test_a_secret_that_has_gone_is_an_error(tmp_path: Path) -> None:
    """Nothing is sent without it."""
    secret = tmp_path / "secret"
    secret.write_text("p")
    with Gateway(user="u:p") as gateway:
        pusher = BlockingPusher("j", gateway.url, auth=BasicAuth("u", password_file=secret))
        assert pusher.add(levels(1)).status == 200
        secret.unlink()
        with pytest.raises(SecretError):
            pusher.add(levels(1))

    assert len(gateway.requests) == 1


# --- loops and threads ---------------------------------------------------------------------


async def test_a_worker_thread_of_a_loop_may_push() -> None:
    """The loop goes on meanwhile."""
    hold = Hold()
    with Gateway(Answer(hold=hold)) as gateway:
        pusher = BlockingPusher("j", gateway.url)
        push = asyncio.create_task(asyncio.to_thread(pusher.add, levels(1)))
        await gateway.arrived(1)
        hold.let_go()
        assert (await push).status == 200


def test_the_current_loop_of_a_thread_stays_the_current_one() -> None:
    """A script may have set one, and run it now and then."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with Gateway() as gateway:
            BlockingPusher("j", gateway.url).add(levels(1))
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_threads_may_share_a_registry_too() -> None:
    """Each has the answer to its own request, and all are counted."""
    threads = 16
    everybody = threading.Barrier(threads)
    registry = levels(1)

    def push(number: int) -> PushResult:
        everybody.wait(DEADLINE)
        return (pusher.add, pusher.replace)[number % 2](registry)

    with Gateway(*[Answer(text=str(number)) for number in range(threads)]) as gateway:
        pusher = BlockingPusher("j", gateway.url)
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(push, range(threads)))
        pusher.add(registry)

    assert sorted(int(each.text) for each in results) == list(range(threads))
    labels = f'{{code="200",destination="{gateway.url}"}}'
    assert gateway.last.value(f"{PUSHES}{labels}") == threads


def test_no_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for a host's name, nor for sources, nor for a large body."""

    def refuse(thread: threading.Thread, *others: Any) -> None:
        raise RuntimeError("can't start new thread")

    registry = CollectorRegistry()
    registry.add_source(FakeSource(family("of_a_source")))
    wide = Gauge("wide", "Wide.", registry=registry)
    for number in range(5000):
        wide.set({"number": str(number), "filling": "f" * 50}, number)
    with Gateway() as gateway:
        url = gateway.url.replace("127.0.0.1", "localhost")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            BlockingPusher("j", url, compression="gzip").add(registry)

    assert families_in(gateway.last) == {"wide", "of_a_source"}
    assert gateway.last.text.count("\nwide{") == 5000
