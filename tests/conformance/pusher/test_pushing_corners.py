"""Pushing to a gateway (E81 to E91, N18): what is odd, what is strict, what goes wrong."""

from __future__ import annotations

import asyncio
import gzip
import math
import re
from typing import Any

import pytest

from client_model import read_delimited
from gateway import Answer, Gateway, extra_labels, group_of
from oracles import DEADLINE, FakeSource, family, number
from otel_aioprom.collectors import Counter, Enum, Gauge, Histogram, Info, StateSet, Summary
from otel_aioprom.errors import InvalidLabelsError, PushError
from otel_aioprom.pusher import Pusher
from otel_aioprom.registry import CollectorRegistry
from pushed import PUSHES, QUICK, levels

_SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-z][a-zA-Z0-9_]*="([^"\\\n]|\\.)*",?)+\})? [-+.eE0-9A-Za-z]+'
)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/job/j/x", "odd number of components"),
        ("/job/j/x/1/", "odd number of components"),
        ("/job/", "redirected|job name is required"),
        ("/job//x/y", "redirected"),
        ("/job/j/n/..", "redirected"),
        ("/job/j/n/%2e%2e", "redirected"),
        ("/job/j/n/.", "redirected"),
        ("/job@base64/=", "job name is required"),
        ("/job/a%2Fb", "odd number of components"),
    ],
)
def test_e82_what_a_gateway_refuses(path: str, error: str) -> None:
    """The judge of these tests refuses it too."""
    with pytest.raises(ValueError, match=error):
        group_of(f"/metrics{path}")


@pytest.mark.parametrize("name", ["le", "quantile", "instance", "_x", "U__a_2e_b"])
def test_e82_other_label_names_are_accepted(name: str) -> None:
    """As a gateway takes them."""
    path = Pusher("j", "http://h", grouping_key={name: "1"}).url.removeprefix("http://h")

    assert group_of(path) == {"job": "j", name: "1"}


@pytest.mark.parametrize("name", ["", "1x", "x\n", "é", "x/y", "x@base64", "__x", "job"])
def test_e82_no_label_name_becomes_another_part_of_the_path(name: str) -> None:
    """It is refused when the pusher is made."""
    with pytest.raises(InvalidLabelsError):
        Pusher("j", "http://h", grouping_key={name: "1"})


def every_kind() -> CollectorRegistry:
    """A registry with each kind of collector, and types that the text format does not have."""
    registry = CollectorRegistry()
    Counter("c_total", "C.", registry=registry).inc({"x": "1"}, exemplar={"trace_id": "x"})
    Gauge("g", "G.", registry=registry).set({}, -math.inf)
    Histogram("h", "H.", buckets=[1.0], registry=registry).observe({}, 3)
    Summary("s", "S.", registry=registry).observe({}, 3)
    Info("build", "B.", registry=registry).set({}, {"version": "1"})
    StateSet("switch", "S.", states=["on", "off"], registry=registry).set({}, "on", True)
    Enum("phase", "P.", states=["new", "old"], registry=registry).set({}, "new")
    for kind in ("counter", "unknown", "untyped", "info", "stateset", "gaugehistogram"):
        registry.add_source(FakeSource(family(f"of_{kind}", kind=kind), name=kind))
    return registry


async def test_e84_text_is_valid_for_a_strict_parser() -> None:
    """Only types of the text format, each before its samples, which are contiguous; and no EOF marker."""
    with Gateway() as gateway:
        await Pusher("j", gateway.url).add(every_kind())
    assert gateway.last.body.endswith(b"\n")
    types: dict[str, str] = {}
    described: list[tuple[str, str]] = []
    for line in gateway.last.text.splitlines():
        if line.startswith("# "):
            _, what, current, text = line.split(" ", 3)
            described.append((what, current))
            if what == "TYPE":
                types[current] = text
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample is not None, line
        suffixes = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
        assert sample["name"] in {
            f"{current}{each}" for each in suffixes.get(types[current], ("",))
        }

    assert len(described) == len(set(described))
    assert {what for what, _ in described} <= {"TYPE", "HELP"}
    assert set(types.values()) <= {"counter", "gauge", "histogram", "summary", "untyped"}
    assert 'h_bucket{le="+Inf"} 1' in gateway.last.text.splitlines()


@pytest.mark.parametrize("format", ["text", "protobuf"])
async def test_e85_there_is_nothing_to_refuse(format: Any) -> None:  # noqa: A002 - as the pusher's
    """No timestamp, and no series twice, though sources may give one twice."""
    registry = every_kind()
    for name in ("one", "two"):
        registry.add_source(FakeSource(family("twice", number(1), number(2)), name=name))
    with Gateway() as gateway:
        await Pusher("j", gateway.url, format=format).add(registry)
    if format == "text":
        samples = [line for line in gateway.last.text.splitlines() if line[0] != "#"]
        series = [line.rpartition(" ")[0] for line in samples]
        assert not [line for line in samples if _SAMPLE.fullmatch(line) is None]
    else:
        families = read_delimited(gateway.last.body)
        assert not [each for one in families for each in one.metric if each.timestamp_ms]
        assert len({each.name for each in families}) == len(families)
        series = [f"{one.name} {each.label}" for one in families for each in one.metric]

    assert len(series) == len(set(series))


@pytest.mark.parametrize("call", ["add", "replace"])
async def test_e85_a_refused_push_is_not_counted_as_arrived(call: str) -> None:
    """The gateway still has what was there before."""
    registry = levels(1)
    with Gateway(default=Answer(400, "not a COUNTER")) as gateway:
        pusher = Pusher("j", gateway.url, max_batch_bytes=1)
        assert (await getattr(pusher, call)(registry)).status == 400
        count = len(gateway.requests)
        await getattr(pusher, call)(registry)
    names = {line.partition("{")[0] for line in gateway.requests[count].text.splitlines()}
    names |= {line.partition("{")[0] for line in gateway.last.text.splitlines()}

    assert "otel_aioprom_push_last_success_timestamp_seconds" not in names


async def test_e86_the_bytes_are_gzip() -> None:
    """Also those of an empty body, and the length is that of what is sent."""
    with Gateway() as gateway:
        for registry in (levels(1), CollectorRegistry()):
            await Pusher("j", gateway.url, compression="gzip", format="text").replace(registry)
            expected = len(gzip.compress(gateway.last.body))
            assert abs(int(gateway.last.headers["Content-Length"]) - expected) < 20
            assert gateway.last.headers["Content-Encoding"] == "gzip"
    full, empty = gateway.requests

    assert (full.value("a"), empty.body) == (1, b"")


@pytest.mark.parametrize("compression", ["GZIP", "snappy", "zstd", "br", "deflate", ""])
def test_e86_other_codings_are_refused(compression: Any) -> None:
    """One gateway or the other would parse them as text."""
    with pytest.raises(ValueError, match="compression must be"):
        Pusher("j", "http://h", compression=compression)


async def test_e87_the_gateway_s_own_names_are_left_to_it() -> None:
    """What a registry says of its pushes has other names: a gateway replaces these silently."""
    registry = levels(1)
    with Gateway(Answer(503)) as gateway:
        pusher = Pusher("j", gateway.url)
        for _ in range(3):
            await pusher.replace(registry)

    assert "otel_aioprom_push_last_success_timestamp_seconds" in gateway.last.text
    for name in ("push_time_seconds", "push_failure_time_seconds"):
        assert re.search(rf"^{name}\b", gateway.last.text, re.MULTILINE) is None


@pytest.mark.parametrize("cut", ["request", "answer", "response"])
@pytest.mark.parametrize("call", ["add", "replace", "delete"])
async def test_e90_each_attempt_sends_the_same(call: str, cut: Any) -> None:
    """Whatever has become of the one before, and at once: a body that was begun is not sent to its end as nothing."""
    with Gateway(Answer(), Answer(cut=cut)) as gateway:
        async with Pusher("j", gateway.url, retry=QUICK) as pusher:
            await getattr(pusher, call)(registry := levels(1))
            whole = await asyncio.wait_for(getattr(pusher, call)(registry), DEADLINE / 2)
    last = gateway.requests[1:]

    assert whole.status == 200
    assert {(each.method, each.path) for each in last} == {
        (gateway.requests[0].method, "/metrics/job/j")
    }
    assert len({each.body for each in (last if cut != "request" else last[1:])}) == 1
    assert last[-1].value("a") == (None if call == "delete" else 1)
    assert len(last) == 2


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500])
@pytest.mark.parametrize("call", ["add", "replace", "delete"])
async def test_e90_a_refusal_does_not_pass_unnoticed(call: str, status: int) -> None:
    """It can be read, or is raised."""
    with Gateway(default=Answer(status, "why", {"Location": "/metrics/job/other"})) as gateway:
        response = await getattr(Pusher("j", gateway.url), call)(levels(1))
        assert (response.status, await response.text()) == (status, "why")
        strict = Pusher("j", gateway.url, raise_for_status=True)
        with pytest.raises(PushError, match="why") as raised:
            await getattr(strict, call)(levels(1))

    assert raised.value.status == status
    assert len(gateway.requests) == 2


@pytest.mark.parametrize(
    "value", ["", "a=b", "a&b", "a b", "a+b", "Π", "%41", "#", "a;b", "line\nfeed"]
)
async def test_e91_any_label_arrives_in_the_query(value: str) -> None:
    """As it is; and what the path has already stays in front."""
    path = "/api/v1/import/prometheus?extra_label=zone=z"
    with Gateway(Answer(204)) as gateway:
        pusher = Pusher("j", gateway.url, grouping_key={"n": value}, path=path)
        assert (await pusher.add(levels(1))).status == 204

    assert extra_labels(gateway.last.path) == {"zone": "z", "job": "j", "n": value}


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_e91_every_success_is_one(status: int) -> None:
    """For the counters and for ``raise_for_status``."""
    registry = levels(1)
    with Gateway(default=Answer(status)) as gateway:
        pusher = Pusher("j", gateway.url, raise_for_status=True)
        for call in (pusher.add, pusher.replace, pusher.delete, pusher.add):
            assert (await call(registry)).status == status
    destination = f'destination="{gateway.url}"'

    assert gateway.last.value(f'{PUSHES}{{code="{status}",{destination}}}') == 3
    last = f"otel_aioprom_push_last_success_timestamp_seconds{{{destination}}}"
    assert gateway.last.value(last) is not None


async def test_n18_a_body_can_be_read_later() -> None:
    """In each way, more than once, and when the pusher has been closed."""
    with Gateway(default=Answer(400, '{"a": 1}', {"Content-Type": "application/json"})) as gateway:
        async with Pusher("j", gateway.url) as pusher:
            response = await pusher.add(levels(1))

    assert await response.read() == b'{"a": 1}'
    assert await response.text() == '{"a": 1}'
    assert await response.json() == {"a": 1}


async def test_n18_a_loop_is_accepted_and_not_used() -> None:
    """With a warning, by position and by name."""
    other = asyncio.new_event_loop()
    other.close()
    with Gateway() as gateway:
        with pytest.warns(DeprecationWarning, match="running event loop"):
            pusher = Pusher("j", gateway.url, other)
        with pytest.warns(DeprecationWarning, match="running event loop"):
            Pusher("j", gateway.url, loop=other)
        assert (await pusher.add(levels(1))).status == 200


async def test_n18_a_subclass_may_have_another_path() -> None:
    """As it could before."""

    class Ours(Pusher):
        PATH = "/prefix/metrics/job/{0}"

    assert (
        Ours("j", "http://h/", grouping_key={"a": "1"}).url == "http://h/prefix/metrics/job/j/a/1"
    )
