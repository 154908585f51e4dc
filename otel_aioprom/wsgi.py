"""The metrics endpoint as a WSGI application: Flask, Django, Bottle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.messages import ScrapeRequest, ScrapeResponse
from otel_aioprom.service.scrape import ScrapeOptions, Scraper

if TYPE_CHECKING:
    from typing_extensions import Unpack

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class MetricsApp:
    """A WSGI application that answers scrapes on whatever path it stands at.

    Args:
        registry: What to expose.
        **options: As for ``Scraper``; the server decides how long a slow reader is waited for.

    Raises:
        ValueError: An option has no such value.
        TypeError: There is no such option.
    """

    def __init__(self, registry: CollectorRegistry, **options: Unpack[ScrapeOptions]) -> None:
        self._scraper = Scraper(registry, **options)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        return _Body(self._scraper, _scrape_request(environ), start_response)


class MetricsMiddleware:
    """A WSGI application in front of another one.

    Args:
        app: The application that everything else goes to.
        registry: What to expose.
        path: Where the metrics are, with or without a slash at the end.
        **options: As for ``Scraper``.

    Raises:
        ValueError: ``path`` is no path, or an option has no such value.
        TypeError: There is no such option.
    """

    def __init__(
        self,
        app: App,
        registry: CollectorRegistry,
        path: str = "/metrics",
        **options: Unpack[ScrapeOptions],
    ) -> None:
        if not path.startswith("/"):
            raise ValueError(f"path must start with a slash, as in '/metrics', not {path!r}")
        self._app = app
        self._path = path.rstrip("/")
        self._metrics = MetricsApp(registry, **options)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        mine = environ.get("PATH_INFO", "").rstrip("/") == self._path
        return (self._metrics if mine else self._app)(environ, start_response)


class _Body:
    """A response while it is sent: the scrape is over when the server closes it, sent or not."""

    def __init__(
        self, scraper: Scraper, request: ScrapeRequest, start_response: StartResponse
    ) -> None:
        self._open = ExitStack()
        answer = self._open.enter_context(scraper.scrape_blocking(request))
        try:
            start_response(_status_line(answer), list(answer.headers.items()))
        except BaseException:
            self._open.close()
            raise
        self._pieces = iter(()) if request.method == "HEAD" else answer.pieces_blocking()

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """End the scrape; called by the server, whatever happened."""
        self._open.close()


def _status_line(answer: ScrapeResponse) -> str:
    return f"{answer.status} {HTTPStatus(answer.status).phrase}"


def _scrape_request(environ: Mapping[str, Any]) -> ScrapeRequest:
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="replace")
    return ScrapeRequest(
        method=environ["REQUEST_METHOD"],
        accept=_lines(environ, "HTTP_ACCEPT"),
        accept_encoding=_lines(environ, "HTTP_ACCEPT_ENCODING"),
        names=query.get("name[]", ()),
        timeout=environ.get("HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS"),
        authorization=environ.get("HTTP_AUTHORIZATION"),
    )


def _lines(environ: Mapping[str, Any], name: str) -> list[str]:
    """Return a header's values; WSGI has joined its lines."""
    return [environ[name]] if name in environ else []
