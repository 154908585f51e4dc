"""A fake gateway with scripted responses, which records the requests."""

from __future__ import annotations

import asyncio
import base64
import posixpath
import ssl as ssl_module
import threading
from asyncio import sleep  # the real one, also where a test replaces it
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import web
from typing_extensions import Self

from oracles import DEADLINE, until

_PREFIX = "/metrics/job"
_ACCEPTED = 3  # iterations of the event loop until an accepted connection is known to its server


class Hold:
    """Delays a response until it is released."""

    def __init__(self) -> None:
        self._gone = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None
        self._lock = threading.Lock()

    def let_go(self) -> None:
        """Release the response; a second call does nothing."""
        with self._lock:
            self._gone.set()
            if self._loop is not None and self._event is not None:
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Wait in the gateway's event loop."""
        with self._lock:
            self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()
            if self._gone.is_set():
                return
        await self._event.wait()


@dataclass(frozen=True)
class Answer:
    """The response of a gateway to one request.

    Attributes:
        status: HTTP status.
        text: The body.
        headers: More headers.
        hold: Answer when this is let go.
        cut: Cut the connection in the middle of the request, in place of the answer, or in the middle of it.
    """

    status: int = 200
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: Hold | None = None
    cut: Literal["request", "answer", "response"] | None = None


@dataclass(frozen=True)
class Push:
    """A recorded request.

    Attributes:
        method: Its method.
        path: Its path and query, as they were sent.
        headers: Its headers.
        body: What it carries, decompressed; of a request that was cut, what had come.
        connection: Tells connections apart.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def text(self) -> str:
        """The body as a string."""
        return self.body.decode()

    def value(self, name: str) -> float | None:
        """Return the value of a sample, by its name with labels as in the text format."""
        for line in self.text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample == name:
                return float(value)
        return None


class Gateway:
    """An HTTP server on 127.0.0.1, in a thread with a loop of its own, for clients with and without a loop.

    Args:
        *script: Answers to the first requests, in their order.
        default: Answer to all others.
        ssl: Speak TLS.
        user: ``name:password`` that has to be expected; others get 401, which takes nothing from the script.
    """

    def __init__(
        self,
        *script: Answer,
        default: Answer | None = None,
        ssl: ssl_module.SSLContext | None = None,
        user: str | None = None,
    ) -> None:
        self.script = deque(script)
        self.default = default or Answer()
        self.requests: list[Push] = []
        self._ssl = ssl
        self.user = user
        self._holds: list[Hold] = []
        self._ready = threading.Event()
        self._arrival = threading.Condition()
        self._connections: dict[object, int] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.port = 0

    # --- for tests -----------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        return f"{'http' if self._ssl is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def methods(self) -> list[str]:
        """Methods of the requests."""
        return [each.method for each in self.requests]

    @property
    def last(self) -> Push:
        """The newest request."""
        return self.requests[-1]

    async def arrived(self, count: int) -> None:
        """Wait for a number of requests, in an event loop."""
        await until(lambda: len(self.requests) >= count)

    def wait_for(self, count: int) -> None:
        """Wait for a number of requests, blocking."""
        with self._arrival:
            assert self._arrival.wait_for(lambda: len(self.requests) >= count, DEADLINE)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        for hold in self._holds:
            hold.let_go()
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(DEADLINE)

    # --- in the thread ---------------------------------------------------------------------

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._answer, access_log=None)  # type: ignore[arg-type]
        site = await self._loop.create_server(server, "127.0.0.1", 0, ssl=self._ssl)
        self.port = site.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        self._loop.remove_reader(site.sockets[0].fileno())
        for _ in range(_ACCEPTED):
            await sleep(0)
        site.close()
        await server.shutdown(0.1)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._admits(request):
            await self._record(request, whole=True)
            return web.Response(status=401, text="Unauthorized")
        answer = self.script.popleft() if self.script else self.default
        if answer.hold is not None:
            self._holds.append(answer.hold)
        await self._record(request, whole=answer.cut != "request")
        if answer.hold is not None:
            await answer.hold.wait()
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if answer.cut in {"request", "answer"}:
            _cut(request)
            return response
        body = answer.text.encode()
        response.content_length = len(body) + (100 if answer.cut else 0)
        with suppress(ConnectionError):  # the client has timed out, or has ended
            await response.prepare(request)
            await response.write(body)
        if answer.cut:
            _cut(request)
        return response

    def _admits(self, request: web.BaseRequest) -> bool:
        if self.user is None:
            return True
        expected = f"Basic {base64.b64encode(self.user.encode()).decode()}"
        return request.headers.get("Authorization") == expected

    async def _record(self, request: web.BaseRequest, *, whole: bool) -> None:
        if whole:
            body = b"".join([piece async for piece in request.content.iter_any()])
        else:
            body = await request.content.readany()
        number = self._connections.setdefault(request.protocol, len(self._connections))
        with self._arrival:
            self.requests.append(
                Push(request.method, request.raw_path, request.headers, body, number)
            )
            self._arrival.notify_all()


def _cut(request: web.BaseRequest) -> None:
    assert request.transport is not None
    request.transport.abort()


def group_of(path: str) -> dict[str, str]:
    """Return the labels of a path as a Pushgateway reads them.

    Spec:
        E82, E83.

    Raises:
        ValueError: It would not answer 200: it redirects to a cleaned path, or refuses.
    """
    decoded = unquote_to_bytes(path.partition("?")[0]).decode()
    cleaned = posixpath.normpath(decoded) + ("/" if decoded.endswith("/") else "")
    if cleaned != decoded:
        raise ValueError(f"redirected to {cleaned}")
    if not decoded.startswith(_PREFIX):
        raise ValueError("not found")
    suffix, job, *others = decoded.removeprefix(_PREFIX).split("/")
    if len(others) % 2:
        raise ValueError("odd number of components in label string")
    group = {"job": _value(suffix, job)}
    if not group["job"]:
        raise ValueError("job name is required")
    for name, value in zip(others[::2], others[1::2]):
        label, encoding, _ = name.partition("@base64")
        group[label] = _value(encoding, value)
    return group


def _value(encoding: str, text: str) -> str:
    if not encoding:
        return text
    if encoding != "@base64":
        raise ValueError(f"no such encoding: {encoding}")
    bare = text.rstrip("=")
    return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True).decode()


def extra_labels(path: str) -> dict[str, str]:
    """Return the labels of a query as VictoriaMetrics' import reads them (E91)."""
    query = path.partition("?")[2]
    pairs = [pair.split("=", 1) for name, pair in parse_qsl(query) if name == "extra_label"]
    return {name: value for name, value in pairs}  # noqa: C416 - tells what they are
