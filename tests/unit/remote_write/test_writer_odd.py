"""The remote writer in odd cases: servers that swallow, blocks that fail, calls at the wrong time."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE, HeldSource, until
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.writer import RemoteWriter
from otel_aioprom.renderer import render
from processes import free_port
from pushed import LONG, levels, own
from receiver import TAKEN_1, TAKEN_2, points_of, url_of, values

WAITING = "otel_aioprom_remote_write_waiting_bytes"


def shown(registry: CollectorRegistry, name: str) -> dict[str, float]:
    """Sample → value of a family."""
    lines = [line.rpartition(" ") for line in render(registry)[0].decode().splitlines()]
    return {sample: float(value) for sample, _, value in lines if sample.startswith(name)}


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes no connections and refuses none, as behind a firewall."""
    with ExitStack() as opened:
        server = opened.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(4):
            client = opened.enter_context(socket.socket())
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(("127.0.0.1", port))
        with socket.socket() as last:
            last.settimeout(0.2)
            with pytest.raises(TimeoutError):
                last.connect(("127.0.0.1", port))
        yield port


# --- servers ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse what they have no place for")
async def test_an_unreachable_server_is_waited_for_whatever_the_error() -> None:
    """A firewall that drops packets does not count as a failed attempt: the message was not sent."""
    with black_hole() as port:
        writer = RemoteWriter(
            f"http://127.0.0.1:{port}/", attempts=2, timeout=0.1, flush_timeout=0.01
        )
        async with writer:
            await writer.write(levels(1))
            assert not await writer.flush(2)
            assert len(writer._outbox.queue) == 1


async def test_collections_do_not_wait_for_a_slow_server() -> None:
    """They come in their time, and each keeps its own."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    hold = Hold()
    with Gateway(Answer(204, hold=hold), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            for value in range(5):
                gauge.set({}, value)
                await asyncio.wait_for(writer.write(registry), DEADLINE)
            (waiting,) = shown(registry, WAITING).values()
            hold.let_go()
            assert await writer.flush(DEADLINE)
        (left,) = shown(registry, WAITING).values()

    assert values(gateway, "g") == [0, 1, 2, 3, 4]
    assert (waiting > 0, left) == (True, 0)


async def test_what_the_library_measures_of_it() -> None:
    """By what came of each request; of the address no credentials."""
    registry = levels(1)
    with Gateway(Answer(400), *[Answer(cut="response")] * 2, default=TAKEN_1) as gateway:
        url = url_of(gateway).replace("//", "//user:secret@")
        async with RemoteWriter(url, attempts=2) as writer:
            for _ in range(3):
                await writer.write(registry)
                assert await writer.flush(DEADLINE)
        found = own(registry)
        text = render(registry)[0].decode()

    codes = {code: found[f'otel_aioprom_pushes_total{{code="{code}"}}'] for code in ("400", "error", "204")}  # fmt: skip
    assert codes == {"400": 1, "error": 1, "204": 1}
    assert found["otel_aioprom_push_duration_seconds_count"] == 3
    assert found["otel_aioprom_push_bytes_total"] > 0
    assert "secret" not in text
    assert "Authorization" in gateway.last.headers


async def test_a_hanging_negotiation_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is given a while; then the collection is written in 1.0."""
    monkeypatch.setattr("otel_aioprom.remote_write.writer._NEGOTIATION_TIMEOUT", 0.05)
    hold = Hold()
    with Gateway(Answer(204, hold=hold), default=TAKEN_2) as gateway:
        async with RemoteWriter(url_of(gateway), version="2.0", timeout=DEADLINE) as writer:
            await asyncio.wait_for(writer.write(levels(1)), DEADLINE)
            hold.let_go()
            assert await writer.flush(DEADLINE)

    assert 1 in values(gateway, "a")


# --- calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spooled", [False, True])
async def test_writes_of_many_tasks_do_not_mix(tmp_path: Path, spooled: bool) -> None:
    """Each has a time of its own, and they arrive one behind the other."""
    registry = levels(*range(8))
    spool = tmp_path / "spool" if spooled else None
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), max_samples=3, spool=spool) as writer:
            await asyncio.gather(*[writer.write(registry) for _ in range(20)])
            assert await writer.flush(DEADLINE)
    every = [point for push in gateway.requests for point in points_of(push)]
    moments = [point.moment for point in every]
    found = [(point.moment, dict(point.labels)["__name__"]) for point in every]
    ours = [(moment, name) for moment, name in found if name in set("abcdefgh")]

    assert moments == sorted(moments)
    assert sorted(ours) == [
        (moment, name) for moment in sorted(set(moments)) for name in "abcdefgh"
    ]
    assert len(set(moments)) == 20


async def test_outside_of_its_block_nothing_is_waited_for() -> None:
    """Nobody sends there: that is an error as for a write, or over at once."""
    writer = RemoteWriter("http://127.0.0.1:9/")
    with suppress(RuntimeError):
        await asyncio.wait_for(writer.flush(), 1)


async def test_outside_of_its_block_series_do_not_end() -> None:
    """The markers would wait for ever; that is an error, as for a write."""
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            await writer.write(levels(1))
    with pytest.raises(RuntimeError, match="inside 'async with'"):
        await writer.end()


def test_a_writer_can_be_used_in_one_loop_after_the_other() -> None:
    """As with ``asyncio.run`` in a script."""

    async def use(writer: RemoteWriter, value: int) -> bool:
        async with writer:
            await writer.flush(0.05)
            await writer.write(levels(value))
            return await writer.flush(1)

    with Gateway(default=TAKEN_1) as gateway:
        writer = RemoteWriter(url_of(gateway), flush_timeout=0.1)
        assert [asyncio.run(use(writer, value)) for value in (1, 2)] == [True, True]
    assert values(gateway, "a") == [1, 2]


# --- shutdown -------------------------------------------------------------------------------


async def test_a_block_that_raises_ends_as_any_other() -> None:
    """What it raises comes out; the last values are written, and all series end."""
    registry = levels(1)

    async def fail(gateway: Gateway) -> None:
        async with RemoteWriter(url_of(gateway)).running(registry, LONG):
            await gateway.arrived(1)
            registry.get("a").set({}, 2)  # type: ignore[attr-defined]
            raise KeyError("mine")

    with Gateway(default=TAKEN_1) as gateway, pytest.raises(KeyError, match="mine"):
        await fail(gateway)

    assert values(gateway, "a") == [1, 2]
    assert all(point.is_stale for point in points_of(gateway.last))


async def test_run_raises_the_cancellation() -> None:
    """After it has written the last values and ended all series."""
    registry = levels(1)
    with Gateway(default=TAKEN_1) as gateway:
        task = asyncio.create_task(RemoteWriter(url_of(gateway)).run(registry, LONG))
        await gateway.arrived(1)
        registry.get("a").set({}, 2)  # type: ignore[attr-defined]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)

    assert values(gateway, "a") == [1, 2]
    assert all(point.is_stale for point in points_of(gateway.last))


async def test_a_source_that_hangs_does_not_keep_a_program_from_ending() -> None:
    """Nor does it keep the others' values from being written."""
    registry = levels(1)
    source = HeldSource()
    registry.add_source(source)
    with Gateway(default=TAKEN_1) as gateway:
        writer = RemoteWriter(url_of(gateway), gather_timeout=0.05)
        loop = asyncio.get_running_loop()
        async with writer.running(registry, LONG, exit_timeout=1.0):
            await source.wait_begun()
            await gateway.arrived(1)
            began = loop.time()
        took = loop.time() - began
        source.go.release(9)

    assert took < DEADLINE
    assert values(gateway, "a")[0] == 1
    assert all(point.is_stale for point in points_of(gateway.last))


async def test_ends_of_series_wait_in_the_folder_too(tmp_path: Path) -> None:
    """If the server is unreachable on exit; the next process sends them first."""
    registry: Any = levels(1)
    away = f"http://127.0.0.1:{free_port()}/"
    writer = RemoteWriter(away, spool=tmp_path / "spool")
    async with writer.running(registry, LONG, exit_timeout=0.3):
        await until(lambda: len(writer._outbox.queue) == 1)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), spool=tmp_path / "spool") as writer:
            await writer.write(levels(2))
            assert await writer.flush(DEADLINE)
    every = [point for push in gateway.requests for point in points_of(push)]
    found = [point for point in every if ("__name__", "a") in point.labels]

    assert [point.is_stale for point in found] == [False, False, True, False]
    assert [point.moment for point in found] == sorted({point.moment for point in found})
