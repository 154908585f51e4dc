"""Pushing to a gateway (E81 to E91, N18), each rule by its own example."""

from __future__ import annotations

import gzip
import inspect
import math
from dataclasses import replace
from typing import Any

import pytest

from client_model import read_delimited
from gateway import Answer, Gateway, extra_labels, group_of
from oracles import FakeSource, family, number
from otel_aioprom.collectors import Counter, Gauge, Histogram
from otel_aioprom.errors import InvalidLabelsError, PushError
from otel_aioprom.pusher import Pusher
from otel_aioprom.registry import CollectorRegistry
from pushed import QUICK, levels


@pytest.mark.parametrize(
    ("call", "method"), [("add", "POST"), ("replace", "PUT"), ("delete", "DELETE")]
)
@pytest.mark.parametrize("status", [200, 202])
async def test_e81_methods(call: str, method: str, status: int) -> None:
    """Each call is one method on the group's path; 200 and 202 both mean that it has arrived."""
    with Gateway(Answer(status)) as gateway:
        pusher = Pusher("j", gateway.url, raise_for_status=True)
        response = await getattr(pusher, call)(levels(1))

    assert response.status == status
    assert (gateway.last.method, gateway.last.path) == (method, "/metrics/job/j")
    assert gateway.last.body == (
        b"" if method == "DELETE" else b"# HELP a Level a.\n# TYPE a gauge\na 1\n"
    )


@pytest.mark.parametrize("call", ["add", "replace"])
async def test_e81_an_empty_body_is_pushed(call: str) -> None:
    """PUT empties the group with it, POST moves its time."""
    with Gateway() as gateway:
        await getattr(Pusher("j", gateway.url), call)(CollectorRegistry())

    assert len(gateway.requests) == 1
    assert gateway.last.body == b""


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ({"instance": "i"}, "/job/j/instance/i"),
        ({"b": "2", "a": "1"}, "/job/j/a/1/b/2"),
        ({"n": "Π"}, "/job/j/n/%CE%A0"),
        ({"n": '"q"'}, "/job/j/n/%22q%22"),
        ({"n": "a\nb"}, "/job/j/n/a%0Ab"),
    ],
)
def test_e82_the_grouping_key_is_the_path(key: dict[str, str], path: str) -> None:
    """The job first, then the other labels by name."""
    pusher = Pusher("j", "http://h", grouping_key=key)

    assert pusher.url == f"http://h/metrics{path}"
    assert group_of(f"/metrics{path}") == {"job": "j", **key}


@pytest.mark.parametrize(
    "key", [{"bad-label": "1"}, {"bad.label": "1"}, {"__x": "1"}, {"__name__": "1"}, {"job": "k"}]
)
def test_e82_label_names_that_a_gateway_refuses_are_refused(key: dict[str, str]) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidLabelsError):
        Pusher("j", "http://h", grouping_key=key)


def test_e82_a_job_has_a_name() -> None:
    """Without one there is no group."""
    with pytest.raises(ValueError, match="job"):
        Pusher("", "http://h")


def test_e82_lone_surrogates_are_not_sent() -> None:
    """A gateway that gets it answers nobody any more."""
    with pytest.raises(ValueError, match=r"surrogate|UTF-8"):
        Pusher("j", "http://h", grouping_key={"n": "a\ud800"})


@pytest.mark.parametrize(
    ("value", "component"),
    [
        ("/data/in", "path@base64/L2RhdGEvaW4"),
        ("", "path@base64/="),
        (".", "path@base64/Lg"),
        ("..", "path@base64/Li4"),
        ("a b", "path/a%20b"),
        ("a+b", "path/a%2Bb"),
        ("Aa0-._~", "path/Aa0-._~"),
    ],
)
def test_e83_values_that_a_path_cannot_carry_are_base64(value: str, component: str) -> None:
    """All others are percent-encoded, a blank as %20."""
    pusher = Pusher("j", "http://h", grouping_key={"path": value})

    assert pusher.url.removeprefix("http://h/metrics/job/j/").rstrip("=") == component.rstrip("=")
    assert group_of(pusher.url.removeprefix("http://h")) == {"job": "j", "path": value}


@pytest.mark.parametrize("job", ["my job", "a/b", "..", "Προμηθεύς", "a+b", "a%2Fb"])
def test_e83_any_job_arrives(job: str) -> None:
    """As it is called."""
    path = Pusher(job, "http://h").url.removeprefix("http://h")

    assert group_of(path) == {"job": job}


async def test_e84_the_body_is_text() -> None:
    """With its type, a line feed at its end, no exemplar and no timestamp."""
    registry = CollectorRegistry()
    Counter("c_total", "Counts.", registry=registry).inc(exemplar={"trace_id": "x"})
    Gauge("g", "Levels.", registry=registry).set({}, math.nan)
    with Gateway() as gateway:
        await Pusher("j", gateway.url).add(registry)

    assert gateway.last.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = gateway.last.text.split("\n")
    assert [line for line in lines if line[:1] != "#"] == ["c_total 1", "g NaN", ""]


async def test_e84_the_body_may_be_protobuf() -> None:
    """With native histograms, and no family twice."""
    registry = levels(1)
    Histogram("h", "H.", buckets=None, native_bucket_factor=1.1, registry=registry).observe({}, 3)
    with Gateway() as gateway:
        await Pusher("j", gateway.url, format="protobuf").add(registry)
    content_type = gateway.last.headers["Content-Type"]
    families = read_delimited(gateway.last.body)

    assert content_type.startswith(
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily;"
    )
    assert "encoding=delimited" in content_type
    assert [each.name for each in families] == ["a", "h"]
    assert families[1].metric[0].histogram.positive_span


async def test_e85_what_a_gateway_refuses_comes_back() -> None:
    """With its words."""
    why = "text format parsing error in line 1: expected float as value\n"
    with Gateway(default=Answer(400, why)) as gateway:
        response = await Pusher("j", gateway.url).add(levels(1))
        assert (response.status, await response.text()) == (400, why)
        with pytest.raises(PushError, match="parsing error in line 1") as caught:
            await Pusher("j", gateway.url, raise_for_status=True).add(levels(1))

    assert caught.value.status == 400


async def test_e86_bodies_are_gzip_or_plain() -> None:
    """No other coding is offered."""
    with Gateway() as gateway:
        await Pusher("j", gateway.url).add(levels(1))
        await Pusher("j", gateway.url, compression="gzip").add(levels(1))
    plain, coded = gateway.requests

    assert "Content-Encoding" not in plain.headers
    assert coded.headers["Content-Encoding"] == "gzip"
    assert int(coded.headers["Content-Length"]) >= len(gzip.compress(b"")) - 8
    assert coded.body == plain.body
    with pytest.raises(ValueError, match="compression must be"):
        Pusher("j", "http://h", compression="snappy")  # type: ignore[arg-type]


async def test_e88_names_are_escaped() -> None:
    """With underscores, in both formats, for gateways that read no quoted names."""
    registry = CollectorRegistry()
    odd = replace(family("my.m", number(1, {"a.b": "1"})), utf8=True)
    registry.add_source(FakeSource(odd))
    with Gateway() as gateway:
        await Pusher("j", gateway.url).add(registry)
        await Pusher("j", gateway.url, format="protobuf").add(registry)
    text, binary = gateway.requests

    assert text.text == '# TYPE my_m gauge\nmy_m{a_b="1"} 1\n'
    assert read_delimited(binary.body)[0].name == "my_m"


@pytest.mark.parametrize("status", [301, 307])
async def test_e90_redirects_are_not_followed(status: int) -> None:
    """A path that was cleaned up is another group."""
    with Gateway(Answer(status, headers={"Location": "/metrics/job/other"})) as gateway:
        response = await Pusher("j", gateway.url, retry=QUICK).replace(levels(1))

    assert response.status == status
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("status", "tries"), [(429, 4), (500, 4), (503, 4), (400, 1), (401, 1), (404, 1), (413, 1)]
)
async def test_e90_transient_failures_are_retried(status: int, tries: int) -> None:
    """And what is final is not."""
    with Gateway(default=Answer(status)) as gateway:
        response = await Pusher("j", gateway.url, retry=QUICK).add(levels(1))

    assert (response.status, len(gateway.requests)) == (status, tries)


async def test_e90_a_broken_connection_is_retried() -> None:
    """As is one that was never made."""
    with Gateway(Answer(cut="request"), Answer(cut="answer")) as gateway:
        response = await Pusher("j", gateway.url, retry=QUICK).add(levels(1))

    assert (response.status, len(gateway.requests)) == (200, 3)


async def test_e91_labels_may_go_into_the_query() -> None:
    """As VictoriaMetrics' import has it; 204 is a success there."""
    path = "/api/v1/import/prometheus"
    with Gateway(Answer(204)) as gateway:
        pusher = Pusher(
            "j 1", gateway.url, grouping_key={"instance": "a/b"}, path=path, raise_for_status=True
        )
        response = await pusher.add(levels(1))

    assert response.status == 204
    assert gateway.last.path.partition("?")[0] == path
    assert extra_labels(gateway.last.path) == {"job": "j 1", "instance": "a/b"}


async def test_e91_the_path_of_a_gateway_may_have_something_in_front() -> None:
    """VictoriaMetrics reads the group from it."""
    path = "/api/v1/import/prometheus/metrics/job/{0}"
    with Gateway() as gateway:
        await Pusher("a/b", gateway.url, path=path).add(levels(1))

    assert gateway.last.path.rstrip("=") == "/api/v1/import/prometheus/metrics/job@base64/YS9i"


async def test_n18_the_predecessors_pusher() -> None:
    """Its arguments, its path, its three calls, each of which returns a response that can be read."""
    parameters = list(inspect.signature(Pusher).parameters.values())
    assert [each.name for each in parameters[:3]] == ["job_name", "addr", "loop"]
    assert all(each.kind in (each.KEYWORD_ONLY, each.VAR_KEYWORD) for each in parameters[3:])
    assert Pusher.PATH == "/metrics/job/{0}"
    with Gateway(default=Answer(200, "body")) as gateway:
        pusher = Pusher("my-job", gateway.url)
        calls: list[Any] = [pusher.add, pusher.replace, pusher.delete]
        found = [await (await call(levels(1))).text() for call in calls]

    assert found == ["body"] * 3
    assert gateway.methods == ["POST", "PUT", "DELETE"]
