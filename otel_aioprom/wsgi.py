"""The metrics endpoint as a WSGI application: Flask, Django, Bottle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.messages import (
    DEFAULT_METRICS_PATH,
    ScrapeRequest,
    selected_names,
    without_slash,
)
from otel_aioprom.service.scrape import ScrapeOptions, Scraper

if TYPE_CHECKING:
    from typing_extensions import Unpack

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class MetricsApp:
    """A WSGI application that answers scrapes on any path.

    Args:
        registry: What to expose.
        **options: The options of ``Scraper``; ``send_timeout`` has no effect, as the server writes the response.

    Raises:
        ValueError: An option has an invalid value.
        TypeError: ``registry`` is no registry, or an option is unknown.
    """

    def __init__(self, registry: CollectorRegistry, **options: Unpack[ScrapeOptions]) -> None:
        self._scraper = Scraper(registry, **options)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        return _Body(self._scraper, _scrape_request(environ), start_response)


class MetricsMiddleware:
    """WSGI middleware that answers scrapes at one path.

    Args:
        app: The application for all other requests.
        registry: What to expose.
        path: Path of the metrics, with or without a slash at the end.
        **options: As for ``MetricsApp``.

    Raises:
        ValueError: ``path`` does not start with a slash, or an option has an invalid value.
        TypeError: ``registry`` is no registry, or an option is unknown.
    """

    def __init__(
        self,
        app: App,
        registry: CollectorRegistry,
        path: str = DEFAULT_METRICS_PATH,
        **options: Unpack[ScrapeOptions],
    ) -> None:
        self._app = app
        self._path = without_slash(path)
        self._metrics = MetricsApp(registry, **options)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        matches = environ.get("PATH_INFO", "").rstrip("/") == self._path
        return (self._metrics if matches else self._app)(environ, start_response)


class _Body:
    """A response body; the scrape ends when the server calls ``close``, read or not."""

    def __init__(
        self, scraper: Scraper, request: ScrapeRequest, start_response: StartResponse
    ) -> None:
        self._open = ExitStack()
        answer = self._open.enter_context(scraper.scrape_blocking(request))
        try:
            status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
            start_response(status, list(answer.headers.items()))
        except BaseException:
            self._open.close()
            raise
        self._pieces = iter(()) if request.method == "HEAD" else answer.pieces_blocking()

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """End the scrape; the server always calls this."""
        self._open.close()


def _scrape_request(environ: Mapping[str, Any]) -> ScrapeRequest:
    return ScrapeRequest(
        method=environ["REQUEST_METHOD"],
        accept=_values(environ, "HTTP_ACCEPT"),
        accept_encoding=_values(environ, "HTTP_ACCEPT_ENCODING"),
        names=selected_names(environ.get("QUERY_STRING", "")),
        timeout=environ.get("HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS"),
        authorization=environ.get("HTTP_AUTHORIZATION"),
    )


def _values(environ: Mapping[str, Any], name: str) -> list[str]:
    """Return a header's values, which WSGI joins into one string."""
    return [environ[name]] if name in environ else []
