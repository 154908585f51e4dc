"""Pushing from programs that have no event loop."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult

from otel_aioprom._concurrency.shared_future import run_apart, running_loop
from otel_aioprom.pusher.pusher import Pusher

if TYPE_CHECKING:
    import aiohttp
    from typing_extensions import Unpack

    from otel_aioprom._transport.retry import Retry
    from otel_aioprom.pusher.pusher import PusherOptions
    from otel_aioprom.registry.registry import CollectorRegistry, Gathering


class PushResult(NamedTuple):
    """What a gateway has answered.

    Attributes:
        status: The HTTP status.
        text: The body.
    """

    status: int
    text: str


class BlockingPusher:
    """A ``Pusher`` whose methods wait for the answer; each call runs an event loop of its own.

    For scripts and worker threads, not for the thread of an event loop. It works to the very end of a program, when
    no thread can be started any more: a registry's sources are collected in the calling thread.

    Args:
        job_name: As for ``Pusher``.
        addr: As for ``Pusher``.
        **options: As for ``Pusher``, but for ``session``, which belongs to a loop.

    Raises:
        ValueError: As for ``Pusher``; or a session is given.
        RuntimeError: From a call, in the thread of an event loop.

    Examples:
        >>> pusher = BlockingPusher("nightly", "http://localhost:9091")
    """

    def __init__(self, job_name: str, addr: str, **options: Unpack[PusherOptions]) -> None:
        if options.get("session") is not None:
            raise ValueError("a session belongs to an event loop: leave it out, or use Pusher")
        options.setdefault("resolver", _InPlace())
        self._pusher = Pusher(job_name, addr, **options)

    @property
    def url(self) -> str:
        """Address of the group, without credentials."""
        return self._pusher.url

    def add(self, registry: CollectorRegistry, *, retry: Retry | None = None) -> PushResult:
        """Push a registry; the group's other metrics stay. See ``Pusher.add``."""
        return self._push(("POST",), registry, retry)

    def replace(self, registry: CollectorRegistry, *, retry: Retry | None = None) -> PushResult:
        """Push a registry in place of all that the group has. See ``Pusher.replace``."""
        return self._push(("PUT", "POST"), registry, retry)

    def _push(
        self, methods: tuple[str, ...], registry: CollectorRegistry, retry: Retry | None
    ) -> PushResult:
        _refuse_loop()
        # Before there is a loop: sources may run one of their own.
        return self.push_gathered(methods, registry, registry.gather(), retry)

    def push_gathered(
        self,
        methods: tuple[str, ...],
        registry: CollectorRegistry,
        gathering: Gathering,
        retry: Retry | None,
    ) -> PushResult:
        """Push what has been collected; see ``Pusher.push_gathered``."""
        return _run(lambda: self._pusher.push_gathered(methods, registry, gathering, retry))

    def delete(
        self, registry: CollectorRegistry | None = None, *, retry: Retry | None = None
    ) -> PushResult:
        """Delete the group. See ``Pusher.delete``."""
        return _run(lambda: self._pusher.delete(registry, retry=retry))


class _InPlace(AbstractResolver):
    """Looks hosts up in the calling thread: nobody else waits for this loop."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=int(kind),
                proto=protocol,
                flags=int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is kept open."""


def _run(push: Callable[[], Awaitable[aiohttp.ClientResponse]]) -> PushResult:
    async def run() -> PushResult:
        response = await push()
        return PushResult(response.status, (await response.read()).decode("utf-8", "replace"))

    _refuse_loop()
    return run_apart(run())


def _refuse_loop() -> None:
    if running_loop() is not None:
        raise RuntimeError("an event loop runs in this thread, and would be held: use Pusher there")
