"""Pushing without an event loop of one's own."""

from __future__ import annotations

import subprocess
import sys
import threading

import aiohttp
import pytest

from gateway import Answer, Gateway
from oracles import FakeSource, family
from otel_aioprom.blocking import BlockingPusher
from otel_aioprom.errors import PushError
from otel_aioprom.registry import CollectorRegistry
from processes import free_port
from pushed import QUICK, families_in, levels


def test_calls_wait_for_the_answer() -> None:
    """And give its status and body."""
    with Gateway(Answer(200, "fine"), Answer(400, "why"), Answer(202)) as gateway:
        pusher = BlockingPusher("j", gateway.url)
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


def test_calls_retry_as_they_are_told() -> None:
    """With the pusher's own policy, or one for the call."""
    with Gateway(Answer(500), Answer(200), Answer(503), Answer(200)) as gateway:
        assert BlockingPusher("j", gateway.url, retry=QUICK).add(levels(1)).status == 200
        assert BlockingPusher("j", gateway.url).add(levels(1), retry=QUICK).status == 200

    assert len(gateway.requests) == 4


def test_errors_come_out() -> None:
    """Where nobody listens, and of a refusal if that is asked for."""
    registry = levels(1)
    with pytest.raises(PushError, match=r"127\.0\.0\.1"):
        BlockingPusher("j", f"http://127.0.0.1:{free_port()}").add(registry)
    with Gateway(Answer(400, "why")) as gateway, pytest.raises(PushError, match="status 400: why"):
        BlockingPusher("j", gateway.url, raise_for_status=True).add(registry)


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
    """It would hold the loop, and says so."""
    with Gateway() as gateway, pytest.raises(RuntimeError, match="use Pusher there"):
        BlockingPusher("j", gateway.url).add(levels(1))

    assert gateway.requests == []


async def test_a_session_belongs_to_a_loop() -> None:
    """So it is refused."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="a session belongs to an event loop"):
            BlockingPusher("j", "http://h", session=session)


def test_host_names_are_looked_up_in_place() -> None:
    """As no thread can be asked."""
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


def test_an_empty_registry_is_pushed_too() -> None:
    """It empties the group."""
    with Gateway() as gateway:
        BlockingPusher("j", gateway.url).replace(CollectorRegistry())

    assert (gateway.last.method, gateway.last.body) == ("PUT", b"")
