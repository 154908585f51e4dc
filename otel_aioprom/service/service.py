"""The aiohttp service: ``/metrics`` on its own server, or as a handler in any aiohttp application."""

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
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom._concurrency.thread_pool import file_thread
from otel_aioprom.collectors.base import Collector
from otel_aioprom.errors import (
    OverloadError,
    ServiceError,
    ServiceNotRunningError,
    ServiceStartError,
    SlowReaderError,
)
from otel_aioprom.negotiator import parse_accepts
from otel_aioprom.registry.last_resort import install_last_resort
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.aiohttp_response import scrape_request, send, server_logger
from otel_aioprom.service.connections import Server
from otel_aioprom.service.routing import Handler, Router, read_only
from otel_aioprom.service.scrape import ScrapeOptions, Scraper
from otel_aioprom.service.sockets import (
    check_port,
    close_all,
    open_sockets,
    release_copies,
    stop_accepting,
)
from otel_aioprom.service.web_config.config import WebConfig

if TYPE_CHECKING:
    from typing_extensions import Unpack

_logger = logging.getLogger(__name__)

_SHUTDOWN = 0.1  # seconds that cancelled requests may take to end, after ``wait_duration``
_KEEP_ALIVE = (
    300.0  # seconds; longer than any usual scrape interval, so that a scraper keeps its connection
)
_ACCEPTS = 4  # connections that asyncio accepts in one iteration of the event loop, 0.2 ms each
_BACKLOG = 128  # connections that the system keeps until they are accepted
_LINGER = 1.0  # seconds to wait for the unread body of a request
_REFRESH = 5.0  # seconds between two checks of the web configuration's files
_PATIENCE = 1.0  # seconds that a request waits for one: the disk may hang
_HEALTHY, _READY = "/-/healthy", "/-/ready"
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_RESERVED = ("", "/robots.txt", _HEALTHY, _READY)
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced by a usable host


class Service:
    """Exposes a registry over HTTP.

    A started service belongs to the running event loop. ``handle_metrics``, ``handle_root`` and ``handle_robots``
    work in any aiohttp application, without a start.

    Args:
        registry: What to expose; a new registry if not given.
        loop: Deprecated and ignored.
        web_config: Path of a web configuration file as Prometheus' own servers read it, or a loaded ``WebConfig``:
            certificates, headers, and users for all pages but health, readiness and robots. Needs the extra
            ``web-config``.
        **options: The options of ``scrape.Scraper``.

    Raises:
        ValueError: An option has an invalid value, or conflicts with the web configuration.
        TypeError: An option is unknown.
        WebConfigError: The web configuration is invalid.

    Attributes:
        registry: What is exposed.
        warns_in_children: A process that is forked from one that serves logs that it does not.

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
        self.warns_in_children = True
        install_last_resort()
        self._runner: web.ServerRunner | None = None
        self._server: Server | None = None
        self._starting: asyncio.Future[None] | None = None
        self._sites: list[web.SockSite] = []
        self._sockets: list[socket.socket] = []
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed = -_REFRESH
        self._root = ""
        self._metrics_path = "/metrics"
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        register_after_fork(self)

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
            **options: The options of ``scrape.Scraper``; ``included`` and ``excluded`` select the names to expose.
                ``auth`` is the service's unless given; ``None`` admits every client.

        Raises:
            ValueError: The path is invalid or taken, or an option has an invalid value.
            TypeError: An option is unknown.
            ServiceError: The service is running.
        """
        if self._runner is not None:
            raise ServiceError("endpoints are added before the service starts")
        plain = self._free_path("path", path)
        merged: ScrapeOptions = {"auth": self._auth, **options}
        self._endpoints[plain] = self._make_scraper(
            self.registry if registry is None else registry, merged
        )

    def _free_path(self, name: str, path: str) -> str:
        """Return a valid path that is not taken, without the slash at its end."""
        if not isinstance(path, str):
            raise TypeError(f"{name} must be a path such as '/metrics', not {path!r}")
        plain = path.rstrip("/")
        if not _PATH.fullmatch(plain):
            reason = "a slash before each part, and letters, digits and -._~ in it"
            raise ValueError(f"{name} must be a path such as '/metrics' ({reason}), not {path!r}")
        if plain in self._endpoints or plain in _RESERVED:
            raise ValueError(f"the path {path!r} is taken")
        return plain

    async def start(
        self,
        addr: str = "",
        port: int = 0,
        ssl: ssl_module.SSLContext | None = None,
        metrics_url: str = "/metrics",
    ) -> None:
        """Start the server.

        Args:
            addr: Host name or address to listen on; empty for all interfaces.
            port: Port to listen on; 0 takes a free one.
            ssl: Context for HTTPS; ``None`` for HTTP.
            metrics_url: Path of the metrics, with or without a slash at the end.

        Raises:
            ServiceStartError: The address cannot be bound; no socket is left open.
            ValueError: ``metrics_url`` is invalid or taken; or ``ssl`` is passed although the web configuration has
                certificates.
            TypeError: ``port`` is not an ``int``, or ``metrics_url`` not a string.
        """
        if self._runner is not None:
            warnings.warn(f"the service runs already at {self._root}", RuntimeWarning, stacklevel=2)
            return
        check_port(port)
        plain = self._free_path("metrics_url", metrics_url)
        context = self._tls(ssl)
        self._metrics_path = metrics_url
        self._starting = starting = asyncio.get_running_loop().create_future()
        try:
            await self._start(addr, port, context, plain)
        finally:
            if self._starting is starting:  # else a start that came later is still to be waited for
                self._starting = None
            starting.set_result(None)

    async def _start(
        self, addr: str, port: int, ssl: ssl_module.SSLContext | None, metrics_path: str
    ) -> None:
        server = Server(
            Router(self._handlers(metrics_path), self._headers).handle,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_LINGER,
            logger=server_logger,
        )
        self._server = server
        self._runner = runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
        try:
            await runner.setup()
            await self._listen(runner, addr, port, ssl)
        except BaseException as error:
            self._runner = self._server = None
            await runner.cleanup()
            await server.close_connections(_SHUTDOWN)
            # Ports out of range overflow; host names may have no IDNA form.
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

    async def _refresh_if_due(self) -> None:
        """Refresh the web configuration from a request, where no server of our own does it in the background."""
        if self._web is None or self._refreshing is not None:
            return
        now = monotonic()
        if now - self._refreshed >= _REFRESH:
            self._refreshed = now
            with suppress(OverloadError):  # the files apply when they can be read
                await file_thread.call_within(_PATIENCE, self._web.refresh)

    async def _refresh(self, configuration: WebConfig) -> None:
        """Refresh the web configuration every few seconds, in a thread: files may be large."""
        while True:
            await asyncio.sleep(_REFRESH)
            await file_thread.call(configuration.refresh)

    def _handlers(self, metrics_path: str) -> Mapping[str, Handler]:
        handlers: dict[str, Handler] = {
            "/": read_only(self.handle_root),
            "/robots.txt": read_only(self.handle_robots),
            _HEALTHY: read_only(self.handle_healthy),
            _READY: read_only(self.handle_ready),
        }
        for path, scraper in {metrics_path: self._scraper, **self._endpoints}.items():
            handlers[path] = handlers[f"{path}/"] = partial(self._handle, scraper)
        return handlers

    def _headers(self) -> Mapping[str, str]:
        return {} if self._web is None else self._web.headers

    async def _listen(
        self, runner: web.ServerRunner, addr: str, port: int, ssl: ssl_module.SSLContext | None
    ) -> None:
        self._sockets = sockets = await open_sockets(addr, port)
        try:
            sites = [
                web.SockSite(runner, opened, ssl_context=ssl, backlog=_ACCEPTS)
                for opened in sockets
            ]
            for site, opened in zip(sites, sockets, strict=True):
                await site.start()
                opened.listen(_BACKLOG)
        except BaseException:
            self._sockets = []
            close_all(sockets)
            raise
        self._sites = sites
        host, real_port = sockets[0].getsockname()[:2]
        host = addr if addr not in ("", *_LOOPBACK) else _LOOPBACK.get(host, host)
        bracketed = f"[{host}]" if ":" in host else host
        self._root = f"{'http' if ssl is None else 'https'}://{bracketed}:{real_port}"

    async def stop(self, wait_duration: float = 1.0) -> None:
        """Stop the server; a second call does nothing.

        While the service starts, it waits for that first. Afterwards every connection is closed: a response that was
        broken off by a reset, or without the end that its client expects.

        Args:
            wait_duration: Seconds to wait for scrapes in flight before they are cancelled.
        """
        if self._starting is not None:
            await asyncio.wait([self._starting])
        runner, server = self._runner, self._server
        if runner is None or server is None:
            return
        deadline = monotonic() + wait_duration
        self._runner = None
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None
        sites, self._sites = self._sites, []
        try:
            await stop_accepting(self._sockets)
            for site in sites:
                await site.stop()
            if self._in_flight:
                await asyncio.wait_for(self._idle.wait(), wait_duration)
        except asyncio.TimeoutError:
            _logger.info("scrapes in flight are cancelled after %s s", wait_duration)
        finally:
            try:
                await runner.cleanup()
            finally:
                await server.close_connections(max(_SHUTDOWN, deadline - monotonic()))
                if self._server is server:  # else it has been started again meanwhile
                    self._server, self._sockets = None, []

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

    def after_fork(self) -> None:
        """Stop serving in a child process: event loop, port and connections are the parent's."""
        runner, self._runner, self._starting, self._refreshing = self._runner, None, None, None
        server, self._server = self._server, None
        sockets, self._sockets, self._sites = self._sockets, [], []
        self._in_flight, self._idle = 0, asyncio.Event()
        self._idle.set()
        if server is not None:  # also while it starts or stops
            release_copies([*sockets, *server.sockets()])
        if runner is not None and self.warns_in_children:
            _logger.warning(
                "metrics of this process (%d) are not served: it was forked from one that serves at %s; "
                "start a service here, on another port, or push",
                os.getpid(),
                self._root,
            )

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
        """Remove a collector from the service's registry."""
        self.registry.deregister(name)

    def accepts(self, request: web.BaseRequest) -> set[str]:
        """Return the media types and parameters of a request's ``Accept`` headers."""
        return parse_accepts(request.headers.getall(hdrs.ACCEPT, []))

    async def handle_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a scrape; an aiohttp handler for any route and method.

        A response of up to 64 KiB is returned unsent, so that middlewares may change it.
        """
        return await self._handle(self._scraper, request, leaves_small=True)

    async def _handle(
        self, scraper: Scraper, request: web.BaseRequest, *, leaves_small: bool = False
    ) -> web.StreamResponse:
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._refresh_if_due()
            async with scraper.scrape(scrape_request(request)) as answer:
                return await send(request, answer, self._headers(), leaves_small=leaves_small)
        except SlowReaderError:
            return web.Response()  # not sent: the connection is closed
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def handle_root(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with a page that links to the metrics; needs the same credentials as these."""
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
        """Answer the liveness probe with 200, without credentials: the event loop runs."""
        return web.Response(text="healthy\n")

    async def handle_ready(self, request: web.BaseRequest) -> web.Response:
        """Answer the readiness probe with 200, or with 503 once ``stop`` was called."""
        if self._runner is None:
            return web.Response(status=503, text="stopping\n", headers={hdrs.RETRY_AFTER: "1"})
        return web.Response(text="ready\n")

    async def handle_robots(self, request: web.BaseRequest) -> web.Response:
        """Answer ``/robots.txt``: no crawler is allowed."""
        return web.Response(text="User-agent: *\nDisallow: /\n", content_type="text/plain")


def _web_config(config: WebConfig | str | os.PathLike[str] | None) -> WebConfig | None:
    return config if config is None or isinstance(config, WebConfig) else WebConfig.load(config)
