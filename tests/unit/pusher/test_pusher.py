"""Pushing a registry: options, single pushes, and what the pusher tells of them."""

from __future__ import annotations

import asyncio
import gc
import gzip
import math
import time
import warnings
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest

from certificates import client_context, make_pair, server_context
from client_model import read_delimited
from gateway import Answer, Gateway, Hold
from oracles import FakeSource, HeldSource, family, until
from otel_aioprom._transport.credentials import BasicAuth
from otel_aioprom.collectors import Gauge, Histogram
from otel_aioprom.errors import InvalidLabelsError, PushError
from otel_aioprom.pusher.pusher import Pusher, join_url
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from pushed import LONG, PUSHES, QUICK, families_in, levels, own

# --- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "zstd"}, "compression must be 'gzip' or None, not 'zstd'"),
        ({"compression": ""}, "compression must be 'gzip' or None"),
        ({"format": "openmetrics"}, "format must be 'text' or 'protobuf', not 'openmetrics'"),
        ({"max_batch_bytes": 0}, "max_batch_bytes must be 1 or more, not 0"),
        ({"gather_timeout": 0}, "gather_timeout must be above 0 s"),
        ({"gather_timeout": math.nan}, "gather_timeout must be above 0 s"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"headers": {"Host": "x"}}, "the header 'Host'"),
    ],
)
def test_values_that_make_no_sense_are_refused(options: Any, message: str) -> None:
    """The error says what the option may be."""
    with pytest.raises(ValueError, match=message):
        Pusher("j", "http://h", **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"grouping_key": {"a-b": "1"}}, InvalidLabelsError),
        ({"grouping_key": {"job": "1"}}, InvalidLabelsError),
        ({"grouping_key": {"a": 1}}, TypeError),
        ({"gather_timeout": "5"}, TypeError),
        ({"timeout": "5"}, TypeError),
        ({"max_batch_bytes": "5"}, TypeError),
        ({"verify": False}, TypeError),
    ],
)
def test_options_of_a_wrong_kind_are_refused(options: Any, error: type[Exception]) -> None:
    """When the pusher is made, and not when it pushes."""
    with pytest.raises(error):
        Pusher("j", "http://h", **options)


@pytest.mark.parametrize(
    "addr",
    ["", "h", "h:9091", "localhost:9091", "/x", "ftp://h", "http://", "http:///x", "http://h?x=1", "http://h#x", "unix:///x"],
)  # fmt: skip
def test_an_address_is_one_of_a_server(addr: str) -> None:
    """The error contains the value and an example."""
    with pytest.raises(ValueError, match="addr must be a URL such as 'http://localhost:9091'"):
        Pusher("j", addr)


@pytest.mark.parametrize("addr", ["http://u:hidden@h?x=1", "ftp://u:hidden@h", "htp://u:hidden@h/"])
def test_errors_contain_the_url_without_credentials(addr: str) -> None:
    """Errors end up in logs."""
    with pytest.raises(ValueError, match="addr") as caught:
        Pusher("j", addr)

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("addr", "url"),
    [
        ("http://h", "http://h/metrics/job/j"),
        ("http://h/", "http://h/metrics/job/j"),
        ("https://h:9091", "https://h:9091/metrics/job/j"),
        ("http://h/base//", "http://h/base/metrics/job/j"),
        ("http://[::1]:9091", "http://[::1]:9091/metrics/job/j"),
        ("http://u:p@h/", "http://h/metrics/job/j"),
    ],
)
def test_a_path_in_the_address_stands_in_front(addr: str, url: str) -> None:
    """Credentials are not in the error."""
    assert Pusher("j", addr).url == url


def test_a_path_is_joined_as_it_stands() -> None:
    """It is encoded already."""
    assert str(join_url("http://h/a%2Fb/", "/x%2Fy/%2E?a=%20")) == "http://h/a%2Fb/x%2Fy/%2E?a=%20"


@pytest.mark.parametrize("addr", ["http://h", "http://h:1"])
def test_a_path_begins_with_a_slash(addr: str) -> None:
    """Else it would become a part of the server's name or port."""
    with pytest.raises(ValueError, match="path"):
        Pusher("j", addr, path="metrics/job/{0}")


def test_credentials_in_the_address_and_others_are_too_many() -> None:
    """Nobody could tell which ones count."""
    with pytest.raises(ValueError, match="the URL contains credentials"):
        Pusher("j", "http://u:p@h", auth=BasicAuth("u", "p"))


def test_n18_a_mapping_in_the_third_place_is_the_grouping_key() -> None:
    """As in aioprometheus 23; otherwise all instances would overwrite one group. Nothing is warned about."""
    key = MappingProxyType({"instance": "a/b"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pushers = [Pusher("j", "http://h", key), Pusher("j", "http://h", loop=key)]

    assert [each.url for each in pushers] == ["http://h/metrics/job/j/instance@base64/YS9i"] * 2
    assert Pusher("j", "http://h", {}).url == "http://h/metrics/job/j"


def test_n18_what_is_neither_a_loop_nor_a_grouping_key_is_rejected() -> None:
    """It would be lost without a word; so would one of two grouping keys."""
    with pytest.raises(TypeError, match="the third argument must be a grouping key, not 'a=b'"):
        Pusher("j", "http://h", "a=b")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="two grouping keys"):
        Pusher("j", "http://h", {"a": "b"}, grouping_key={"a": "c"})
    with pytest.raises(InvalidLabelsError, match="letters, digits"):
        Pusher("j", "http://h", {"a-b": "c"})


async def test_a_loop_is_accepted_and_warned_about() -> None:
    """The warning points to the caller."""
    with pytest.warns(DeprecationWarning, match="remove the argument loop") as caught:
        Pusher("j", "http://h", asyncio.get_running_loop())

    assert caught[0].filename == __file__


def test_a_pusher_does_not_show_its_secret() -> None:
    """Whichever way it is given."""
    for pusher in (
        Pusher("j", "http://u:hidden@h"),
        Pusher("j", "http://h", auth=BasicAuth("u", "hidden")),
        Pusher("j", "http://h", headers={"Authorization": "hidden"}),
    ):
        assert "hidden" not in f"{pusher!r} {pusher} {pusher.url}"


# --- single pushes ---------------------------------------------------------------------------


async def test_a_push_says_what_a_scrape_would() -> None:
    """Sources are collected too."""
    registry = levels(1.5)
    registry.add_source(FakeSource(family("of_a_source")))
    body = render(registry)[0]
    with Gateway() as gateway:
        response = await Pusher("j", gateway.url).replace(registry)

    assert response.status == 200
    assert gateway.last.body == body
    assert gateway.last.value("of_a_source") == 1.0


@pytest.mark.parametrize(("call", "method"), [("add", "POST"), ("replace", "PUT"), ("delete", "DELETE")])  # fmt: skip
async def test_each_call_has_its_method(call: str, method: str) -> None:
    """With one attempt, unless the pusher or the call has a retry policy."""
    with Gateway(default=Answer(503)) as gateway:
        await getattr(Pusher("j", gateway.url), call)(levels(1))
        assert gateway.methods == [method]
        await getattr(Pusher("j", gateway.url, retry=QUICK), call)(levels(1))
        assert gateway.methods == [method] * 5
        await getattr(Pusher("j", gateway.url), call)(levels(1), retry=QUICK)

    assert gateway.methods == [method] * 9


async def test_a_group_can_be_deleted_without_a_registry() -> None:
    """One that is given counts the request, and nothing of it is sent."""
    registry = levels(1)
    with Gateway(default=Answer(202)) as gateway:
        pusher = Pusher("j", gateway.url)
        first = await pusher.delete()
        second = await pusher.delete(registry)

    assert (first.status, second.status) == (202, 202)
    assert [each.body for each in gateway.requests] == [b"", b""]
    assert own(registry)[PUSHES + '{code="202"}'] == 1


async def test_an_empty_registry_is_pushed_too() -> None:
    """PUT empties the group by that (E81)."""
    with Gateway() as gateway:
        for options in ({}, {"max_batch_bytes": 10}, {"format": "protobuf"}):
            response = await Pusher("j", gateway.url, **options).replace(CollectorRegistry())  # type: ignore[arg-type]
            assert response.status == 200

    assert [(each.method, each.body) for each in gateway.requests] == [("PUT", b"")] * 3
    assert all(each.headers.get("Content-Length") == "0" for each in gateway.requests)


async def test_an_empty_registry_may_be_compressed() -> None:
    """The body is a stream that holds nothing."""
    with Gateway() as gateway:
        await Pusher("j", gateway.url, compression="gzip").replace(CollectorRegistry())

    assert gateway.last.body == b""
    assert gateway.last.headers["Content-Encoding"] == "gzip"


async def test_bodies_may_be_compressed() -> None:
    """Content-Length is that of the compressed body."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "Level.", registry=registry)
    for place in range(10_000):
        gauge.set({"place": str(place)}, place)
    body = render(registry)[0]
    with Gateway() as gateway:
        await Pusher("j", gateway.url, compression="gzip").replace(registry)
        plain = await Pusher("j", gateway.url).replace(CollectorRegistry())

    assert plain.status == 200
    assert gateway.requests[0].body == body
    assert gateway.requests[0].headers["Content-Encoding"] == "gzip"
    assert int(gateway.requests[0].headers["Content-Length"]) < len(body) / 3
    assert "Content-Encoding" not in gateway.last.headers
    sent = own(registry)["otel_aioprom_push_bytes_total"]
    assert sent == int(gateway.requests[0].headers["Content-Length"])
    assert len(gzip.compress(body, 9)) <= sent


async def test_bodies_may_be_protobuf() -> None:
    """Which carries native histograms."""
    registry = levels(1)
    Histogram("h", "Sizes.", registry=registry, native_bucket_factor=1.1).observe({}, 3)
    with Gateway() as gateway:
        await Pusher("j", gateway.url, format="protobuf").replace(registry)
    found = {each.name: each for each in read_delimited(gateway.last.body)}

    assert gateway.last.headers["Content-Type"].startswith("application/vnd.google.protobuf; ")
    assert found["a"].metric[0].gauge.value == 1
    assert found["h"].metric[0].histogram.positive_span


async def test_what_a_format_cannot_carry_is_counted() -> None:
    """As for a scrape."""
    registry = CollectorRegistry()
    odd = replace(family("a.b", kind="untyped"), utf8=True)
    registry.add_source(FakeSource(odd, family("a_b"), family("fine")))
    with Gateway() as gateway:
        await Pusher("j", gateway.url).replace(registry)

    assert "fine" in families_in(gateway.last)
    assert b"otel_aioprom_dropped_total" in render(registry)[0]


async def test_a_source_that_is_late_is_skipped() -> None:
    """The rest is pushed in time."""
    registry = levels(1)
    held = HeldSource(family("late"))
    registry.add_source(held)
    with Gateway() as gateway:
        await Pusher("j", gateway.url, gather_timeout=0.05).replace(registry)
    held.go.release()

    assert families_in(gateway.last) == {"a"}


async def test_inside_a_block_one_connection_serves_all() -> None:
    """It is closed at its end; the next push opens another one, and a second block is possible."""
    registry = levels(1)
    with Gateway() as gateway:
        pusher = Pusher("j", gateway.url)
        async with pusher as same:
            assert same is pusher
            for _ in range(3):
                response = await pusher.replace(registry)
        await pusher.close()
        await pusher.add(registry)
        async with pusher:
            await pusher.add(registry)
            await pusher.delete()

    assert await response.text() == ""
    assert [each.connection for each in gateway.requests] == [0, 0, 0, 1, 2, 2]


def answered(registry: CollectorRegistry) -> float:
    """How many pushes of a registry were answered."""
    return sum(count for _, count in registry.pushes.requests.get_all())


async def test_an_external_session_serves_all_and_stays_open() -> None:
    """Inside of blocks and outside, and while it pushes again and again."""
    registry = levels(1)
    with Gateway() as gateway:
        async with aiohttp.ClientSession() as session:
            pusher = Pusher("j", gateway.url, session=session)
            async with pusher:
                await pusher.add(registry)
            async with pusher.running(registry, LONG):
                # Answered, not only arrived: a request that is cut off by the end of the block takes its connection along.
                await until(lambda: answered(registry) >= 2)
            assert not session.closed
            assert (await pusher.add(registry)).status == 200

    assert {each.connection for each in gateway.requests} == {0}


async def test_pushes_over_tls_with_a_password(tmp_path: Any) -> None:
    """With the certificate that is trusted, and a secret that is known."""
    pair = make_pair(tmp_path, "gateway")
    with Gateway(ssl=server_context(pair), user="u:p") as gateway:
        pusher = Pusher("j", gateway.url, ssl=client_context(pair), auth=BasicAuth("u", "p"))
        response = await pusher.replace(levels(1))
        other = Pusher("j", gateway.url, ssl=client_context(pair))
        refused = await other.replace(levels(1))

    assert gateway.url.startswith("https:")
    assert (response.status, refused.status) == (200, 401)
    assert await refused.text() == "Unauthorized"


async def test_raise_for_status() -> None:
    """By every call; it is counted by its status all the same."""
    registry = levels(1)
    with Gateway(default=Answer(400, "why")) as gateway:
        pusher = Pusher("j", gateway.url, raise_for_status=True)
        for call in (pusher.add, pusher.replace, pusher.delete):
            with pytest.raises(PushError, match="status 400: why"):
                await call(registry)

    assert own(registry)[PUSHES + '{code="400"}'] == 3


async def test_whoever_cancels_a_push_stops_it() -> None:
    """Nothing else is sent, and nothing is left open."""
    with Gateway(Answer(hold=Hold())) as gateway:
        pusher = Pusher("j", gateway.url, retry=QUICK, max_batch_bytes=1)
        pushing = asyncio.ensure_future(pusher.replace(levels(1, 2, 3)))
        await gateway.arrived(1)
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        gc.collect()
        await asyncio.sleep(0)

        assert len(gateway.requests) == 1


# --- its own metrics -------------------------------------------------------------------------


async def test_pushes_are_counted_by_what_became_of_them() -> None:
    """With their time, their bytes, and the time of the last success."""
    registry = levels(1)
    script = (Answer(), Answer(400), Answer(cut="answer"), Answer(500), Answer(202))
    with Gateway(*script) as gateway:
        pusher = Pusher("j", gateway.url.replace("//", "//u:p@") + "/base")
        before = time.time()
        await pusher.replace(registry)
        after = time.time()
        await pusher.replace(registry)
        with pytest.raises(PushError):
            await pusher.replace(registry)
        found = own(registry)
        await pusher.replace(registry, retry=QUICK)
        destination = f'destination="{gateway.url}"'
    text = render(registry)[0].decode()

    assert found[PUSHES + '{code="200"}'] == found[PUSHES + '{code="400"}'] == 1
    assert found[PUSHES + '{code="error"}'] == 1
    assert found["otel_aioprom_push_duration_seconds_count"] == 3
    assert before <= found["otel_aioprom_push_last_success_timestamp_seconds"] <= after
    assert own(registry)[PUSHES + '{code="202"}'] == 1
    assert own(registry)["otel_aioprom_push_duration_seconds_count"] == 4
    assert own(registry)["otel_aioprom_push_last_success_timestamp_seconds"] >= after
    sizes = [len(each.body) for each in gateway.requests]
    assert own(registry)["otel_aioprom_push_bytes_total"] == sum(sizes) - sizes[3]
    assert all(destination in line for line in text.splitlines() if line.startswith(PUSHES))


async def test_there_are_no_self_metrics_before_the_first_push() -> None:
    """A registry that is never pushed has no such metrics."""
    assert own(levels(1)) == {}
