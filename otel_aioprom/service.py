"""The aiohttp service: ``/metrics`` on a server of its own, or as a handler in any application."""

from __future__ import annotations

import asyncio
import html
import logging
import ssl as ssl_module
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from aiohttp import hdrs, web

from otel_aioprom.collector import Collector
from otel_aioprom.errors import ServiceNotRunningError, ServiceStartError
from otel_aioprom.listening import close_all, open_sockets
from otel_aioprom.negotiator import parse_accepts
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import DEFAULT_TIMEOUT, OnError
from otel_aioprom.scrape import Scraper, ScrapeRequest, ScrapeResponse

_logger = logging.getLogger(__name__)

_CUT_OFF = 0.1  # seconds that what still runs after the wait gets to end when it is cancelled
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - turned into a usable host


class Service:
    """Exposes a registry over HTTP.

    Belongs to the event loop that it is started on. ``handle_metrics``, ``handle_root`` and
    ``handle_robots`` work in any aiohttp application, without a start.

    Args:
        registry: What to expose; a new registry if none is given.
        loop: Accepted for old callers and not used.
        on_error: ``"continue"`` leaves out what cannot be shown, ``"fail"`` answers 500 instead.
        timeout: Seconds that sources (OpenTelemetry, users' own collectors) get to answer a scrape;
            what is late is left out and counted.

    Raises:
        ValueError: An option has no such value.

    Spec:
        N17.

    Examples:
        >>> async def serve() -> None:
        ...     async with Service().running(addr="127.0.0.1") as service:
        ...         print(service.metrics_url)
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        on_error: OnError = "continue",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        if loop is not None:
            message = "Service uses the running event loop; leave the argument loop out"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        self.registry = CollectorRegistry() if registry is None else registry
        self._scraper = Scraper(self.registry, on_error=on_error, timeout=timeout)
        self._runner: web.AppRunner | None = None
        self._sites: list[web.SockSite] = []
        self._root = ""
        self._metrics_path = "/metrics"
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(
        self,
        addr: str = "",
        port: int = 0,
        ssl: ssl_module.SSLContext | None = None,
        metrics_url: str = "/metrics",
    ) -> None:
        """Start a server.

        Args:
            addr: Host name or address to listen on; empty for all interfaces.
            port: Port to listen on; 0 takes a free one.
            ssl: Context for HTTPS; none for HTTP.
            metrics_url: Path of the metrics, with or without a slash at the end.

        Raises:
            ServiceStartError: Nothing can listen there; nothing is left open.
            ValueError: ``metrics_url`` is no path.
        """
        if self._runner is not None:
            warnings.warn(f"the service runs already at {self._root}", RuntimeWarning, stacklevel=2)
            return
        if not metrics_url.startswith("/") or metrics_url == "/":
            raise ValueError(f"metrics_url must be a path such as '/metrics', not {metrics_url!r}")
        self._metrics_path = metrics_url
        self._runner = runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=_CUT_OFF
        )
        try:
            await runner.setup()
            await self._listen(runner, addr, port, ssl)
        except BaseException as error:
            self._runner = None
            await runner.cleanup()
            if isinstance(error, OSError | OverflowError):
                raise ServiceStartError(f"{addr or '*'}:{port}", str(error)) from error
            raise

    def _application(self) -> web.Application:
        application = web.Application()
        path = self._metrics_path.rstrip("/")
        for exact in (path, f"{path}/"):
            application.router.add_route(hdrs.METH_ANY, exact, self.handle_metrics)
        application.router.add_get("/", self.handle_root)
        application.router.add_get("/robots.txt", self.handle_robots)
        return application

    async def _listen(
        self, runner: web.AppRunner, addr: str, port: int, ssl: ssl_module.SSLContext | None
    ) -> None:
        sockets = await open_sockets(addr, port)
        try:
            sites = [web.SockSite(runner, opened, ssl_context=ssl) for opened in sockets]
            for site in sites:
                await site.start()
        except BaseException:
            close_all(sockets)
            raise
        self._sites = sites
        host, real_port = sockets[0].getsockname()[:2]
        host = addr if addr not in ("", *_WILDCARDS) else _WILDCARDS.get(host, host)
        shown = f"[{host}]" if ":" in host else host
        self._root = f"{'http' if ssl is None else 'https'}://{shown}:{real_port}"

    async def stop(self, wait_duration: float = 1.0) -> None:
        """Stop the server; a second call does nothing.

        Args:
            wait_duration: Seconds that scrapes under way get to end before they are cut off.
        """
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in self._sites:
            await site.stop()
        self._sites = []
        try:
            if self._in_flight:
                await asyncio.wait_for(self._idle.wait(), wait_duration)
        except asyncio.TimeoutError:
            _logger.info("scrapes under way are cut off after %s s", wait_duration)
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def running(
        self,
        addr: str = "",
        port: int = 0,
        ssl: ssl_module.SSLContext | None = None,
        metrics_url: str = "/metrics",
    ) -> AsyncIterator[Service]:
        """Start on entry and stop on exit; arguments as for ``start``."""
        await self.start(addr, port, ssl, metrics_url)
        try:
            yield self
        finally:
            await self.stop()

    @property
    def base_url(self) -> str:
        """Scheme, host and port, such as ``http://127.0.0.1:9464``.

        Raises:
            ServiceNotRunningError: The server is not running.
        """
        if self._runner is None or not self._root:
            raise ServiceNotRunningError("the service has no address: start it first")
        return self._root

    @property
    def root_url(self) -> str:
        """Address of the page that links to the metrics; raises as ``base_url``."""
        return f"{self.base_url}/"

    @property
    def metrics_url(self) -> str:
        """Address of the metrics; raises as ``base_url``."""
        return f"{self.base_url}{self._metrics_path}"

    def register(self, collector: Collector[Any]) -> None:
        """Register a collector in the service's registry."""
        self.registry.register(collector)

    def deregister(self, name: str) -> None:
        """Take a collector out of the service's registry."""
        self.registry.deregister(name)

    def accepts(self, request: web.BaseRequest) -> set[str]:
        """Return the media types and parameters of a request's ``Accept`` lines."""
        return parse_accepts(request.headers.getall(hdrs.ACCEPT, []))

    async def handle_metrics(self, request: web.Request) -> web.StreamResponse:
        """Answer a scrape; an aiohttp handler for any route and method."""
        self._in_flight += 1
        self._idle.clear()
        try:
            answer = await self._scraper.scrape(_scrape_request(request))
            return await _send(request, answer)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def handle_root(self, request: web.Request) -> web.Response:
        """Answer with a page that links to the metrics."""
        path = html.escape(self._metrics_path, quote=True)
        page = f'<!doctype html><html><head><title>Metrics</title></head><body><a href="{path}">{path}</a></body></html>'
        return web.Response(text=page, content_type="text/html")

    async def handle_robots(self, request: web.Request) -> web.Response:
        """Turn robots away."""
        return web.Response(text="User-agent: *\nDisallow: /\n", content_type="text/plain")


def _scrape_request(request: web.Request) -> ScrapeRequest:
    return ScrapeRequest(
        method=request.method,
        accept=request.headers.getall(hdrs.ACCEPT, []),
        accept_encoding=request.headers.getall(hdrs.ACCEPT_ENCODING, []),
    )


async def _send(request: web.Request, answer: ScrapeResponse) -> web.StreamResponse:
    """Send a response piece by piece; a body of one piece goes in one write, with its length."""
    async with aclosing(answer.pieces()) as pieces:
        first = await anext(pieces, b"")
        second = await anext(pieces, None) if first else None
        if second is None:
            return web.Response(body=first, status=answer.status, headers=answer.headers)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        try:
            await response.prepare(request)
            await response.write(first)
            await response.write(second)
            async for piece in pieces:
                await response.write(piece)
            await response.write_eof()
        except ConnectionError:
            _logger.debug("the client went away in the middle of a response")
        return response
