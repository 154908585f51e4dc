"""A scrape target with fixed responses, which records its requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import Self

from processes import wait_until


@dataclass(frozen=True)
class Answer:
    """A response of a target.

    Attributes:
        body: Sent as it is; its length is sent too.
        content_type: ``None`` sends no such header.
        headers: What else is sent.
        status: HTTP status.
    """

    body: bytes = b""
    content_type: str | None = "text/plain; version=0.0.4; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True)
class Request:
    """A recorded request: its path with the query, and its headers in their order."""

    path: str
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str | None:
        """Return the value of a header, of several the values joined by ``,``; ``None`` if absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ",".join(values) if values else None


class CannedTarget:
    """An HTTP server on 127.0.0.1, in a thread of its own, with fixed responses to GET.

    Args:
        answers: Path → its answer; they may be changed while it runs. Any other path is answered
            with 404. Let jobs differ in ``metrics_path`` to tell their requests apart.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.requests: list[Request] = []
        target = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                target._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name)
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def target(self) -> str:
        """``host:port``, for a scrape job."""
        return f"127.0.0.1:{self._server.server_port}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(Request(handler.path, handler.headers.items()))
        answer = self.answers.get(handler.path, Answer(status=404))
        handler.send_response(answer.status)
        if answer.content_type is not None:
            handler.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        with suppress(ConnectionError):  # the scraper has timed out, or has ended
            handler.end_headers()
            handler.wfile.write(answer.body)

    def last_request(self, path: str) -> Request | None:
        """Return the newest request for a path, or ``None``."""
        return next((each for each in reversed(self.requests) if each.path == path), None)

    def wait_for_request(self, path: str, deadline: float = 30.0) -> Request:
        """Wait for at least one request for a path; return the newest one."""
        wait_until(lambda: self.last_request(path) is not None, deadline, f"a request for {path}")
        request = self.last_request(path)
        assert request is not None
        return request

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
