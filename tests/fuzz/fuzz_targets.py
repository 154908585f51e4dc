"""The fuzz targets and their invariants; ``python -m tests.fuzz`` runs a million inputs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import shutil
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import fuzz_inputs as inputs
from fuzz_exchange import Connection, Response, decoded, responses
from fuzz_families import CONTENT_TYPES, check_body, native, opentelemetry
from fuzz_inputs import Draw, odd_text, pick, seldom, some

from certificates import make_pair
from oracles import all_kinds
from otel_aioprom import asgi, wsgi
from otel_aioprom._core.escaping import ESCAPING_SCHEMES
from otel_aioprom._transport.credentials import BasicAuth, BearerAuth
from otel_aioprom.errors import WebConfigError
from otel_aioprom.negotiator import choose_coding, media_ranges, negotiate, parse_accepts
from otel_aioprom.service import Service
from otel_aioprom.service.scrape import source_timeout
from otel_aioprom.service.web_config.config import WebConfig

PLAIN = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
EVERY = 50
"""After so many inputs on connections, a plain scrape must succeed."""
LINGER = 1.5
"""Seconds, a bit more than the service waits for the rest of a request's body."""
_PAGES = ("text/plain; charset=utf-8", "text/html; charset=utf-8", "application/octet-stream")


class Fuzzer:
    """All targets and their fixtures.

    Attributes:
        targets: By name.
        reached: How often a target got how far: what only ever fails at the door proves nothing.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self._complaints.append(str(context)))
        self.reached: Tally[str] = Tally()
        self.folder = Path(mkdtemp(prefix="fuzz-"))
        self._complaints: list[str] = []
        self._log = _Warnings(self._complaints)
        logging.getLogger().addHandler(self._log)
        self._inputs = 0
        self.basic, self.bearer = BasicAuth("u", "p"), BearerAuth("t")
        registry = all_kinds({"a": "b"})
        own: dict[str, Any] = {"self_metrics": False}
        self.service = Service(registry, **own)
        self.service.add_endpoint("/guarded", auth=self.basic, **own)
        self.service.add_endpoint("/token", auth=self.bearer, **own)
        self.service.add_endpoint("/some", included=["c*"], **own)
        self.loop.run_until_complete(self.service.start(addr="127.0.0.1"))
        self.asgi = asgi.MetricsMiddleware(_asgi_404, registry, auth=self.basic, **own)
        self.wsgi = wsgi.MetricsMiddleware(_wsgi_404, registry, auth=self.basic, **own)
        self.targets: dict[str, Callable[[Draw], None]] = {
            "connection": self.connection,
            "headers": self.headers,
            "asgi, wsgi": self.hosts,
            "native": lambda draw: native(draw, self.reached),
            "opentelemetry": self.opentelemetry,
            "credentials": self.credentials,
            "web configuration": self.web_configuration,
        }

    def run(self, target: str, draw: Draw) -> None:
        """Try one input.

        Raises:
            AssertionError: Something does not hold.
            Exception: Something was raised that must not be.
        """
        self._complaints.clear()
        self.targets[target](draw)
        assert not self._complaints, self._complaints

    def close(self) -> None:
        """Stop the service; it must have no tasks left after its waits for the rest of bodies."""
        self.loop.run_until_complete(asyncio.sleep(LINGER))
        left = asyncio.all_tasks(self.loop)
        self.loop.run_until_complete(self.service.stop())
        self.loop.close()
        logging.getLogger().removeHandler(self._log)
        shutil.rmtree(self.folder)
        assert not left, left

    # --- over a connection -----------------------------------------------------------------

    def connection(self, draw: Draw) -> None:
        """Several requests in chunks, on a connection that may end anywhere."""
        wire = b"".join([inputs.request(draw), *some(draw, 3, inputs.request)])
        if seldom(draw, 20):
            wire = wire.replace(b"\r\n", b"\n")
        leaves = seldom(draw)
        written = self.loop.run_until_complete(self._exchange(draw, wire, leaves=leaves))
        if not leaves:
            self._check_wire(wire, written)
        self._inputs += 1
        if self._inputs % EVERY == 0:
            self.still_serves()

    def still_serves(self) -> None:
        """A plain scrape succeeds, and no scrape is in flight."""
        written = self.loop.run_until_complete(self._exchange(inputs.ByBytes(b""), PLAIN))
        (answer,) = responses(written)
        assert answer.status == 200
        assert b'c_total{a="b"} 1\n' in answer.body
        assert not self.service._in_flight

    async def _exchange(self, draw: Draw, wire: bytes, *, leaves: bool = False) -> bytes:
        runner = self.service._runner
        assert runner is not None
        assert runner.server is not None
        connection = Connection(runner.server())
        cut = draw.below(len(wire) + 1) if draw.below(2) else 0
        connection.receive(wire[:cut])
        for _ in range(draw.below(4)):
            await asyncio.sleep(0)
        if leaves:
            connection.protocol.pause_writing()
        connection.receive(wire[cut:])
        await connection.settle()
        await connection.end()
        return bytes(connection.written)

    def _check_wire(self, wire: bytes, written: bytes) -> None:
        if (
            b"HEAD" in wire or b"CONNECT" in wire
        ):  # the parser cannot tell which responses have a body
            assert b" 500 " not in written[:20]
            self.reached["connection: with HEAD"] += 1
            return
        for answer in responses(written):
            self.reached[f"connection: {answer.status}"] += 1
            assert answer.status not in {500, 501, 502, 503}, answer
            if answer.status == 200:
                self._check_page(answer)

    def _check_page(self, answer: Response) -> None:
        kind = answer.headers["content-type"]
        if "vary" in answer.headers:
            assert kind in CONTENT_TYPES
            self.reached[f"connection: scrapes with {answer.headers.get('content-encoding')}"] += 1
            check_body(kind, answer.body)
        else:
            assert kind in _PAGES, kind

    # --- headers ---------------------------------------------------------------------------

    def headers(self, draw: Draw) -> None:
        """``Accept``, ``Accept-Encoding`` and the scrape timeout."""
        lines = some(draw, 3, lambda draw: _text(inputs.damaged(draw, _bytes(inputs.accept(draw)))))
        formatter = negotiate(lines, protobuf_escaping=pick(draw, *ESCAPING_SCHEMES))
        self.reached[f"headers: {formatter.protocol}"] += 1
        kind = formatter().get_headers()["Content-Type"]
        assert kind in CONTENT_TYPES
        named = " ".join(lines).lower()
        assert kind.startswith("text/plain; version=0.0.4") or kind.partition(";")[0] in named
        assert all(0 <= part.quality <= 1 for part in media_ranges(lines))
        parse_accepts(lines)
        codings = some(
            draw, 3, lambda draw: _text(inputs.damaged(draw, _bytes(inputs.accept_encoding(draw))))
        )
        coding = choose_coding(codings, ("zstd", "gzip"))
        self.reached[f"headers: {coding}"] += 1
        assert coding is None or coding in ",".join(codings).lower() or "*" in ",".join(codings)
        seconds = source_timeout(_text(inputs.damaged(draw, _bytes(inputs.timeout(draw)))))
        assert seconds > 0 or seconds == 0.0, seconds

    # --- ASGI and WSGI ---------------------------------------------------------------------

    def hosts(self, draw: Draw) -> None:
        """One request to both: the same response, with a valid body."""
        method = _text(inputs.method(draw))
        path = pick(draw, "/metrics", "/metrics", "/metrics/", odd_text(draw))
        asked = inputs.query(draw)
        makers = {
            "accept": inputs.accept,
            "accept-encoding": inputs.accept_encoding,
            "x-prometheus-scrape-timeout-seconds": inputs.timeout,
        }
        values = {
            name: inputs.damaged(draw, _bytes(make(draw)))
            for name, make in makers.items()
            if draw.below(2)
        }
        values["authorization"] = (
            b"Basic dTpw" if draw.below(4) else _bytes(inputs.authorization(draw))
        )
        first = self._through_asgi(method, path, asked, values)
        second = self._through_wsgi(method, path, asked, values)
        self.reached[f"asgi, wsgi: {first.status}"] += 1
        assert first.status in {200, 401, 404, 405}, first
        assert first == second
        if first.status == 200:
            assert first.headers["content-type"] in CONTENT_TYPES
            if method != "HEAD":
                check_body(first.headers["content-type"], first.body)

    def _through_asgi(
        self, method: str, path: str, asked: bytes, values: dict[str, bytes]
    ) -> Response:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": asked,
            "headers": [(name.encode(), value) for name, value in values.items()],
        }
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        self.loop.run_until_complete(self.asgi(scope, _never, send))
        start, *bodies = messages
        assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
        headers = {
            name.decode("ascii"): value.decode("latin-1") for name, value in start["headers"]
        }
        return Response(
            start["status"], headers, decoded(headers, b"".join(body["body"] for body in bodies))
        )

    def _through_wsgi(
        self, method: str, path: str, asked: bytes, values: dict[str, bytes]
    ) -> Response:
        environ = {
            f"HTTP_{name.upper().replace('-', '_')}": value.decode("latin-1")
            for name, value in values.items()
        }
        environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": asked.decode("latin-1"),
        }
        started: list[Any] = []
        body: Any = self.wsgi(environ, lambda *arguments: started.append(arguments))
        try:
            whole = b"".join(body)
        finally:
            getattr(body, "close", int)()
        ((status, pairs),) = started
        headers = {name.lower(): value for name, value in pairs}
        return Response(int(status[:3]), headers, decoded(headers, whole))

    # --- families ----------------------------------------------------------------------

    def opentelemetry(self, draw: Draw) -> None:
        """What cannot be translated is dropped and logged."""
        self._log.expected = True
        try:
            opentelemetry(draw, self.reached)
        finally:
            self._log.expected = False

    # --- credentials and configurations ----------------------------------------------------

    def credentials(self, draw: Draw) -> None:
        """An ``Authorization`` header: only the right one is accepted."""
        text = _text(inputs.damaged(draw, _bytes(inputs.authorization(draw))))
        given = None if seldom(draw, 30) else text
        scheme, _, rest = (given or "").partition(" ")
        token = rest.strip(" ")
        basic = scheme.lower() == "basic" and token.isascii() and _decoded_basic(token) == b"u:p"
        bearer = scheme.lower() == "bearer" and token == "t"  # noqa: S105 - the fuzzer's token
        assert self.basic.check(given) is basic, given
        assert self.bearer.check(given) is bearer, given
        self.reached[f"credentials: {basic or bearer}"] += 1

    def web_configuration(self, draw: Draw) -> None:
        """A file: valid settings, or a ``WebConfigError`` without secrets."""
        if not (self.folder / "own.crt").exists():
            make_pair(self.folder, "own")
        path = self.folder / "web.yml"
        path.write_bytes(inputs.web_configuration(draw))
        try:
            made = WebConfig.load(path)
        except WebConfigError as error:
            assert inputs.HASH not in str(error)  # noqa: PT017 - any error is valid
            self.reached["web configuration: refused"] += 1
            return
        self.reached["web configuration: taken"] += 1
        assert all(value.isascii() and value.isprintable() for value in made.headers.values())
        assert made.auth is None or made.auth.check("Basic eDp5") is False
        path.write_bytes(inputs.web_configuration(draw))
        self._log.expected = True
        try:
            made.refresh()
        finally:
            self._log.expected = False


class _Warnings(logging.Handler):
    """Unexpected records of the level ``WARNING`` or higher."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._complaints = complaints
        self.expected = False

    def emit(self, record: logging.LogRecord) -> None:
        """Record it."""
        if not (self.expected and record.name.startswith("otel_aioprom")):
            self._complaints.append(f"{record.name}: {record.getMessage()}")


def _decoded_basic(token: str) -> bytes | None:
    try:
        return base64.b64decode(token, validate=True)
    except binascii.Error:
        return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    """As a server passes it on."""
    return data.decode("utf-8", "surrogateescape")


async def _asgi_404(_: asgi.Scope, __: asgi.Receive, send: asgi.Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _never() -> Any:
    raise AssertionError("nothing of the request's body is needed")


def _wsgi_404(_: dict[str, Any], start_response: wsgi.StartResponse) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
