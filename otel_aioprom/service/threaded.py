"""The service for programs without an event loop: in a daemon thread with its own loop."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl as ssl_module
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from otel_aioprom._concurrency.fork_safety import register_after_fork
from otel_aioprom._concurrency.shared_future import run_loop
from otel_aioprom.errors import ServiceNotRunningError, ServiceStartError
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.service import Service

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from otel_aioprom.service.scrape import ScrapeOptions
    from otel_aioprom.service.web_config.config import WebConfig

_logger = logging.getLogger(__name__)


class ThreadedService:
    """A ``Service`` in its own daemon thread: for Flask, Django, scripts and workers.

    All methods are thread-safe. A forked child process does not inherit the thread: there the service is not
    running, which is logged once, and the port stays with the parent. With gevent it is a greenlet.

    Args:
        registry: What to expose; a new registry if not given.
        web_config: As for ``Service``.
        required: Raise if the service cannot listen. ``False`` logs one line instead, and the service is not running:
            for set-up code that runs in several processes. So does every ``start`` while multiprocessing imports the
            main module in another process.
        **options: The options of ``scrape.Scraper``.

    Raises:
        ValueError: As for ``Service``.
        WebConfigError: As for ``Service``.

    Attributes:
        registry: What is exposed.

    Examples:
        >>> with ThreadedService(CollectorRegistry()).running("localhost") as service:
        ...     print(service.metrics_url)  # doctest: +ELLIPSIS
        http://localhost:.../metrics
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        web_config: WebConfig | str | os.PathLike[str] | None = None,
        required: bool = True,
        **options: Unpack[ScrapeOptions],
    ) -> None:
        self._required = required
        self._service = Service(registry, web_config=web_config, **options)
        self.registry = self._service.registry
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._started: Future[None] = Future()
        self._wait = 1.0
        self._lock = threading.RLock()
        register_after_fork(self)

    def add_endpoint(
        self,
        path: str,
        registry: CollectorRegistry | None = None,
        **options: Unpack[ScrapeOptions],
    ) -> None:
        """Serve metrics at one more path; see ``Service.add_endpoint``."""
        self._service.add_endpoint(path, registry, **options)

    def start(
        self,
        addr: str = "",
        port: int = 0,
        ssl: ssl_module.SSLContext | None = None,
        metrics_url: str = "/metrics",
    ) -> Self:
        """Start the thread and the server in it; arguments as for ``Service.start``.

        Returns:
            The service itself.

        Raises:
            ServiceStartError: The address cannot be bound, or there can be no event loop, and the service is
                ``required``; no thread is left running.
            ValueError: As for ``Service.start``.
            TypeError: As for ``Service.start``.
        """
        with self._lock:
            if self._thread is not None:
                warnings.warn("the service runs already", RuntimeWarning, stacklevel=2)
                return self
            started: Future[None] = Future()
            self._started = started
            serving = self._serve(
                started, partial(self._service.start, addr, port, ssl, metrics_url)
            )
            thread = threading.Thread(
                target=_run,
                args=(serving, started, f"{addr or '*'}:{port}"),
                name="otel_aioprom service",
                daemon=True,
            )
            self._thread = thread  # from here on a signal handler may stop it
            try:
                thread.start()
                started.result()
            except BaseException as error:  # a signal handler may raise here, too
                if thread.ident is None and isinstance(error, RuntimeError):  # no more threads
                    started.set_exception(error)
                    self._thread = None
                    serving.close()
                self._stop(0.0)
                if not isinstance(error, ServiceStartError) or self._must_raise():
                    raise
                _logger.warning("%s", _not_served(error))
        return self

    def _must_raise(self) -> bool:
        return self._required and not _imports_main_again()

    async def _serve(self, started: Future[None], start: Callable[[], Awaitable[None]]) -> None:
        try:
            await start()
        except BaseException as error:  # noqa: BLE001 - raised by ``start``, in the calling thread
            started.set_exception(error)
            return
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        started.set_result(None)
        await self._ended.wait()
        await self._service.stop(self._wait)

    def stop(self, wait_duration: float = 1.0) -> None:
        """Stop the server and its thread; a second call does nothing.

        Args:
            wait_duration: Seconds to wait for scrapes in flight before they are cancelled.
        """
        self._stop(wait_duration)

    def _stop(self, wait_duration: float) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            wait([self._started])  # a signal handler may stop what its thread is starting
            if self._loop is not None and self._started.exception() is None:
                self._wait = wait_duration
                self._loop.call_soon_threadsafe(self._ended.set)
            thread.join()

    @contextmanager
    def running(
        self,
        addr: str = "",
        port: int = 0,
        ssl: ssl_module.SSLContext | None = None,
        metrics_url: str = "/metrics",
    ) -> Iterator[Self]:
        """Start on entry and stop on exit; arguments as for ``start``."""
        self.start(addr, port, ssl, metrics_url)
        try:
            yield self
        finally:
            self.stop()

    @property
    def base_url(self) -> str:
        """Scheme, host and port.

        Raises:
            ServiceNotRunningError: The server is not running.
        """
        if self._thread is None:
            raise ServiceNotRunningError("the service has no address: start it first")
        return self._service.base_url

    @property
    def metrics_url(self) -> str:
        """Address of the metrics; raises as ``base_url``."""
        return f"{self.base_url}{self._service.metrics_path}"

    def after_fork(self) -> None:
        """Forget the thread in a child process: it did not survive the fork."""
        self._lock = threading.RLock()
        self._thread = None


def _run(serving: Coroutine[object, object, None], started: Future[None], address: str) -> None:
    """Run the service in this thread; if there can be no event loop, ``start`` has to raise."""
    try:
        run_loop(serving)
    except Exception as error:
        serving.close()
        if started.done():
            raise
        failure = ServiceStartError(address, str(error))
        failure.__cause__ = error
        started.set_exception(failure)


def _imports_main_again() -> bool:
    """Return whether multiprocessing is importing the main module, in a process that is to run a part of it."""
    again = sys.modules.get("__mp_main__")
    return again is not None and again is not sys.modules.get("__main__")


def _not_served(error: ServiceStartError) -> str:
    sentence = f"metrics of this process ({os.getpid()}) are not served: {error}"
    if not _imports_main_again():
        return sentence
    return (
        f"{sentence}; multiprocessing imports the main module again here: start the service below "
        'if __name__ == "__main__":'
    )
