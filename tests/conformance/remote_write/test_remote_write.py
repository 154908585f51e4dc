"""Requests of remote write and what servers answer (E93 to E107), on real sockets."""

from __future__ import annotations

import asyncio
import math
import time
from email.utils import formatdate
from typing import Any

import cramjam
import pytest

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE
from otel_aioprom.collectors import Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.remote_write.sending.protocol import compress
from otel_aioprom.remote_write.writer import RemoteWriter
from otel_aioprom.renderer import render
from pushed import levels
from receiver import TAKEN_1, TAKEN_2, points_of, url_of, values, version_of

VERSION = "X-Prometheus-Remote-Write-Version"


async def written(gateway: Gateway, *registries: CollectorRegistry, **options: Any) -> None:
    """Write collections, one after the other, and wait until nothing waits."""
    async with RemoteWriter(url_of(gateway), **options) as writer:
        for registry in registries:
            await writer.write(registry)
            assert await writer.flush(DEADLINE)


@pytest.mark.parametrize(
    ("version", "content_type", "header"),
    [
        ("1.0", "application/x-protobuf", "0.1.0"),
        ("2.0", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    ],
)
async def test_e94_a_request(version: str, content_type: str, header: str) -> None:
    """A POST with exactly these headers; no blank behind the semicolon."""
    with Gateway(default=TAKEN_2 if version == "2.0" else TAKEN_1) as gateway:
        await written(gateway, levels(1), version=version, headers={"X-Scope-OrgID": "7"})
    for push in gateway.requests:
        assert (push.method, push.path) == ("POST", "/api/v1/write")
        assert push.headers["Content-Type"] == content_type
        assert push.headers["Content-Encoding"] == "snappy"
        assert push.headers[VERSION] == header
        assert push.headers["User-Agent"].startswith("otel-aioprom/")
        assert push.headers["X-Scope-OrgID"] == "7"
        assert "Retry-Attempt" not in push.headers


@pytest.mark.parametrize(
    "name", ["Content-Type", "content-encoding", "x-prometheus-remote-write-version", "User-Agent"]
)
def test_e94_users_cannot_replace_these_headers(name: str) -> None:
    """They would break what is sent."""
    with pytest.raises(ValueError, match=name):
        RemoteWriter("http://h/", headers={name: "x"})


async def test_e94_attempts_are_numbered() -> None:
    """From the second one on."""
    with Gateway(Answer(500), Answer(503), default=TAKEN_1) as gateway:
        await written(gateway, levels(1))

    assert [each.headers.get("Retry-Attempt") for each in gateway.requests] == [None, "1", "2"]


@pytest.mark.parametrize("plain", [b"", b"a 1\n", b"x" * 61, bytes(range(256)) * 1000])
def test_e95_messages_are_snappy_blocks(plain: bytes) -> None:
    """The length comes first, and a third-party library can decompress it."""
    packed = compress(plain)
    length, shift, place = 0, 0, 0
    while True:
        length |= (packed[place] & 127) << shift
        shift, place = shift + 7, place + 1
        if packed[place - 1] < 128:
            break

    assert length == len(plain)
    assert bytes(cramjam.snappy.decompress_raw(packed)) == plain
    assert packed[:1] != b"\xff"  # what the framed format begins with


async def test_e100_one_request_at_a_time() -> None:
    """A later sample never overtakes an earlier one, however slow the server is."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    hold = Hold()
    with Gateway(Answer(204, hold=hold), default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            for value in (1, 2, 3):
                gauge.set({}, value)
                await writer.write(registry)
            await gateway.arrived(1)
            await asyncio.sleep(0.05)
            assert len(gateway.requests) == 1
            hold.let_go()
            assert await writer.flush(DEADLINE)

    assert values(gateway, "g") == [1, 2, 3]


async def test_e100_times_only_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the clock goes back, or stands still."""
    base = 1_800_000_000.0
    clock = iter([base, base - 1, base, base, base + 1])
    monkeypatch.setattr("otel_aioprom.remote_write.writer.time", lambda: next(clock, base + 2))
    with Gateway(default=TAKEN_1) as gateway:
        async with RemoteWriter(url_of(gateway)) as writer:
            for _ in range(3):
                await writer.write(levels(1))
    moments = [point.moment for push in gateway.requests for point in points_of(push)]

    assert moments[0] == base * 1000
    assert sorted(set(moments)) == list(dict.fromkeys(moments))


async def test_e101_of_version_2_the_server_says_what_it_has_stored() -> None:
    """The rest of a message that was refused in part is counted."""
    registry = levels(1, 2, 3)
    partly = Answer(400, "one is bad", {"X-Prometheus-Remote-Write-Samples-Written": "2"})
    with Gateway(TAKEN_2, partly, default=TAKEN_2) as gateway:
        await written(gateway, registry, version="2.0")
    text = render(registry)[0].decode()

    assert len(gateway.requests) == 2
    assert 'outcome="sent"} 2\n' in text
    assert 'outcome="refused"} 1\n' in text


async def test_e101_of_version_1_all_is_lost_or_nothing() -> None:
    """A server stores nothing of a message that it refuses, whatever numbers it tells."""
    registry = levels(1, 2, 3)
    refused = Answer(400, "one is bad", {"X-Prometheus-Remote-Write-Samples-Written": "2"})
    with Gateway(default=refused) as gateway:
        await written(gateway, registry)
    text = render(registry)[0].decode()

    assert 'outcome="refused"} 3\n' in text
    assert 'outcome="sent"}' not in text


@pytest.mark.parametrize("status", [400, 401, 404, 413])
async def test_e102_final_statuses_are_not_retried(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The body is logged; the next message is sent."""
    with Gateway(Answer(status, "out of order sample"), default=TAKEN_1) as gateway:
        await written(gateway, levels(1), levels(2))

    assert values(gateway, "a") == [1, 2]
    assert "out of order sample" in caplog.text


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_e102_transient_failures_are_retried(status: int) -> None:
    """The same message, until it has arrived."""
    with Gateway(Answer(status), Answer(status), default=TAKEN_1) as gateway:
        await written(gateway, levels(1))
    first, *others = [push.body for push in gateway.requests]

    assert [first] * 2 == others


async def test_e102_retry_after_in_seconds() -> None:
    """In seconds."""
    with Gateway(Answer(429, headers={"Retry-After": "1"}), default=TAKEN_1) as gateway:
        began = time.monotonic()
        await written(gateway, levels(1))

    assert time.monotonic() - began >= 1
    assert len(gateway.requests) == 2


async def test_e102_retry_after_as_a_date() -> None:
    """As HTTP writes it, to the second."""
    with Gateway(default=TAKEN_1) as gateway:
        moment = math.ceil(time.time()) + 1
        date = formatdate(moment, usegmt=True)
        gateway.script.append(Answer(429, headers={"Retry-After": date}))
        await written(gateway, levels(1))

    assert time.time() >= moment - 0.01
    assert len(gateway.requests) == 2


async def test_e102_a_message_that_causes_server_errors_is_dropped() -> None:
    """After so many tries: it may be what is wrong. The next one is sent."""
    registry = levels(1)
    answers = [Answer(500), Answer(cut="response"), Answer(500)]
    with Gateway(*answers, default=TAKEN_1) as gateway:
        await written(gateway, registry, levels(2), attempts=3)

    assert values(gateway, "a") == [1, 1, 1, 2]
    assert 'outcome="refused"} 1\n' in render(registry)[0].decode()


@pytest.mark.parametrize("status", [415, 400])
async def test_e102_version_1_for_servers_without_version_2(status: int) -> None:
    """And it stays so."""
    with Gateway(Answer(status), default=TAKEN_1) as gateway:
        await written(gateway, levels(1), levels(2), version="2.0")

    assert [version_of(push) for push in gateway.requests] == ["2.0", "1.0", "1.0"]
    assert values(gateway, "a") == [1, 2]


async def test_e103_a_refusal_that_has_stored_nothing_twice() -> None:
    """The version is negotiated without samples, so that a server that stores them despite a 415 finds none."""
    with Gateway(Answer(415), default=TAKEN_1) as gateway:
        await written(gateway, levels(1), version="2.0")
    question, *others = gateway.requests

    assert points_of(question) == []
    assert [(version_of(push), len(points_of(push))) for push in others] == [("1.0", 1)]


@pytest.mark.parametrize(("version", "taken"), [("1.0", TAKEN_1), ("2.0", TAKEN_2)])
async def test_e105_run_ends_all_series_on_exit(version: str, taken: Answer) -> None:
    """By the NaN of its own, behind the last values, with a later time."""
    registry = levels(1, math.nan)
    options: dict[str, Any] = {"version": version}
    with Gateway(default=taken) as gateway:
        async with RemoteWriter(url_of(gateway), **options).running(registry, 3600):
            await gateway.arrived(1 if version == "1.0" else 2)
    every = [points for push in gateway.requests if (points := points_of(push))]
    before = {point.labels: point for points in every[:-1] for point in points}

    assert not any(point.is_stale for point in before.values())
    assert {point.labels for point in every[-1]} == set(before)
    assert all(point.is_stale for point in every[-1])
    assert all(point.moment > before[point.labels].moment for point in every[-1])


async def test_e107_success_without_numbers_is_no_success() -> None:
    """Old servers answer so to what they do not understand; nothing is lost by it."""
    with Gateway(default=TAKEN_1) as gateway:
        await written(gateway, levels(1), levels(2), version="2.0")

    assert [version_of(push) for push in gateway.requests] == ["2.0", "1.0", "1.0"]
    assert values(gateway, "a") == [1, 2]


async def test_e107_a_closed_connection_is_not_retried_forever() -> None:
    """It may be this message that makes the server panic."""
    with Gateway(*[Answer(cut="answer")] * 2, default=TAKEN_1) as gateway:
        await written(gateway, levels(1), levels(2), attempts=2)

    assert values(gateway, "a") == [1, 1, 2]


async def test_e93_victoria_metrics_takes_labels_in_the_query() -> None:
    """The address is used as it is."""
    with Gateway(default=TAKEN_1) as gateway:
        url = f"{gateway.url}/api/v1/push?extra_label=a=b%2Fc"
        async with RemoteWriter(url) as writer:
            await writer.write(levels(1))

    assert gateway.last.path.startswith("/api/v1/push?extra_label=a=b")


async def test_e108_each_request_says_what_it_is() -> None:
    """Some servers take requests that do not, as 1.0; tries and questions say it too."""
    with Gateway(Answer(503), TAKEN_2, Answer(500), default=TAKEN_2) as gateway:
        await written(gateway, levels(1), levels(2), version="2.0")
    needed = ("Content-Type", "Content-Encoding", VERSION, "User-Agent", "Content-Length")

    assert len(gateway.requests) >= 5
    assert all(push.headers.get(name) for push in gateway.requests for name in needed)
