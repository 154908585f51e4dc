"""Push from blocking code, without an event loop."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult

from otel_aioprom._concurrency.greenlets import running_loop, threads_are_greenlets
from otel_aioprom._concurrency.shared_future import run_in_new_loop
from otel_aioprom.pusher.pusher import Pusher
from otel_aioprom.registry.registry import CollectorRegistry, check_registry

if TYPE_CHECKING:
    import aiohttp
    from typing_extensions import Unpack

    from otel_aioprom._transport.retry import Retry
    from otel_aioprom.pusher.pusher import PusherOptions
    from otel_aioprom.registry.gathering import Gathering


class PushResult(NamedTuple):
    """The response to a push.

    Attributes:
        status: The HTTP status.
        text: The response body.
    """

    status: int
    text: str


class BlockingPusher:
    """A ``Pusher`` with blocking methods; each call runs an event loop of its own.

    For scripts and threads, not for the thread of an event loop. It also works during interpreter shutdown, when
    threads cannot be started any more: a registry's sources are collected in the calling thread.

    A push that the server refuses raises: a script that looks at no result would end as if all were well.

    Args:
        job_name: As for ``Pusher``.
        addr: As for ``Pusher``.
        **options: As for ``Pusher``, except ``session``, which belongs to an event loop. ``raise_for_status=False``
            returns the response of a server that refuses.

    Raises:
        ValueError: As for ``Pusher``; or there is a session.
        RuntimeError: A method is called in the thread of an event loop.
        PushError: A push has failed, or was refused.

    Examples:
        >>> pusher = BlockingPusher("nightly", "http://localhost:9091")
    """

    def __init__(self, job_name: str, addr: str, **options: Unpack[PusherOptions]) -> None:
        if options.get("session") is not None:
            raise ValueError("a session belongs to an event loop: remove it, or use Pusher")
        if not threads_are_greenlets():  # their names are resolved while others go on
            options.setdefault("resolver", _BlockingResolver())
        options.setdefault("raise_for_status", True)
        self._pusher = Pusher(job_name, addr, **options)

    @property
    def url(self) -> str:
        """URL of the group, without credentials."""
        return self._pusher.url

    def add(self, registry: CollectorRegistry, *, retry: Retry | None = None) -> PushResult:
        """Push a registry; the group's other metrics stay. See ``Pusher.add``."""
        return self._push(("POST",), registry, retry)

    def replace(self, registry: CollectorRegistry, *, retry: Retry | None = None) -> PushResult:
        """Push a registry, and replace all metrics of the group. See ``Pusher.replace``."""
        return self._push(("PUT", "POST"), registry, retry)

    def _push(
        self, methods: tuple[str, ...], registry: CollectorRegistry, retry: Retry | None
    ) -> PushResult:
        _check_no_running_loop()
        check_registry(registry)
        # Collect outside of the loop that pushes: sources may run one of their own.
        return self.push_gathered(methods, registry, registry.gather(), retry)

    def push_gathered(
        self,
        methods: tuple[str, ...],
        registry: CollectorRegistry,
        gathering: Gathering,
        retry: Retry | None,
    ) -> PushResult:
        """Push the result of a collection; see ``Pusher.push_families``."""
        families = self._pusher.prepare(registry, gathering)
        return _run(lambda: self._pusher.push_families(methods, registry, families, retry))

    def delete(
        self, registry: CollectorRegistry | None = None, *, retry: Retry | None = None
    ) -> PushResult:
        """Delete the group. See ``Pusher.delete``."""
        return _run(lambda: self._pusher.delete(registry, retry=retry))


class _BlockingResolver(AbstractResolver):
    """DNS resolver that blocks: nothing else runs on this event loop."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        addresses = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=int(kind),
                proto=protocol,
                flags=int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
            )
            for kind, _, protocol, _, address in addresses
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _run(push: Callable[[], Awaitable[aiohttp.ClientResponse]]) -> PushResult:
    async def run() -> PushResult:
        response = await push()
        return PushResult(response.status, (await response.read()).decode("utf-8", "replace"))

    _check_no_running_loop()
    return run_in_new_loop(run())


def _check_no_running_loop() -> None:
    if running_loop() is not None:
        raise RuntimeError("this would block the event loop of this thread: use Pusher there")
