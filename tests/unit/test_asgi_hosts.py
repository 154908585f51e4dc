"""The ASGI application under servers that differ: other event loops, clients that disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, MutableMapping, Sequence
from typing import Any

import pytest

from oracles import DEADLINE
from otel_aioprom import asgi
from otel_aioprom.collectors import Counter, Gauge
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import async_render, render

SCOPE = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}
PIECES = 40  # of a body, at least


@pytest.fixture(scope="module")
def large() -> CollectorRegistry:
    """A registry whose page has many pieces."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "What.", registry=registry)
    for number in range(60_000):
        counter.inc({"number": number, "filler": "f" * 30})
    assert len(render(registry)[0]) > PIECES * 64 * 1024
    return registry


def run_without_asyncio(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine as another event loop would, until its first suspension, which is an error."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it was suspended")


def with_callback(registry: CollectorRegistry) -> CollectorRegistry:
    """Add a gauge with a callback, which is called in a thread."""
    Gauge("g", "What.", registry=registry).set_function({}, lambda: 1)
    return registry


@pytest.mark.parametrize("registry", [CollectorRegistry(), with_callback(CollectorRegistry())])
@pytest.mark.parametrize("middleware", [False, True])
def test_another_event_loop_is_answered_500(
    registry: CollectorRegistry, middleware: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With one clear line, before a status is sent; the log has it once, and nothing is raised."""

    async def other(*_: Any) -> None:
        raise AssertionError("not for the application")

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the request's body is not needed")

    app: asgi.App = (
        asgi.MetricsMiddleware(other, registry) if middleware else asgi.MetricsApp(registry)
    )
    for _ in range(2):
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any], sent: list[Any] = sent) -> None:
            sent.append(message)

        run_without_asyncio(app(dict(SCOPE), receive, send))

        assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
        assert sent[0]["status"] == 500
        assert b"asyncio only" in sent[1]["body"]
        assert not sent[1].get("more_body")
    (record,) = caplog.records
    assert "ThreadedService" in record.message


def test_async_render_names_the_way_out_on_another_event_loop() -> None:
    """Rather than to fail somewhere in the middle, or only with large pages."""
    with pytest.raises(RuntimeError, match=r"needs asyncio.*call render in a thread"):
        run_without_asyncio(async_render(CollectorRegistry()))  # type: ignore[arg-type]


class Server:
    """A server as the application sees it, whose client disconnects after some pieces.

    Args:
        before: Messages that come before the disconnect.
        leaves_after: Number of pieces after which the client disconnects; ``None`` for never.
    """

    def __init__(
        self, before: Sequence[MutableMapping[str, Any]], leaves_after: int | None
    ) -> None:
        self._before: Iterator[MutableMapping[str, Any]] = iter(before)
        self._leaves_after = leaves_after
        self._gone = asyncio.Event()
        self.sent: list[MutableMapping[str, Any]] = []
        self.receiving = 0

    async def receive(self) -> MutableMapping[str, Any]:
        """Receive the next message."""
        for message in self._before:
            return message
        self.receiving += 1
        try:
            await self._gone.wait()
        finally:
            self.receiving -= 1
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a message, or drop it, as servers do, when the client has gone."""
        self.sent.append(message)
        if len(self.sent) - 1 == self._leaves_after:
            self._gone.set()
        await asyncio.sleep(0)

    def is_complete(self) -> bool:
        """Return whether the response was sent to its end."""
        return self.sent[-1].get("more_body") is False


EMPTY = {"type": "http.request", "body": b"", "more_body": False}
PART = {"type": "http.request", "body": b"x", "more_body": True}


@pytest.mark.parametrize("before", [[], [EMPTY], [PART, PART, EMPTY]])
@pytest.mark.parametrize("leaves_after", [1, 10])
async def test_rendering_ends_when_the_client_has_gone(
    large: CollectorRegistry, before: list[MutableMapping[str, Any]], leaves_after: int
) -> None:
    """A few pieces later, whether the request has a body or not; nothing more is sent, and the place is free."""
    server = Server(before, leaves_after)
    app = asgi.MetricsApp(large)
    await asyncio.wait_for(app(dict(SCOPE), server.receive, server.send), DEADLINE)

    assert leaves_after < len(server.sent) < leaves_after + 10
    assert not server.is_complete()
    assert app._scraper._busy.value == 0


async def test_a_client_that_stays_gets_the_whole_page(large: CollectorRegistry) -> None:
    """And nobody waits for its disconnect any more after it."""
    server = Server([EMPTY], None)
    await asyncio.wait_for(
        asgi.MetricsApp(large, self_metrics=False)(dict(SCOPE), server.receive, server.send),
        DEADLINE,
    )
    await asyncio.sleep(0)

    assert server.is_complete()
    assert b"".join(each["body"] for each in server.sent[1:]) == render(large)[0]
    assert server.receiving == 0


class Silent(Server):
    """A server that cannot say that a client disconnects."""

    async def receive(self) -> MutableMapping[str, Any]:
        """Fail."""
        raise RuntimeError("no body here")


class Repeating(Server):
    """A server that delivers the request's end again and again."""

    async def receive(self) -> MutableMapping[str, Any]:
        """Receive the end."""
        return dict(EMPTY)


@pytest.mark.parametrize("kind", [Silent, Repeating])
async def test_a_server_that_does_not_report_disconnects(
    large: CollectorRegistry, kind: type[Server]
) -> None:
    """Sends the page to its end: neither its errors nor its repetitions stop or block anything."""
    server = kind([], None)
    await asyncio.wait_for(
        asgi.MetricsApp(large)(dict(SCOPE), server.receive, server.send), DEADLINE
    )

    assert server.is_complete()


async def test_a_page_of_one_piece_is_not_watched() -> None:
    """Small pages cost no task."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    server = Silent([], None)
    tasks = len(asyncio.all_tasks())
    counts: list[int] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        counts.append(len(asyncio.all_tasks()))
        await server.send(message)

    await asgi.MetricsApp(registry)(dict(SCOPE), server.receive, send)

    assert server.is_complete()
    assert set(counts) == {tasks}
