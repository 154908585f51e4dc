"""What is fuzzed: from any bytes to a request, a header, a family, a file, and what must hold of the answer.

``python -m tests.fuzz`` runs it a million times over; see docs/explanation/hardening.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from aiohttp import web

from client_model import read_delimited
from oracles import CounterSeries, GaugeSeries, all_kinds, family, number
from otel_aioprom import asgi, wsgi
from otel_aioprom.credentials import BasicAuth, BearerAuth
from otel_aioprom.errors import WebConfigError
from otel_aioprom.escaping import ESCAPING_SCHEMES
from otel_aioprom.formats import (
    BinaryFormatter,
    OpenMetricsFormatter,
    Text100Formatter,
    TextFormatter,
    with_escaping,
)
from otel_aioprom.histogram import HistogramSeries
from otel_aioprom.labels import encodable, labels_text
from otel_aioprom.model import Exemplar, MetricFamily
from otel_aioprom.negotiator import choose_coding, negotiate
from otel_aioprom.responding import server_logger
from otel_aioprom.service import Service
from otel_aioprom.web_config import WebConfig

WORDS = (
    b"GET", b"HEAD", b"POST", b" ", b"/", b"/metrics", b"/metrics/", b"/-/ready", b"?", b"&", b"=", b"name[]=x_total",
    b"name%5B%5D=", b"%", b"%zz", b"%00", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"Host: x", b"Accept: ",
    b"Accept-Encoding: ", b"Authorization: Basic ", b"Bearer ", b"X-Prometheus-Scrape-Timeout-Seconds: ", b"Content-Length: ",
    b"Transfer-Encoding: chunked", b"Connection: keep-alive", b"Expect: 100-continue", b"application/openmetrics-text",
    b"application/vnd.google.protobuf", b"proto=io.prometheus.client.MetricFamily", b"encoding=delimited", b"text/plain",
    b"*/*", b"text/*", b";", b",", b"q=", b"q=0.5", b"version=", b"1.0.0", b"0.0.4", b"escaping=", b"allow-utf-8", b'"', b"\\",
    b"gzip", b"zstd", b"identity", b"1e9", b"-1", b"nan", b"inf", b"\xff", b"\xc3\xa9", b"A" * 100, b"a" * 9000, b"dTpw",
    b"tls_server_config:", b"basic_auth_users:", b"http_server_config:", b"headers:", b"cert_file: ", b"\n  ", b": ", b"{", b"}",
    b"[", b"]", b"&a ", b"*a", b"- ", b"!!python/object:os.system ", b"null", b"true", b"2020-01-01", b"$2y$10$abc", b"#",
)  # fmt: skip


class Choices:
    """Bytes, read as choices; when they are used up, each choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def below(self, limit: int) -> int:
        """A number from 0 on."""
        byte = self._data[self._place] if self._place < len(self._data) else 0
        self._place += 1
        return byte % limit

    def words(self) -> bytes:
        """Words of the protocols and raw bytes, one after the other."""
        parts = []
        for _ in range(self.below(24)):
            pick = self.below(256)
            parts.append(WORDS[pick % len(WORDS)] if pick < 230 else bytes((self.below(256),)))
        return b"".join(parts)

    def text(self) -> str:
        """A text of any characters, lone surrogates among them."""
        text = self.words().decode("utf-8", "surrogateescape")
        return text[:40] + ("\ud800" if self.below(16) == 1 else "")


class Fuzzer:
    """All targets, with what they need."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.registry = all_kinds({"a": "b"})
        self.service = Service(self.registry)
        self.asgi = asgi.MetricsMiddleware(_nothing, self.registry)
        self.wsgi = wsgi.MetricsMiddleware(_none, self.registry)
        self.guards = (BasicAuth("u", "p"), BearerAuth("t"))
        self.folder = Path(mkdtemp(prefix="fuzz-"))
        self.refused = 0
        self._server: Any = None
        self.targets: dict[str, Callable[[Choices], None]] = {
            "connection": self.connection,
            "headers": self.headers,
            "asgi": self.through_asgi,
            "wsgi": self.through_wsgi,
            "formats": self.formats,
            "credentials": self.credentials,
            "web configuration": self.web_configuration,
        }

    def run(self, target: str, data: bytes) -> None:
        """Try one input.

        Raises:
            AssertionError: Something does not hold.
            Exception: Something was raised that must not be.
        """
        self.targets[target](Choices(data))

    def close(self) -> None:
        """End the loop."""
        if self._server is not None:
            self.loop.run_until_complete(self._server.shutdown(0.1))
        self.loop.close()

    # --- over a connection -----------------------------------------------------------------

    def connection(self, choices: Choices) -> None:
        """Raw bytes: whatever comes, no 500, and the next connection is served."""
        data = choices.words()
        if choices.below(2):
            data = (
                b"GET /metrics" + data + b" HTTP/1.1\r\nHost: x\r\n" + choices.words() + b"\r\n\r\n"
            )
        answer = self.loop.run_until_complete(self._exchange(data))
        assert b"HTTP/1.1 500" not in answer, answer[:200]
        if answer.startswith(b"HTTP/1.1 200"):
            assert b"\r\nContent-Type: " in answer

    async def _exchange(self, data: bytes) -> bytes:
        if self._server is None:
            application = self.service._application({"/metrics": self.service._scraper})
            self._runner = web.AppRunner(application, access_log=None, logger=server_logger)
            await self._runner.setup()
            self._server = self._runner.server
        protocol, transport = self._server(), _Transport()
        protocol.connection_made(transport)
        protocol.data_received(data)
        for _ in range(12):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.sleep(0)
        return b"".join(transport.written)

    # --- without one -----------------------------------------------------------------------

    def headers(self, choices: Choices) -> None:
        """Accept and Accept-Encoding."""
        lines = [choices.text() for _ in range(choices.below(3))]
        kind = negotiate(lines)().get_headers()["Content-Type"]
        assert kind.startswith(
            ("text/plain; v", "application/openmetrics-text; v", "application/vnd.g")
        )
        assert "\n" not in kind
        assert choose_coding(lines, ("zstd", "gzip")) in (None, "zstd", "gzip")

    def through_asgi(self, choices: Choices) -> None:
        """Any path, query and headers."""
        names = (
            b"accept",
            b"accept-encoding",
            b"authorization",
            b"x-prometheus-scrape-timeout-seconds",
        )
        scope = {
            "type": "http",
            "method": ("GET", "HEAD", "POST", "")[choices.below(4)],
            "path": ("/metrics", "/metrics/", choices.text())[choices.below(3)],
            "query_string": choices.words(),
            "headers": [
                (names[choices.below(4)], choices.words()) for _ in range(choices.below(4))
            ],
        }
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        self.loop.run_until_complete(self.asgi(scope, _never, send))
        assert messages[0]["status"] in (200, 404, 405)
        assert not messages[-1]["more_body"]

    def through_wsgi(self, choices: Choices) -> None:
        """Any path, query and headers."""
        environ = {
            "REQUEST_METHOD": ("GET", "HEAD", "POST", "")[choices.below(4)],
            "PATH_INFO": ("/metrics", choices.text())[choices.below(2)],
            "QUERY_STRING": choices.words().decode("latin-1"),
            "HTTP_ACCEPT": choices.words().decode("latin-1"),
            "HTTP_ACCEPT_ENCODING": choices.words().decode("latin-1"),
        }
        seen: list[str] = []
        body: Any = self.wsgi(environ, lambda status, _headers: seen.append(status))
        for _ in body:
            pass
        getattr(body, "close", int)()
        assert seen[0].split()[0] in ("200", "404", "405")

    def formats(self, choices: Choices) -> None:
        """Labels, names, helps, units, values and exemplars through every format."""
        families = [_any_family(choices) for _ in range(choices.below(4))]
        kind = (TextFormatter, Text100Formatter, OpenMetricsFormatter, BinaryFormatter)[
            choices.below(4)
        ]
        scheme = ESCAPING_SCHEMES[choices.below(4)] if kind is not TextFormatter else "underscores"
        formatter = with_escaping(kind, scheme)(created_samples=bool(choices.below(2)))
        ready, _ = formatter.prepare(_unlike(families))
        body = b"".join(formatter.encode(ready))
        if kind is BinaryFormatter:
            assert len(read_delimited(body)) == len(ready)
        else:
            _check_lines(body, openmetrics=kind is OpenMetricsFormatter)

    def credentials(self, choices: Choices) -> None:
        """An Authorization header: yes or no, never an exception."""
        guard = self.guards[choices.below(2)]
        assert guard.check((None, choices.text())[choices.below(2)]) in (True, False)

    def web_configuration(self, choices: Choices) -> None:
        """A file: settings, or an error of one kind."""
        path = self.folder / "web.yml"
        path.write_bytes(choices.words() + choices.words())
        try:
            WebConfig.load(path)
        except WebConfigError:
            self.refused += 1


def _any_family(choices: Choices) -> MetricFamily:
    kind = ("gauge", "counter", "histogram", "untyped", "info")[choices.below(5)]
    name = encodable(choices.text()) or "x"
    pairs = dict(
        sorted(
            (encodable(choices.text()) or "a", encodable(choices.text()))
            for _ in range(choices.below(3))
        )
    )
    series: Any
    if kind == "histogram":
        names, values = tuple(sorted(pairs)), tuple(pairs[key] for key in sorted(pairs))
        bounds = ((1.0, float("inf")), (-1.0, 0.0, float("inf")))[choices.below(2)]
        series = HistogramSeries(names, values, labels_text(sorted(pairs.items())), bounds, 5.0)
        series.load([choices.below(200) for _ in bounds], _any_number(choices))
        if choices.below(2):
            series.exemplars = [_any_exemplar(choices) for _ in bounds]
    else:
        series = number(
            _any_number(choices), pairs, CounterSeries if kind == "counter" else GaugeSeries
        )
        if kind == "counter" and choices.below(2):
            series.exemplar = _any_exemplar(choices)
    made = family(name, series, kind=kind, doc=choices.text(), unit=choices.text())
    return MetricFamily(made.name, made.type, made.doc, made.unit, made.series, utf8=True)


def _any_number(choices: Choices) -> float:
    numbers = (0, 1, -1, 0.1, 1e300, -1e-300, float("nan"), float("inf"), -float("inf"), 10**40)
    return numbers[choices.below(len(numbers))]


def _any_exemplar(choices: Choices) -> Exemplar:
    return Exemplar(
        ((choices.text() or "a", choices.text()),),
        _any_number(choices),
        (None, 5.0)[choices.below(2)],
    )


def _unlike(families: Sequence[MetricFamily]) -> list[MetricFamily]:
    """Families as a registry gives them: no two of one name."""
    return list({made.name: made for made in families}.values())


def _check_lines(body: bytes, *, openmetrics: bool) -> None:
    """Every line is a comment of ours or a sample with a value that can be read."""
    *lines, rest = body.decode().split("\n")
    assert rest == ""
    assert not openmetrics or lines[-1] == "# EOF"
    heads = [line.split(" ", 2)[1:] for line in lines if line.startswith("# TYPE ")]
    assert len({head[1].rpartition(" ")[0] for head in heads}) == len(heads)
    for line in lines:
        if not line.startswith("# "):
            _value_of(line)


def _value_of(line: str) -> float:
    """Read the value behind the name and the labels, passing over quoted texts.

    Raises:
        ValueError: There is none.
    """
    place, quoted = 0, False
    while place < len(line) and (quoted or line[place] != " "):
        if line[place] == "\\" and quoted:
            place += 1
        elif line[place] == '"':
            quoted = not quoted
        place += 1
    return float(line[place:].split(maxsplit=1)[0].replace("+Inf", "inf"))


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        """Keep some bytes."""
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        """Whether it is closing: never."""
        return False

    def close(self) -> None:
        """Nothing to close."""

    def abort(self) -> None:
        """Nothing to end."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing is known."""
        return default


async def _nothing(_: asgi.Scope, __: asgi.Receive, send: asgi.Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _never() -> Any:
    raise AssertionError("nothing of the request's body is needed")


def _none(_: dict[str, Any], start_response: wsgi.StartResponse) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
