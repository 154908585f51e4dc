"""The end of a response: a whole body ends visibly, one that was broken off never looks whole."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import client_context, make_pair, server_context
from oracles import DEADLINE, until
from otel_aioprom.collectors import Counter
from otel_aioprom.formats import TextFormatter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.service import Service, ThreadedService

LARGE = 8_000  # series: more than small buffers of sender and receiver hold


def registry_of(series: int) -> CollectorRegistry:
    """A registry whose response takes many writes."""
    registry = CollectorRegistry()
    counter = Counter("x_total", "What.", registry=registry)
    for number in range(series):
        counter.inc({"path": f"/items/{number}", "pad": "x" * 100})
    return registry


@pytest.fixture(scope="module")
def large() -> CollectorRegistry:
    """A registry whose response no buffer holds."""
    return registry_of(LARGE)


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    """The garbage collector closes what was forgotten: a test must not depend on it."""
    gc.disable()
    yield
    gc.enable()


class Client:
    """A client that reads when it is told to, through a small buffer."""

    def __init__(self, port: int, version: str, *headers: str, tls: Any = None) -> None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(DEADLINE)
        plain.connect(("127.0.0.1", port))
        self._socket = plain
        if tls is not None:
            self._socket = tls.wrap_socket(
                plain, server_hostname="localhost", suppress_ragged_eofs=False
            )
        lines = [f"GET /metrics HTTP/{version}", "Host: x", *headers, "", ""]
        self._socket.sendall("\r\n".join(lines).encode())

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, or to the end; raise if that is a reset."""
        found = bytearray()
        while size < 0 or len(found) < size:
            received = self._socket.recv(65_536 if size < 0 else size)
            if not received:
                break
            found += received
        return bytes(found)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def port_of(service: Service | ThreadedService) -> int:
    """The port it listens on; connections to it have small buffers from now on."""
    inner = service._service if isinstance(service, ThreadedService) else service
    for opened in inner._sockets:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    return int(service.base_url.rpartition(":")[2])


def body_of(answer: bytes) -> bytes:
    """The body of an HTTP/1.0 response."""
    return answer.partition(b"\r\n\r\n")[2]


def assert_broken(client: Client, version: str) -> None:
    """What it reads ends soon, and cannot be taken for the whole."""
    with closing(client):
        try:
            answer = client.read()
        except (ConnectionResetError, ssl.SSLEOFError):
            return
    assert version == "1.1", "an HTTP/1.0 client saw an ordinary end"
    assert not answer.endswith(b"0\r\n\r\n")


VERSIONS = pytest.mark.parametrize(
    ("version", "headers"), [("1.0", ()), ("1.0", ("Connection: keep-alive",)), ("1.1", ())]
)


@VERSIONS
async def test_what_stop_breaks_off_looks_broken(
    large: CollectorRegistry, version: str, headers: Any
) -> None:
    """A body that ends with its connection ends by a reset."""
    service = Service(large)
    await service.start("127.0.0.1")
    client = await asyncio.to_thread(Client, port_of(service), version, *headers)
    assert await asyncio.to_thread(client.read, 100)
    await asyncio.wait_for(service.stop(0.0), DEADLINE)

    await asyncio.to_thread(assert_broken, client, version)


@pytest.mark.parametrize("secure", [False, True])
@VERSIONS
def test_what_a_thread_breaks_off_looks_broken(
    large: CollectorRegistry, version: str, headers: Any, secure: bool, tmp_path: Path
) -> None:
    """As soon as ``stop`` returns, though the thread and its event loop have ended."""
    pair = make_pair(tmp_path, "own") if secure else None
    service = ThreadedService(large)
    service.start("127.0.0.1", ssl=server_context(pair) if pair else None)
    tls = client_context(pair) if pair else None
    client = Client(port_of(service), version, *headers, tls=tls)
    assert client.read(100)
    service.stop(0.0)

    assert_broken(client, version)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_failure_in_the_middle_looks_broken(
    large: CollectorRegistry, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever raises after the first bytes were sent, ``ConnectionError`` included."""
    encode = TextFormatter.encode
    errors: list[Exception] = [RuntimeError("a bug"), ConnectionError("not of the client")]

    def failing(self: TextFormatter, families: Any) -> Iterator[bytes]:
        size = 0
        for chunk in encode(self, families):
            yield chunk
            size += len(chunk)
            if size > 300_000:  # some pieces are sent
                raise errors.pop()

    monkeypatch.setattr(TextFormatter, "encode", failing)
    async with Service(large).running("127.0.0.1") as service:
        while errors:
            client = await asyncio.to_thread(Client, port_of(service), version)
            await asyncio.to_thread(assert_broken, client, version)


SERVES = """
import socket, sys
from otel_aioprom import CollectorRegistry, Counter, ThreadedService

registry = CollectorRegistry()
counter = Counter("x_total", "", registry=registry)
for number in range({series}):
    counter.inc({{"path": f"/items/{{number}}", "pad": "x" * 100}})
service = ThreadedService(registry).start("127.0.0.1")
for opened in service._service._sockets:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
print(service.base_url, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("kill", [True, False])
def test_what_the_end_of_the_process_breaks_off_looks_broken(kill: bool) -> None:
    """Killed, or ended without ``stop``."""
    program = [sys.executable, "-c", SERVES.format(series=LARGE)]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline().decode().rpartition(":")[2])
        client = Client(port, "1.0")
        assert client.read(100)
        if kill:
            process.kill()
        else:
            process.stdin.write(b"\n")
            process.stdin.flush()
        process.wait(DEADLINE)

    assert_broken(client, "1.0")


@VERSIONS
async def test_what_a_slow_reader_gets_looks_broken(
    large: CollectorRegistry, version: str, headers: Any
) -> None:
    """Its connection is reset, whatever its version of HTTP."""
    async with Service(large, send_timeout=0.1).running("127.0.0.1") as service:
        client = await asyncio.to_thread(Client, port_of(service), version, *headers)
        assert await asyncio.to_thread(client.read, 100)
        await until(lambda: service._in_flight == 0)
        await asyncio.to_thread(assert_broken, client, version)


@pytest.mark.parametrize("headers", [(), ("Connection: keep-alive",)])
async def test_a_whole_body_without_a_length_ends_with_its_connection(headers: Any) -> None:
    """In HTTP/1.0, even if the client asked to keep the connection."""
    registry = registry_of(2000)
    async with Service(registry, self_metrics=False).running("127.0.0.1") as service:
        client = await asyncio.to_thread(Client, port_of(service), "1.0", *headers)
        answer = await asyncio.to_thread(client.read)  # raises if the end does not come
        client.close()

    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"keep-alive" not in head
    assert b"content-length" not in head
    assert body_of(answer) == render(registry)[0]


async def test_a_connection_is_kept_where_the_length_is_known() -> None:
    """Also in HTTP/1.0, for a client that asks for that."""
    registry = registry_of(3)
    async with Service(registry, self_metrics=False).running("127.0.0.1") as service:
        port = port_of(service)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().splitlines()
                if line.startswith(b"content-length")
            )
            body = await asyncio.wait_for(reader.readexactly(length), DEADLINE)
        writer.close()

    assert body == render(registry)[0]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("make", [Service, ThreadedService])
async def test_stop_lets_a_client_read_to_the_end(make: Callable[..., Any], version: str) -> None:
    """Within ``wait_duration``; what is left in buffers counts as in flight."""
    registry = registry_of(2000)
    service = make(registry, self_metrics=False)
    started = service.start("127.0.0.1")
    if isinstance(service, Service):
        await started
    client = await asyncio.to_thread(Client, port_of(service), version)
    begin = await asyncio.to_thread(client.read, 100)
    if isinstance(service, Service):
        stopping = asyncio.create_task(service.stop(DEADLINE))
    else:
        stopping = asyncio.create_task(asyncio.to_thread(service.stop, DEADLINE))
    rest = await asyncio.to_thread(client.read)
    client.close()
    await asyncio.wait_for(stopping, DEADLINE)

    if version == "1.0":
        assert body_of(begin + rest) == render(registry)[0]
    else:
        assert rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("wait", [0.0, 0.5])
def test_stop_leaves_no_connection_open(wait: float, tmp_path: Path) -> None:
    """Neither idle ones, nor one that was just accepted, nor one before its TLS handshake."""
    registry = registry_of(300)
    plain = ThreadedService(registry).start("127.0.0.1")
    secure = ThreadedService(registry)
    secure.start("127.0.0.1", ssl=server_context(make_pair(tmp_path, "own")))
    idle = Client(port_of(plain), "1.1")
    assert idle.read(100)
    clients = [idle, Client(port_of(plain), "1.1"), Client(port_of(secure), "1.1")]
    plain.stop(wait)
    secure.stop(wait)

    for client in clients:
        with closing(client), suppress(ConnectionResetError):
            client.read()  # to an end, of whatever kind: a connection left open would time out
