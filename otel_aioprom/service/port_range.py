"""The threaded service for programs that nobody has changed: several processes start it on one port."""

from __future__ import annotations

import errno
import logging
import os
import threading

from otel_aioprom.errors import MetricsError, ServiceStartError
from otel_aioprom.registry.faults import OWN_PREFIX
from otel_aioprom.registry.registry import CollectorRegistry
from otel_aioprom.service.threaded import ThreadedService

_logger = logging.getLogger(__name__)

PORTS = 100
"""How many ports are tried, from the first one on."""

_INTERVAL = 1.0  # seconds between two looks whether a process without a port has anything to serve
_MAX_PORT = 65_535


class PortRangeService(ThreadedService):
    """A ``ThreadedService`` that takes the next free port where another process of the program has the first one.

    So do forked children. A process takes another port than the first one, and logs which, when it has metrics to
    expose: supervisors and helper processes take none.

    Args:
        registry: What to expose.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self._service.warns_in_children = False
        self._address: tuple[str, int] | None = None
        self._unwanted = threading.Event()

    def serve(self, addr: str, port: int) -> None:
        """Start on the first port from this one on that is free, in this process and in every forked child.

        If no port can be bound, that is logged as an error.

        Args:
            addr: Host name or address to listen on.
            port: The first port to try; 0 takes any free one.
        """
        self._address, self._unwanted = (addr, port), threading.Event()
        if not self._try(addr, port, port):
            self._serve_later(addr, port)

    def stop(self, wait_duration: float = 1.0) -> None:
        """Stop the server and its thread, and serve in no forked child from now on; see ``ThreadedService.stop``."""
        self._address = None
        self._unwanted.set()
        super().stop(wait_duration)

    def after_fork(self) -> None:
        """Serve in a child process, on a port of its own."""
        super().after_fork()
        if self._address is not None:
            self._unwanted = threading.Event()
            self._serve_later(*self._address)

    def _serve_later(self, addr: str, port: int) -> None:
        threading.Thread(
            target=self._wait_for_content,
            args=(addr, port, self._unwanted),
            name="otel_aioprom service start",
            daemon=True,
        ).start()

    def _wait_for_content(self, addr: str, port: int, unwanted: threading.Event) -> None:
        while not unwanted.wait(_INTERVAL):
            if self._has_content():
                self._serve_in_range(addr, port)
                break
        if unwanted.is_set():  # stopped while it started
            super().stop()

    def _has_content(self) -> bool:
        names = [family.name for family in self.registry.gather().families]
        return any(name != "target_info" and not name.startswith(OWN_PREFIX) for name in names)

    def _serve_in_range(self, addr: str, first: int) -> None:
        last = min(first + PORTS - 1, _MAX_PORT) if first else first
        for port in range(first, last + 1):
            if self._try(addr, port, first):
                return
        message = "metrics of this process (%d) are not served: ports %d to %d of %s are taken"
        _logger.error(message, os.getpid(), first, last, addr)

    def _try(self, addr: str, port: int, first: int) -> bool:
        """Start on a port; log what came of it. Return false if another process has the port."""
        try:
            self.start(addr, port)
        except (MetricsError, RuntimeError) as error:
            if _is_taken(error):
                return False
            message = "metrics of this process (%d) are not served: %s"
            _logger.error(message, os.getpid(), error)  # noqa: TRY400 - no trace
        else:
            moved = port != first
            _logger.log(
                logging.WARNING if moved else logging.INFO,
                "metrics of this process (%d) are served at %s%s",
                os.getpid(),
                self.metrics_url,
                f": another process has port {first}" if moved else "",
            )
        return True


def _is_taken(error: Exception) -> bool:
    reason = error.__cause__ if isinstance(error, ServiceStartError) else None
    return isinstance(reason, OSError) and reason.errno == errno.EADDRINUSE
