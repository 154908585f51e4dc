"""Kept connections that the server has closed meanwhile: no attempt, and nothing is lost (E90)."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from gateway import Answer, Gateway, Hold
from oracles import DEADLINE
from otel_aioprom._transport.delivery import Delivery
from otel_aioprom._transport.retry import Retry
from otel_aioprom.errors import PushError
from otel_aioprom.pusher import Pusher
from pushed import PUSHES, levels, own

BODY = [b"a 1\n"]


class OneRequestServer:
    """A server that closes each connection after one response, when told, while the client is not looking.

    Args:
        close: How to close: ``"end"`` in order, ``"reset"`` by a reset.
    """

    def __init__(self, close: str) -> None:
        self._reset = close == "reset"
        self._server = socket.create_server(("127.0.0.1", 0))
        self._kept: list[socket.socket] = []
        self.requests: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> URL:
        """Where it listens."""
        return URL(f"http://127.0.0.1:{self._server.getsockname()[1]}/")

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            request = b""
            while (
                not request.partition(b"\r\n\r\n")[2].endswith(b"1\n") and b"DELETE" not in request
            ):
                request += connection.recv(65536)
            self.requests.append(request)
            self._kept.append(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def close_connections(self) -> None:
        """Close all connections, without the client's event loop running meanwhile."""
        while self._kept:
            connection = self._kept.pop()
            if self._reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def close(self) -> None:
        """Close all."""
        self._server.close()
        self.close_connections()


@asynccontextmanager
async def opened(session: str) -> AsyncIterator[Delivery]:
    """A delivery with a session of its own, or one of the caller."""
    if session == "own":
        async with (delivery := Delivery()).opened():
            yield delivery
    else:
        async with aiohttp.ClientSession() as given:
            yield Delivery(session=given)


@pytest.mark.parametrize("session", ["own", "caller's"])
@pytest.mark.parametrize("close", ["end", "reset"])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_e90_a_kept_connection_that_was_closed_is_no_attempt(
    close: str, method: str, session: str
) -> None:
    """Of a process that was frozen, or whose loop was held, when the server closed it: the request goes again."""
    server = OneRequestServer(close)
    chunks = [] if method == "DELETE" else BODY
    try:
        async with opened(session) as delivery:
            for _ in range(3):
                response = await delivery.send(method, server.url, chunks)
                assert response.status == 200
                server.close_connections()  # and no other task has its turn before the next request
    finally:
        server.close()

    assert len(server.requests) == 3


async def test_e90_all_kept_connections_may_be_closed() -> None:
    """However many there are; the answer comes over a new one."""
    holds = [Hold() for _ in range(3)]
    script = [Answer(hold=hold) for hold in holds]
    with Gateway(*script, *[Answer(cut="answer")] * 3, default=Answer(202)) as gateway:
        delivery = Delivery()
        await delivery.open()
        try:
            url = URL(gateway.url)
            first = [asyncio.ensure_future(delivery.send("PUT", url, BODY)) for _ in holds]
            await gateway.arrived(3)
            for hold in holds:
                hold.let_go()
            await asyncio.gather(*first)
            response = await delivery.send("PUT", url, BODY)
        finally:
            await delivery.close()

    assert response.status == 202
    assert [each.connection for each in gateway.requests[6:]] == [3]


async def test_e90_a_kept_connection_that_was_closed_is_not_counted() -> None:
    """Neither as a push nor as a failure, and nothing is logged of it."""
    registry = levels(1)
    with Gateway(Answer(), Answer(cut="answer"), Answer()) as gateway:
        async with Pusher("j", gateway.url) as pusher:
            await pusher.replace(registry)
            await pusher.replace(registry)

    assert len(gateway.requests) == 3
    assert {name: value for name, value in own(registry).items() if PUSHES in name} == {
        PUSHES + '{code="200"}': 2
    }


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([Answer(cut="answer")], id="a new connection"),
        pytest.param([Answer(), Answer(cut="response")], id="the answer had begun"),
    ],
)
async def test_e90_other_cuts_are_attempts(script: list[Answer]) -> None:
    """The server has seen the request; whether to try again is a matter of the policy."""
    with Gateway(*script) as gateway:
        async with Pusher("j", gateway.url) as pusher:
            for _ in script[1:]:
                await pusher.replace(levels(1))
            with pytest.raises(PushError):
                await pusher.replace(levels(1))

    assert len(gateway.requests) == len(script)


async def half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the first request of a connection, and the second one in part."""
    for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 O"):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"1\n")
        writer.write(answer)
        await writer.drain()
    writer.close()


async def test_e90_a_head_that_had_begun_is_an_answer() -> None:
    """Then the request has arrived, so it is not sent again without being asked for."""
    server = await asyncio.start_server(half_a_head, "127.0.0.1", 0)
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    delivery = Delivery()
    async with server, delivery.opened():
        assert (await delivery.send("PUT", url, BODY)).status == 200
        with pytest.raises(PushError):
            await delivery.send("PUT", url, BODY)


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_e90_a_new_connection_that_is_cut_is_one_attempt(method: str) -> None:
    """Also in a session of the caller, whose own retries would hide it."""
    with Gateway(Answer(cut="answer")) as gateway:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(PushError):
                await Delivery(session=session).send(method, URL(gateway.url), BODY)

    assert len(gateway.requests) == 1


async def test_a_connection_that_only_the_caller_has_used_is_not_known() -> None:
    """If it was closed, that is a failure like others: the retry policy decides."""
    with Gateway(Answer(), Answer(cut="answer"), Answer(202)) as gateway:
        async with aiohttp.ClientSession() as session:
            async with session.post(gateway.url) as response:
                await response.read()
            pusher = Pusher("j", gateway.url, session=session)
            policy = Retry(attempts=2, first_wait=0.001)
            assert (await pusher.add(levels(1), retry=policy)).status == 202


async def test_a_request_without_a_body_has_no_content_type() -> None:
    """It is sent like one with a body, and says that nothing follows."""
    with Gateway() as gateway:
        await Delivery().send("DELETE", URL(gateway.url))

    assert gateway.last.method == "DELETE"
    assert gateway.last.headers["Content-Length"] == "0"
    assert "Content-Type" not in gateway.last.headers


async def test_a_closed_connection_leaves_the_time_limit_as_it_is() -> None:
    """The time of the request on the closed one is part of it."""
    with Gateway(Answer(), Answer(cut="answer"), default=Answer(hold=Hold())) as gateway:
        async with Pusher("j", gateway.url, timeout=DEADLINE) as pusher:
            await pusher.replace(levels(1))
            with pytest.raises(PushError, match="timed out"):
                await pusher.replace(levels(1), retry=Retry(attempts=1, total=0.2))

    assert len(gateway.requests) == 3
