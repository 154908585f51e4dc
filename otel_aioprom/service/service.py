"""The aiohttp service: ``/metrics`` on a server of its own, or as a handler in any application."""

from __future__ import annotations

import asyncio
import html
import logging
import os
import re
import socket
import ssl as ssl_module
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from otel_aioprom._concurrency.thread_pool import in_worker
from otel_aioprom.collectors.base import Collector
from otel_aioprom.errors import (
    ServiceError,
    ServiceNotRunningError,
    ServiceStartError,
    SlowReaderError,
)
from otel_aioprom.negotiator import parse_accepts
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.aiohttp_response import scrape_request, send, server_logger
from otel_aioprom.service.routing import Handler, Pages, only_read
from otel_aioprom.service.scrape import ScrapeOptions, Scraper
from otel_aioprom.service.sockets import close_all, open_sockets
from otel_aioprom.service.web_config.config import WebConfig

if TYPE_CHECKING:
    from typing_extensions import Unpack

_logger = logging.getLogger(__name__)

_CUT_OFF = 0.1  # seconds that what still runs after the wait gets to end when it is cancelled
_KEEP_ALIVE = 300.0  # seconds; longer than any usual scrape interval, for one connection serves a scraper for ever
_LINGER = 1.0  # seconds that the unread body of a request gets, for which there is no use
_REFRESH = 5.0  # seconds between two looks at the files of a web configuration
_HEALTHY, _READY = "/-/healthy", "/-/ready"
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_OWN_PATHS = ("", "/robots.txt", _HEALTHY, _READY)
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - turned into a usable host


class Service:
    """Exposes a registry over HTTP.

    Belongs to the event loop that it is started on. ``handle_metrics``, ``handle_root`` and
    ``handle_robots`` work in any aiohttp application, without a start.

    Args:
        registry: What to expose; a new registry if none is given.
        loop: Accepted for old callers and not used.
        web_config: A web configuration file in the form of Prometheus' own servers, or its path: certificates,
            headers, and users for all but health, readiness and robots. Needs the extra ``web-config``.
        **options: As for ``scrape.Scraper``.

    Raises:
        ValueError: An option has no such value, or says what the web configuration says too.
        TypeError: There is no such option.
        WebConfigError: The web configuration makes no sense.

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
        web_config: WebConfig | str | os.PathLike[str] | None = None,
        **options: Unpack[ScrapeOptions],
    ) -> None:
        if loop is not None:
            message = "Service uses the running event loop; leave the argument loop out"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        self.registry = CollectorRegistry() if registry is None else registry
        self._web = _web_config(web_config)
        self._auth = options.get("auth")
        self._scraper = self._make_scraper(self.registry, options)
        self._endpoints: dict[str, Scraper] = {}
        self._runner: web.ServerRunner | None = None
        self._sites: list[web.SockSite] = []
        self._sockets: list[socket.socket] = []
        self._refreshing: asyncio.Task[None] | None = None
        self._looked = -_REFRESH
        self._root = ""
        self._metrics_path = "/metrics"
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def _make_scraper(self, registry: CollectorRegistry, options: ScrapeOptions) -> Scraper:
        if self._web is None or self._web.auth is None:
            return Scraper(registry, **options)
        if options.get("auth") is not None:
            raise ValueError("users are named by the web configuration: leave the option auth out")
        guarded = options.copy()
        guarded["auth"] = self._web.auth
        return Scraper(registry, **guarded)

    def add_endpoint(
        self,
        path: str,
        registry: CollectorRegistry | None = None,
        **options: Unpack[ScrapeOptions],
    ) -> None:
        """Serve metrics at one more path, from the next start on.

        Args:
            path: The path, with or without a slash at the end.
            registry: What to expose there; the service's registry if not given.
            **options: As for ``scrape.Scraper``; ``included`` and ``excluded`` tell which names to show. Who may scrape
                the service may scrape this too, unless ``auth`` says otherwise; ``None`` lets everybody.

        Raises:
            ValueError: It is no path, or taken; or an option has no such value.
            TypeError: There is no such option.
            ServiceError: The service runs.
        """
        if self._runner is not None:
            raise ServiceError("endpoints are added before the service starts")
        plain = _check_path("path", path)
        if plain in self._endpoints or plain in _OWN_PATHS:
            raise ValueError(f"the path {path!r} is taken")
        wanted: ScrapeOptions = {"auth": self._auth, **options}
        self._endpoints[plain] = self._make_scraper(registry or self.registry, wanted)

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
            ValueError: ``metrics_url`` is no path or taken by an endpoint; or certificates are given here and in the
                web configuration.
        """
        if self._runner is not None:
            warnings.warn(f"the service runs already at {self._root}", RuntimeWarning, stacklevel=2)
            return
        plain = _check_path("metrics_url", metrics_url)
        if plain in self._endpoints or plain in _OWN_PATHS:
            raise ValueError(f"the path {metrics_url!r} is taken")
        context = self._tls(ssl)
        self._metrics_path = metrics_url
        server = web.Server(
            Pages(self._pages(plain), self._headers).handle,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_LINGER,
            logger=server_logger,
        )
        self._runner = runner = web.ServerRunner(server, shutdown_timeout=_CUT_OFF)
        try:
            await runner.setup()
            await self._listen(runner, addr, port, context)
        except BaseException as error:
            self._runner = None
            await runner.cleanup()
            # A host name may have no form that the network knows.
            if isinstance(error, OSError | OverflowError | UnicodeError):
                raise ServiceStartError(f"{addr or '*'}:{port}", str(error)) from error
            raise
        if self._web is not None:
            self._refreshing = asyncio.create_task(self._refresh(self._web))

    def _tls(self, ssl: ssl_module.SSLContext | None) -> ssl_module.SSLContext | None:
        configured = None if self._web is None else self._web.ssl
        if configured is not None and ssl is not None:
            raise ValueError("certificates are named by the web configuration: leave ssl out")
        return configured or ssl

    async def _look_after_files(self) -> None:
        """Look after the files of the web configuration where no server of our own does so."""
        if self._web is None or self._refreshing is not None:
            return
        now = monotonic()
        if now - self._looked >= _REFRESH:
            self._looked = now
            await in_worker(self._web.refresh)

    async def _refresh(self, configuration: WebConfig) -> None:
        """Look after the files of the web configuration every few seconds, in a thread: one may be long."""
        while True:
            await asyncio.sleep(_REFRESH)
            await in_worker(configuration.refresh)

    def _pages(self, metrics_path: str) -> Mapping[str, Handler]:
        pages: dict[str, Handler] = {
            "/": only_read(self.handle_root),
            "/robots.txt": only_read(self.handle_robots),
            _HEALTHY: only_read(self.handle_healthy),
            _READY: only_read(self.handle_ready),
        }
        for path, scraper in {metrics_path: self._scraper, **self._endpoints}.items():
            pages[path] = pages[f"{path}/"] = partial(self._handle, scraper)
        return pages

    def _headers(self) -> Mapping[str, str]:
        return {} if self._web is None else self._web.headers

    async def _listen(
        self, runner: web.ServerRunner, addr: str, port: int, ssl: ssl_module.SSLContext | None
    ) -> None:
        sockets = await open_sockets(addr, port)
        try:
            sites = [web.SockSite(runner, opened, ssl_context=ssl) for opened in sockets]
            for site in sites:
                await site.start()
        except BaseException:
            close_all(sockets)
            raise
        self._sites, self._sockets = sites, sockets
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
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None
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

    def abandon(self) -> None:
        """Close the listening sockets and nothing else, in a child process: the rest is the parent's."""
        for opened in self._sockets:
            opened.close()
        self._sockets, self._sites, self._runner = [], [], None

    @property
    def metrics_path(self) -> str:
        """Path of the metrics."""
        return self._metrics_path

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

    async def handle_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a scrape; an aiohttp handler for any route and method."""
        return await self._handle(self._scraper, request)

    async def _handle(self, scraper: Scraper, request: web.BaseRequest) -> web.StreamResponse:
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._look_after_files()
            async with scraper.scrape(scrape_request(request)) as answer:
                return await send(request, answer, self._headers())
        except SlowReaderError:
            return web.Response()  # to nobody: the connection is cut
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def handle_root(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with a page that links to the metrics, to those who may see them."""
        refused = await self._scraper.authorize(request.headers.get(hdrs.AUTHORIZATION))
        if refused is not None:
            return await send(request, refused, self._headers())
        paths = [html.escape(path, quote=True) for path in (self._metrics_path, *self._endpoints)]
        links = "<br>".join([f'<a href="{path}">{path}</a>' for path in paths])
        page = (
            f"<!doctype html><html><head><title>Metrics</title></head><body>{links}</body></html>"
        )
        return web.Response(text=page, content_type="text/html")

    async def handle_healthy(self, request: web.BaseRequest) -> web.Response:
        """Tell that the event loop runs; whoever asks need not show who they are."""
        return web.Response(text="healthy\n")

    async def handle_ready(self, request: web.BaseRequest) -> web.Response:
        """Tell whether scrapes are answered: 200, or 503 from the beginning of the stop on."""
        if self._runner is None:
            return web.Response(status=503, text="stopping\n", headers={hdrs.RETRY_AFTER: "1"})
        return web.Response(text="ready\n")

    async def handle_robots(self, request: web.BaseRequest) -> web.Response:
        """Turn robots away."""
        return web.Response(text="User-agent: *\nDisallow: /\n", content_type="text/plain")


def _web_config(given: WebConfig | str | os.PathLike[str] | None) -> WebConfig | None:
    return given if given is None or isinstance(given, WebConfig) else WebConfig.load(given)


def _check_path(name: str, path: str) -> str:
    """Return a path without the slash at its end, or say what it should be."""
    plain = path.rstrip("/")
    if not _PATH.fullmatch(plain):
        reason = "a slash before each part, and letters, digits and -._~ in it"
        raise ValueError(f"{name} must be a path such as '/metrics' ({reason}), not {path!r}")
    return plain
