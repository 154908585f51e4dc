"""Pushing a registry to a Pushgateway, or to what takes the same requests."""

from __future__ import annotations

import asyncio
import dataclasses
import warnings
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from time import monotonic, perf_counter, time
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypedDict

from aiohttp import hdrs
from yarl import URL

from otel_aioprom._concurrency.periodic import Watch, check_times, ending_with_block, repeat
from otel_aioprom._transport.delivery import Delivery, DeliveryOptions, is_success, refused, shown
from otel_aioprom._transport.retry import ONCE, Retry
from otel_aioprom.errors import PushError
from otel_aioprom.formats import BinaryFormatter, IFormatter, TextFormatter
from otel_aioprom.pusher.batches import bodies
from otel_aioprom.pusher.grouping import check_group, group_path
from otel_aioprom.renderer import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    import aiohttp
    from typing_extensions import Self, Unpack

    from otel_aioprom.registry.registry import CollectorRegistry, Gathering


class PusherOptions(DeliveryOptions, total=False):
    """The options of ``Pusher``, for signatures of what passes them on."""

    grouping_key: Mapping[str, str] | None
    path: str | None
    compression: Literal["gzip"] | None
    format: Literal["text", "protobuf"]
    max_batch_bytes: int | None
    gather_timeout: float


class RunOptions(TypedDict, total=False):
    """The options of ``Pusher.run``."""

    method: Literal["replace", "add"]
    delete_on_exit: bool
    exit_timeout: float
    on_sigterm: bool


_LEAST = 0.001  # seconds
_FORMATTERS: dict[str, type[IFormatter]] = {"text": TextFormatter, "protobuf": BinaryFormatter}


class Pusher:
    """Pushes registries into one group of a Pushgateway.

    May be used with or without ``async with``; inside, one connection serves all pushes.

    Args:
        job_name: The job, which every group has.
        addr: Address of the gateway, ``http://…`` or ``https://…``; a path in it goes in front.
        loop: Accepted for old callers and not used.
        grouping_key: More labels that make the group.
        path: Path of the group, ``{0}`` standing for the job; ``/metrics/job/{0}`` if not given. Without ``{0}`` the
            group's labels go into the query, as VictoriaMetrics' import wants them.
        compression: ``"gzip"``, or ``None`` for none.
        format: ``"text"`` (0.0.4), or ``"protobuf"``, which carries native histograms and exemplars too.
        max_batch_bytes: Divide a push into several requests of at most so many bytes before compression. A family
            that is longer has a request of its own.
        gather_timeout: Seconds that the registry's sources get to answer; what is late is left out.
        **options: As for ``delivery.Delivery``: ``auth``, ``ssl``, ``timeout``, ``headers``, ``session``, ``retry``,
            ``raise_for_status``.

    Raises:
        ValueError: An option has no such value; the address is none; the job is empty.
        InvalidLabelsError: A label of the grouping key is none.

    Spec:
        N18, E81 to E91.

    Examples:
        >>> pusher = Pusher("nightly", "http://localhost:9091", grouping_key={"instance": "a/b"})
        >>> pusher.url
        'http://localhost:9091/metrics/job/nightly/instance@base64/YS9i'
    """

    PATH = "/metrics/job/{0}"

    def __init__(
        self,
        job_name: str,
        addr: str,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        grouping_key: Mapping[str, str] | None = None,
        path: str | None = None,
        compression: Literal["gzip"] | None = None,
        format: Literal["text", "protobuf"] = "text",  # noqa: A002 - what it is
        max_batch_bytes: int | None = None,
        gather_timeout: float = DEFAULT_TIMEOUT,
        **options: Unpack[DeliveryOptions],
    ) -> None:
        if loop is not None:
            message = "Pusher uses the running event loop; leave the argument loop out"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        if compression not in {None, "gzip"}:
            raise ValueError(f"compression must be 'gzip' or None, not {compression!r}")
        if format not in _FORMATTERS:
            raise ValueError(f"format must be 'text' or 'protobuf', not {format!r}")
        if max_batch_bytes is not None and max_batch_bytes < 1:
            raise ValueError(f"max_batch_bytes must be 1 or more, not {max_batch_bytes!r}")
        if not gather_timeout > 0:
            raise ValueError(f"gather_timeout must be above 0 s, not {gather_timeout!r}")
        group = check_group(job_name, grouping_key or {})
        self._url = join_url(addr, group_path(path or self.PATH, group))
        self._destination = shown(self._url.origin())
        self._formatter = _FORMATTERS[format]()
        self._coding = compression
        self._limit = max_batch_bytes
        self._gather_timeout = gather_timeout
        self._retry = options.get("retry")
        self._delivery = Delivery(**options)
        self._delivery.check_target(self._url)

    @property
    def url(self) -> str:
        """Address of the group, without credentials."""
        return shown(self._url)

    async def __aenter__(self) -> Self:
        await self._delivery.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; a second call does nothing, and the next push opens another one."""
        await self._delivery.close()

    async def add(
        self, registry: CollectorRegistry, *, retry: Retry | None = None
    ) -> aiohttp.ClientResponse:
        """Push a registry; the group's other metrics stay.

        Args:
            registry: What to push; its sources are collected for it.
            retry: How often to try, if not as the pusher was told.

        Returns:
            The response, its body read: of several requests, the first one that refused, else the last one.

        Raises:
            PushError: There was no response; or it refuses, and ``raise_for_status`` was asked for.
        """
        return await self._push((hdrs.METH_POST,), registry, retry)

    async def replace(
        self, registry: CollectorRegistry, *, retry: Retry | None = None
    ) -> aiohttp.ClientResponse:
        """Push a registry in place of all that the group has; as ``add`` otherwise.

        With ``max_batch_bytes`` this is not atomic: the first request replaces, the others add to it. If the first
        one does not arrive, the others are not sent.
        """
        return await self._push((hdrs.METH_PUT, hdrs.METH_POST), registry, retry)

    async def delete(
        self, registry: CollectorRegistry | None = None, *, retry: Retry | None = None
    ) -> aiohttp.ClientResponse:
        """Delete the group.

        Args:
            registry: Counts the request among its own metrics, if given; what it holds does not matter.
            retry: How often to try, if not as the pusher was told.

        Returns:
            The response; 202 also for a group that does not exist.

        Raises:
            PushError: As for ``add``.
        """
        return await self._send(hdrs.METH_DELETE, registry, [], retry)

    async def run(
        self,
        registry: CollectorRegistry,
        interval: float = 15.0,
        *,
        method: Literal["replace", "add"] = "replace",
        delete_on_exit: bool = False,
        exit_timeout: float = 5.0,
        on_sigterm: bool = True,
    ) -> None:
        """Push at once and every ``interval`` seconds, until the task is cancelled, and once more then.

        A push that fails ends nothing: it is counted, and a line is logged when pushes begin to fail and when they
        work again. Each is tried again until its interval or ``timeout`` is over, whichever is longer, unless ``retry``
        says otherwise.

        Args:
            registry: What to push.
            interval: Seconds from one push to the next.
            method: ``"replace"`` or ``"add"``.
            delete_on_exit: Delete the group at the end instead of a last push.
            exit_timeout: Seconds that the way out may take.
            on_sigterm: Push once more on ``SIGTERM`` too, if the application does not handle that signal.

        Raises:
            ValueError: An option has no such value.
        """
        _check_run(interval, method, exit_timeout)
        push = self.replace if method == "replace" else self.add
        retry = self._retry or Retry(total=max(interval, self._delivery.timeout))
        watch = Watch(f"pushes to {self._destination}")

        async def act() -> None:
            await self._watched(push(registry, retry=retry), watch)

        async def last() -> None:
            final = self.delete(registry) if delete_on_exit else push(registry)
            await self._watched(final, watch)

        async with self._delivery.opened():
            await repeat(act, last, interval, exit_timeout=exit_timeout, on_sigterm=on_sigterm)

    @asynccontextmanager
    async def running(
        self, registry: CollectorRegistry, interval: float = 15.0, **options: Unpack[RunOptions]
    ) -> AsyncIterator[Self]:
        """Run while the block runs; arguments and errors as for ``run``."""
        _check_run(interval, options.get("method", "replace"), options.get("exit_timeout", 1.0))
        async with ending_with_block(self.run(registry, interval, **options)):
            yield self

    async def _watched(self, push: Awaitable[aiohttp.ClientResponse], watch: Watch) -> None:
        try:
            response = await push
        except Exception as error:  # noqa: BLE001 - whatever it is, the next push may arrive
            watch.failed(error)
            return
        if is_success(response):
            watch.worked()
        else:
            watch.failed(await refused(response))

    async def _push(
        self, methods: tuple[str, ...], registry: CollectorRegistry, retry: Retry | None
    ) -> aiohttp.ClientResponse:
        gathering = await registry.async_gather(self._gather_timeout)
        return await self.push_gathered(methods, registry, gathering, retry)

    async def push_gathered(
        self,
        methods: tuple[str, ...],
        registry: CollectorRegistry,
        gathering: Gathering,
        retry: Retry | None,
    ) -> aiohttp.ClientResponse:
        """Send one request after the other; each failure costs its own part alone.

        Args:
            methods: That of the first request, and of the others.
            registry: Counts what is pushed.
            gathering: What to push.
            retry: How often to try each request; the time is that of all of them together.
        """
        policy, began = retry or self._retry or ONCE, monotonic()
        families, faults = self._formatter.prepare(gathering.families)
        registry.report(faults)
        first: aiohttp.ClientResponse | None = None
        failure: PushError | None = None
        method, *others = methods
        async for pieces in bodies(families, self._formatter, self._limit, self._coding):
            left = policy.total - (monotonic() - began)
            if left <= 0 and (first or failure) is not None:
                break
            try:
                part = dataclasses.replace(policy, total=max(left, _LEAST))
                response = await self._send(method, registry, pieces, part)
            except PushError as error:
                failure = failure or error
                if others or error.status is None:  # nobody is there to take the rest
                    break
            else:
                if first is None or is_success(first):
                    first = response
                if others and not is_success(response):
                    break
            method, others = (others or [method])[0], []
        if failure is not None:
            raise failure
        assert first is not None  # noqa: S101 - there is one body at least
        return first

    async def _send(
        self,
        method: str,
        registry: CollectorRegistry | None,
        pieces: list[bytes],
        retry: Retry | None,
    ) -> aiohttp.ClientResponse:
        headers: dict[str, str] = {}
        if method != hdrs.METH_DELETE:
            headers.update(self._formatter.get_headers())
            if self._coding is not None:
                headers[hdrs.CONTENT_ENCODING] = self._coding
        began, code = perf_counter(), "error"
        try:
            response = await self._delivery.send(method, self._url, pieces, headers, retry=retry)
            code = str(response.status)
        except PushError as error:
            code = "error" if error.status is None else str(error.status)
            raise
        finally:
            if registry is not None:
                size, seconds = sum(map(len, pieces)), perf_counter() - began
                registry.pushes.count(self._destination, code, size, seconds)
        if registry is not None and is_success(response):
            registry.pushes.last.set({"destination": self._destination}, time())
        return response


def _check_run(interval: float, method: str, exit_timeout: float) -> None:
    check_times(interval, exit_timeout)
    if method not in {"replace", "add"}:
        raise ValueError(f"method must be 'replace' or 'add', not {method!r}")


def join_url(addr: str, path: str) -> URL:
    """Return the address of a path on a server, the path as it stands.

    Raises:
        ValueError: ``addr`` is no address of a server, or ``path`` does not begin with a slash.
    """
    base = URL(addr)
    if base.scheme not in {"http", "https"} or not base.host or base.query_string or base.fragment:
        raise ValueError(
            f"addr must be an address such as 'http://localhost:9091', not {shown(base)!r}"
        )
    if not path.startswith("/"):
        raise ValueError(f"path must begin with a slash, unlike {path!r}")
    return URL(str(base).rstrip("/") + path, encoded=True)
