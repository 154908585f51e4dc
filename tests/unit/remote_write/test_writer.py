"""The remote writer: what it sends, keeps, drops and tells."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE, until
from otel_aioprom._transport.credentials import BasicAuth
from otel_aioprom._transport.retry import Retry
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.errors import SpoolError
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.writer import RemoteWriter
from otel_aioprom.renderer import render
from processes import free_port
from pushed import LONG, levels
from receiver import TAKEN_1, TAKEN_2, points_of, url_of, value_of, values, version_of


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Outcome → count, from the registry."""
    found = {}
    for line in render(registry)[0].decode().splitlines():
        if line.startswith("otel_aioprom_remote_write_samples_total"):
            outcome = line.partition('outcome="')[2].partition('"')[0]
            found[outcome] = float(line.rpartition(" ")[2])
    return found


# --- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:9090"}, "url must be a URL"),
        ({"url": "ftp://h/x"}, "url must be a URL"),
        ({"version": "2"}, "version must be"),
        ({"max_samples": 0}, "max_samples"),
        ({"queue_bytes": 0}, "queue_bytes"),
        ({"attempts": 0}, "attempts"),
        ({"gather_timeout": 0}, "gather_timeout"),
        ({"flush_timeout": float("nan")}, "flush_timeout"),
        ({"timeout": 0}, "timeout"),
        ({"external_labels": {"__name__": "x"}}, "external label"),
        ({"headers": {"user-agent": "x"}}, "set by the protocol"),
        ({"headers": {"X-Prometheus-Remote-Write-Version": "9"}}, "set by the protocol"),
        ({"headers": {"Content-Encoding": "gzip"}}, "Content-Encoding"),
        ({"url": "http://u:p@h/", "auth": BasicAuth("a", "b")}, "the URL contains credentials"),
    ],
)
def test_wrong_options_are_rejected(options: dict[str, Any], message: str) -> None:
    """At once, by their name."""
    with pytest.raises(ValueError, match=message):
        RemoteWriter(**{"url": "http://h/api/v1/write", **options})


@pytest.mark.parametrize("options", [{"retry": Retry()}, {"raise_for_status": True}])
def test_retry_options_are_rejected(options: dict[str, Any]) -> None:
    """It retries by itself."""
    with pytest.raises(TypeError, match="retries by itself"):
        RemoteWriter("http://h/", **options)


async def test_it_works_inside_its_block() -> None:
    """Outside nobody sends; and one block at a time."""
    with Gateway(default=TAKEN_1) as gateway:
        writer = RemoteWriter(url_of(gateway))
        with pytest.raises(RuntimeError, match="inside 'async with'"):
            await writer.write(levels(1))
        async with writer:
            with pytest.raises(RuntimeError, match="already open"):
                await writer.__aenter__()
            await writer.write(levels(1))
        async with writer:
            await writer.write(levels(2))

    assert values(gateway, "a") == [1, 2]


# --- writing ---------------------------------------------------------------------------------


async def test_what_is_written_arrives_in_order() -> None:
    """Each collection with one time, later than the one before; one message at a time."""
    registry = CollectorRegistry()
    counter = Counter("c_total", "Counts.", registry=registry)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), external_labels={"job": "shop"}) as writer:
            for _ in range(20):
                counter.inc()
                await writer.write(registry)
            assert await writer.flush(DEADLINE)
    moments = [{point.moment for point in points_of(push)} for push in gateway.requests]

    assert values(gateway, "c_total") == list(range(1, 21))
    assert all(len(each) == 1 for each in moments)
    every = [moment for each in moments for moment in each]
    assert every == sorted(set(every))
    assert len({push.connection for push in gateway.requests}) == 1
    assert all(("job", "shop") in point.labels for point in points_of(gateway.last))


async def test_a_large_registry_goes_in_several_messages() -> None:
    """Of so many samples each, with one time."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    for place in range(25):
        gauge.set({"place": place}, place)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), max_samples=10) as writer:
            await writer.write(registry)
    found = [points_of(push) for push in gateway.requests]

    assert [len(each) for each in found] == [10, 10, 5]
    assert len({point.moment for each in found for point in each}) == 1


async def test_series_that_are_gone_are_marked_as_ended() -> None:
    """Once; at the end of a program all of them."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    gauge.set({"place": "a"}, 1)
    gauge.set({"place": "b"}, 2)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            await writer.write(registry)
            await writer.flush(DEADLINE)
            gauge.remove({"place": "b"})
            await writer.write(registry)
            await writer.flush(DEADLINE)
            ended = [dict(p.labels)["place"] for p in points_of(gateway.last) if p.is_stale]
            await writer.end()
            await writer.flush(DEADLINE)
        last = [point for point in points_of(gateway.last) if ("__name__", "g") in point.labels]

    assert ended == ["b"]
    assert [(dict(p.labels)["place"], p.is_stale) for p in last] == [("a", True)]


async def test_outcomes_of_samples_are_counted() -> None:
    """In the registry, by outcome."""
    registry = levels(1, 2)
    with Gateway(TAKEN_1, default=Answer(400, "no")) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            await writer.write(registry)
            await writer.flush(DEADLINE)
            assert samples(registry) == {"sent": 2}
            await writer.write(registry)
            await writer.flush(DEADLINE)
    found = samples(registry)

    assert found["sent"] == 2
    assert found["refused"] > 2
    text = render(registry)[0].decode()
    assert 'otel_aioprom_pushes_total{code="400",' in text
    assert "otel_aioprom_push_last_success_timestamp_seconds{" in text


# --- what waits ------------------------------------------------------------------------------


async def test_an_unreachable_server_is_waited_for() -> None:
    """Nothing is lost that there is room for; the order stays."""
    port = free_port()
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    async with RemoteWriter(f"http://127.0.0.1:{port}/api/v1/write") as writer:
        for value in range(5):
            gauge.set({}, value)
            await writer.write(registry)
        assert not await writer.flush(0.05)
        with Gateway(default=TAKEN_1) as gateway:
            writer._sender._url = writer._sender._url.with_port(gateway.port)
            assert await writer.flush(DEADLINE)

    assert values(gateway, "g") == [0, 1, 2, 3, 4]


async def test_the_oldest_is_dropped_and_counted_where_there_is_no_room() -> None:
    """What waits is bounded."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    hold = Hold()
    with Gateway(Answer(204, hold=hold), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), queue_bytes=2000) as writer:
            for value in range(100):
                gauge.set({}, value)
                await writer.write(registry)
                await asyncio.sleep(0)
            await gateway.arrived(1)
            assert writer._outbox.queue.size <= 2000
            hold.let_go()
            assert await writer.flush(DEADLINE)
    found = values(gateway, "g")

    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == 99
    assert len(found) < 60
    assert samples(registry)["dropped"] >= 100 - len(found)


async def test_what_cannot_be_sent_at_the_end_is_said_to_be_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the timeout of the shutdown."""
    url = f"http://127.0.0.1:{free_port()}/api/v1/write"
    async with RemoteWriter(url, flush_timeout=0.05) as writer:
        await writer.write(levels(1))

    assert f"1 messages for {url} are lost" in caplog.text


async def test_a_spool_keeps_the_queue_for_the_next_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said to be lost, and nothing is."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    away = f"http://127.0.0.1:{free_port()}/api/v1/write"
    async with RemoteWriter(away, spool=tmp_path / "spool", flush_timeout=0.05) as writer:
        for value in (1, 2):
            gauge.set({}, value)
            await writer.write(registry)
    assert "lost" not in caplog.text
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), spool=tmp_path / "spool") as writer:
            gauge.set({}, 3)
            await writer.write(registry)

    assert values(gateway, "g") == [1, 2, 3]


async def test_a_spool_that_fails_costs_one_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted as lost, and raised by a single write."""
    registry = levels(1)
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), spool=tmp_path / "spool") as writer:
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", _raise)
                with pytest.raises(SpoolError):
                    await writer.write(registry)
            await writer.write(registry)

    assert values(gateway, "a") == [1]
    assert samples(registry)["lost"] == 1


def _raise(*_: Any) -> None:
    raise OSError(28, "No space left on device")


# --- again and again -------------------------------------------------------------------------


async def test_run_writes_at_once_and_every_interval_and_on_exit() -> None:
    """Then all series are marked as ended."""
    registry = CollectorRegistry()
    counter = Counter("c_total", "Counts.", registry=registry)
    counter.inc()
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)).running(registry, 0.05):
            await gateway.arrived(3)
            counter.add({}, 41)

    assert values(gateway, "c_total")[0] == 1
    assert values(gateway, "c_total")[-1] == 42
    assert all(point.is_stale for point in points_of(gateway.last))


async def test_no_failure_ends_run(caplog: pytest.LogCaptureFixture) -> None:
    """A line is logged when it begins to fail, and one when it works again."""
    caplog.set_level(logging.INFO, "otel_aioprom")
    registry = levels(7)
    answers = [Answer(500), Answer(cut="response"), Answer(503, headers={"Retry-After": "0"})]
    with Gateway(*answers, default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)).running(registry, LONG):
            await until(lambda: samples(registry).get("sent", 0) >= 1)

    found = [each.levelname for each in caplog.records if each.name.startswith("otel_aioprom")]
    assert found == ["WARNING", "INFO"]
    assert "work again, after 3 that failed" in caplog.text


async def test_a_wrong_option_of_running_raises_before_the_block() -> None:
    """As for a pusher."""
    with pytest.raises(ValueError, match="interval must be"):
        async with RemoteWriter("http://h/").running(levels(1), 0):
            pytest.fail("the block runs")


async def test_sigterm_writes_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """And marks all series as ended, before the process goes."""
    ended = []
    monkeypatch.setattr(
        "otel_aioprom._concurrency.sigterm.os.kill", lambda *args: ended.append(args)
    )
    monkeypatch.setattr("otel_aioprom._concurrency.sigterm.os._exit", lambda status: None)
    registry = levels(1)
    with Gateway(default=TAKEN_1) as gateway:
        task = asyncio.create_task(RemoteWriter(url_of(gateway)).run(registry, LONG))
        await gateway.arrived(1)
        registry.get("a").set({}, 2)  # type: ignore[attr-defined]
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(task, DEADLINE)

    assert values(gateway, "a") == [1, 2]
    assert all(point.is_stale for point in points_of(gateway.last))
    assert len(ended) == 1


# --- versions --------------------------------------------------------------------------------


async def test_version_2_is_sent_to_servers_that_support_it() -> None:
    """The version is negotiated first, with an empty message."""
    with Gateway(default=TAKEN_2) as gateway:
        async with RemoteWriter(url_of(gateway), version="2.0") as writer:
            await writer.write(levels(1))

    assert [version_of(push) for push in gateway.requests] == ["2.0", "2.0"]
    assert points_of(gateway.requests[0]) == []
    assert value_of(gateway.last, "a") == 1


async def test_a_server_that_forgets_version_2_gets_version_1(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was in flight is lost, and counted; the next collection arrives."""
    registry = levels(1)
    with Gateway(TAKEN_2, TAKEN_2, Answer(415), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway), version="2.0") as writer:
            for _ in range(3):
                await writer.write(registry)
                await writer.flush(DEADLINE)

    assert [version_of(push) for push in gateway.requests][:4] == ["2.0", "2.0", "2.0", "1.0"]
    assert "no longer supports remote write 2.0" in caplog.text
    assert samples(registry)["refused"] >= 1
